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
		switch {
		case st.fresh(now):
			s.Fresh++
		case st.err != nil && c.stands(st, now) != nil:
			s.Ended++
		default:
			s.Stale++
		}
	}
	return s
}

// Use is a repository with a snapshot.
type Use struct {
	GUN string
	// Roles are the roles that decide, those that expire first before the others,
	// and no more than eight.
	Roles   []RoleExpiry
	Contact time.Time // last good answer of the source
	Ends    time.Time // the snapshot stands no longer: the source knows how far past expiry roles may be
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
	uses := make([]Use, 0, min(n, len(states)))
	for i := len(states) - 1; i >= 0 && len(uses) < n; i-- {
		uses = append(uses, states[i].use())
	}
	return uses
}

func (st *state) use() Use {
	u := Use{GUN: st.snap.gun, Contact: st.contact, Ends: st.snap.expires}
	for _, e := range st.snap.evidence {
		if e.Decides {
			u.Roles = append(u.Roles, RoleExpiry{e.Role, e.Expires})
		}
	}
	slices.SortStableFunc(u.Roles, func(a, b RoleExpiry) int { return a.Expires.Compare(b.Expires) })
	u.Roles = u.Roles[:min(len(u.Roles), maxUseRoles)]
	return u
}
