package main

import (
	"crypto/x509"
	"fmt"

	"github.com/sealgate/sealgate/config"
	"github.com/sealgate/sealgate/trustcache/notary"
)

// newPins returns what finds the pins of a GUN. One kind decides: cert-ids where
// one of its patterns matches, then root-keys, then ca; within a kind the exact
// name, then the longest wildcard. The files of ca are read now.
func newPins(p config.TrustPinning) (func(gun string) notary.Pins, error) {
	authorities := map[string]*x509.CertPool{}
	for pattern, file := range p.CA {
		cas, err := config.LoadCAs(file)
		if err != nil {
			return nil, fmt.Errorf("content-trust.trust-pinning.ca[%q]: %w", pattern, err)
		}
		pool := x509.NewCertPool()
		for _, ca := range cas {
			pool.AddCert(ca)
		}
		authorities[pattern] = pool
	}
	certIDs, rootKeys, cas := config.NewMatcher(p.CertIDs), config.NewMatcher(p.RootKeys), config.NewMatcher(authorities)
	return func(gun string) notary.Pins {
		if ids, ok := certIDs.Find(gun); ok {
			return notary.Pins{Kind: notary.CertIDs, IDs: ids}
		}
		if ids, ok := rootKeys.Find(gun); ok {
			return notary.Pins{Kind: notary.RootKeys, IDs: ids}
		}
		if roots, ok := cas.Find(gun); ok {
			return notary.Pins{Kind: notary.CA, Roots: roots}
		}
		return notary.Pins{}
	}, nil
}
