package notary_test

import (
	"testing"
	"time"

	"github.com/sealgate/sealgate/trustcache"
)

// TestASnapshotExpiresWithTheFirstRoleThatDecides: of the roles whose word
// counts, and of no other; a timestamp a minute later than it says.
func TestASnapshotExpiresWithTheFirstRoleThatDecides(t *testing.T) {
	const soon = 10 * time.Minute
	for role, want := range map[string]time.Duration{
		"root": soon, "timestamp": soon + time.Minute, "snapshot": soon, "targets": soon,
		releases: soon, releases + "/ci": soon, "targets/alice": 0,
	} {
		t.Run(role, func(t *testing.T) {
			w := newWorld(t)
			w.Delegate(releases)
			w.Delegate(releases + "/ci")
			w.Delegate("targets/alice")
			w.Sign(releases, "latest", 1)
			w.Expires[role] = w.Now().Add(soon)
			w.PublishRoot()
			w.Publish()
			snap := w.verified(w.source(), nil)
			at, which := snap.Expires()
			for _, e := range snap.Evidence() {
				if e.Role == role && e.Decides != (want != 0) {
					t.Errorf("evidence says of %s that it decides: %t", role, e.Decides)
				}
			}
			if want == 0 {
				if which == role || at.Before(w.Now().Add(time.Hour)) {
					t.Errorf("ends at %s with %s, which decides nothing", at, which)
				}
				return
			}
			if which != role || !at.Equal(w.Now().Add(want)) {
				t.Errorf("ends at %s with %s, expected %s with %s", at, which, w.Now().Add(want), role)
			}
			for _, e := range snap.Evidence() {
				if e.Role == role && !e.Expires.Equal(w.Now().Add(soon)) {
					t.Errorf("evidence says that %s expires at %s", role, e.Expires)
				}
			}
		})
	}
}

func TestATimestampIsGoodForAMinutePastItsExpiry(t *testing.T) {
	w := newWorld(t)
	w.Sign("targets", "latest", 1)
	w.Expires["timestamp"] = w.Now().Add(time.Hour)
	w.Publish()
	w.Pass(time.Hour + time.Minute - time.Second)
	s := w.source()
	snap := w.verified(s, nil)
	snap = w.verified(s, snap)
	w.Pass(time.Second)
	_, err := w.fetch(s, snap)
	wantClass(t, err, trustcache.ErrExpired)
	_, err = w.fetch(w.source(), nil)
	wantClass(t, err, trustcache.ErrExpired)
}

// TestNothingIsServedPastItsExpiryWhileTheServerIsDown for each role that
// decides: the last snapshot stands until then and not a moment longer.
func TestNothingIsServedPastItsExpiryWhileTheServerIsDown(t *testing.T) {
	for _, role := range []string{"root", "snapshot", "targets", releases} {
		t.Run(role, func(t *testing.T) {
			w := newWorld(t)
			w.Delegate(releases)
			w.Sign(releases, "latest", 1)
			w.Expires[role] = w.Now().Add(time.Hour)
			w.PublishRoot()
			w.Publish()
			cache := w.cache(w.source())
			_, err := cache.Tag(t.Context(), w.GUN, "latest")
			must(t, err)
			w.Answer = func(string) *reply { return status(503, "") }
			w.Pass(time.Hour - time.Nanosecond)
			view, err := cache.Tag(t.Context(), w.GUN, "latest")
			must(t, err)
			wantClass(t, view.Stale, trustcache.ErrUnreachable)
			w.Pass(time.Nanosecond)
			_, err = cache.Tag(t.Context(), w.GUN, "latest")
			wantClass(t, err, trustcache.ErrUnreachable) // why nothing newer is here
			w.Answer = nil
			w.Pass(2 * time.Second)
			_, err = cache.Tag(t.Context(), w.GUN, "latest")
			wantClass(t, err, trustcache.ErrExpired)
		})
	}
}

// TestAnUnchangedUpdateCannotOutliveARole: the timestamp is fresh each time
// and names the same snapshot, whose roles grow old.
func TestAnUnchangedUpdateCannotOutliveARole(t *testing.T) {
	for _, role := range []string{"snapshot", "targets", releases} {
		t.Run(role, func(t *testing.T) {
			w := newWorld(t)
			w.Delegate(releases)
			w.Sign(releases, "latest", 1)
			w.Expires[role] = w.Now().Add(time.Hour)
			w.Publish()
			s := w.source()
			snap := w.verified(s, nil)
			w.Pass(time.Hour - time.Second)
			w.PublishTimestamp()
			snap = w.verified(s, snap)
			w.Pass(time.Second)
			w.PublishTimestamp()
			_, err := w.fetch(s, snap)
			wantClass(t, err, trustcache.ErrExpired)
		})
	}
}

func TestAnExpiredRootCertificateIsAnExpiredRole(t *testing.T) {
	w := newWorld(t)
	w.Parties["root"].Keys[0] = w.Parties["root"].Keys[0].Certified(t, w.GUN, w.Now().AddDate(0, 0, -1), w.Now().Add(time.Hour))
	w.PublishRoot()
	w.Sign("targets", "latest", 1)
	w.Publish()
	s := w.source()
	snap := w.verified(s, nil)
	if at, role := snap.Expires(); role != "root" || !at.Equal(w.Now().Add(time.Hour)) {
		t.Errorf("ends at %s with %s", at, role)
	}
	w.Pass(time.Hour)
	_, err := w.fetch(s, snap)
	wantClass(t, err, trustcache.ErrExpired)
	_, err = w.fetch(w.source(), nil)
	wantClass(t, err, trustcache.ErrExpired)
}

func TestARootCertificateOfTheFutureIsNone(t *testing.T) {
	w := newWorld(t)
	key := w.Parties["root"].Keys[0]
	w.Sign("targets", "latest", 1)
	for start, want := range map[time.Duration]error{23 * time.Hour: nil, 25 * time.Hour: trustcache.ErrExpired} {
		w.Parties["root"].Keys[0] = key.Certified(t, w.GUN, w.Now().Add(start), w.Now().AddDate(1, 0, 0))
		w.PublishRoot(w.Parties["root"].Keys...)
		w.Publish()
		if _, err := w.fetch(w.source(), nil); want == nil {
			must(t, err)
		} else {
			wantClass(t, err, want)
		}
	}
}
