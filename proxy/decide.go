package proxy

import (
	"fmt"
	"strings"

	"github.com/sealgate/sealgate/trustcache"
)

// Decision is what a tag gets.
type Decision struct {
	// Target is what is signed, when Denial is nil.
	Target trustcache.Target
	// Denial is why the tag does not exist (404) or cannot be judged (503).
	Denial *Error
}

// reason is the fixed word for logs.
func (d Decision) reason() string {
	if d.Denial != nil {
		return d.Denial.Reason
	}
	return "signed"
}

// errUnsigned says why a tag is not signed, or not by enough.
func errUnsigned(gun, tag string, view trustcache.View) *Error {
	h, _ := view.LookupHidden(tag)
	missing := strings.Join(h.Missing, ", ")
	switch {
	case len(h.Missing) == 0:
		return notFound("unsigned", fmt.Sprintf("no trust data for tag %q in %s", tag, gun))
	case h.Doubt != "":
		return unavailable("signers-unknown", fmt.Errorf("whether tag %q in %s is signed by %s cannot be known: %s", tag, gun, missing, h.Doubt))
	}
	return notFound("missing-signers", fmt.Sprintf("tag %q in %s is not signed by the required %s", tag, gun, missing))
}

// Decide is the decision of the gate, a plain function of what is known: view
// and err are the answer of a Trust for gun. A tag that nobody signed and one
// that does not exist cannot be told apart.
func Decide(gun, tag string, view trustcache.View, err error) Decision {
	if err != nil {
		return Decision{Denial: errTrust(gun, err)}
	}
	target, signed := view.Lookup(tag)
	switch {
	case !signed:
		return Decision{Denial: errUnsigned(gun, tag, view)}
	case target.NoDigest:
		return Decision{Denial: notFound("no-digest", fmt.Sprintf("the signed entry for tag %q in %s has no sha256 digest", tag, gun))}
	}
	return Decision{Target: target}
}
