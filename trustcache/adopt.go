package trustcache

import "time"

// Adopt takes over the repositories of old for whose snapshots keep says yes:
// with what they last heard of the source and when, and least recently used
// first to go, within the byte bound of c. What old learns of them afterwards,
// from refreshes under way or for requests that it still serves, reaches c,
// too: what somebody was shown once is not taken back. What old knows of
// repositories without a snapshot stays behind. Hits and misses are counted
// together from then on. Call it before c is used; old goes on working until it
// is closed. keep must not use c or old.
func (c *Cache) Adopt(old *Cache, keep func(*Snapshot) bool) {
	c.mu.Lock() // what old learns meanwhile comes after what it knows
	defer c.mu.Unlock()
	c.counts = old.counts
	for _, st := range old.bequeath(func(snap *Snapshot, contact time.Time) {
		if keep(snap) {
			c.inherit(snap, contact)
		}
	}) {
		if !keep(st.snap) {
			continue
		}
		adopted, here := *st, c.good(st.snap, st.contact)
		adopted.until = here.until
		if here.early.Before(st.early) {
			adopted.early = here.early // it is refreshed more often here than there
		}
		c.putLocked(st.snap.gun, &adopted)
	}
}

// bequeath returns what is known, least recently used first, and has heir told
// of every good answer that lands from then on.
func (c *Cache) bequeath(heir func(*Snapshot, time.Time)) []*state {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.heir = heir
	return c.known.Values()
}

// inherit takes an answer that landed in the cache before, where it is newer
// than what is known here. What is not known here, because it was forgotten or
// is no longer vouched for, stays unknown.
func (c *Cache) inherit(snap *Snapshot, contact time.Time) {
	c.mu.Lock()
	if st, ok := c.known.Peek(snap.gun); ok && st.contact.Before(contact) {
		c.putLocked(snap.gun, c.good(snap, contact))
	}
	heir := c.heir
	c.mu.Unlock()
	if heir != nil {
		heir(snap, contact) // there was another reload since
	}
}

// Forget drops what is known of gun, be it a snapshot or that there is none.
// Those who wait for a refresh under way get its answer, and nobody after them:
// it is not kept, and the next caller starts another one.
func (c *Cache) Forget(gun string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.known.Remove(gun)
	c.unknown.Remove(gun)
	delete(c.flights, gun)
}
