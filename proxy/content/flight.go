package content

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/sealgate/sealgate/trustcache/guard"
)

// fetchBuffer is what a flight reads at once, in bytes; TLS gives it in pieces of
// 16 KiB.
const fetchBuffer = 64 << 10

var fetchBuffers = sync.Pool{New: func() any { return new([fetchBuffer]byte) }}

var (
	errGrounded  = errors.New("the spool ends here")
	errAbandoned = errors.New("nobody reads it any more")
	errLength    = errors.New("the blob does not have the length that was announced")
)

// flight is one blob under way.
type flight struct {
	of      *Flights
	want    digest.Digest
	cancel  context.CancelFunc // ends the fetch
	opened  chan struct{}      // closed when the next three are known
	openErr error
	file    SpoolFile
	size    int64         // -1: not known
	kept    chan struct{} // closed when nothing is kept any more

	mu      sync.Mutex
	dropped bool
	keeping context.CancelFunc // nil before
	written int64
	over    error // io.EOF: the whole blob is in file; errGrounded: no more than this will be
	readers int
	ended   bool // the flight's own goroutine is done with file
	lonely  *time.Timer
	more    chan struct{} // closed at the next change; nil while nobody waits
}

// fetch reports whether the blob is in the spool, whole and verified.
func (fl *flight) fetch(ctx context.Context, src Source) (whole bool) {
	isOpen := false
	err := guard.Run(func() (err error) {
		if fl.file, err = fl.of.opts.Spool.Create(); err != nil {
			return fmt.Errorf("%w: %w", ErrSpool, err)
		}
		body, size, err := src.Open(ctx, 0)
		if err != nil {
			return err
		}
		defer body.Close()
		if err := fl.file.Expect(max(size, 0)); err != nil {
			return fmt.Errorf("%w: %w", ErrSpool, err)
		}
		fl.size, isOpen = size, true
		close(fl.opened)
		return fl.copy(body)
	})
	if caught := (*guard.Panic)(nil); errors.As(err, &caught) {
		fl.of.opts.OnPanic(caught)
	}
	if !isOpen {
		fl.openErr = err
	}
	fl.land(err)
	if !isOpen {
		close(fl.opened)
	}
	switch {
	case errors.Is(err, ErrSpool):
		fl.of.opts.OnSpoolError(err)
	case err != nil && isOpen && src.Failed != nil && ctx.Err() == nil:
		src.Failed(err)
	}
	return err == nil
}

// copy writes body to the spool. The error wraps ErrSpool where that is what
// failed, ErrDigest where these are other bytes than were wanted; nil means that
// all is there and verified.
func (fl *flight) copy(body io.Reader) error {
	buf := fetchBuffers.Get().(*[fetchBuffer]byte)
	defer fetchBuffers.Put(buf)
	sum := sha256.New()
	for {
		n, err := body.Read(buf[:])
		sum.Write(buf[:n])
		if n > 0 {
			written, err := fl.file.Write(buf[:n])
			fl.wrote(int64(written))
			if err != nil {
				return fmt.Errorf("%w: %w", ErrSpool, err)
			}
		}
		switch {
		case fl.size >= 0 && fl.written > fl.size, err == io.EOF && fl.size >= 0 && fl.written < fl.size:
			return errLength
		case err == io.EOF && digest.NewDigest(digest.SHA256, sum) != fl.want:
			return ErrDigest
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		}
	}
}

func (fl *flight) wrote(n int64) {
	fl.of.spooled.Add(n)
	fl.mu.Lock()
	defer fl.mu.Unlock()
	fl.written += n
	fl.changed()
}

// changed wakes those who wait. fl.mu is held.
func (fl *flight) changed() {
	if fl.more != nil {
		close(fl.more)
		fl.more = nil
	}
}

// land tells readers what became of the fetch: nil means that all is there.
func (fl *flight) land(err error) {
	fl.mu.Lock()
	defer fl.mu.Unlock()
	switch {
	case err == nil:
		err = io.EOF
	case errors.Is(err, ErrSpool):
		err = fmt.Errorf("%w: %w", errGrounded, err)
	}
	if fl.over == nil || err == io.EOF {
		fl.over = err
	}
	fl.changed()
}

