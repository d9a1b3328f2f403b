package trustcache

import "time"

// Stats sum up a cache for whoever watches it.
type Stats struct {
	Known   int   // repositories with a snapshot
	Bytes   int64 // estimated size of the snapshots
	Unknown int   // repositories remembered without one
	// Fresh, Stale and Ended add up to Known: usable without asking the source,
	// standing while it gives no good answer or waiting to be asked for, and no
	// longer usable.
	Fresh, Stale, Ended int
	// Hits are answers from memory, Misses those that needed the source. They go
	// on where another cache adopts this one.
	Hits, Misses uint64
}

// Add sums the stats of two caches.
func (s Stats) Add(o Stats) Stats {
	return Stats{
		Known: s.Known + o.Known, Bytes: s.Bytes + o.Bytes, Unknown: s.Unknown + o.Unknown,
		Fresh: s.Fresh + o.Fresh, Stale: s.Stale + o.Stale, Ended: s.Ended + o.Ended,
		Hits: s.Hits + o.Hits, Misses: s.Misses + o.Misses,
	}
}

// Stats returns the present state of the cache.
func (c *Cache) Stats() Stats {
	now := c.opts.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	s := Stats{Known: c.known.Len(), Bytes: c.bytes, Unknown: c.unknown.Len(), Hits: c.counts.hits.Load(), Misses: c.counts.misses.Load()}
	for _, st := range c.known.Values() {
		switch {
		case c.stands(st, now) != nil:
			s.Ended++
		case st.fresh(now):
			s.Fresh++
		default:
			s.Stale++
		}
	}
	return s
}

// Use is a repository with a snapshot.
type Use struct {
	GUN         string
	Expires     time.Time
	ExpiresRole string
	Contact     time.Time // last good answer of the source
}

// InUse returns at most n repositories, those used last first.
func (c *Cache) InUse(n int) []Use {
	c.mu.Lock()
	defer c.mu.Unlock()
	states := c.known.Values() // oldest first
	uses := make([]Use, 0, min(n, len(states)))
	for i := len(states) - 1; i >= 0 && len(uses) < n; i-- {
		st := states[i]
		uses = append(uses, Use{GUN: st.snap.gun, Expires: st.snap.expires, ExpiresRole: st.snap.expiresRole, Contact: st.contact})
	}
	return uses
}
