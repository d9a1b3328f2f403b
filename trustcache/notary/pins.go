package notary

import (
	"crypto/x509"
	"slices"
	"time"

	"github.com/theupdateframework/notary/tuf/utils"
)

// PinKind is one kind of pins, named as its key in the configuration.
type PinKind string

// The kinds of pins.
const (
	// NoPins: no pin covers the repository, which leaves first use.
	NoPins PinKind = ""
	// CertIDs pins certificates of root keys.
	CertIDs PinKind = "cert-ids"
	// RootKeys pins root keys, whatever certificates they come in.
	RootKeys PinKind = "root-keys"
	// CA pins the authorities that issue certificates of root keys.
	CA PinKind = "ca"
)

// Pins say which roots of a repository are accepted: those that enough of the
// pinned keys or certificates signed, as many as the root itself demands. The
// zero value pins nothing; a kind without values accepts nothing. Pins are not
// modified once they were handed out.
type Pins struct {
	Kind PinKind
	// IDs are for RootKeys the canonical IDs of the keys; for CertIDs those
	// under which root files list the certificates: what "docker trust inspect"
	// prints as the root key.
	IDs []string
	// Roots hold, for CA, the authorities, and nothing but authorities. A
	// certificate leads to one of them directly or through others that come
	// with it in the root file. Nil means none; the system's never count.
	Roots *x509.CertPool
}

func (p Pins) equal(q Pins) bool {
	return p.Kind == q.Kind && slices.Equal(p.IDs, q.IDs) && p.Roots.Equal(q.Roots)
}

// vouched says which pins accepted a root, and for how long that holds without
// another look at its certificates.
type vouched struct {
	by    Pins
	until time.Time
}

func (v vouched) holds(pins Pins, now time.Time) bool {
	return v.by.equal(pins) && now.Before(v.until)
}

// forever is longer than any certificate is valid.
func forever() time.Time { return time.Unix(1<<40, 0) }

// couldAccept says whether a root lists what is pinned. It costs next to
// nothing, so it goes before signatures are verified; of CA it knows nothing.
func (p Pins) couldAccept(r *root) bool {
	return p.Kind == NoPins || p.Kind == CA || slices.ContainsFunc(r.roles["root"].keys, func(k *key) bool {
		return p.Kind == RootKeys && slices.Contains(p.IDs, k.canonical) || p.Kind == CertIDs && slices.Contains(p.IDs, k.id)
	})
}

// accept returns until when the pins accept a verified root: zero where they do
// not, a moment that has passed where nothing but time stands against it. For
// CertIDs and CA the root has to be whole (see update.whole).
func (p Pins) accept(r *root, now time.Time) time.Time {
	if p.Kind == NoPins {
		return forever() // whoever asks has checked that first use is allowed
	}
	searches := 0
	certificate := func(k readKey) time.Time { // with whose key a signature was verified
		switch {
		case p.Kind == CertIDs && slices.Contains(p.IDs, k.key.id):
			return k.cert.NotAfter
		case p.Kind == CA && searches < maxSearches:
			searches++
			return p.chain(k, now)
		}
		return time.Time{}
	}
	return untilFewerThan(r.threshold, r.signers, func(signer string) time.Time {
		switch {
		case p.Kind != RootKeys:
			return r.latest(signer, now, certificate)
		case slices.Contains(p.IDs, signer):
			return forever()
		}
		return time.Time{}
	})
}

// Bounds of the search for chains, which can take a hundred signature checks
// for each certificate: how many certificates of a root are looked at, and how
// many may come with each.
const (
	maxSearches = 8
	maxAbove    = 8
)

// chain returns until when the certificate leads to a pinned authority, a
// moment that has passed where it once did.
func (p Pins) chain(k readKey, now time.Time) time.Time {
	if p.Roots == nil || len(k.above) > maxAbove { // for nil, Verify would take the system's
		return time.Time{}
	}
	opts := x509.VerifyOptions{
		Roots:         p.Roots,
		Intermediates: x509.NewCertPool(),
		CurrentTime:   now,
		KeyUsages:     []x509.ExtKeyUsage{x509.ExtKeyUsageAny}, // Notary's say code signing, those of a CA may not
	}
	for _, cert := range k.above {
		if tooLong(cert.PublicKey) == nil && utils.ValidateCertificate(cert, false) == nil {
			opts.Intermediates.AddCert(cert)
		}
	}
	if now.Before(k.cert.NotBefore) {
		opts.CurrentTime = k.cert.NotBefore // by less than the clocks may differ
	}
	if chains, err := k.cert.Verify(opts); err == nil {
		return endOf(chains)
	}
	opts.CurrentTime = k.cert.NotBefore
	if now.After(k.cert.NotAfter) {
		opts.CurrentTime = k.cert.NotAfter
	}
	if chains, err := k.cert.Verify(opts); err == nil {
		return endOf(chains) // which has passed, since now there is none
	}
	return time.Time{}
}

// endOf is when the last of the chains has a certificate that expires.
func endOf(chains [][]*x509.Certificate) time.Time {
	var latest time.Time
	for _, chain := range chains {
		first := forever()
		for _, cert := range chain {
			if cert.NotAfter.Before(first) {
				first = cert.NotAfter
			}
		}
		if first.After(latest) {
			latest = first
		}
	}
	return latest
}
