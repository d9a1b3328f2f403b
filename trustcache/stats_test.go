package trustcache_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sealgate/sealgate/trustcache"
)

func TestStatsCountWhatIsKnown(t *testing.T) {
	s := sized(func(string) int64 { return 1000 })
	in(t, s, trustcache.Options{MaxStale: time.Hour}, func(t *testing.T, c *trustcache.Cache) {
		want := func(known, fresh, stale, ended, unknown int) {
			t.Helper()
			got := c.Stats()
			if got.Known != known || got.Fresh != fresh || got.Stale != stale || got.Ended != ended || got.Unknown != unknown || got.Bytes != int64(known)*1000 {
				t.Errorf("stats: %+v", got)
			}
		}
		want(0, 0, 0, 0, 0)
		ask(t, c, "old")
		time.Sleep(30 * time.Minute)
		ask(t, c, "older than a minute")
		time.Sleep(30 * time.Minute)
		ask(t, c, "new")
		s.tell(func(s *source) { s.err = trustcache.ErrNoTrustData })
		for i := range 3 {
			_, _ = c.Repository(t.Context(), fmt.Sprint("unknown", i))
		}
		want(3, 1, 2, 0, 3) // nobody wants the old one: that is no failure
		s.tell(func(s *source) { s.err = trustcache.ErrUnreachable })
		_, _ = c.Repository(t.Context(), "older than a minute")
		want(3, 1, 2, 0, 3) // it failed, and stands
		_, _ = c.Repository(t.Context(), "old")
		want(3, 1, 1, 1, 3)
		s.tell(func(s *source) { s.err = trustcache.ErrVanished })
		time.Sleep(time.Minute)
		_, _ = c.Repository(t.Context(), "new")
		want(3, 0, 1, 2, 3)
		s.tell(func(s *source) { s.err = nil })
		ask(t, c, "old")
		want(3, 1, 1, 1, 3)
		time.Sleep(1000 * time.Hour)
		want(3, 0, 1, 2, 3) // all have expired; of two the last refresh failed
	})
}

// judged is an error that asks the cache something while it is looked at, if it
// is told to.
type judged struct{ while func() }

func (e *judged) Error() string { return "no" }

func (e *judged) Is(error) bool {
	if e.while != nil {
		e.while()
	}
	return false
}

// TestWatchingKeepsNobodyWaiting: what is known is judged without the lock that
// every request needs.
func TestWatchingKeepsNobodyWaiting(t *testing.T) {
	s, failure, now := newSource("latest"), &judged{}, time.Now()
	c := trustcache.New(trustcache.Options{Source: s, MaxStale: time.Hour, Now: func() time.Time { return now }})
	defer c.Close()
	ask(t, c, "standing")
	now = now.Add(10 * time.Minute)
	s.tell(func(s *source) { s.err = failure })
	ask(t, c, "standing")
	asked := 0
	failure.while = func() {
		answered := make(chan bool)
		go func() {
			c.InUse(0) // under the lock, and judges none
			close(answered)
		}()
		select {
		case <-answered:
			asked++
		case <-time.After(10 * time.Second):
			t.Error("the cache answers nobody while it is watched")
		}
	}
	c.Stats()
	if asked == 0 {
		t.Error("nothing was judged")
	}
}

func TestStatsCountWhatMemoryAnswered(t *testing.T) {
	s := newSource("latest")
	in(t, s, trustcache.Options{}, func(t *testing.T, c *trustcache.Cache) {
		for range 5 {
			fresh(t, c)
		}
		time.Sleep(time.Hour)
		fresh(t, c)
		if got := c.Stats(); got.Hits != 4 || got.Misses != 2 {
			t.Errorf("%d hits, %d misses, expected 4 and 2", got.Hits, got.Misses)
		}
	})
}

func TestWhatIsInUseComesLastUsedFirst(t *testing.T) {
	s := newSource("latest")
	in(t, s, trustcache.Options{}, func(t *testing.T, c *trustcache.Cache) {
		for _, name := range []string{"a", "b", "c", "a"} {
			ask(t, c, name)
		}
		for n, want := range map[int][]string{0: {}, 1: {"a"}, 2: {"a", "c"}, 9: {"a", "c", "b"}} {
			var got []string
			for _, use := range c.InUse(n) {
				got = append(got, use.GUN)
				if use.Contact != time.Now() {
					t.Errorf("%+v", use)
				}
			}
			if !slices.Equal(got, want) {
				t.Errorf("the last %d are %v, expected %v", n, got, want)
			}
		}
	})
}

// TestExpiryIsToldWithTheTimestampAndWithout: a timestamp nearly always expires
// first, and would hide the role that somebody has to sign anew.
func TestExpiryIsToldWithTheTimestampAndWithout(t *testing.T) {
	day := func(n int) time.Time { return time.Unix(0, 0).AddDate(0, 0, n) }
	role := func(name string, expires int, decides bool) trustcache.Evidence {
		return trustcache.Evidence{Role: name, Expires: day(expires), Decides: decides}
	}
	for _, c := range []struct {
		name     string
		evidence []trustcache.Evidence
		expires  time.Time
		role     string
	}{
		{"none", nil, time.Time{}, ""},
		{"a timestamp only", []trustcache.Evidence{role("timestamp", 14, true)}, time.Time{}, ""},
		{"the first of those that decide", []trustcache.Evidence{
			role("root", 3000, true), role("timestamp", 14, true), role("snapshot", 900, true), role("targets", 800, true),
			role("targets/qa", 1, false), {Role: "targets/broken", Note: "no key of it is known"},
		}, day(800), "targets"},
		{"the root", []trustcache.Evidence{role("root", 20, true), role("timestamp", 14, true), role("targets", 800, true)}, day(20), "root"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSource()
			s.build = func(gun string) *trustcache.Snapshot {
				return trustcache.NewSnapshot(trustcache.Contents{GUN: gun, Evidence: c.evidence, Expires: day(14), ExpiresRole: "timestamp"})
			}
			cache := trustcache.New(trustcache.Options{Source: s, Now: func() time.Time { return day(0) }})
			defer cache.Close()
			ask(t, cache, "app")
			uses := cache.InUse(1)
			if len(uses) != 1 || uses[0].GUN != "app" || uses[0].Contact != day(0) {
				t.Fatalf("got %+v", uses)
			}
			if got := uses[0].Lasting(); got != (trustcache.RoleExpiry{Role: c.role, Expires: c.expires}) {
				t.Errorf("lasting is %+v", got)
			}
			if !slices.IsSortedFunc(uses[0].Roles, func(a, b trustcache.RoleExpiry) int { return a.Expires.Compare(b.Expires) }) || len(uses[0].Roles) > 8 {
				t.Errorf("roles %+v", uses[0].Roles)
			}
			if slices.ContainsFunc(uses[0].Roles, func(r trustcache.RoleExpiry) bool { return strings.HasPrefix(r.Role, "targets/") }) {
				t.Errorf("a role that does not decide is among %+v", uses[0].Roles)
			}
		})
	}
}
