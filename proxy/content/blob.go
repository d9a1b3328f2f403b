package content

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"time"

	"github.com/opencontainers/go-digest"
)

// Blob is a blob that a repository has.
type Blob struct {
	Digest digest.Digest
	Size   int64 // in bytes

	store *Store
}

// Open reads the blob from offset on, which is 0 to Size. The reader ends after
// exactly Size-offset bytes; where there are fewer its error is
// io.ErrUnexpectedEOF. The caller closes it. The error wraps ErrNotCached where
// the blob has been removed since.
//
// Now and then a read of the whole is hashed. Where the bytes are not those of
// the digest any more its last Read returns ErrDigest in their place, and the
// blob is gone from the store, so that it can be fetched anew. All other reads
// rely on what was checked when the blob was put.
func (b *Blob) Open(ctx context.Context, offset int64) (io.ReadCloser, error) {
	if offset < 0 || offset > b.Size {
		return nil, fmt.Errorf("blob %s: offset %d of %d bytes", b.Digest, offset, b.Size)
	}
	if offset == b.Size && offset > 0 { // drivers disagree about what is there
		return io.NopCloser(errReader{io.EOF}), nil
	}
	r, err := b.open(ctx, offset)
	if err != nil {
		return nil, fmt.Errorf("blob %s: %w", b.Digest, missing(err))
	}
	return r, nil
}

func (b *Blob) open(ctx context.Context, offset int64) (io.ReadCloser, error) {
	proves := offset == 0 && b.store.proofs.due(b.Digest, b.store.o.Now())
	var written time.Time
	if proves {
		info, err := b.store.o.Driver.Stat(ctx, dataPath(b.Digest))
		if err != nil {
			return nil, err
		}
		written = info.ModTime()
	}
	// Not the library's reader: it takes a buffer of 4 MiB.
	r, err := b.store.o.Driver.Reader(ctx, dataPath(b.Digest), offset)
	if err != nil {
		return nil, err
	}
	whole := &exact{r, b.Size - offset}
	if !proves {
		return whole, nil
	}
	return &proving{whole, b, sha256.New(), written}, nil
}

type errReader struct{ err error }

func (r errReader) Read([]byte) (int, error) { return 0, r.err }

// exact reads so many bytes, no more and no fewer.
type exact struct {
	io.ReadCloser
	left int64
}

// Read implements io.Reader.
func (r *exact) Read(p []byte) (int, error) {
	if r.left == 0 {
		return 0, io.EOF
	}
	n, err := r.ReadCloser.Read(p[:min(int64(len(p)), r.left)])
	r.left -= int64(n)
	if errors.Is(err, io.EOF) && r.left > 0 {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// proving hashes what it reads of a whole blob, and holds back the last bytes
// where they make another digest.
type proving struct {
	*exact
	blob *Blob
	hash hash.Hash

	written time.Time // before it was opened
}

// Read implements io.Reader.
func (r *proving) Read(p []byte) (int, error) {
	n, err := r.exact.Read(p)
	_, _ = r.hash.Write(p[:n])
	if r.left > 0 {
		return n, err
	}
	if got := sum(r.hash.Sum(nil)); got != asSum(r.blob.Digest) {
		r.blob.store.damaged(r.blob.Digest, r.written)
		return 0, fmt.Errorf("blob %s: %w", r.blob.Digest, ErrDigest)
	}
	r.blob.store.proofs.done(r.blob.Digest, r.blob.store.o.Now())
	return n, err
}
