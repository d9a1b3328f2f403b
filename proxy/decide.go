package proxy

import "github.com/sealgate/sealgate/trustcache"

// decision is what a tag gets: the signed target, or why it does not exist.
type decision struct {
	target trustcache.Target
	deny   *Error // nil: serve target
}

// reason is the fixed word for logs.
func (d decision) reason() string {
	if d.deny != nil {
		return d.deny.Reason
	}
	return "signed"
}

// decide is the decision of the gate, a plain function of what is known. A
// tag that is not signed and one that does not exist cannot be told apart.
func decide(gun, tag string, view trustcache.View, err error) decision {
	if err != nil {
		return decision{deny: errTrust(gun, err)}
	}
	target, signed := view.Lookup(tag)
	switch {
	case !signed:
		return decision{deny: notFound("unsigned", `no trust data for tag "`+tag+`" in `+gun)}
	case target.NoDigest:
		return decision{deny: notFound("no-digest", `the signed entry for tag "`+tag+`" in `+gun+` has no sha256 digest`)}
	}
	return decision{target: target}
}
