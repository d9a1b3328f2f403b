package trustcache_test

import (
	"errors"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/sealgate/sealgate/trustcache"
)

func TestAnUnknownRepositoryIsRememberedForAWhile(t *testing.T) {
	for why, hold := range map[error]time.Duration{
		trustcache.ErrNoTrustData: 2 * time.Second, trustcache.ErrUnpinned: time.Second, trustcache.ErrUnreachable: time.Second,
		trustcache.ErrMalicious: time.Second, trustcache.ErrVanished: time.Second, trustcache.ErrExpired: time.Second,
	} {
		t.Run(why.Error(), func(t *testing.T) {
			s := newSource("latest")
			s.err = fmt.Errorf("%w: %s", why, gun)
			in(t, s, trustcache.Options{}, func(t *testing.T, c *trustcache.Cache) {
				fails(t, c, why)
				time.Sleep(hold - 1)
				fails(t, c, why)
				s.wantCalls(t, 1)
				time.Sleep(time.Nanosecond)
				fails(t, c, why)
				s.wantCalls(t, 2)
				s.tell(func(s *source) { s.err = nil })
				time.Sleep(hold)
				fresh(t, c)
				s.tell(func(s *source) { s.err = trustcache.ErrUnreachable })
				time.Sleep(time.Minute)
				stale(t, c, trustcache.ErrUnreachable) // known now, and the old failure is forgotten
			})
		})
	}
}

// TestAFloodOfInventedNamesCostsNothingReal: 100,000 names that do not exist
// evict no real repository, and what is remembered of them is bounded.
func TestAFloodOfInventedNamesCostsNothingReal(t *testing.T) {
	const flood, real = 100_000, 50
	unknown := fmt.Errorf("%w for %s", trustcache.ErrNoTrustData, "x")
	s := newSource()
	s.build = func(gun string) *trustcache.Snapshot { return snapshot(gun, 0, "latest") }
	now := time.Now()
	opts := trustcache.Options{MaxBytes: 1 << 20, MaxUnknown: 100, Source: s, Now: func() time.Time { return now }}
	c := trustcache.New(opts)
	defer c.Close()
	for i := range real {
		_, err := c.Tag(t.Context(), fmt.Sprintf("real/%d", i), "latest")
		must(t, err)
	}
	s.tell(func(s *source) { s.err = unknown; clear(s.calls) })
	before := heap()
	for i := range flood {
		if _, err := c.Tag(t.Context(), fmt.Sprintf("invented/%d", i), "latest"); !errors.Is(err, trustcache.ErrNoTrustData) {
			t.Fatal(err)
		}
		if i%1000 == 0 {
			s.tell(func(s *source) { clear(s.calls); s.prevs = nil })
		}
	}
	s.tell(func(s *source) { clear(s.calls); s.prevs = nil })
	if grown := int64(heap()) - int64(before); grown > 256<<10 {
		t.Errorf("memory grew by %d bytes", grown)
	}
	for i := range real {
		_, err := c.Tag(t.Context(), fmt.Sprintf("real/%d", i), "latest")
		must(t, err)
	}
	if n := s.called(); n != 0 {
		t.Errorf("%d real repositories were asked for again", n)
	}
	_, _ = c.Tag(t.Context(), fmt.Sprintf("invented/%d", flood-1), "latest")
	_, _ = c.Tag(t.Context(), fmt.Sprintf("invented/%d", flood-100), "latest")
	if n := s.called(); n != 0 {
		t.Error("the newest invented names are not remembered")
	}
	_, _ = c.Tag(t.Context(), fmt.Sprintf("invented/%d", flood-101), "latest")
	if n := s.called(); n != 1 {
		t.Error("more invented names are remembered than the bound")
	}
}

// heap is the memory in use after a collection.
func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
