package content

import (
	"context"
	"errors"
	"time"
)

// A driver of a server far away may stand still instead of failing. Whoever asks
// the store has somebody else to ask, and is kept waiting no longer than this; what
// is being read is its reader's to give up.
const (
	// patience is how long a look may take.
	patience = 10 * time.Second
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
