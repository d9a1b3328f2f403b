package trustcache

// Adopt takes over the repositories of old for whose snapshots keep says yes:
// with what they last heard of the source and when, and least recently used
// first to go, within the byte bound of c. What old knows of repositories
// without a snapshot, and its refreshes under way, stay behind. Hits and misses
// are counted together from then on. Call it before c is used; old goes on
// working until it is closed. keep is called without a lock, from the caller's
// goroutine.
func (c *Cache) Adopt(old *Cache, keep func(*Snapshot) bool) {
	c.counts = old.counts
	for _, st := range old.states() {
		if !keep(st.snap) {
			continue
		}
		adopted, here := *st, c.good(st.snap, st.contact)
		adopted.until = here.until
		if here.early.Before(st.early) {
			adopted.early = here.early // it is refreshed more often here than there
		}
		c.mu.Lock()
		c.putLocked(st.snap.gun, &adopted)
		c.mu.Unlock()
	}
}

// states returns what is known, least recently used first.
func (c *Cache) states() []*state {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.known.Values()
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
