package notary_test

import (
	"crypto/x509"
	"strings"
	"testing"
	"time"

	"github.com/sealgate/sealgate/trustcache"
	"github.com/sealgate/sealgate/trustcache/notary"
)

// pinKinds are the kinds of pins, in the order in which they decide.
func pinKinds() []notary.PinKind {
	return []notary.PinKind{notary.CertIDs, notary.RootKeys, notary.CA}
}

// forEachKind runs the test for every kind of pin.
func forEachKind(t *testing.T, test func(t *testing.T, kind notary.PinKind)) {
	for _, kind := range pinKinds() {
		t.Run(string(kind), func(t *testing.T) { test(t, kind) })
	}
}

// pinsOf are pins of that kind for these root keys.
func pinsOf(kind notary.PinKind, signers ...*signer) notary.Pins {
	p := notary.Pins{Kind: kind}
	if kind == notary.CA {
		p.Roots = x509.NewCertPool()
	}
	for _, s := range signers {
		switch {
		case kind == notary.RootKeys:
			p.IDs = append(p.IDs, s.Canonical())
		case kind == notary.CertIDs:
			p.IDs = append(p.IDs, s.Public.ID())
		case s.CA != nil:
			p.Roots.AddCert(s.CA.Cert)
		}
	}
	return p
}

// pinning pins these in the place of the world's own.
func pinning(p notary.Pins) func(*notary.Options) {
	return func(o *notary.Options) { o.Pins = func(string) notary.Pins { return p } }
}

// pinnedAs pins the root keys of these signers.
func pinnedAs(kind notary.PinKind, signers ...*signer) func(*notary.Options) {
	return pinning(pinsOf(kind, signers...))
}

// pinned pins these canonical key IDs.
func pinned(ids ...string) func(*notary.Options) {
	return pinning(notary.Pins{Kind: notary.RootKeys, IDs: ids})
}

// firstUse trusts the first root of a repository that nothing pins.
func firstUse(o *notary.Options) { o.Pins, o.TrustOnFirstUse = nil, true }

func TestWhichFirstRootIsBelieved(t *testing.T) {
	forEachKind(t, func(t *testing.T, kind notary.PinKind) {
		start := newWorld(t).Now()
		other := newRootSigner(t, testGUN, start)
		pin := func(signers ...*signer) func(*notary.Options) { return pinnedAs(kind, signers...) }
		for _, c := range []struct {
			name   string
			change func(w *world) func(*notary.Options)
			want   error
		}{
			{"the pinned root", func(w *world) func(*notary.Options) { return pin(w.Parties["root"].Keys[0]) }, nil},
			{"one of several pinned roots", func(w *world) func(*notary.Options) { return pin(other, w.Parties["root"].Keys[0]) }, nil},
			{"a root that is not the pinned one", func(*world) func(*notary.Options) { return pin(other) }, trustcache.ErrMalicious},
			{"a root that is not the pinned one, first use on", func(*world) func(*notary.Options) {
				return func(o *notary.Options) { pin(other)(o); o.TrustOnFirstUse = true }
			}, trustcache.ErrMalicious},
			{"a kind without pins", func(*world) func(*notary.Options) { return pinning(notary.Pins{Kind: kind}) }, trustcache.ErrMalicious},
			{"a kind without pins, first use on", func(*world) func(*notary.Options) {
				return func(o *notary.Options) { pin()(o); o.TrustOnFirstUse = true }
			}, trustcache.ErrMalicious},
			{"an ID of the other form", func(w *world) func(*notary.Options) {
				root := w.Parties["root"].Keys[0]
				return pinning(notary.Pins{Kind: kind, IDs: []string{map[notary.PinKind]string{
					notary.RootKeys: root.Public.ID(), notary.CertIDs: root.Canonical(), notary.CA: root.Public.ID(),
				}[kind]}})
			}, trustcache.ErrMalicious},
			{"a pinned key that is listed and did not sign", func(w *world) func(*notary.Options) {
				idle := newRootSigner(w.TB, w.GUN, w.Now())
				w.Parties["root"].Hands = w.Parties["root"].Keys
				w.Parties["root"].Keys = append(w.Parties["root"].Keys, idle)
				w.PublishRoot(w.Parties["root"].Hands...)
				w.Publish()
				return pin(idle)
			}, trustcache.ErrMalicious},
			{"the pinned key signs for another role only", func(w *world) func(*notary.Options) {
				w.Rotate("targets", other)
				return pin(other)
			}, trustcache.ErrMalicious},
			{"a kind that does not exist", func(w *world) func(*notary.Options) {
				root := w.Parties["root"].Keys[0]
				return pinning(notary.Pins{Kind: "keys", IDs: []string{root.Canonical(), root.Public.ID()}, Roots: pinsOf(notary.CA, root).Roots})
			}, trustcache.ErrMalicious},
			{"first use", func(*world) func(*notary.Options) { return firstUse }, nil},
			{"neither a pin nor first use", func(*world) func(*notary.Options) { return pinning(notary.Pins{}) }, trustcache.ErrUnpinned},
		} {
			t.Run(c.name, func(t *testing.T) {
				w := newWorld(t)
				w.Sign("targets", "latest", 1)
				w.Publish()
				snap, err := w.fetch(w.source(c.change(w)), nil)
				if c.want == nil {
					must(t, err)
					wantDigest(t, snap, "latest", 1)
					return
				}
				wantClass(t, err, c.want)
			})
		}
	})
}

