package trustcache

import "time"

// Adopt takes over the repositories of old as judge has their snapshots: the
// same, another one made of what it holds, or none where judge returns nil. With
// them goes what they last heard of the source and when; least recently used
// first to go, within the byte bound of c. What old learns of them afterwards,
// from refreshes under way or for requests that it still serves, reaches c,
// too: what somebody was shown once is not taken back. What old knows of
// repositories without a snapshot stays behind. Hits and misses are counted
// together from then on. Call it before c is used; old goes on working until it
// is closed. judge must not use c or old.
func (c *Cache) Adopt(old *Cache, judge func(*Snapshot) *Snapshot) {
	c.mu.Lock() // what old learns meanwhile comes after what it knows
	defer c.mu.Unlock()
	c.counts = old.counts
	for _, st := range old.bequeath(func(snap *Snapshot, contact time.Time) {
		c.inherit(snap, judge(snap), contact)
	}) {
		snap := judge(st.snap)
		if snap == nil {
			continue
		}
		adopted, here := *st, c.good(snap, st.contact)
		adopted.snap, adopted.until = snap, here.until
		if here.early.Before(st.early) {
			adopted.early = here.early // it is refreshed more often here than there
		}
		c.putLocked(snap.gun, &adopted)
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

// inherit takes an answer that landed in the cache before, as it is judged here,
// where it is newer than what is known here. What is not known here, because it
// was forgotten or is no longer vouched for, stays unknown.
func (c *Cache) inherit(landed, judged *Snapshot, contact time.Time) {
	c.mu.Lock()
	if st, ok := c.known.Peek(landed.gun); ok && judged != nil && st.contact.Before(contact) {
		c.putLocked(landed.gun, c.good(judged, contact))
	}
	heir := c.heir
	c.mu.Unlock()
	if heir != nil {
		heir(landed, contact) // there was another reload since
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
