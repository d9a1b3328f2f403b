package trustcache

import (
	"context"
	"time"
)

// restored ends the flight with what was kept of a repository before this
// process began, if there is anything; the callers then ask as they would for
// what is in memory and no longer fresh.
func (c *Cache) restored(ctx context.Context, gun string, f *flight) bool {
	restorer, ok := c.opts.Source.(Restorer)
	if !ok {
		return false
	}
	start := c.opts.Now()
	snap, contact, err := c.restore(ctx, restorer, gun)
	if err != nil {
		if !Absent(err) {
			c.report(Refresh{Restore: true, GUN: gun, Duration: c.opts.Now().Sub(start), Err: err})
		}
		return false
	}
	if contact.After(start) {
		contact = start.Add(-c.opts.Refresh) // by a clock that was wrong: it says nothing, so the source is asked
	}
	c.mu.Lock()
	f.st, f.restored = c.good(snap, contact), true
	if c.flights[gun] == f { // else the repository was forgotten meanwhile
		delete(c.flights, gun)
		c.putLocked(gun, f.st)
	}
	c.waiting--
	c.mu.Unlock()
	f.landed = true
	close(f.done)
	return true
}

// restore takes its turn among first looks, and keeps a panic of the source
// from ending the process.
func (c *Cache) restore(ctx context.Context, restorer Restorer, gun string) (snap *Snapshot, contact time.Time, err error) {
	if err := c.firstLooks.Acquire(ctx, 1); err != nil {
		return nil, contact, ErrNoTrustData // whoever asks the source hears of it
	}
	defer c.firstLooks.Release(1)
	defer CatchPanic(gun, &err)
	snap, contact, err = restorer.Restore(ctx, gun)
	if err == nil && snap == nil {
		err = ErrNoTrustData
	}
	return snap, contact, err
}
