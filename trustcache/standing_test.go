package trustcache_test

import (
	"errors"
	"testing"
	"time"

	"github.com/sealgate/sealgate/trustcache"
)

func TestASnapshotStandsUntilItExpires(t *testing.T) {
	for _, why := range []error{trustcache.ErrUnreachable, trustcache.ErrMalicious, trustcache.ErrExpired, trustcache.ErrUnpinned, trustcache.ErrNoTrustData} {
		t.Run(why.Error(), func(t *testing.T) {
			s := newSource("latest")
			s.lives = time.Hour
			in(t, s, trustcache.Options{}, func(t *testing.T, c *trustcache.Cache) {
				first := fresh(t, c)
				s.tell(func(s *source) { s.err = why })
				time.Sleep(time.Hour - 1)
				if view := stale(t, c, why); view.Snapshot != first.Snapshot || view.Contact != first.Contact {
					t.Error("another snapshot answers")
				}
				time.Sleep(time.Nanosecond)
				fails(t, c, why)
				time.Sleep(time.Hour)
				fails(t, c, why)
			})
		})
	}
}

func TestASnapshotStandsNoLongerThanMaxStale(t *testing.T) {
	for _, want := range []time.Duration{time.Hour, 24 * time.Hour} {
		s := newSource("latest")
		in(t, s, trustcache.Options{MaxStale: want}, func(t *testing.T, c *trustcache.Cache) {
			fresh(t, c)
			s.tell(func(s *source) { s.err = trustcache.ErrUnreachable })
			time.Sleep(want - 1)
			stale(t, c, trustcache.ErrUnreachable) // a failure is no contact
			time.Sleep(time.Nanosecond)
			fails(t, c, trustcache.ErrUnreachable)
			s.tell(func(s *source) { s.err = nil })
			time.Sleep(time.Second)
			fresh(t, c)
		})
	}
}

// TestMaxStaleIsNeverShorterThanRefresh: what needs no refresh yet cannot be
// too old.
func TestMaxStaleIsNeverShorterThanRefresh(t *testing.T) {
	s := newSource("latest")
	in(t, s, trustcache.Options{MaxStale: time.Second, Refresh: time.Hour}, func(t *testing.T, c *trustcache.Cache) {
		fresh(t, c)
		s.tell(func(s *source) { s.err = trustcache.ErrUnreachable })
		time.Sleep(time.Hour - 1)
		fresh(t, c)
		time.Sleep(time.Second)
		fails(t, c, trustcache.ErrUnreachable)
	})
}

// TestAnUntroubledSnapshotExpiresToo: it is within the refresh interval and
// nothing has failed.
func TestAnUntroubledSnapshotExpiresToo(t *testing.T) {
	s := newSource("latest")
	s.lives = 10 * time.Second
	in(t, s, trustcache.Options{}, func(t *testing.T, c *trustcache.Cache) {
		fresh(t, c)
		time.Sleep(10*time.Second - 1)
		fresh(t, c)
		s.wantCalls(t, 1)
		time.Sleep(time.Nanosecond)
		fresh(t, c) // by a new one
		s.wantCalls(t, 2)
		s.tell(func(s *source) { s.lives = -time.Second }) // a source that returns what has expired
		time.Sleep(10 * time.Second)
		fails(t, c, trustcache.ErrExpired)
	})
}

// TestACallerWhoWaitsSeesTheExpiry: the snapshot ends while the caller waits
// for a better one.
func TestACallerWhoWaitsSeesTheExpiry(t *testing.T) {
	s := newSource("latest")
	s.lives = time.Hour
	in(t, s, trustcache.Options{}, func(t *testing.T, c *trustcache.Cache) {
		fresh(t, c)
		s.tell(func(s *source) { s.slow = 10 * time.Second })
		time.Sleep(time.Hour - time.Second)
		start := time.Now()
		if _, err := c.Tag(t.Context(), gun, "latest"); err == nil {
			t.Error("an expired snapshot answered")
		}
		if took := time.Since(start); took > 2*time.Second {
			t.Errorf("answered after %s", took)
		}
	})
}

func TestWhatVanishedDoesNotStand(t *testing.T) {
	s := newSource("latest")
	in(t, s, trustcache.Options{}, func(t *testing.T, c *trustcache.Cache) {
		fresh(t, c)
		s.tell(func(s *source) { s.err = trustcache.ErrVanished })
		time.Sleep(time.Minute)
		fails(t, c, trustcache.ErrVanished)
		// No other failure brings it back.
		for _, err := range []error{trustcache.ErrUnreachable, trustcache.ErrMalicious, trustcache.ErrExpired, trustcache.ErrNoTrustData, errors.New("x")} {
			s.tell(func(s *source) { s.err = err })
			time.Sleep(time.Second)
			fails(t, c, trustcache.ErrVanished)
		}
		s.tell(func(s *source) { s.err, s.panic = nil, "boom" })
		time.Sleep(time.Second)
		fails(t, c, trustcache.ErrVanished)
		s.tell(func(s *source) { s.panic = nil })
		time.Sleep(time.Second)
		fresh(t, c)
	})
}

// TestWhatVanishedInAnEarlyRefreshIsGoneAtOnce although its interval is not
// over.
func TestWhatVanishedInAnEarlyRefreshIsGoneAtOnce(t *testing.T) {
	s := newSource("latest")
	in(t, s, trustcache.Options{}, func(t *testing.T, c *trustcache.Cache) {
		fresh(t, c)
		s.tell(func(s *source) { s.err = trustcache.ErrVanished })
		time.Sleep(55 * time.Second)
		fresh(t, c) // starts it
		s.wantCalls(t, 2)
		fails(t, c, trustcache.ErrVanished)
	})
}

func TestACacheUsesTheClockItIsGiven(t *testing.T) {
	s := newSource("latest")
	now := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	s.build = func(gun string) *trustcache.Snapshot {
		return trustcache.NewSnapshot(trustcache.Contents{GUN: gun, Expires: now.Add(time.Hour), ExpiresRole: "timestamp"})
	}
	in(t, s, trustcache.Options{Now: func() time.Time { return now }}, func(t *testing.T, c *trustcache.Cache) {
		if view := fresh(t, c); view.Contact != now {
			t.Errorf("contact %s", view.Contact)
		}
		s.tell(func(s *source) { s.err = trustcache.ErrUnreachable })
		now = now.Add(time.Hour - 1)
		stale(t, c, trustcache.ErrUnreachable)
		now = now.Add(1)
		fails(t, c, trustcache.ErrUnreachable)
	})
}
