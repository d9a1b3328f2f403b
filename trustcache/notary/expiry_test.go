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
			w.delegate(releases)
			w.delegate(releases + "/ci")
			w.delegate("targets/alice")
			w.sign(releases, "latest", 1)
			w.expires[role] = w.now().Add(soon)
			w.publishRoot()
			w.publish()
			snap := w.verified(w.source(), nil)
			at, which := snap.Expires()
			for _, e := range snap.Evidence() {
				if e.Role == role && e.Decides != (want != 0) {
					t.Errorf("evidence says of %s that it decides: %t", role, e.Decides)
				}
			}
			if want == 0 {
				if which == role || at.Before(w.now().Add(time.Hour)) {
					t.Errorf("ends at %s with %s, which decides nothing", at, which)
				}
				return
			}
			if which != role || !at.Equal(w.now().Add(want)) {
				t.Errorf("ends at %s with %s, expected %s with %s", at, which, w.now().Add(want), role)
			}
			for _, e := range snap.Evidence() {
				if e.Role == role && !e.Expires.Equal(w.now().Add(soon)) {
					t.Errorf("evidence says that %s expires at %s", role, e.Expires)
				}
			}
		})
	}
}

func TestATimestampIsGoodForAMinutePastItsExpiry(t *testing.T) {
	w := newWorld(t)
	w.sign("targets", "latest", 1)
	w.expires["timestamp"] = w.now().Add(time.Hour)
	w.publish()
	w.pass(time.Hour + time.Minute - time.Second)
	s := w.source()
	snap := w.verified(s, nil)
	snap = w.verified(s, snap)
	w.pass(time.Second)
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
			w.delegate(releases)
			w.sign(releases, "latest", 1)
			w.expires[role] = w.now().Add(time.Hour)
			w.publishRoot()
			w.publish()
			cache := w.cache(w.source())
			_, err := cache.Tag(t.Context(), w.gun, "latest")
			must(t, err)
			w.answer = func(string) *reply { return status(503, "") }
			w.pass(time.Hour - time.Nanosecond)
			view, err := cache.Tag(t.Context(), w.gun, "latest")
			must(t, err)
			wantClass(t, view.Stale, trustcache.ErrUnreachable)
			w.pass(time.Nanosecond)
			_, err = cache.Tag(t.Context(), w.gun, "latest")
			wantClass(t, err, trustcache.ErrUnreachable) // why nothing newer is here
			w.answer = nil
			w.pass(2 * time.Second)
			_, err = cache.Tag(t.Context(), w.gun, "latest")
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
			w.delegate(releases)
			w.sign(releases, "latest", 1)
			w.expires[role] = w.now().Add(time.Hour)
			w.publish()
			s := w.source()
			snap := w.verified(s, nil)
			w.pass(time.Hour - time.Second)
			w.publishTimestamp()
			snap = w.verified(s, snap)
			w.pass(time.Second)
			w.publishTimestamp()
			_, err := w.fetch(s, snap)
			wantClass(t, err, trustcache.ErrExpired)
		})
	}
}

func TestAnExpiredRootCertificateIsAnExpiredRole(t *testing.T) {
	w := newWorld(t)
	w.parties["root"].keys[0] = w.parties["root"].keys[0].certified(t, w.gun, w.now().AddDate(0, 0, -1), w.now().Add(time.Hour))
	w.publishRoot()
	w.sign("targets", "latest", 1)
	w.publish()
	s := w.source()
	snap := w.verified(s, nil)
	if at, role := snap.Expires(); role != "root" || !at.Equal(w.now().Add(time.Hour)) {
		t.Errorf("ends at %s with %s", at, role)
	}
	w.pass(time.Hour)
	_, err := w.fetch(s, snap)
	wantClass(t, err, trustcache.ErrExpired)
	_, err = w.fetch(w.source(), nil)
	wantClass(t, err, trustcache.ErrExpired)
}

func TestARootCertificateOfTheFutureIsNone(t *testing.T) {
	w := newWorld(t)
	key := w.parties["root"].keys[0]
	w.sign("targets", "latest", 1)
	for start, want := range map[time.Duration]error{23 * time.Hour: nil, 25 * time.Hour: trustcache.ErrExpired} {
		w.parties["root"].keys[0] = key.certified(t, w.gun, w.now().Add(start), w.now().AddDate(1, 0, 0))
		w.publishRoot(w.parties["root"].keys...)
		w.publish()
		if _, err := w.fetch(w.source(), nil); want == nil {
			must(t, err)
		} else {
			wantClass(t, err, want)
		}
	}
}
