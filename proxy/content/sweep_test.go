package content

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/distribution/distribution/v3/registry/storage/driver/inmemory"
	"github.com/opencontainers/go-digest"
)

// clock is a time that tests move; files have the real time.
type clock struct{ ahead time.Duration }

func (c *clock) now() time.Time { return time.Now().Add(c.ahead) }

// later returns a store on the same driver, so much later.
func later(tb testing.TB, s *Store, d time.Duration, change func(*StoreOptions)) *Store {
	tb.Helper()
	o := s.o
	o.Now = (&clock{d}).now
	if change != nil {
		change(&o)
	}
	return newStore(tb, o)
}

func sweepOf(tb testing.TB, s *Store) Swept {
	tb.Helper()
	did, err := s.Sweep(context.Background())
	must(tb, err)
	return did
}

func has(tb testing.TB, s *Store, repository string, d digest.Digest) bool {
	tb.Helper()
	is, err := s.Has(context.Background(), repository, d)
	must(tb, err)
	return is
}

func TestWhatNobodyUsesExpires(t *testing.T) {
	onEach(t, func(t *testing.T, s *Store) {
		unused, _ := putBlob(t, s, repository, 1, 1000)
		used, _ := putBlob(t, s, repository, 2, 500)
		m := image(t, 1)
		must(t, s.PutManifest(t.Context(), repository, m))
		must(t, s.PutManifest(t.Context(), repository, image(t, 2)))
		ttl := func(o *StoreOptions) { o.TTL = 24 * time.Hour }
		if did := sweepOf(t, later(t, s, 23*time.Hour, ttl)); did.Expired != 0 || did.Links != 4 || did.Objects != 4 {
			t.Fatalf("%+v after 23 hours", did)
		}
		did := sweepOf(t, later(t, s, 25*time.Hour, ttl))
		if did.Expired != 4 || did.Links != 0 || did.Bytes != 0 || did.Freed < 1500 {
			t.Errorf("%+v after 25 hours", did)
		}
		for _, d := range []digest.Digest{unused, used, digest.Digest(m.Digest)} {
			if has(t, s, repository, d) {
				t.Errorf("%s is still there", d)
			}
		}
	})
}

func TestTheLeastRecentlyUsedLeavesForTheBound(t *testing.T) {
	onEach(t, func(t *testing.T, s *Store) {
		var all []digest.Digest
		for i := range 10 {
			d, _ := putBlob(t, s, fmt.Sprint("team/app", i), i, 1000)
			all = append(all, d)
		}
		bounded := later(t, s, time.Minute, func(o *StoreOptions) { o.MaxSize = 5000 })
		did := sweepOf(t, bounded)
		if did.Evicted != 6 || did.Bytes != 4000 || did.Freed != 6000 || did.Objects != 4 {
			t.Errorf("%+v", did)
		}
		for i, d := range all {
			if want := i >= 6; has(t, s, fmt.Sprint("team/app", i), d) != want {
				t.Errorf("%d is there: %v", i, !want)
			}
		}
		if did := sweepOf(t, bounded); did.Evicted != 0 || did.Freed != 0 {
			t.Errorf("again: %+v", did)
		}
	})
}

func TestWhatIsPinnedStays(t *testing.T) {
	onEach(t, func(t *testing.T, s *Store) {
		pinned, _ := putBlob(t, s, repository, 1, 1000)
		other, _ := putBlob(t, s, repository, 2, 1000)
		must(t, s.Pin(t.Context(), repository, "v1", []digest.Digest{pinned}))
		tight := later(t, s, 1000*time.Hour, func(o *StoreOptions) { o.MaxSize, o.TTL = 1, time.Hour })
		if did := sweepOf(t, tight); did.Bytes != 1000 || did.PinnedBytes != 1000 || !has(t, s, repository, pinned) || has(t, s, repository, other) {
			t.Errorf("%+v", did)
		}
		must(t, s.Pin(t.Context(), repository, "v1", nil))
		if did := sweepOf(t, tight); did.Bytes != 0 || has(t, s, repository, pinned) {
			t.Errorf("unpinned: %+v", did)
		}
		if left := objects(t, s); len(left) > 0 {
			t.Errorf("left: %q", left)
		}
	})
}

// TestWhatIsTooYoungForASweepLeavesSoonAfter: also where nothing is added any
// more, and without a sweep after the other where nothing can leave.
func TestWhatIsTooYoungForASweepLeavesSoonAfter(t *testing.T) {
	for _, test := range []struct {
		name     string
		meantime func(t *testing.T, s *Store, all []digest.Digest)
		left     int64
		most     int // sweeps of two hours, with those of the hour
	}{
		{"in an idle cache", func(*testing.T, *Store, []digest.Digest) { time.Sleep(10 * time.Second) }, 600, 5},
		{"not what is pinned", func(t *testing.T, s *Store, all []digest.Digest) {
			must(t, s.Pin(t.Context(), repository, "v1", all))
			time.Sleep(time.Hour)
		}, 1200, 5},
		{"not what is read all the time", func(t *testing.T, s *Store, all []digest.Digest) {
			for range 3600 {
				for _, d := range all {
					_, err := s.Blob(t.Context(), repository, d)
					must(t, err)
				}
				time.Sleep(time.Second)
			}
		}, 1200, 16},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sweeps := 0
				s := newStore(t, StoreOptions{Driver: Root(inmemory.New(), "registry.example.com", ""), MaxSize: 1000, Swept: func(Swept, error) { sweeps++ }})
				ctx, stop := context.WithCancel(t.Context())
				ended := make(chan error)
				go func() { ended <- s.Run(ctx) }()
				time.Sleep(time.Minute)
				first, _ := putBlob(t, s, repository, 1, 600)
				second, _ := putBlob(t, s, repository, 2, 600)
				synctest.Wait()
				if sweeps != 2 || s.Stats().Bytes != 1200 {
					t.Fatalf("%d bytes after %d sweeps: nothing was spared", s.Stats().Bytes, sweeps)
				}
				test.meantime(t, s, []digest.Digest{first, second})
				synctest.Wait()
				if got := s.Stats().Bytes; got != test.left {
					t.Errorf("%d bytes are left, want %d", got, test.left)
				}
				time.Sleep(time.Hour)
				stop()
				if err := <-ended; err != nil || sweeps > test.most {
					t.Errorf("%d sweeps, want at most %d; %v", sweeps, test.most, err)
				}
			})
		})
	}
}