// keep has the blob kept, unless it is dropped.
func (fl *flight) keep(ctx context.Context, src Source) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	fl.mu.Lock()
	dropped := fl.dropped
	fl.keeping = cancel
	fl.mu.Unlock()
	if dropped {
		return
	}
	late := time.AfterFunc(keepStall, cancel)
	defer late.Stop()
	src.Keep(ctx, &keptReader{io.NewSectionReader(fl.file, 0, fl.written), late})
}

// keptReader is a blob for who keeps it, and who must go on with it.
type keptReader struct {
	io.Reader
	late *time.Timer
}

// Read implements io.Reader.
func (r *keptReader) Read(p []byte) (int, error) {
	r.late.Reset(keepStall)
	return r.Reader.Read(p)
}

// drop reports whether the blob is being kept already.
func (fl *flight) drop() bool {
	fl.mu.Lock()
	defer fl.mu.Unlock()
	fl.dropped = true
	if fl.keeping == nil {
		return false
	}
	fl.keeping()
	return true
}

// board takes a reader on; it reports false where it is too late.
func (fl *flight) board() bool {
	fl.mu.Lock()
	defer fl.mu.Unlock()
	if fl.over != nil && fl.over != io.EOF || fl.ended {
		return false
	}
	fl.readers++
	fl.of.readers.Add(1)
	fl.accompanied()
	return true
}

// reached says whether the size is known and more than past bytes have come.
func (fl *flight) reached(past int64) bool {
	select {
	case <-fl.opened:
	default:
		return false
	}
	fl.mu.Lock()
	defer fl.mu.Unlock()
	return fl.size >= 0 && fl.written > past
}

// leave takes a reader off. The last one leaves the flight to come to its end
// where somebody else comes in time.
func (fl *flight) leave() {
	fl.mu.Lock()
	defer fl.mu.Unlock()
	fl.readers--
	fl.of.readers.Add(-1)
	if fl.readers == 0 && fl.over == nil {
		fl.linger()
	}
	fl.closeUnread()
}

// linger ends the fetch if nobody comes, at once where too many are going on like
// that. fl.mu is held.
func (fl *flight) linger() {
	if !fl.of.lonely.TryAcquire(1) {
		fl.end()
		return
	}
	fl.lonely = time.AfterFunc(fl.of.opts.Linger, func() {
		defer guard.Tell(fl.of.opts.OnPanic)
		fl.abandon(func() bool { return fl.readers == 0 })
	})
}

// accompanied takes linger back. fl.mu is held.
func (fl *flight) accompanied() {
	if fl.lonely != nil {
		fl.lonely.Stop()
		fl.lonely = nil
		fl.of.lonely.Release(1)
	}
}

// end ends the fetch. fl.mu is held.
func (fl *flight) end() {
	fl.over = errAbandoned
	fl.changed()
	fl.cancel()
}

// abandon ends a fetch that is still going on, where that holds under fl.mu.
func (fl *flight) abandon(where func() bool) {
	fl.mu.Lock()
	defer fl.mu.Unlock()
	if fl.over == nil && where() {
		fl.end()
	}
}

// done is called when the flight itself has no more use for its file.
func (fl *flight) done() {
	fl.mu.Lock()
	defer fl.mu.Unlock()
	fl.ended = true
	fl.accompanied()
	fl.closeUnread()
}

// closeUnread closes the file when nobody reads it any more. fl.mu is held.
func (fl *flight) closeUnread() {
	if fl.ended && fl.readers == 0 && fl.file != nil {
		fl.file.Close()
		fl.of.spooled.Add(-fl.written)
	}
}

// await returns how far can be read, more than at, or why nothing follows: io.EOF
// at the end of a blob that is whole and verified. Until it is verified the last
// byte is held back, so that nobody has all of a blob that turns out wrong.
func (fl *flight) await(ctx context.Context, at int64) (end int64, err error) {
	for {
		fl.mu.Lock()
		end, err := fl.written, fl.over
		if err == nil && fl.size >= 0 {
			end = min(end, fl.size-1)
		}
		if at < end && (err == nil || err == io.EOF || errors.Is(err, errGrounded)) {
			fl.mu.Unlock()
			return end, nil
		}
		if err != nil {
			fl.mu.Unlock()
			return 0, err
		}
		if fl.more == nil {
			fl.more = make(chan struct{})
		}
		more := fl.more
		fl.mu.Unlock()
		select {
		case <-more:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}
