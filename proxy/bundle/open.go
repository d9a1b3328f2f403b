package bundle

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// Bundle is one that was opened. It is safe for concurrent use.
type Bundle struct {
	// Catalog is what it says of itself.
	Catalog Catalog
	from    source
}

// Open opens the archive or the directory called name. Where that is no bundle,
// or one that is damaged where that shows at once, the error wraps ErrFormat.
// Close it.
func Open(name string) (*Bundle, error) {
	from, err := openSource(name)
	if err != nil {
		return nil, err
	}
	b := &Bundle{from: from}
	if err := b.read(); err != nil {
		return nil, errors.Join(err, from.close())
	}
	return b, nil
}

// Close closes its files.
func (b *Bundle) Close() error { return b.from.close() }

// read reads the files that say what else there is.
func (b *Bundle) read() error {
	raw, err := readAll(b.from, layoutName, maxLayout)
	if err != nil {
		return err
	}
	var layout v1.ImageLayout
	if err := json.Unmarshal(raw, &layout); err != nil || layout.Version != v1.ImageLayoutVersion {
		return malformed("%s does not say that it is an OCI image layout of version %s", layoutName, v1.ImageLayoutVersion)
	}
	if raw, err = readAll(b.from, catalogName, maxCatalog); err != nil {
		return fmt.Errorf("%w: an image layout without it proves nothing: make it with \"sealgate bundle save\"", err)
	}
	if err := decode(catalogName, raw, &b.Catalog); err != nil {
		return err
	}
	if err := b.Catalog.check(); err != nil {
		return err
	}
	return b.readIndex()
}

// readIndex reads the index, in which other tools may have left what they know
// of. Each tag of the catalog has to be there, and nothing else under its name: who
// goes by the index gets what was verified.
func (b *Bundle) readIndex() error {
	raw, err := readAll(b.from, indexName, maxIndex)
	if err != nil {
		return err
	}
	var index v1.Index
	if err := json.Unmarshal(raw, &index); err != nil {
		return malformed("%s: %w", indexName, err)
	}
	named := map[string]digest.Digest{}
	for _, d := range index.Manifests {
		name := d.Annotations[refName]
		if before, known := named[name]; known && before != d.Digest && name != "" {
			return malformed("%s has %.300q for two digests", indexName, name)
		}
		named[name] = d.Digest
	}
	for _, r := range b.Catalog.Repositories {
		for _, t := range r.Tags {
			if name := reference(r.GUN, t.Tag); named[name] != t.Digest {
				return malformed("%s and %s do not agree on what %.300q is", indexName, catalogName, name)
			}
		}
	}
	for _, d := range index.Manifests {
		if name, other := d.Annotations[refName], d.Annotations[containerdName]; other != "" && other != name {
			return malformed("%s has %.300q, and the name %.300q for it to containerd", indexName, name, other)
		}
	}
	return nil
}

// open opens a blob.
func (b *Bundle) open(d digest.Digest) (io.ReadCloser, int64, error) {
	if err := checkDigest(d); err != nil {
		return nil, 0, err
	}
	return b.from.open(blobName(d))
}

// verifyFile reads a file that is called by its sha256, and refuses it where it
// has another. copied, when not nil, is told how many bytes have been read since
// it was told last.
func verifyFile(ctx context.Context, from source, name string, copied func(int64)) error {
	r, size, err := from.open(name)
	if err != nil {
		return malformed("%s is missing: %w", name, err)
	}
	defer r.Close()
	hash := sha256.New()
	n, err := io.Copy(hash, &progressReader{ctx: ctx, from: r, copied: copied})
	if err != nil {
		return fmt.Errorf("%s cannot be read: %w", name, err)
	}
	if n != size || !strings.HasSuffix(name, "/"+hex.EncodeToString(hash.Sum(nil))) {
		return malformed("%s: its %d bytes have another digest", name, n)
	}
	return nil
}

// progressReader ends with ctx, and says how it comes along.
type progressReader struct {
	ctx    context.Context
	from   io.Reader
	copied func(int64) // may be nil
}

func (p *progressReader) Read(into []byte) (int, error) {
	if err := p.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := p.from.Read(into)
	if p.copied != nil && n > 0 {
		p.copied(int64(n))
	}
	return n, err
}
