package notary_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/sealgate/sealgate/trustcache"
	"github.com/sealgate/sealgate/trustcache/notary"
	"github.com/theupdateframework/notary/tuf/data"
)

// signedTwice is a world in which releases has moved on once, what was verified
// of it, and its files from before.
func signedTwice(t *testing.T) (w *world, s *notary.Source, snap *trustcache.Snapshot, old map[string][]byte) {
	t.Helper()
	w = newWorld(t)
	w.Delegate(releases)
	w.Sign(releases, "latest", 1)
	w.Publish()
	old = w.Keep()
	s = w.source()
	snap = w.verified(s, nil)
	w.Sign(releases, "latest", 2)
	w.Publish()
	return w, s, w.verified(s, snap), old
}

// TestAKeyThatIsAddedDoesNotLetARoleGoBack: after `docker trust signer add` the
// old keys still sign, so what they signed before must not count again.
func TestAKeyThatIsAddedDoesNotLetARoleGoBack(t *testing.T) {
	w, s, snap, old := signedTwice(t)
	for _, keys := range [][]*signer{
		{w.Parties[releases].Keys[0], newSigner(t)}, // one added
		{w.Parties[releases].Keys[0]},               // and taken away again
	} {
		w.Parties[releases].Keys = keys
		w.PublishRoles("targets")
		w.Use(releases, old[releases])
		w.PublishSnapshot()
		_, err := w.fetch(s, snap)
		wantClass(t, err, trustcache.ErrMalicious)
	}
	w.Publish()
	wantDigest(t, w.verified(s, snap), "latest", 2)
}

// TestARevokedTimestampKeyCountsNoMore: the root that revokes it is found only
// through the snapshot, after the timestamp was verified.
func TestARevokedTimestampKeyCountsNoMore(t *testing.T) {
	w := newWorld(t)
	w.Sign("targets", "latest", 1)
	w.Publish()
	s := w.source()
	snap := w.verified(s, nil)
	revoked := w.Parties["timestamp"].Keys[0]
	w.Rotate("timestamp", newSigner(t))
	w.Parties["timestamp"].Hands = []*signer{revoked}
	w.Expires["timestamp"] = w.Now().AddDate(9, 0, 0)
	w.PublishTimestamp()
	_, err := w.fetch(s, snap)
	wantClass(t, err, trustcache.ErrMalicious)
}

// TestASlowRoleThatDecidesNothingDoesNotFailTheUpdate, wherever it is listed.
func TestASlowRoleThatDecidesNothingDoesNotFailTheUpdate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.Delegate("targets/alice")
		w.Delegate(releases)
		w.Sign(releases, "latest", 1)
		w.Publish()
		w.Answer = func(name string) *reply {
			if strings.HasPrefix(name, "targets/alice.") {
				return &reply{Status: 200, Body: strings.NewReader("{"), Stall: true}
			}
			return nil
		}
		wantDigest(t, w.verified(w.source(), nil), "latest", 1)
	})
}

func TestFilesThatAreTooLargeTogetherAreRefused(t *testing.T) {
	w := newWorld(t)
	w.Delegate(releases)
	for i := range 40 {
		w.Delegate(fmt.Sprintf("%s/signer%d", releases, i))
	}
	w.Publish()
	w.verified(w.source(), nil)
	const most = 20 << 10 // enough for each of them alone
	_, err := w.fetch(w.source(func(o *notary.Options) {
		o.Limits = notary.Limits{Root: most, Timestamp: most, Snapshot: most, Targets: most, Memory: most}
	}), nil)
	wantClass(t, err, trustcache.ErrMalicious)
	if !strings.Contains(err.Error(), "larger than") {
		t.Error(err)
	}
}

// TestASignerWhoseWordDoesNotCountStopsNothing, with a huge file or many roles
// below his own.
func TestASignerWhoseWordDoesNotCountStopsNothing(t *testing.T) {
	w := newWorld(t)
	w.Delegate(releases)
	w.Delegate("targets/bob")
	w.Sign(releases, "latest", 1)
	w.Publish()
	s := w.source(func(o *notary.Options) { o.Limits.Roles = 10 })
	snap := w.verified(s, nil)
	for i := range 20 {
		w.Delegate(fmt.Sprintf("targets/bob/%d", i))
	}
	w.Sign(releases, "latest", 2)
	w.PublishRoles(releases, "targets/bob")
	snap = w.verified(s, snap)
	wantDigest(t, snap, "latest", 2)
	w.Declare["targets/bob"] = data.FileMeta{Length: 33 << 20, Hashes: data.Hashes{"sha256": make([]byte, 32)}}
	w.Sign(releases, "latest", 3)
	w.PublishRoles(releases)
	wantDigest(t, w.verified(s, snap), "latest", 3)
}

// TestSignersWhoTakeTurnsDoNotLetARoleGoBack: one is added, signs, and is
// removed; what the other had reached still holds.
func TestSignersWhoTakeTurnsDoNotLetARoleGoBack(t *testing.T) {
	w, s, snap, old := signedTwice(t)
	alice, bob := w.Parties[releases].Keys[0], newSigner(t)
	w.Parties[releases].Keys, w.Parties[releases].Hands = []*signer{alice, bob}, []*signer{bob}
	w.Sign(releases, "latest", 3)
	w.Publish()
	snap = w.verified(s, snap)
	w.Parties[releases].Keys, w.Parties[releases].Hands = []*signer{alice}, nil
	w.PublishRoles("targets")
	w.Use(releases, old[releases])
	w.PublishSnapshot()
	_, err := w.fetch(s, snap)
	wantClass(t, err, trustcache.ErrMalicious)
	w.Publish()
	wantDigest(t, w.verified(s, snap), "latest", 3)
}

// TestErrorsQuoteLittleOfHostileFiles: clients, logs and terminals see them.
func TestErrorsQuoteLittleOfHostileFiles(t *testing.T) {
	for name, root := range map[string]string{
		"an endless time":    `{"signed":{"_type":"Root","expires":"` + strings.Repeat("A", 900_000) + `"},"signatures":[]}`,
		"an endless number":  `{"signed":{"_type":"Root","version":` + strings.Repeat("9", 60_000) + `e99999},"signatures":[]}`,
		"control characters": `{"signed":{"_type":"\u001b[2J\n` + "VISIBLE" + `","version":1},"signatures":[]}`,
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.Publish()
			w.Serve["root.json"] = []byte(root)
			_, err := w.fetch(w.source(), nil)
			wantClass(t, err, trustcache.ErrMalicious)
			text := err.Error()
			if len(text) > 500 || strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r > '~' }) {
				t.Errorf("%d bytes: %.300q", len(text), text)
			}
		})
	}
}

// TestNamesWithoutTrustDataHoldNoMemory: a stranger can ask for as many as he
// likes while the server is slow to say no.
func TestNamesWithoutTrustDataHoldNoMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.Sign("targets", "latest", 1)
		w.Publish()
		s := w.source(func(o *notary.Options) { o.Limits.Memory = 1 })
		wait := make(chan struct{})
		w.Answer = func(name string) *reply {
			if name == "root.json" {
				<-wait
				return status(404, metadataNotFound)
			}
			return nil
		}
		done := make(chan error)
		for range 50 {
			go func() { _, err := w.fetch(s, nil); done <- err }()
		}
		synctest.Wait() // all of them wait for the server, none for memory
		if asked := len(w.Asked()); asked != 50 {
			t.Errorf("%d of 50 were asked for", asked)
		}
		close(wait)
		for range 50 {
			<-done
		}
	})
}
