package notary_test

import (
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/sealgate/sealgate/trustcache"
	"github.com/sealgate/sealgate/trustcache/notary"
)

func (w *world) wantAsked(names ...string) {
	w.TB.Helper()
	if got := w.Asked(); !slices.Equal(got, names) {
		w.TB.Errorf("asked for %v, expected %v", got, names)
	}
}

func TestAnUpdateAsksForNoMoreThanItNeeds(t *testing.T) {
	w := newWorld(t)
	w.Delegate(releases)
	w.Delegate("targets/alice")
	w.Delegate(releases + "/ci")
	w.Sign(releases, "latest", 1)
	w.Publish()
	s := w.source()

	snap := w.verified(s, nil)
	w.wantAsked("root.json", "timestamp.json", "snapshot", "targets", releases, releases+"/ci", "targets/alice")

	first := snap
	snap = w.verified(s, snap)
	w.wantAsked("timestamp.json") // nothing was published
	if &firstPage(first)[0] != &firstPage(snap)[0] {
		t.Error("an unchanged update copied the tags")
	}

	w.PublishTimestamp()
	snap = w.verified(s, snap)
	w.wantAsked("timestamp.json") // a new timestamp for the same snapshot

	w.Sign(releases, "latest", 2)
	w.PublishRoles(releases)
	snap = w.verified(s, snap)
	w.wantAsked("timestamp.json", "snapshot", releases)
	wantDigest(t, snap, "latest", 2)

	w.PublishSnapshot()
	snap = w.verified(s, snap)
	w.wantAsked("timestamp.json", "snapshot") // a new snapshot of the same roles

	w.Sign("targets", "v1", 3)
	w.PublishRoles("targets")
	snap = w.verified(s, snap)
	w.wantAsked("timestamp.json", "snapshot", "targets")
	wantDigest(t, snap, "v1", 3)
	wantDigest(t, snap, "latest", 2)

	// Without the snapshot of last time everything is fetched, but the root
	// that was verified is remembered.
	w.verified(s, nil)
	w.wantAsked("timestamp.json", "snapshot", "targets", releases, releases+"/ci", "targets/alice")
}

func firstPage(s *trustcache.Snapshot) []string {
	tags, _ := s.Page("", 1)
	return tags
}

func TestADelegationWithOtherKeysIsFetchedAnew(t *testing.T) {
	w := newWorld(t)
	w.Delegate(releases)
	w.Sign(releases, "latest", 1)
	w.Publish()
	s := w.source()
	snap := w.verified(s, nil)
	w.Asked()

	// targets now names another key, and the file in releases is still the one
	// that the old key signed.
	w.Parties[releases].Keys = []*signer{newSigner(t)}
	w.PublishRoles("targets")
	_, err := w.fetch(s, snap)
	wantClass(t, err, trustcache.ErrMalicious)
	w.wantAsked("timestamp.json", "snapshot", "targets", releases)

	w.PublishRoles(releases)
	wantDigest(t, w.verified(s, snap), "latest", 1)
}

func TestADelegationThatNeedsMoreKeysIsFetchedAnew(t *testing.T) {
	w := newWorld(t)
	p := w.Delegate(releases)
	p.Keys = append(p.Keys, newSigner(t))
	p.Hands = p.Keys[:1]
	w.Sign(releases, "latest", 1)
	w.Publish()
	s := w.source()
	snap := w.verified(s, nil)

	// targets now wants both keys, and the file in releases is still the one
	// that one of them signed.
	p.Threshold = 2
	w.PublishRoles("targets")
	_, err := w.fetch(s, snap)
	wantClass(t, err, trustcache.ErrMalicious)
	p.Hands = nil
	w.PublishRoles(releases)
	wantDigest(t, w.verified(s, snap), "latest", 1)
}

func TestADelegationWithOtherPathsIsJudgedAnew(t *testing.T) {
	w := newWorld(t)
	w.Delegate(releases)
	w.Sign(releases, "latest", 1)
	w.Sign("targets", "latest", 2)
	w.Publish()
	s := w.source()
	snap := w.verified(s, nil)
	wantDigest(t, snap, "latest", 1)
	w.Paths[releases] = []string{"v"}
	w.PublishRoles("targets")
	wantDigest(t, w.verified(s, snap), "latest", 2)
}

func TestTheRootChainIsPolledNowAndThen(t *testing.T) {
	w := newWorld(t)
	w.Sign("targets", "latest", 1)
	w.Publish()
	s := w.source(func(o *notary.Options) { o.RootPoll = time.Hour })
	snap := w.verified(s, nil)
	w.Asked()
	w.Pass(time.Hour - time.Second)
	snap = w.verified(s, snap)
	w.wantAsked("timestamp.json")
	w.Pass(time.Second)
	snap = w.verified(s, snap)
	w.wantAsked("2.root.json", "timestamp.json")
	snap = w.verified(s, snap)
	w.wantAsked("timestamp.json") // and the hour begins anew
	w.Pass(time.Hour)
	w.verified(s, snap)
	w.wantAsked("2.root.json", "timestamp.json")
}

func TestAnAnswerBelowAFloorIsAskedForPastCaches(t *testing.T) {
	w, old := lyingWorld(t)
	s := w.source()
	snap := w.verified(s, nil)
	w.Asked()
	w.Sign(releases, "latest", 2)
	w.Publish()
	w.Serve["cached timestamp.json"] = old["timestamp"]
	wantDigest(t, w.verified(s, snap), "latest", 2)
	if got := w.Asked(); !slices.Equal(got[:2], []string{"timestamp.json", "timestamp.json"}) || w.PastCaches["timestamp.json"] != 1 {
		t.Errorf("asked for %v, %d times past caches", got, w.PastCaches["timestamp.json"])
	}
}

// TestACacheThatMissedARotationIsPassedBy: the cached timestamp is below the
// floor, and the true one is signed by a key that is not known yet.
func TestACacheThatMissedARotationIsPassedBy(t *testing.T) {
	w, old := lyingWorld(t)
	s := w.source()
	snap := w.verified(s, nil)
	w.Sign(releases, "latest", 2)
	w.Rotate("timestamp", newSigner(t))
	w.Serve["cached timestamp.json"] = old["timestamp"]
	wantDigest(t, w.verified(s, snap), "latest", 2)
}

func TestNothingIsAskedOfAServerThatNothingPinsToTheRepository(t *testing.T) {
	w := newWorld(t)
	w.Publish()
	s := w.source(func(o *notary.Options) { o.Pins = nil })
	_, err := w.fetch(s, nil)
	wantClass(t, err, trustcache.ErrUnpinned)
	w.wantAsked()
}

func TestRequestsCarryNothingButWhatTheyMust(t *testing.T) {
	w := newWorld(t)
	w.Publish()
	s := w.source(func(o *notary.Options) {
		o.Transport = roundTripper(func(req *http.Request) (*http.Response, error) {
			if len(req.Header) != 1 || req.Header.Get("Accept") != "application/json" || req.URL.RawQuery != "" || req.URL.User != nil {
				t.Errorf("%s %s with %v", req.Method, req.URL, req.Header)
			}
			return w.RoundTrip(req)
		})
	})
	w.verified(s, nil)
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }
