package trustcache_test

import (
	"fmt"
	"slices"
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
		want(3, 1, 1, 1, 3)
		s.tell(func(s *source) { s.err = trustcache.ErrVanished })
		time.Sleep(time.Minute)
		_, _ = c.Repository(t.Context(), "new")
		want(3, 0, 1, 2, 3)
	})
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

func TestStatsOfTwoCachesAddUp(t *testing.T) {
	a := trustcache.Stats{Known: 1, Bytes: 2, Unknown: 3, Fresh: 4, Stale: 5, Ended: 6, Hits: 7, Misses: 8}
	b := trustcache.Stats{Known: 10, Bytes: 20, Unknown: 30, Fresh: 40, Stale: 50, Ended: 60, Hits: 70, Misses: 80}
	want := trustcache.Stats{Known: 11, Bytes: 22, Unknown: 33, Fresh: 44, Stale: 55, Ended: 66, Hits: 77, Misses: 88}
	if got := a.Add(b); got != want {
		t.Errorf("%+v, expected %+v", got, want)
	}
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
				if use.Contact != time.Now() || use.ExpiresRole != "targets" || use.Expires != time.Now().Add(1000*time.Hour) {
					t.Errorf("%+v", use)
				}
			}
			if !slices.Equal(got, want) {
				t.Errorf("the last %d are %v, expected %v", n, got, want)
			}
		}
	})
}
