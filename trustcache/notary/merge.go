package notary

import (
	"slices"
	"time"

	"github.com/sealgate/sealgate/trustcache"
)

// memo is what the next update needs of this one.
type memo struct {
	root       *root
	rootPolled time.Time // when a next root was last asked for
	snapshot   *snapshotFile
	roles      []*targetsRole        // as visited
	notes      []trustcache.Evidence // what is wrong with roles that were left out
	complete   bool                  // false: a role that was left out is to be tried again
}

// merge says what is signed. Docker's rule: the tag in targets/releases, else
// in targets; a tag in a child of targets/releases hides the one in targets; a
// tag only elsewhere is unsigned.
func merge(roles []*targetsRole) (targets []trustcache.Target, hidden []trustcache.HiddenTag) {
	m := merger{index: map[string]int{}, hidden: map[string][]string{}}
	for _, r := range roles {
		if r.name != targetsName && decides(r.name) {
			m.decide(r, r.name == releasesName)
		}
	}
	for _, r := range roles {
		if r.name == targetsName {
			m.decide(r, true)
		}
	}
	for _, r := range roles {
		m.name(r)
	}
	for tag, names := range m.hidden {
		slices.Sort(names)
		hidden = append(hidden, trustcache.HiddenTag{Tag: tag, Roles: names})
	}
	return m.targets, hidden
}

// merger decides each tag once, in the order in which roles are shown to it.
type merger struct {
	targets []trustcache.Target
	index   map[string]int // tag → its place in targets, -1 when decided as hidden
	hidden  map[string][]string
}

func (m *merger) decide(r *targetsRole, counts bool) {
	alone := []string{r.name}
	for _, e := range r.entries {
		if _, done := m.index[e.tag]; done || !r.allows(e.tag) {
			continue
		}
		if !counts {
			m.index[e.tag] = -1
			continue
		}
		m.index[e.tag] = len(m.targets)
		m.targets = append(m.targets, trustcache.Target{Tag: e.tag, Digest: e.digest, NoDigest: e.noDigest, Length: e.length, Role: r.name, Signers: alone})
	}
}

// name adds the role as a signer of the tags for which it names the digest
// that was decided, and to the hidden tags that it names in vain.
func (m *merger) name(r *targetsRole) {
	for _, e := range r.entries {
		if !r.allows(e.tag) {
			continue
		}
		i, decided := m.index[e.tag]
		if !decided || i < 0 {
			m.hidden[e.tag] = append(m.hidden[e.tag], r.name)
			continue
		}
		if t := &m.targets[i]; t.Role != r.name && !e.noDigest && t.Digest == e.digest {
			t.Signers = append(slices.Clip(t.Signers), r.name)
		}
	}
}

// expires returns what expires first of all that decides.
func (m *memo) expires(ts *timestampFile) (time.Time, string) {
	first, role := ts.Expires.Add(timestampGrace), "timestamp"
	sooner := func(t time.Time, name string) {
		if t.Before(first) {
			first, role = t, name
		}
	}
	sooner(m.snapshot.Expires, "snapshot")
	sooner(m.root.expires, "root")
	for _, r := range m.roles {
		if decides(r.name) {
			sooner(r.Expires, r.name)
		}
	}
	return first, role
}

// evidence lists the roles in the order of the workflow, those left out last.
func (m *memo) evidence(ts *timestampFile) []trustcache.Evidence {
	of := func(role string, v verified) trustcache.Evidence {
		return trustcache.Evidence{Role: role, Version: v.Version, Expires: v.Expires, KeyIDs: v.signers}
	}
	list := []trustcache.Evidence{
		{Role: "root", Version: m.root.version, Expires: m.root.expires, KeyIDs: m.root.signers},
		of("timestamp", ts.verified),
		of("snapshot", m.snapshot.verified),
	}
	for _, r := range m.roles {
		list = append(list, of(r.name, r.verified))
	}
	return append(list, m.notes...)
}

// size estimates the memory of what is kept beside the snapshot, in bytes.
func (m *memo) size() int64 {
	size := int64(len(m.root.raw)*4 + 4096)
	for _, r := range m.roles {
		size += int64(512 + 72*len(r.entries) + 1024*len(r.children))
	}
	return size + int64(len(m.snapshot.meta))*512
}
