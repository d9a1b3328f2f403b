package notary

import (
	"slices"
	"time"
	"unsafe"

	"github.com/sealgate/sealgate/trustcache"
)

// memo is what the next update needs of this one. One is kept for every
// repository in the cache, so it holds nothing that the store has or that can
// be fetched: no file, no certificate, no key but those of the timestamp and
// of delegations. It is not modified.
type memo struct {
	epoch        uint64    // of the State; once that is another, all of it was forgotten
	policy       *Policy   // by which the snapshot's tags were decided
	counted      counted   // where its required keys count
	terms        terms     // by which it expires
	root, anchor *rootHead // the same one until the root is rotated
	vouched      vouched   // for the anchor
	rootPolled   time.Time // when a next root was last asked for
	kept         time.Time // when files were last kept; see Files
	snapshot     snapshotHead
	roles        []*targetsRole        // as visited
	notes        []trustcache.Evidence // what is wrong with roles that were left out
	complete     bool                  // false: a role that was left out is to be tried again
}

// contents is all of a snapshot but its tags.
func (m *memo) contents(gun string, timestamp verified) trustcache.Contents {
	c := trustcache.Contents{GUN: gun, Evidence: m.evidence(timestamp), Memo: m, MemoSize: m.size()}
	c.Expires, c.ExpiresRole = m.expires(timestamp.expires)
	return c
}

// expires returns what expires first of all that decides, with a timestamp that
// says when it does.
func (m *memo) expires(timestamp time.Time) (time.Time, string) {
	first, role := timestamp.Add(m.terms.past("timestamp")), "timestamp"
	sooner := func(t time.Time, name string) {
		if t.Before(first) {
			first, role = t, name
		}
	}
	sooner(m.snapshot.expires.Add(m.terms.past("snapshot")), "snapshot")
	sooner(m.vouched.until, "root")
	if m.terms.lasting {
		return first, role
	}
	sooner(m.root.expires, "root")
	for _, r := range m.roles {
		if m.decides(r) {
			sooner(r.expires, r.name)
		}
	}
	return first, role
}

// decides says whether the role decides, itself or as one that appoints whoever
// signed with a required key.
func (m *memo) decides(r *targetsRole) bool {
	return m.policy.decides(r.name, func(key string) bool {
		return r.signedBy(key) || slices.ContainsFunc(m.roles, func(below *targetsRole) bool { return within(below.name, r.name) && below.signedBy(key) })
	})
}

// evidence lists the roles in the order of the workflow, those left out last.
func (m *memo) evidence(timestamp verified) []trustcache.Evidence {
	list := make([]trustcache.Evidence, 0, 3+len(m.roles)+len(m.notes))
	add := func(role string, decides bool, v verified) {
		list = append(list, trustcache.Evidence{Role: role, Version: v.version, Expires: v.expires, Decides: decides, KeyIDs: v.signers})
	}
	add("root", true, m.root.verified)
	add("timestamp", true, timestamp)
	add("snapshot", true, m.snapshot.verified)
	for _, r := range m.roles {
		add(r.name, m.decides(r), r.verified)
	}
	return append(list, m.notes...)
}

// size estimates the memory of the memo in bytes. What it shares with the rest
// of the snapshot (names of roles, key IDs that signed, most tags) is counted
// there.
func (m *memo) size() int64 {
	size := int64(unsafe.Sizeof(*m)) + m.root.size()
	if m.anchor != m.root {
		size += m.anchor.size()
	}
	for _, r := range m.roles {
		size += pointer + r.size()
	}
	return size + int64(len(m.notes))*int64(unsafe.Sizeof(trustcache.Evidence{}))
}

const (
	pointer      = int64(unsafe.Sizeof(uintptr(0)))
	stringHeader = int64(unsafe.Sizeof(""))
)

func (r *rootHead) size() int64 {
	return int64(unsafe.Sizeof(*r)) + int64(len(r.signers))*stringHeader + r.timestamp.size()
}

func (r *targetsRole) size() int64 {
	size := int64(unsafe.Sizeof(*r)) + int64(len(r.signers))*stringHeader + int64(len(r.entries))*int64(unsafe.Sizeof(entry{}))
	for i := range r.children {
		size += r.children[i].size()
	}
	return size
}

func (d *delegation) size() int64 {
	size := int64(unsafe.Sizeof(*d)) + d.keys.size()
	for _, prefix := range d.paths {
		size += stringHeader + int64(len(prefix))
	}
	return size
}

// size counts a key as often as roles name it, though they share it.
func (r *roleKeys) size() int64 {
	if r == nil {
		return 0
	}
	size := int64(unsafe.Sizeof(*r))
	for _, k := range r.keys {
		size += pointer + int64(unsafe.Sizeof(*k)) + keyObject + int64(len(k.id)+len(k.bare.Public()))
	}
	return size
}

// keyObject is what the TUF library's public key takes around its bytes.
const keyObject = 112
