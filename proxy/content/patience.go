package content

import (
	"context"
	"errors"
	"io"
	"time"
)

// A driver of a server far away may stand still instead of failing. Whoever asks
// the store has somebody else to ask, and is kept waiting no longer than this.
const (
	// patience is how long a look may take, and a reader stand still.
	patience = 5 * time.Second
	// pause is how long nobody looks after a look that took longer.
	pause = 10 * time.Second
)

// errStill: nothing was asked.
var errStill = errors.New("the storage stood still a moment ago")

// look does something that a client waits for.
func look[T any](ctx context.Context, s *Store, do func(context.Context) (T, error)) (none T, err error) {
	if time.Now().UnixNano() < s.still.Load() {
		return none, errStill
	}
	short, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	found, err := do(short)
	if err != nil && short.Err() != nil && ctx.Err() == nil {
		s.still.Store(time.Now().Add(pause).UnixNano())
	}
	return found, err
}

// patientReader ends with an error where what it reads stands still.
type patientReader struct {
	io.ReadCloser
	cancel context.CancelFunc // of what was opened
	late   *time.Timer        // calls it
}

// openPatiently opens a reader that ends with its context.
func openPatiently(ctx context.Context, open func(context.Context) (io.ReadCloser, error)) (io.ReadCloser, error) {
	ctx, cancel := context.WithCancel(ctx)
	late := time.AfterFunc(patience, cancel)
	r, err := open(ctx)
	late.Stop()
	if err != nil {
		cancel()
		return nil, err
	}
	return &patientReader{r, cancel, late}, nil
}

// Read implements io.Reader.
func (r *patientReader) Read(p []byte) (int, error) {
	r.late.Reset(patience)
	defer r.late.Stop()
	return r.ReadCloser.Read(p)
}

// Close implements io.Closer.
func (r *patientReader) Close() error {
	r.late.Stop()
	defer r.cancel()
	return r.ReadCloser.Close()
}
