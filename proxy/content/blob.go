package content

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/opencontainers/go-digest"
)

// Blob is a blob that a repository has.
type Blob struct {
	Digest digest.Digest
	Size   int64 // in bytes

	driver driver.StorageDriver
}

// Open reads the blob from offset on, which is 0 to Size. The reader ends after
// exactly Size-offset bytes; where there are fewer its error is
// io.ErrUnexpectedEOF. The caller closes it. The error wraps ErrNotCached where
// the blob has been removed since.
func (b *Blob) Open(ctx context.Context, offset int64) (io.ReadCloser, error) {
	if offset < 0 || offset > b.Size {
		return nil, fmt.Errorf("blob %s: offset %d of %d bytes", b.Digest, offset, b.Size)
	}
	if offset == b.Size { // drivers disagree about what is there
		return io.NopCloser(errReader{io.EOF}), nil
	}
	// Not the library's reader: it takes a buffer of 4 MiB.
	r, err := b.driver.Reader(ctx, dataPath(b.Digest), offset)
	if err != nil {
		return nil, fmt.Errorf("blob %s: %w", b.Digest, missing(err))
	}
	return &exact{r, b.Size - offset}, nil
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
