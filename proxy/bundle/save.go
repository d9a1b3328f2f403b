package bundle

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/sealgate/sealgate/proxy/content"
)

// Writer makes a bundle in a directory. Blobs that it finds there, of a save that
// did not come to its end, are not fetched again. It is safe for concurrent use.
type Writer struct {
	dir string

	mu        sync.Mutex
	used      map[digest.Digest]bool // what this bundle is made of
	manifests map[digest.Digest]v1.Descriptor
}

// NewWriter begins a bundle in the directory dir, or goes on with it. A directory
// with anything else in it is refused.
func NewWriter(dir string) (*Writer, error) {
	w := &Writer{dir: dir, used: map[digest.Digest]bool{}, manifests: map[digest.Digest]v1.Descriptor{}}
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for _, e := range entries {
		if !slices.Contains([]string{layoutName, indexName, v1.ImageBlobsDir, path.Dir(trustDir)}, e.Name()) {
			return nil, fmt.Errorf("%s is in use for something else: it has %s", dir, e.Name())
		}
	}
	for _, sub := range []string{blobsDir, trustDir} {
		if err := os.MkdirAll(w.path(sub), 0o777); err != nil { // and the umask
			return nil, err
		}
	}
	// Until it is complete it is no bundle.
	for _, name := range []string{indexName, catalogName} {
		if err := os.Remove(w.path(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	return w, nil
}

func (w *Writer) path(name string) string { return filepath.Join(w.dir, filepath.FromSlash(name)) }

// Has says whether the blob is here; it is part of the bundle then.
func (w *Writer) Has(ctx context.Context, d digest.Digest) bool {
	if checkDigest(d) != nil {
		return false
	}
	w.mu.Lock()
	used := w.used[d]
	w.mu.Unlock()
	if used {
		return true
	}
	from, err := openDir(w.dir)
	if err != nil {
		return false
	}
	defer from.close()
	if verifyFile(ctx, from, blobName(d), nil) != nil {
		return false
	}
	w.use(d)
	return true
}

func (w *Writer) use(d digest.Digest) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.used[d] = true
}

// PutManifest adds a manifest.
func (w *Writer) PutManifest(ctx context.Context, m *content.Manifest) error {
	d := digest.Digest(m.Digest)
	if err := w.PutBlob(ctx, d, int64(len(m.Body)), bytes.NewReader(m.Body)); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.manifests[d] = v1.Descriptor{MediaType: m.MediaType, Digest: d, Size: int64(len(m.Body))}
	return nil
}

// PutBlob adds a blob, which r has to its end. It is not there unless its bytes
// have the digest; the error is content.ErrDigest where they have not. size is
// what is expected, and decides nothing.
func (w *Writer) PutBlob(ctx context.Context, d digest.Digest, _ int64, r io.Reader) error {
	if err := checkDigest(d); err != nil {
		return err
	}
	if err := w.write(ctx, blobName(d), r); err != nil {
		return err
	}
	w.use(d)
	return nil
}

// write writes a file that is called by its sha256, whole or not at all.
func (w *Writer) write(ctx context.Context, name string, r io.Reader) error {
	temporary, err := createTemporary(w.path(path.Dir(name)), partialPrefix)
	if err != nil {
		return err
	}
	hash := sha256.New()
	_, err = io.Copy(io.MultiWriter(temporary, hash), &progressReader{ctx: ctx, from: r})
	if err == nil && path.Base(name) != hex.EncodeToString(hash.Sum(nil)) {
		err = fmt.Errorf("%w: %s", content.ErrDigest, name)
	}
	return place(temporary, w.path(name), err)
}

// partialPrefix begins the names of files that are being written.
const partialPrefix = ".partial-"

// createTemporary is os.CreateTemp for a file that is to stay: who may read it is
// for the user's umask to say, since images may be of a private registry.
func createTemporary(dir, prefix string) (*os.File, error) {
	return os.OpenFile(filepath.Join(dir, prefix+rand.Text()), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o666)
}

// place gives a file that was written its name, unless err says that it must not
// have it.
func place(temporary *os.File, name string, err error) error {
	if err == nil {
		err = temporary.Sync()
	}
	err = errors.Join(err, temporary.Close())
	if err == nil {
		err = os.Rename(temporary.Name(), name)
	}
	if err != nil {
		return errors.Join(err, os.Remove(temporary.Name()))
	}
	return nil
}

// Saved is a repository of the bundle as Finish wants it.
type Saved struct {
	GUN string
	// Trust is the metadata that proves its tags, under the names of Notary's
	// protocol: root.json, every N.root.json, timestamp.json, and the files that
	// these lead to, under their sha256.
	Trust   map[string][]byte
	Tags    map[string]digest.Digest // as they are signed
	Partial bool                     // images of other platforms were left out on purpose
}

// Finish writes what makes it a bundle of these repositories, and removes what
// is not part of it. It fails where anything is missing.
func (w *Writer) Finish(ctx context.Context, repositories []Saved) error {
	from, err := openDir(w.dir)
	if err != nil {
		return err
	}
	defer from.close()
	catalog := &Catalog{Format: format}
	kept := map[string]bool{}
	for _, saved := range repositories {
		r := Repository{GUN: saved.GUN, Files: map[string]string{}}
		for name, raw := range saved.Trust {
			sum := sha256.Sum256(raw)
			r.Files[name] = hex.EncodeToString(sum[:])
			kept[trustName(r.Files[name])] = true
			if err := w.write(ctx, trustName(r.Files[name]), bytes.NewReader(raw)); err != nil {
				return err
			}
		}
		for _, tag := range slices.Sorted(maps.Keys(saved.Tags)) {
			t, err := w.tag(tag, saved.Tags[tag])
			if err != nil {
				return fmt.Errorf("%s: %w", reference(r.GUN, tag), err)
			}
			whole, err := w.walk(ctx, from, t.descriptor(), saved.Partial)
			if err != nil {
				return fmt.Errorf("%s: %w", reference(r.GUN, tag), err)
			}
			t.LeftOut = whole.leftOut
			for _, d := range whole.digests() {
				kept[blobName(d)] = true
			}
			r.Tags = append(r.Tags, t)
		}
		catalog.Repositories = append(catalog.Repositories, r)
	}
	slices.SortFunc(catalog.Repositories, func(a, b Repository) int { return strings.Compare(a.GUN, b.GUN) })
	if err := catalog.check(); err != nil {
		return err
	}
	if err := w.prune(kept); err != nil {
		return err
	}
	return w.seal(catalog)
}

// tag is one of the catalog.
func (w *Writer) tag(tag string, top digest.Digest) (Tag, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	d, known := w.manifests[top]
	if !known {
		return Tag{}, fmt.Errorf("the manifest %s was not fetched", top)
	}
	return Tag{Tag: tag, Digest: top, MediaType: d.MediaType}, nil
}

// walk checks that everything below a manifest has been added.
func (w *Writer) walk(ctx context.Context, from source, top content.Descriptor, partial bool) (*tree, error) {
	added := func(d content.Descriptor) (*content.Manifest, error) {
		w.mu.Lock()
		defer w.mu.Unlock()
		if !w.used[d.Digest] {
			return nil, fmt.Errorf("%s: %w", d.Digest, fs.ErrNotExist)
		}
		return readManifest(from, d)
	}
	t, err := walk(ctx, top, added, func(digest.Digest) bool { return partial })
	if err != nil {
		return nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, b := range t.blobs {
		if !w.used[b.Digest] {
			return nil, fmt.Errorf("the blob %s was not fetched", b.Digest)
		}
	}
	return t, nil
}

// seal writes the layout's own files, the catalog last: without it it is none.
func (w *Writer) seal(catalog *Catalog) error {
	index := newIndex(catalog, func(d digest.Digest) int64 { return w.manifests[d].Size })
	layout, layoutErr := layoutFile()
	indexed, indexErr := marshal(index)
	catalogued, catalogErr := marshal(catalog)
	if err := errors.Join(layoutErr, indexErr, catalogErr); err != nil {
		return err
	}
	for _, f := range []struct {
		name string
		raw  []byte
	}{{layoutName, layout}, {indexName, indexed}, {catalogName, catalogued}} {
		temporary, err := createTemporary(w.path(path.Dir(trustDir)), partialPrefix)
		if err != nil {
			return err
		}
		_, err = temporary.Write(f.raw)
		if err := place(temporary, w.path(f.name), err); err != nil {
			return err
		}
	}
	return nil
}

// prune removes the files that are not part of the bundle, those included that a
// save has left half written.
func (w *Writer) prune(kept map[string]bool) error {
	for _, dir := range []string{blobsDir, trustDir} {
		entries, err := os.ReadDir(w.path(dir))
		if err != nil {
			return err
		}
		for _, e := range entries {
			name := dir + "/" + e.Name()
			if kept[name] || !ours(name) && !strings.HasPrefix(e.Name(), partialPrefix) {
				continue
			}
			if err := os.Remove(w.path(name)); err != nil {
				return err
			}
		}
	}
	return nil
}
