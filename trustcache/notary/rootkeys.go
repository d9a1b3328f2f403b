package notary

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/sealgate/sealgate/trustcache"
)

// RootKey is a key that signs roots, with its certificate, in the forms that
// pins want.
type RootKey struct {
	KeyID   string // canonical, for pins of kind RootKeys
	CertID  string // for pins of kind CertIDs
	Subject string // common name of the certificate
	Issuer  string // common name of who issued it; the same where nobody did
	Expires time.Time
}

// Offered returns the root keys that the server offers for gun, for a human
// to compare with what the publisher says. Nothing may be decided by them.
// Without a server the error is ErrNotLoaded.
func (s *Source) Offered(ctx context.Context, gun string) (keys []RootKey, err error) {
	defer trustcache.CatchPanic(gun, &err) // a library over hostile bytes
	if s.offline() {
		return nil, fmt.Errorf("%w: %s", trustcache.ErrNotLoaded, gun)
	}
	u := &update{ctx: ctx, source: s, gun: gun}
	err = u.file("root.json", s.opts.Limits.Root, false, func(raw []byte) error {
		env, err := s.openEnvelope(raw)
		if err != nil {
			return u.bad("root", err)
		}
		offered, err := parseRoot(raw, env.Signed, gun)
		if err != nil {
			return u.bad("root", err)
		}
		keys = offered.listed(func(*key) bool { return true })
		return nil
	})
	return keys, err
}

// Verified returns the keys that signed the newest root that a Fetch verified
// and stored; none where the Store knows nothing of gun. It asks no server.
func (s *Source) Verified(gun string) (keys []RootKey, err error) {
	defer trustcache.CatchPanic(gun, &err) // a library over stored bytes
	u := &update{source: s, gun: gun, now: s.opts.Now()}
	if u.state, err = s.opts.Store.Load(gun); err != nil {
		return nil, u.storeFailed("read", err)
	}
	if !u.state.known() {
		return nil, nil
	}
	r, err := u.readRoot(u.state.Root, nil)
	if err != nil {
		return nil, u.bad("stored root", err)
	}
	return r.listed(func(k *key) bool { return slices.Contains(r.signers, k.canonical) }), nil
}

// listed returns those of the root's keys that are wanted.
func (r *root) listed(wanted func(*key) bool) []RootKey {
	var list []RootKey
	for _, k := range r.roles["root"].keys {
		if !wanted(k) {
			continue
		}
		cert := r.keys.read[k.id].cert
		list = append(list, RootKey{
			KeyID: k.canonical, CertID: k.id, Subject: cert.Subject.CommonName, Issuer: cert.Issuer.CommonName, Expires: cert.NotAfter,
		})
	}
	return list
}
