//go:build unix

package bundle

import (
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// TestABundleIsForWhomTheUmaskSays: what is in it may come from a private registry.
func TestABundleIsForWhomTheUmaskSays(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0o077))
	dir := saved(t, map[string]made{"v1": image(t, "one")})
	seen := func(path string, e fs.DirEntry, err error) error {
		if info, statErr := os.Stat(path); err != nil || statErr != nil || info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s: %v, %v, %v", path, info, err, statErr)
		}
		return nil
	}
	if err := filepath.WalkDir(dir, seen); err != nil {
		t.Error(err)
	}
	if err := filepath.WalkDir(archived(t, dir), seen); err != nil {
		t.Error(err)
	}
}
