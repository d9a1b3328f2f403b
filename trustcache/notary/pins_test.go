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
			p.IDs = append(p.IDs, s.canonical())
		case kind == notary.CertIDs:
			p.IDs = append(p.IDs, s.public.ID())
		case s.ca != nil:
			p.Roots.AddCert(s.ca.cert)
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
		start := newWorld(t).now()
		other := newRootSigner(t, testGUN, start)
		pin := func(signers ...*signer) func(*notary.Options) { return pinnedAs(kind, signers...) }
		for _, c := range []struct {
			name   string
			change func(w *world) func(*notary.Options)
			want   error
		}{
			{"the pinned root", func(w *world) func(*notary.Options) { return pin(w.parties["root"].keys[0]) }, nil},
			{"one of several pinned roots", func(w *world) func(*notary.Options) { return pin(other, w.parties["root"].keys[0]) }, nil},
			{"a root that is not the pinned one", func(*world) func(*notary.Options) { return pin(other) }, trustcache.ErrMalicious},
			{"a root that is not the pinned one, first use on", func(*world) func(*notary.Options) {
				return func(o *notary.Options) { pin(other)(o); o.TrustOnFirstUse = true }
			}, trustcache.ErrMalicious},
			{"a kind without pins", func(*world) func(*notary.Options) { return pinning(notary.Pins{Kind: kind}) }, trustcache.ErrMalicious},
			{"a kind without pins, first use on", func(*world) func(*notary.Options) {
				return func(o *notary.Options) { pin()(o); o.TrustOnFirstUse = true }
			}, trustcache.ErrMalicious},
			{"an ID of the other form", func(w *world) func(*notary.Options) {
				root := w.parties["root"].keys[0]
				return pinning(notary.Pins{Kind: kind, IDs: []string{map[notary.PinKind]string{
					notary.RootKeys: root.public.ID(), notary.CertIDs: root.canonical(), notary.CA: root.public.ID(),
				}[kind]}})
			}, trustcache.ErrMalicious},
			{"a pinned key that is listed and did not sign", func(w *world) func(*notary.Options) {
				idle := newRootSigner(w.tb, w.gun, w.now())
				w.parties["root"].hands = w.parties["root"].keys
				w.parties["root"].keys = append(w.parties["root"].keys, idle)
				w.publishRoot(w.parties["root"].hands...)
				w.publish()
				return pin(idle)
			}, trustcache.ErrMalicious},
			{"the pinned key signs for another role only", func(w *world) func(*notary.Options) {
				w.rotate("targets", other)
				return pin(other)
			}, trustcache.ErrMalicious},
			{"a kind that does not exist", func(w *world) func(*notary.Options) {
				root := w.parties["root"].keys[0]
				return pinning(notary.Pins{Kind: "keys", IDs: []string{root.canonical(), root.public.ID()}, Roots: pinsOf(notary.CA, root).Roots})
			}, trustcache.ErrMalicious},
			{"first use", func(*world) func(*notary.Options) { return firstUse }, nil},
			{"neither a pin nor first use", func(*world) func(*notary.Options) { return pinning(notary.Pins{}) }, trustcache.ErrUnpinned},
		} {
			t.Run(c.name, func(t *testing.T) {
				w := newWorld(t)
				w.sign("targets", "latest", 1)
				w.publish()
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
	w.sign("targets", "latest", 1)
	w.publish()
	kept := newStore()
	p := pinsOf(notary.CertIDs, w.parties["root"].keys[0])
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
		other := newRootSigner(t, w.gun, w.now())
		for what, s := range map[string]*notary.Source{
			"a first root":      w.source(pinnedAs(kind, other)),
			"a remembered root": w.source(pinnedAs(kind, other), keptIn(kept)),
			"two needed": func() *notary.Source {
				w.parties["root"] = &party{keys: []*signer{a, other}, threshold: 2}
				w.version["root"] = 0
				w.publishRoot()
				w.publish()
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
	w.sign("targets", "latest", 1)
	w.publish()
	s := w.source(firstUse)
	w.verified(s, nil)
	impostor := newWorld(t)
	impostor.sign("targets", "latest", 66)
	impostor.publish()
	w.serve = impostor.files
	_, err := w.fetch(s, nil)
	wantClass(t, err, trustcache.ErrMalicious)
	w.honest()
	wantDigest(t, w.verified(s, nil), "latest", 1)
}

func TestFirstUseKeepsNothingOfAFirstRootThatFailed(t *testing.T) {
	w := newWorld(t)
	w.sign("targets", "latest", 66)
	broken["forged"](w, "targets")
	w.publish()
	s := w.source(firstUse)
	_, err := w.fetch(s, nil)
	wantClass(t, err, trustcache.ErrMalicious)
	real := newWorld(t)
	real.sign("targets", "latest", 1)
	real.publish()
	w.honest()
	w.files = real.files
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
			key := newSigner(t).certified(t, commonName, w.now().AddDate(-1, 0, 0), w.now().AddDate(1, 0, 0))
			w.parties["root"].keys = []*signer{key}
			w.publishRoot(key)
			w.publish()
			for mode, change := range map[string]func(*notary.Options){"pinned": pinned(key.canonical()), "first use": firstUse} {
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
	key := newSigner(t).authority(t, w.gun, w.now().AddDate(-1, 0, 0), w.now().AddDate(1, 0, 0))
	w.parties["root"].keys = []*signer{key}
	w.publishRoot(key)
	w.publish()
	_, err := w.fetch(w.source(pinned(key.canonical())), nil)
	wantClass(t, err, trustcache.ErrMalicious)
}

func TestABareKeyIsNoRootKey(t *testing.T) {
	for name, key := range map[string]*signer{"ecdsa": newSigner(t), "ed25519": newEd25519(t)} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.parties["root"].keys = []*signer{key}
			w.publishRoot(key)
			w.publish()
			_, err := w.fetch(w.source(pinned(key.canonical())), nil)
			wantClass(t, err, trustcache.ErrMalicious)
		})
	}
}

func TestAPinnedRootSurvivesItsRotationForThoseWhoKnewIt(t *testing.T) {
	forEachKind(t, func(t *testing.T, kind notary.PinKind) {
		w := newWorld(t)
		w.sign("targets", "latest", 1)
		w.publish()
		first := w.parties["root"].keys[0]
		s := w.source(pinnedAs(kind, first))
		w.verified(s, nil)
		w.sign("targets", "latest", 2)
		w.rotate("root", newRootSigner(t, w.gun, w.now()))
		w.pass(time.Hour)
		wantDigest(t, w.verified(s, nil), "latest", 2) // no snapshot is left, the root is

		// One who never knew the first root has nothing that leads to the second.
		_, err := w.fetch(w.source(pinnedAs(kind, first)), nil)
		wantClass(t, err, trustcache.ErrMalicious)
		_, err = w.fetch(w.source(pinnedAs(kind, w.parties["root"].keys[0])), nil)
		must(t, err)
	})
}

// TestAFirstRootMayBeOld: the server still shows the pinned root, and its next
// one beside it.
func TestAFirstRootMayBeOld(t *testing.T) {
	forEachKind(t, func(t *testing.T, kind notary.PinKind) {
		w := newWorld(t)
		first := w.parties["root"].keys[0]
		w.sign("targets", "latest", 1)
		w.rotate("root", newRootSigner(t, w.gun, w.now()))
		w.rotate("timestamp", newSigner(t))
		w.serve["root.json"] = w.files["1.root.json"]
		wantDigest(t, w.verified(w.source(pinnedAs(kind, first)), nil), "latest", 1)
	})
}
