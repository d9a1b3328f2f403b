package notary_test

import (
	"testing"
	"time"

	"github.com/sealgate/sealgate/trustcache"
	"github.com/sealgate/sealgate/trustcache/notary"
)

// pinned pins these canonical key IDs in the place of the world's own.
func pinned(ids ...string) func(*notary.Options) {
	return func(o *notary.Options) { o.RootKeys = func(string) []string { return ids } }
}

// firstUse trusts the first root of a repository that nothing pins.
func firstUse(o *notary.Options) { o.RootKeys, o.TrustOnFirstUse = nil, true }

func TestWhichFirstRootIsBelieved(t *testing.T) {
	other := newSigner(t).canonical()
	for _, c := range []struct {
		name   string
		change func(w *world) func(*notary.Options)
		want   error
	}{
		{"the pinned root", func(w *world) func(*notary.Options) { return pinned(w.parties["root"].keys[0].canonical()) }, nil},
		{"one of several pinned roots", func(w *world) func(*notary.Options) {
			return pinned(other, w.parties["root"].keys[0].canonical())
		}, nil},
		{"a root that is not the pinned one", func(*world) func(*notary.Options) { return pinned(other) }, trustcache.ErrMalicious},
		{"a root that is not the pinned one, first use on", func(*world) func(*notary.Options) {
			return func(o *notary.Options) { pinned(other)(o); o.TrustOnFirstUse = true }
		}, trustcache.ErrMalicious},
		{"the ID of the certificate where a canonical one belongs", func(w *world) func(*notary.Options) {
			return pinned(w.parties["root"].keys[0].public.ID())
		}, trustcache.ErrMalicious},
		{"a pinned key that is listed and did not sign", func(w *world) func(*notary.Options) {
			idle := newRootSigner(w.tb, w.gun, w.now())
			w.parties["root"].hands = w.parties["root"].keys
			w.parties["root"].keys = append(w.parties["root"].keys, idle)
			w.publishRoot(w.parties["root"].hands...)
			w.publish()
			return pinned(idle.canonical())
		}, trustcache.ErrMalicious},
		{"the pinned key signs for another role only", func(w *world) func(*notary.Options) {
			return pinned(w.parties["targets"].keys[0].canonical())
		}, trustcache.ErrMalicious},
		{"first use", func(*world) func(*notary.Options) { return firstUse }, nil},
		{"neither a pin nor first use", func(*world) func(*notary.Options) { return pinned() }, trustcache.ErrUnpinned},
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

func TestOfferedKeysAreThoseOfTheServersRoot(t *testing.T) {
	w := newWorld(t)
	w.publish()
	s := w.source(pinned())
	keys, err := s.Offered(t.Context(), w.gun)
	must(t, err)
	root := w.parties["root"].keys[0]
	if len(keys) != 1 || keys[0].KeyID != root.canonical() || keys[0].Subject != w.gun || !keys[0].Expires.Equal(w.now().AddDate(10, 0, 0)) {
		t.Errorf("offered: %+v", keys)
	}
	for what, text := range nonsense() {
		w.serve["root.json"] = []byte(text)
		if _, err := s.Offered(t.Context(), w.gun); err == nil {
			t.Errorf("%s offers a key", what)
		}
	}
	// Looking at what is offered is no first use.
	w.honest()
	_, err = w.fetch(s, nil)
	wantClass(t, err, trustcache.ErrUnpinned)
}

func TestAPinnedRootSurvivesItsRotationForThoseWhoKnewIt(t *testing.T) {
	w := newWorld(t)
	w.sign("targets", "latest", 1)
	w.publish()
	first := w.parties["root"].keys[0].canonical()
	s := w.source(pinned(first))
	w.verified(s, nil)
	w.sign("targets", "latest", 2)
	w.rotate("root", newRootSigner(t, w.gun, w.now()))
	w.pass(time.Hour)
	wantDigest(t, w.verified(s, nil), "latest", 2) // no snapshot is left, the root is

	// One who never knew the first root has nothing that leads to the second.
	_, err := w.fetch(w.source(pinned(first)), nil)
	wantClass(t, err, trustcache.ErrMalicious)
	_, err = w.fetch(w.source(), nil)
	must(t, err)
}
