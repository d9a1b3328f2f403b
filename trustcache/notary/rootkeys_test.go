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
		is := notary.RootKey{KeyID: s.Canonical(), CertID: s.Public.ID(), Subject: testGUN, Issuer: "CA", Expires: certificateOf(t, s).NotAfter}
		if got[0] != is && got[len(got)-1] != is {
			t.Errorf("%+v is not among %+v", is, got)
		}
	}
}

func TestOfferedKeysAreThoseOfTheServersRoot(t *testing.T) {
	w := newWorld(t)
	w.Publish()
	s := w.source(pinning(notary.Pins{}))
	keys, err := s.Offered(t.Context(), w.GUN)
	must(t, err)
	wantRootKeys(t, keys, w.Parties["root"].Keys[0])
	for what, text := range nonsense() {
		w.Serve["root.json"] = []byte(text)
		if _, err := s.Offered(t.Context(), w.GUN); err == nil {
			t.Errorf("%s offers a key", what)
		}
	}
	// Looking at what is offered is no first use.
	w.Honest()
	_, err = w.fetch(s, nil)
	wantClass(t, err, trustcache.ErrUnpinned)
}

// TestVerifiedKeysAreThoseThatSignedTheNewestRoot, and not what is offered now.
func TestVerifiedKeysAreThoseThatSignedTheNewestRoot(t *testing.T) {
	w, kept, a, _, _ := rotatedTwice(t, notary.RootKeys)
	s := w.source(pinned(a.Canonical()), keptIn(kept))
	keys, err := s.Verified(w.GUN)
	must(t, err)
	wantRootKeys(t, keys, a)
	w.verified(s, nil)
	idle := newRootSigner(t, w.GUN, w.Now())
	newest := w.Parties["root"].Keys[0]
	w.Parties["root"].Keys, w.Parties["root"].Hands = []*signer{newest, idle}, []*signer{newest}
	w.PublishRoot()
	w.Publish()
	w.verified(s, nil)
	w.Asked()
	keys, err = s.Verified(w.GUN)
	must(t, err)
	wantRootKeys(t, keys, newest)
	w.wantAsked()
	must2(s.Forget(w.GUN))
	if keys, err := s.Verified(w.GUN); err != nil || keys != nil {
		t.Errorf("forgotten, and there are %v, %v", keys, err)
	}
}
