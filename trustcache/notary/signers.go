package notary

import (
	"slices"
	"strings"
)

// counted says which required keys count in which role: canonical key IDs by
// the role's name. Nil where no key is required.
type counted map[string][]string

// signerFloor is the name under which the floors of a required key are kept,
// apart from those of roles. A Floor's Signers hold the name of the role.
func signerFloor(key string) string { return "signer:" + key }

// count says where the required keys count, and remembers it. A key of ours must
// not be turned against us by who owns the repository: he can appoint it to
// another role, or take it away and appoint it again, and publish there what it
// once signed and has withdrawn since. So a key counts in the roles in which it
// was first seen, and in none of them for less than it has signed there before,
// whatever was rotated. Only forgetting the repository lets it start anew.
func (f *floors) count(policy *Policy, roles []*targetsRole) counted {
	var where counted
	for _, s := range policy.Required {
		for _, key := range s.Keys {
			for _, r := range roles {
				if r.signedBy(key) && !slices.Contains(where[r.name], key) && f.mayCount(key, r) {
					if where == nil {
						where = counted{}
					}
					where[r.name] = append(where[r.name], key)
					f.raiseSigner(key, r)
				}
			}
		}
	}
	return where
}

// mayCount compares with what was accepted before this update.
func (f *floors) mayCount(key string, r *targetsRole) bool {
	known := f.old[signerFloor(key)]
	if known == nil {
		return true
	}
	return slices.ContainsFunc(known, func(before Floor) bool {
		return before.Signers[0] == r.name && (r.version > before.Version || r.version == before.Version && r.payload == before.Payload)
	})
}

func (f *floors) raiseSigner(key string, r *targetsRole) {
	name := signerFloor(key)
	raised := Floor{Signers: []string{r.name}, Version: r.version, Payload: r.payload}
	kept := slices.DeleteFunc(slices.Clone(f.next[name]), func(before Floor) bool { return before.Signers[0] == r.name })
	kept = append(kept, raised)
	slices.SortFunc(kept, func(a, b Floor) int { return strings.Compare(a.Signers[0], b.Signers[0]) })
	f.next[name] = kept
}
