package notary

import (
	"slices"
	"strings"

	"github.com/sealgate/sealgate/trustcache"
)

// merge says what is signed. Docker's rule, as the policy's roles have it: the
// tag in targets/releases, else in targets; a tag in a child of
// targets/releases hides the one in targets; a tag only elsewhere is unsigned,
// and so is one that a required signer does not name with the same digest.
func (m *memo) merge() (targets []trustcache.Target, hidden []trustcache.HiddenTag) {
	policy, roles := m.policy, m.roles
	decided := merger{index: map[string]int{}, hidden: map[string][]string{}}
	listed := policy.roles()
	for _, name := range listed {
		for _, r := range roles {
			if r.name == name {
				decided.decide(r, true)
			}
		}
		for _, r := range roles {
			if name != targetsName && within(r.name, name) && !slices.Contains(listed, r.name) {
				decided.decide(r, false)
			}
		}
	}
	for _, r := range roles {
		decided.name(r)
	}
	for tag, names := range decided.hidden {
		slices.Sort(names)
		hidden = append(hidden, trustcache.HiddenTag{Tag: tag, Roles: names})
	}
	if len(policy.Required) == 0 {
		return decided.targets, hidden
	}
	targets, lacking := m.demand(decided.targets)
	return targets, append(hidden, lacking...)
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

// demand takes out the tags that a required signer does not vouch for. Tags
// with the same signers, nearly all of them, have one verdict.
func (m *memo) demand(targets []trustcache.Target) (kept []trustcache.Target, lacking []trustcache.HiddenTag) {
	verdicts := map[string][]Signer{}
	for _, t := range targets {
		key := strings.Join(t.Signers, "\n")
		missing, judged := verdicts[key]
		if !judged {
			var named []*targetsRole
			for _, r := range m.roles {
				if slices.Contains(t.Signers, r.name) {
					named = append(named, r)
				}
			}
			missing = m.policy.missing(named, m.counted)
			verdicts[key] = missing
		}
		if missing == nil {
			kept = append(kept, t)
			continue
		}
		h := trustcache.HiddenTag{Tag: t.Tag, Roles: t.Signers, Doubt: doubt(missing, m.notes)}
		for _, s := range missing {
			h.Missing = append(h.Missing, s.Name)
		}
		lacking = append(lacking, h)
	}
	return kept, lacking
}
