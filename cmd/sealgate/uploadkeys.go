package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"

	"github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/sealgate/sealgate/proxy"
)

// uploadKeysTop is where the keys of upload locations are, on the driver.
const uploadKeysTop = "/sealgate/upload-keys"

// uploadKeys keeps the keys of upload locations beside the trust state, so that
// an upload can go on after a restart and at another replica. There is one,
// named by its hash; more only where replicas began at the very same moment.
// Then the first by name seals and all of them open, so that nobody's token is
// lost.
type uploadKeys struct {
	driver driver.StorageDriver
	root   string // of the filesystem driver; empty for others
}

// load returns the keys that are stored, and makes one where there is none.
func (u uploadKeys) load(ctx context.Context) ([]proxy.UploadKey, error) {
	keys, err := u.read(ctx)
	if err != nil || len(keys) > 0 {
		return keys, err
	}
	if err := u.create(ctx, proxy.NewUploadKey()); err != nil {
		return nil, err
	}
	return u.read(ctx) // another replica may have done the same
}

func (u uploadKeys) read(ctx context.Context) ([]proxy.UploadKey, error) {
	names, err := u.driver.List(ctx, uploadKeysTop)
	if errors.As(err, new(driver.PathNotFoundError)) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("upload keys: %w", err)
	}
	slices.Sort(names)
	var keys []proxy.UploadKey
	for _, name := range names {
		raw, err := u.driver.GetContent(ctx, name)
		if errors.As(err, new(driver.PathNotFoundError)) {
			continue // it was a temporary file
		}
		if err != nil {
			return nil, fmt.Errorf("upload keys: %w", err)
		}
		key := proxy.UploadKey{}
		if copy(key[:], raw) != len(key) || len(raw) != len(key) || path.Base(name) != keyName(key) {
			continue // a temporary file, or damage: whoever has a token of it begins anew
		}
		keys = append(keys, key)
	}
	return keys, nil
}

// keyName is what a key is stored as: nobody can put another one in its place.
func keyName(key proxy.UploadKey) string { return fmt.Sprintf("%x", sha256.Sum256(key[:])) }

// create stores a key that only this user may read. The filesystem driver makes
// files that everybody may: the directory comes first, closed to others.
func (u uploadKeys) create(ctx context.Context, key proxy.UploadKey) error {
	name := path.Join(uploadKeysTop, keyName(key))
	file := filepath.Join(u.root, filepath.FromSlash(name))
	if u.root != "" {
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			return fmt.Errorf("upload keys: %w", err)
		}
		if err := os.Chmod(filepath.Dir(file), 0o700); err != nil {
			return fmt.Errorf("upload keys: %w", err)
		}
	}
	if err := u.driver.PutContent(ctx, name, key[:]); err != nil {
		return fmt.Errorf("upload keys: %w", err)
	}
	if u.root == "" {
		return nil
	}
	if err := os.Chmod(file, 0o600); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("upload keys: %w", err)
	}
	return nil
}
