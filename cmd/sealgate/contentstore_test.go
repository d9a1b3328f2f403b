package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/rs/zerolog"
)

// TestCachedContentIsForThisUserAlone, also where others may look into the directory
// of the storage: it is what private registries have.
func TestCachedContentIsForThisUserAlone(t *testing.T) {
	inst, load := newStoryInstance(t)
	inst.close()
	cfg := load(cachedYAML("{}")...)
	root := cfg.Storage.RootDirectory()
	if err := os.Chmod(root, 0o755); err != nil {
		t.Fatal(err)
	}
	inst, err := newInstance(cfg, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(inst.close)
	if w := get(inst, layerOf(t, inst)); w.Code != 200 {
		t.Fatal(w.Code, w.Body)
	}
	fetched(inst)
	for _, dir := range []string{"sealgate/content", "spool"} {
		if info, err := os.Stat(filepath.Join(root, dir)); err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("%s: %v, %v", dir, info, err)
		}
	}
}