func TestTheSameIDsUnderAnotherKindAreOtherPins(t *testing.T) {
	w := newWorld(t)
	w.Sign("targets", "latest", 1)
	w.Publish()
	kept := newStore()
	p := pinsOf(notary.CertIDs, w.Parties["root"].Keys[0])
	snap := w.verified(w.source(pinning(p), keptIn(kept)), nil)
	p.Kind = notary.RootKeys
	s := w.source(pinning(p), keptIn(kept))
	if s.Accepts(snap) {
		t.Error("accepts the snapshot")
	}
	_, err := w.fetch(s, snap)
	wantClass(t, err, trustcache.ErrMalicious)
}

func TestARefusedRootIsToldByWhichKindOfPin(t *testing.T) {
	forEachKind(t, func(t *testing.T, kind notary.PinKind) {
		w, kept, a, _, _ := rotatedTwice(t, notary.RootKeys)
		other := newRootSigner(t, w.GUN, w.Now())
		for what, s := range map[string]*notary.Source{
			"a first root":      w.source(pinnedAs(kind, other)),
			"a remembered root": w.source(pinnedAs(kind, other), keptIn(kept)),
			"two needed": func() *notary.Source {
				w.Parties["root"] = &party{Keys: []*signer{a, other}, Threshold: 2}
				w.Version["root"] = 0
				w.PublishRoot()
				w.Publish()
				return w.source(pinnedAs(kind, other))
			}(),
		} {
			_, err := w.fetch(s, nil)
			wantClass(t, err, trustcache.ErrMalicious)
			if !strings.Contains(err.Error(), "trust-pinning."+string(kind)) {
				t.Errorf("%s: %v", what, err)
			}
		}
	})
}

// TestThereIsNoSecondFirstUse: a known repository whose root is another one
// is an attack until somebody says otherwise, also when no snapshot is left.
func TestThereIsNoSecondFirstUse(t *testing.T) {
	w := newWorld(t)
	w.Sign("targets", "latest", 1)
	w.Publish()
	s := w.source(firstUse)
	w.verified(s, nil)
	impostor := newWorld(t)
	impostor.Sign("targets", "latest", 66)
	impostor.Publish()
	w.Serve = impostor.Files
	_, err := w.fetch(s, nil)
	wantClass(t, err, trustcache.ErrMalicious)
	w.Honest()
	wantDigest(t, w.verified(s, nil), "latest", 1)
}

func TestFirstUseKeepsNothingOfAFirstRootThatFailed(t *testing.T) {
	w := newWorld(t)
	w.Sign("targets", "latest", 66)
	broken["forged"](w, "targets")
	w.Publish()
	s := w.source(firstUse)
	_, err := w.fetch(s, nil)
	wantClass(t, err, trustcache.ErrMalicious)
	real := newWorld(t)
	real.Sign("targets", "latest", 1)
	real.Publish()
	w.Honest()
	w.Files = real.Files
	wantDigest(t, w.verified(s, nil), "latest", 1)
}

