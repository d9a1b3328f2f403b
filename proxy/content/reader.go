package content

import (
	"context"
	"errors"
	"io"
)

// Reader reads a blob that is under way, at its own speed. Where the spool ends
// early it goes on by itself, from its own Source: those bytes are as they come,
// and not verified. It is for one goroutine. Close it when done.
type Reader struct {
	ctx    context.Context
	flight *flight
	src    Source
	at     int64
	rest   io.ReadCloser // nil while the spool is read
	err    error         // that ended it, other than io.EOF
}

// Size is that of the whole blob in bytes, -1 where it is not known before the
// end.
func (r *Reader) Size() int64 { return r.flight.size }

// Err is what ended reading before the end; nil where nothing has.
func (r *Reader) Err() error { return r.err }

// Seek implements io.Seeker; from the end it needs a known size.
func (r *Reader) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += r.at
	case io.SeekEnd:
		if r.Size() < 0 {
			return 0, errors.New("the size is not known")
		}
		offset += r.Size()
	}
	if offset < 0 {
		return 0, errors.New("before the beginning")
	}
	if offset != r.at {
		r.closeRest()
	}
	r.at = offset
	return offset, nil
}

// Read implements io.Reader: it waits for bytes that have not come yet. Any
// error but io.EOF means that the blob is not whole.
func (r *Reader) Read(p []byte) (int, error) {
	n, err := r.read(p)
	r.at += int64(n)
	if err != nil && err != io.EOF {
		r.err = err
	}
	return n, err
}

func (r *Reader) read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if r.rest == nil {
		end, err := r.flight.await(r.ctx, r.at)
		if err == nil {
			n, err := r.flight.file.ReadAt(p[:min(int64(len(p)), end-r.at)], r.at)
			if n > 0 || err == nil {
				return n, nil
			}
			// The disk gives back less than it took.
		} else if !errors.Is(err, errGrounded) {
			return 0, err
		}
		if err := r.goOn(); err != nil {
			return 0, err
		}
	}
	n, err := r.rest.Read(p)
	if size := r.Size(); size >= 0 && (r.at+int64(n) > size || err == io.EOF && r.at+int64(n) < size) {
		return 0, errLength
	}
	return n, err
}

// goOn opens the source where the spool ended.
func (r *Reader) goOn() error {
	if size := r.Size(); size >= 0 && r.at >= size {
		return io.EOF
	}
	rest, size, err := r.src.Open(r.ctx, r.at)
	if err != nil {
		return err
	}
	r.rest = rest
	if r.Size() >= 0 && size >= 0 && size != r.Size() {
		return errLength
	}
	return nil
}

func (r *Reader) closeRest() {
	if r.rest != nil {
		r.rest.Close()
		r.rest = nil
	}
}

// Close implements io.Closer.
func (r *Reader) Close() error {
	r.closeRest()
	r.flight.leave()
	return nil
}
