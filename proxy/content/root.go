package content

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"strings"

	"github.com/distribution/distribution/v3/registry/storage/driver"
)

// Top is where the content of all registries is, one directory for each.
const Top = "/sealgate/content"

// Root is the part of d that is the content of one registry: that of its name
// in proxy.yaml and its upstream, "" for an offline one. Registries share
// nothing: what one holds can neither be served nor evicted by another.
func Root(d driver.StorageDriver, registry, upstream string) driver.StorageDriver {
	sum := sha256.Sum256([]byte(registry + "\x00" + upstream))
	return &rooted{d, Top + "/" + hex.EncodeToString(sum[:16])}
}

// rooted is the part of a driver below a directory, which is its "/".
type rooted struct {
	whole driver.StorageDriver
	root  string
}

// in is a path of this driver as one of the whole.
func (r *rooted) in(path string) string {
	if path == "/" {
		return r.root
	}
	return r.root + path
}

// out is a path of the whole as one of this driver.
func (r *rooted) out(path string) string { return strings.TrimPrefix(path, r.root) }

// Name implements driver.StorageDriver.
func (r *rooted) Name() string { return r.whole.Name() }

// GetContent implements driver.StorageDriver.
func (r *rooted) GetContent(ctx context.Context, path string) ([]byte, error) {
	return r.whole.GetContent(ctx, r.in(path))
}

// PutContent implements driver.StorageDriver.
func (r *rooted) PutContent(ctx context.Context, path string, content []byte) error {
	return r.whole.PutContent(ctx, r.in(path), content)
}

// Reader implements driver.StorageDriver.
func (r *rooted) Reader(ctx context.Context, path string, offset int64) (io.ReadCloser, error) {
	return r.whole.Reader(ctx, r.in(path), offset)
}

// Writer implements driver.StorageDriver.
func (r *rooted) Writer(ctx context.Context, path string, appends bool) (driver.FileWriter, error) {
	return r.whole.Writer(ctx, r.in(path), appends)
}

// Stat implements driver.StorageDriver.
func (r *rooted) Stat(ctx context.Context, path string) (driver.FileInfo, error) {
	info, err := r.whole.Stat(ctx, r.in(path))
	if err != nil {
		return nil, err
	}
	return found{info, path}, nil
}

// List implements driver.StorageDriver.
func (r *rooted) List(ctx context.Context, path string) ([]string, error) {
	list, err := r.whole.List(ctx, r.in(path))
	for i := range list {
		list[i] = r.out(list[i])
	}
	return list, err
}

// Move implements driver.StorageDriver.
func (r *rooted) Move(ctx context.Context, from, to string) error {
	return r.whole.Move(ctx, r.in(from), r.in(to))
}

// Delete implements driver.StorageDriver.
func (r *rooted) Delete(ctx context.Context, path string) error {
	return r.whole.Delete(ctx, r.in(path))
}

// RedirectURL implements driver.StorageDriver.
func (r *rooted) RedirectURL(req *http.Request, path string) (string, error) {
	return r.whole.RedirectURL(req, r.in(path))
}

// Walk implements driver.StorageDriver.
func (r *rooted) Walk(ctx context.Context, path string, do driver.WalkFn, options ...func(*driver.WalkOptions)) error {
	return r.whole.Walk(ctx, r.in(path), func(info driver.FileInfo) error {
		return do(found{info, r.out(info.Path())})
	}, options...)
}

// found is what a driver found, at its path in another.
type found struct {
	driver.FileInfo
	path string
}

// Path implements driver.FileInfo.
func (f found) Path() string { return f.path }
