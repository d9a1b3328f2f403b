package main

import (
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/distribution/distribution/v3/registry/storage/driver/filesystem"
	"github.com/sealgate/sealgate/proxy"
)

// keysIn are the keys of a process on the storage in root.
func keysIn(root string) uploadKeys {
	return uploadKeys{driver: filesystem.New(filesystem.DriverParameters{RootDirectory: root, MaxThreads: storageThreads}), root: root}
}

func TestUploadKeysOutliveTheProcess(t *testing.T) {
	root := t.TempDir()
	first, err := keysIn(root).load(t.Context())
	if err != nil || len(first) != 1 {
		t.Fatalf("got %d keys, %v", len(first), err)
	}
	again, err := keysIn(root).load(t.Context())
	if err != nil || len(again) != 1 || again[0] != first[0] {
		t.Fatalf("after a restart: got %d keys, %v, and want the same", len(again), err)
	}
}

func TestUploadKeysAreForThisUserAlone(t *testing.T) {
	root := t.TempDir()
	if _, err := keysIn(root).load(t.Context()); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(root, "sealgate", "upload-keys")
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != 1 {
		t.Fatalf("got %d files, %v", len(files), err)
	}
	for path, want := range map[string]os.FileMode{dir: 0o700, filepath.Join(dir, files[0].Name()): 0o600} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s has mode %v, %v, want %v", path, info.Mode(), err, want)
		}
	}
}

func TestReplicasThatBeginAtOnceKnowEachOthersKeys(t *testing.T) {
	root := t.TempDir()
	var replicas sync.WaitGroup
	for range 8 {
		replicas.Go(func() {
			if keys, err := keysIn(root).load(t.Context()); err != nil || len(keys) == 0 {
				t.Errorf("got %d keys, %v", len(keys), err)
			}
		})
	}
	replicas.Wait()
	var first []proxy.UploadKey
	for range 2 {
		keys, err := keysIn(root).load(t.Context())
		if err != nil || len(keys) == 0 {
			t.Fatal(err)
		}
		if first != nil && first[0] != keys[0] {
			t.Error("two replicas seal with different keys")
		}
		first = keys
	}
}

func TestADamagedUploadKeyIsReplaced(t *testing.T) {
	root := t.TempDir()
	before, err := keysIn(root).load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(root, "sealgate", "upload-keys", keyName(before[0]))
	if err := os.WriteFile(file, make([]byte, 32), 0o600); err != nil {
		t.Fatal(err)
	}
	after, err := keysIn(root).load(t.Context())
	if err != nil || len(after) != 1 || after[0] == before[0] || after[0] == (proxy.UploadKey{}) {
		t.Errorf("got %d keys, %v, and want one new", len(after), err)
	}
}
