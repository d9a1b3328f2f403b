package trustcache_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/sealgate/sealgate/trustcache"
)

// sized returns a source whose snapshots report that size.
func sized(size func(gun string) int64) *source {
	s := newSource()
	s.build = func(gun string) *trustcache.Snapshot {
		c := trustcache.Contents{GUN: gun, Expires: time.Now().Add(1000 * time.Hour)}
		c.MemoSize = size(gun) - trustcache.NewSnapshot(c).Size()
		return trustcache.NewSnapshot(c)
	}
	return s
}

func ask(t *testing.T, c *trustcache.Cache, name string) {
	t.Helper()
	_, err := c.Repository(t.Context(), name)
	must(t, err)
}

func TestTheLeastRecentlyUsedGoFirst(t *testing.T) {
	s := sized(func(string) int64 { return 1000 })
	in(t, s, trustcache.Options{MaxBytes: 10_000}, func(t *testing.T, c *trustcache.Cache) {
		for i := range 10 {
			ask(t, c, fmt.Sprint(i))
		}
		ask(t, c, "0") // used again
		s.wantCalls(t, 10)
		ask(t, c, "10") // one too many: 1 goes
		s.wantCalls(t, 11)
		for _, kept := range []string{"0", "2", "3", "4", "5", "6", "7", "8", "9", "10"} {
			ask(t, c, kept)
		}
		s.wantCalls(t, 11)
		ask(t, c, "1")
		s.wantCalls(t, 12)
	})
}

func TestTheNewestStaysHoweverLargeItIs(t *testing.T) {
	s := sized(func(gun string) int64 {
		if gun == "huge" {
			return 1 << 30
		}
		return 1000
	})
	in(t, s, trustcache.Options{MaxBytes: 10_000}, func(t *testing.T, c *trustcache.Cache) {
		for i := range 5 {
			ask(t, c, fmt.Sprint(i))
		}
		ask(t, c, "huge")
		ask(t, c, "huge")
		s.wantCalls(t, 6)
		ask(t, c, "small") // and huge goes
		ask(t, c, "small")
		s.wantCalls(t, 7)
		for i := range 5 { // there is room again
			ask(t, c, fmt.Sprint(i))
		}
		ask(t, c, "small")
		s.wantCalls(t, 12)
	})
}

// TestARefreshChargesTheNewSizeAlone: the budget is exact after any number of
// refreshes, failures and changes of size.
func TestARefreshChargesTheNewSizeAlone(t *testing.T) {
	size := int64(1000)
	s := sized(func(string) int64 { return size })
	in(t, s, trustcache.Options{MaxBytes: 10_000}, func(t *testing.T, c *trustcache.Cache) {
		for range 20 {
			for i := range 10 {
				ask(t, c, fmt.Sprint(i))
			}
			time.Sleep(time.Minute)
		}
		s.wantCalls(t, 200)
		s.tell(func(s *source) { s.err = trustcache.ErrUnreachable })
		for i := range 10 {
			ask(t, c, fmt.Sprint(i))
		}
		s.wantCalls(t, 210)
		s.tell(func(s *source) { s.err = nil })
		time.Sleep(time.Second)
		size = 2000
		for i := range 10 {
			ask(t, c, fmt.Sprint(i))
		}
		s.wantCalls(t, 220)
		for i := range 5 { // five of 2,000 fit: the newest
			ask(t, c, fmt.Sprint(9-i))
		}
		s.wantCalls(t, 220)
		ask(t, c, "4")
		s.wantCalls(t, 221)
	})
}
