package notary_test

import (
	"testing"

	"github.com/sealgate/sealgate/trustcache"
	"github.com/sealgate/sealgate/trustcache/notary"
)

func wantRootKeys(t *testing.T, got []notary.RootKey, want ...*signer) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d keys, expected %d: %+v", len(got), len(want), got)
	}
	for _, s := range want {
		is := notary.RootKey{KeyID: s.canonical(), CertID: s.public.ID(), Subject: testGUN, Issuer: "CA", Expires: certificateOf(t, s).NotAfter}
		if got[0] != is && got[len(got)-1] != is {
			t.Errorf("%+v is not among %+v", is, got)
		}
	}
}

func TestOfferedKeysAreThoseOfTheServersRoot(t *testing.T) {
	w := newWorld(t)
	w.publish()
	s := w.source(pinning(notary.Pins{}))
	keys, err := s.Offered(t.Context(), w.gun)
	must(t, err)
	wantRootKeys(t, keys, w.parties["root"].keys[0])
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

// TestVerifiedKeysAreThoseThatSignedTheNewestRoot, and not what is offered now.
func TestVerifiedKeysAreThoseThatSignedTheNewestRoot(t *testing.T) {
	w, kept, a, _, _ := rotatedTwice(t, notary.RootKeys)
	s := w.source(pinned(a.canonical()), keptIn(kept))
	keys, err := s.Verified(w.gun)
	must(t, err)
	wantRootKeys(t, keys, a)
	w.verified(s, nil)
	idle := newRootSigner(t, w.gun, w.now())
	newest := w.parties["root"].keys[0]
	w.parties["root"].keys, w.parties["root"].hands = []*signer{newest, idle}, []*signer{newest}
	w.publishRoot()
	w.publish()
	w.verified(s, nil)
	w.asked()
	keys, err = s.Verified(w.gun)
	must(t, err)
	wantRootKeys(t, keys, newest)
	w.wantAsked()
	must2(s.Forget(w.gun))
	if keys, err := s.Verified(w.gun); err != nil || keys != nil {
		t.Errorf("forgotten, and there are %v, %v", keys, err)
	}
}
