package notary

import (
	"slices"

	"github.com/sealgate/sealgate/trustcache"
)

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
		m.targets = append(m.targets, e.target(r.name, alone))
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
		if t := &m.targets[i]; t.Role != r.name && e.length != noDigest && t.Digest == e.digest {
			t.Signers = append(slices.Clip(t.Signers), r.name)
		}
	}
}
