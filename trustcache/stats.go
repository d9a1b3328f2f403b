package trustcache

import (
	"slices"
	"time"
)

// Stats sum up a cache for whoever watches it.
type Stats struct {
	Known   int   // repositories with a snapshot
	Bytes   int64 // estimated size of the snapshots
	Unknown int   // repositories remembered without one
	// Fresh, Stale and Ended add up to Known. Fresh are usable without asking
	// the source. Ended are no longer usable, and the source gave no good answer
	// when it was last asked: whoever wants one of them is refused. Stale are all
	// others: those that stand while the source gives no good answer, and those
	// that nobody has asked for lately, however old they are.
	Fresh, Stale, Ended int
	// Hits are answers from memory, Misses those that needed the source. They go
	// on where another cache adopts this one.
	Hits, Misses uint64
}

// Stats returns the present state of the cache. It keeps those who ask the
// cache waiting for no longer than a list of what is known takes to copy.
func (c *Cache) Stats() Stats {
	now := c.opts.Now()
	c.mu.Lock()
	s := Stats{Known: c.known.Len(), Bytes: c.bytes, Unknown: c.unknown.Len(), Hits: c.counts.hits.Load(), Misses: c.counts.misses.Load()}
	states := c.known.Values()
	c.mu.Unlock()
	for _, st := range states {
		switch c.condition(st, now) {
		case Fresh:
			s.Fresh++
		case Ended:
			s.Ended++
		default:
			s.Stale++
		}
	}
	return s
}

// A Condition is one of the words Fresh, Stale and Ended; Stats says what they
// mean.
type Condition string

// The conditions of a repository with a snapshot.
const (
	Fresh Condition = "fresh"
	Stale Condition = "stale"
	Ended Condition = "ended"
)

func (c *Cache) condition(st *state, now time.Time) Condition {
	switch {
	case st.fresh(now):
		return Fresh
	case st.err != nil && c.stands(st, now) != nil:
		return Ended
	}
	return Stale
}

// Use is a repository with a snapshot.
type Use struct {
	GUN string
	// Roles are the roles that decide, those that expire first before the others,
	// and no more than eight.
	Roles   []RoleExpiry
	Contact time.Time // last good answer of the source
	Ends    time.Time // the snapshot stands no longer: the source knows how far past expiry roles may be
	// Snapshot is what was verified last, whether it may still be used or not.
	Snapshot  *Snapshot
	Condition Condition
	// Failure is why the last refresh brought nothing; nil after a good one.
	Failure error
}

// RoleExpiry is when a role expires.
type RoleExpiry struct {
	Role    string
	Expires time.Time
}

// Lasting is the first of Roles that is no timestamp, which lasts days and which
// the server signs anew by itself: what people have to see to. It is zero where
// there is none.
func (u *Use) Lasting() RoleExpiry {
	for _, r := range u.Roles {
		if r.Role != "timestamp" {
			return r
		}
	}
	return RoleExpiry{}
}

// maxUseRoles bounds Use.Roles.
const maxUseRoles = 8

// InUse returns at most n repositories, those used last first. It keeps those
// who ask the cache waiting no longer than Stats does.
func (c *Cache) InUse(n int) []Use {
	c.mu.Lock()
	states := c.known.Values() // oldest first
	c.mu.Unlock()
	now := c.opts.Now()
	uses := make([]Use, 0, min(n, len(states)))
	for i := len(states) - 1; i >= 0 && len(uses) < n; i-- {
		uses = append(uses, c.use(states[i], now))
	}
	return uses
}

// Peek returns what is known of gun without asking the source, and without
// counting as a use. Where there is no snapshot, Use has none and its Failure says
// why, as long as that is remembered; else known is false.
func (c *Cache) Peek(gun string) (u Use, known bool) {
	now := c.opts.Now()
	c.mu.Lock()
	st, have := c.known.Peek(gun)
	f, failed := c.unknown.Peek(gun)
	c.mu.Unlock()
	switch {
	case have:
		return c.use(st, now), true
	case failed:
		return Use{GUN: gun, Failure: f.err}, true
	}
	return Use{}, false
}

func (c *Cache) use(st *state, now time.Time) Use {
	u := Use{
		GUN: st.snap.gun, Contact: st.contact, Ends: st.snap.expires,
		Snapshot: st.snap, Condition: c.condition(st, now), Failure: st.err,
	}
	for _, e := range st.snap.evidence {
		if e.Decides {
			u.Roles = append(u.Roles, RoleExpiry{e.Role, e.Expires})
		}
	}
	slices.SortStableFunc(u.Roles, func(a, b RoleExpiry) int { return a.Expires.Compare(b.Expires) })
	u.Roles = u.Roles[:min(len(u.Roles), maxUseRoles)]
	return u
}
