package trustcache

import (
	"context"
	"fmt"
)

// Refresh has the source asked about gun once more, whatever is known of it, and
// returns when the answer is there: somebody has published a moment ago. A
// refresh that was under way does not count, since it may have asked before. The
// error says why the source gave no good answer, or is ctx's; the refresh then
// goes on.
func (c *Cache) Refresh(ctx context.Context, gun string) error {
	c.mu.Lock()
	before := c.flights[gun]
	c.mu.Unlock()
	for {
		c.mu.Lock()
		st, _ := c.known.Peek(gun)
		f := c.startLocked(ctx, gun, st)
		c.mu.Unlock()
		if f == nil {
			return fmt.Errorf("%w: %s: too many repositories are looked up at once, or shutting down", ErrUnreachable, gun)
		}
		select {
		case <-f.done:
		case <-ctx.Done():
			return ctx.Err()
		}
		switch {
		case f == before, f.restored: // the source has yet to be asked
		case f.st != nil:
			return f.st.err
		default:
			return f.err
		}
	}
}
