package proxy

import (
	"cmp"
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/sealgate/sealgate/proxy/content"
)

const (
	// maxTries is how often in a row something may be asked for in vain.
	maxTries = 5
	// someWay in bytes is how far an answer has to get not to have been in vain,
	// although it was cut.
	someWay = 1 << 20
)

// tries counts failures in a row.
type tries struct{ failed int }

// again waits for a while and says whether to ask once more: the failure may pass,
// and it was not one too many.
func (t *tries) again(ctx context.Context, err error) bool {
	var e *Error
	if !errors.As(err, &e) || ctx.Err() != nil {
		return false
	}
	switch e.Reason {
	case "upstream-unreachable", "upstream-timeout", "upstream-status", "upstream-cut":
	case "upstream-refused":
		if e.Status != http.StatusTooManyRequests && e.Status != http.StatusServiceUnavailable {
			return false
		}
	default:
		return false
	}
	if t.failed++; t.failed == maxTries {
		return false
	}
	select {
	case <-time.After(time.Second << t.failed / 2): // 1, 2, 4 and 8 s
		return true
	case <-ctx.Done():
		return false
	}
}

// download is a blob as it comes from the registry, whole or not at all: Read
// returns io.EOF only after all bytes that a manifest speaks of, their digest
// matching. Where the connection breaks it goes on with a range.
type download struct {
	ctx    context.Context
	walk   *walk
	blob   content.Descriptor
	sum    digest.Verifier
	offset int64 // bytes read, and in sum

	body  io.ReadCloser // nil: not asked yet, or cut
	begun int64         // the offset at which body began
	tries tries
	err   error // how it ended
}

func (w *walk) download(ctx context.Context, blob content.Descriptor) *download {
	return &download{ctx: ctx, walk: w, blob: blob, sum: blob.Digest.Verifier()}
}

// Read implements io.Reader.
func (d *download) Read(p []byte) (int, error) {
	for d.err == nil && d.offset < d.blob.Size {
		if len(p) == 0 {
			return 0, nil
		}
		n, err := d.read(p[:min(int64(len(p)), d.blob.Size-d.offset)])
		if n > 0 {
			d.sum.Write(p[:n])
			d.offset += int64(n)
			d.walk.step(Step{Digest: d.blob.Digest, Done: d.offset, Total: d.blob.Size})
		}
		if err != nil && d.offset < d.blob.Size {
			d.interrupted(err)
		}
		if n > 0 {
			return n, nil
		}
	}
	if d.err == nil {
		d.err = io.EOF
		if !d.sum.Verified() {
			d.err = badGateway("upstream-mismatch", "the registry's bytes do not match the digest %s", d.blob.Digest)
		}
	}
	return 0, d.err
}

func (d *download) read(p []byte) (int, error) {
	if d.body == nil {
		if err := d.open(); err != nil {
			return 0, err
		}
	}
	n, err := d.body.Read(p)
	if err != nil {
		err = badGateway("upstream-cut", "the registry's answer ended after %d of %d bytes", d.offset+int64(n), d.blob.Size).because(err)
	}
	return n, err
}

// interrupted ends the download, unless it is worth going on.
func (d *download) interrupted(err error) {
	if d.body != nil && d.offset-d.begun >= someWay {
		d.tries = tries{}
	}
	d.close()
	if !d.tries.again(d.ctx, err) {
		d.err = cmp.Or(d.ctx.Err(), err)
	}
}

// open asks for what is left. The error is ErrMissing or an *Error.
func (d *download) open() error {
	g, route := d.walk.gate, Route{Kind: Blob, Repository: d.walk.Repository, Reference: d.blob.Digest.String()}
	body, size, err := g.openBlob(d.ctx, g.repo(route.Repository), route, "", d.offset)
	switch {
	case missing(err):
		return ErrMissing
	case err != nil:
		return err
	case size >= 0 && size != d.blob.Size:
		body.Close()
		return badGateway("upstream-mismatch", "the registry has %d bytes where the manifest speaks of %d", size, d.blob.Size)
	}
	d.body, d.begun = body, d.offset
	return nil
}

func (d *download) close() {
	if d.body != nil {
		d.body.Close()
		d.body = nil
	}
}
