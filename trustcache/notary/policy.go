package notary

import (
	"crypto/x509"
	"slices"
	"strings"

	"github.com/sealgate/sealgate/trustcache"
)

// Policy says whose word counts for the tags of a repository. It is not
// modified once a Source has it.
type Policy struct {
	// Roles are the roles whose word counts, in this order; nil means Docker's:
	// targets/releases, then targets. Tags in what hangs below one of them,
	// except targets, hide those of the roles after it.
	Roles []string
	// Required are the signers who must all have named the same digest for a
	// tag, each with a key that counts for no other.
	Required []Signer
}

// Signer is somebody who must have named the digest of a tag.
type Signer struct {
	Name string
	// Keys are canonical key IDs: any role of the repository that one of them
	// signed will do, if the key was seen there when it was first seen, and never
	// in a newer version. Nil means Role.
	Keys []string
	// Role is the role that must name the digest, whoever its keys belong to.
	Role string
}

// CertificateKeys returns the canonical IDs of the keys of certificates, for
// Signer.Keys. It is an error where Notary cannot use one.
func CertificateKeys(certificates []*x509.Certificate) ([]string, error) {
	var ids []string
	for _, cert := range certificates {
		key, err := bareKey(cert.PublicKey)
		if err != nil {
			return nil, err
		}
		ids = append(ids, key.ID())
	}
	return ids, nil
}

const (
	targetsName  = "targets"
	releasesName = "targets/releases"
)

var dockersRoles = []string{releasesName, targetsName}

func (p *Policy) roles() []string {
	if p.Roles == nil {
		return dockersRoles
	}
	return p.Roles
}

func (p *Policy) equal(q *Policy) bool {
	return p == q || slices.Equal(p.roles(), q.roles()) && slices.EqualFunc(p.Required, q.Required, func(a, b Signer) bool {
		return a.Name == b.Name && a.Role == b.Role && slices.Equal(a.Keys, b.Keys)
	})
}

// decides says whether no tag can be judged without the role: its word counts
// for some tag, or hides another's, or a required signer can be in it, or it
// appoints such a role. holds says whether a key is one of the role's.
func (p *Policy) decides(role string, holds func(key string) bool) bool {
	for _, r := range p.roles() {
		if role == r || within(r, role) || r != targetsName && within(role, r) {
			return true
		}
	}
	for _, s := range p.Required {
		if s.Role != "" && (role == s.Role || within(s.Role, role)) || slices.ContainsFunc(s.Keys, holds) {
			return true
		}
	}
	return false
}

// within says whether a role hangs below another.
func within(role, above string) bool {
	return len(role) > len(above) && role[len(above)] == '/' && strings.HasPrefix(role, above)
}

// missing returns the required signers who are not among the roles that name
// one digest for a tag, nil where all are. A key counts for one signer, and is
// given to them so that as many as possible have one.
func (p *Policy) missing(roles []*targetsRole, where counted) []Signer {
	holder := map[string]int{} // by key: the place in Required of whom it counts for
	var give func(i int, tried map[string]bool) bool
	give = func(i int, tried map[string]bool) bool {
		for _, key := range p.Required[i].among(roles, where) {
			if tried[key] {
				continue
			}
			tried[key] = true
			other, taken := holder[key]
			if !taken || give(other, tried) {
				holder[key] = i
				return true
			}
		}
		return false
	}
	var missing []Signer
	for i, s := range p.Required {
		if !give(i, map[string]bool{}) {
			missing = append(missing, s)
		}
	}
	return missing
}

// among returns the canonical IDs of the keys by which the signer is among
// those who signed the roles.
func (s *Signer) among(roles []*targetsRole, where counted) []string {
	var keys []string
	for _, r := range roles {
		if s.Keys == nil && r.name == s.Role {
			keys = append(keys, r.signers...)
		}
		for _, key := range where[r.name] {
			if slices.Contains(s.Keys, key) {
				keys = append(keys, key)
			}
		}
	}
	return keys
}

// doubt returns why a signer who is missing may have signed all the same: a
// role that only names signers could not be read, and one of the signer's keys
// may be in it. "" where that is not so.
func doubt(missing []Signer, notes []trustcache.Evidence) string {
	if len(notes) == 0 || !slices.ContainsFunc(missing, func(s Signer) bool { return s.Keys != nil }) {
		return ""
	}
	return notes[0].Note
}