func TestARootIsBoundToItsRepositoryByItsCertificate(t *testing.T) {
	for commonName, good := range map[string]bool{
		testGUN:                                true,
		"registry.example.com/acme/*":          true,
		"registry.example.com/*":               true,
		"registry.example.com/acme/ap*":        false,
		"registry.example.com/acme/app*":       false,
		"registry.example.com/acm/*":           false,
		"registry.example.com/ac*":             false,
		"registry.example.com/acme/app/*":      false,
		"registry.example.com/acme":            false,
		"registry.example.com/acme/":           false,
		"registry.example.com/acme/app2":       false,
		"registry.example.com/acme/ap":         false,
		"Registry.example.com/acme/app":        false,
		"registry.example.com/*/app":           false,
		"registry.example.com*":                false,
		"*":                                    false,
		"/*":                                   false,
		"":                                     false,
		"registry.example.com/acme/app, other": false,
	} {
		t.Run(commonName, func(t *testing.T) {
			w := newWorld(t)
			key := newSigner(t).Certified(t, commonName, w.Now().AddDate(-1, 0, 0), w.Now().AddDate(1, 0, 0))
			w.Parties["root"].Keys = []*signer{key}
			w.PublishRoot(key)
			w.Publish()
			for mode, change := range map[string]func(*notary.Options){"pinned": pinned(key.Canonical()), "first use": firstUse} {
				_, err := w.fetch(w.source(change), nil)
				if good {
					must(t, err)
				} else if err == nil {
					t.Errorf("%s: believed", mode)
				} else {
					wantClass(t, err, trustcache.ErrMalicious)
				}
			}
		})
	}
}

func TestACertificateAuthorityIsNoRootKey(t *testing.T) {
	w := newWorld(t)
	key := newSigner(t).Authority(t, w.GUN, w.Now().AddDate(-1, 0, 0), w.Now().AddDate(1, 0, 0))
	w.Parties["root"].Keys = []*signer{key}
	w.PublishRoot(key)
	w.Publish()
	_, err := w.fetch(w.source(pinned(key.Canonical())), nil)
	wantClass(t, err, trustcache.ErrMalicious)
}

func TestABareKeyIsNoRootKey(t *testing.T) {
	for name, key := range map[string]*signer{"ecdsa": newSigner(t), "ed25519": newEd25519(t)} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.Parties["root"].Keys = []*signer{key}
			w.PublishRoot(key)
			w.Publish()
			_, err := w.fetch(w.source(pinned(key.Canonical())), nil)
			wantClass(t, err, trustcache.ErrMalicious)
		})
	}
}

func TestAPinnedRootSurvivesItsRotationForThoseWhoKnewIt(t *testing.T) {
	forEachKind(t, func(t *testing.T, kind notary.PinKind) {
		w := newWorld(t)
		w.Sign("targets", "latest", 1)
		w.Publish()
		first := w.Parties["root"].Keys[0]
		s := w.source(pinnedAs(kind, first))
		w.verified(s, nil)
		w.Sign("targets", "latest", 2)
		w.Rotate("root", newRootSigner(t, w.GUN, w.Now()))
		w.Pass(time.Hour)
		wantDigest(t, w.verified(s, nil), "latest", 2) // no snapshot is left, the root is

		// One who never knew the first root has nothing that leads to the second.
		_, err := w.fetch(w.source(pinnedAs(kind, first)), nil)
		wantClass(t, err, trustcache.ErrMalicious)
		_, err = w.fetch(w.source(pinnedAs(kind, w.Parties["root"].Keys[0])), nil)
		must(t, err)
	})
}

// TestAFirstRootMayBeOld: the server still shows the pinned root, and its next
// one beside it.
func TestAFirstRootMayBeOld(t *testing.T) {
	forEachKind(t, func(t *testing.T, kind notary.PinKind) {
		w := newWorld(t)
		first := w.Parties["root"].Keys[0]
		w.Sign("targets", "latest", 1)
		w.Rotate("root", newRootSigner(t, w.GUN, w.Now()))
		w.Rotate("timestamp", newSigner(t))
		w.Serve["root.json"] = w.Files["1.root.json"]
		wantDigest(t, w.verified(w.source(pinnedAs(kind, first)), nil), "latest", 1)
	})
}
