package content

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/distribution/distribution/v3/registry/storage/driver/inmemory"
	"github.com/opencontainers/go-digest"
)

// sweeping sweeps stores all the time until the function it returns is called.
func sweeping(t *testing.T, stores ...*Store) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	for _, s := range stores {
		all.Go(func() {
			for ctx.Err() == nil {
				if _, err := s.Sweep(ctx); err != nil && ctx.Err() == nil {
					t.Errorf("sweep: %v", err)
				}
			}
		})
	}
	return func() { cancel(); all.Wait() }
}

// TestPutReadAndSweepAtOnce, one store on each driver, where there is room for
// a tenth: a read is a miss or right, what is pinned is there once it was put.
func TestPutReadAndSweepAtOnce(t *testing.T) {
	onEach(t, func(t *testing.T, s *Store) {
		s = later(t, s, 0, func(o *StoreOptions) { o.MaxSize, o.TTL = 20_000, 50*time.Millisecond })
		s.margin, s.abandoned = 20*time.Millisecond, 5*time.Second
		stop := sweeping(t, s)
		defer stop()
		hits := hammer(t, s, s)
		if stats := s.Stats(); hits == 0 || stats.Evicted == 0 {
			t.Errorf("%d hits, %+v: nothing was tried", hits, stats)
		}
	})
}

// TestTwoStoresOnOneDirectory, as two processes have: neither knows the locks
// of the other.
func TestTwoStoresOnOneDirectory(t *testing.T) {
	d := Root(onDisk(t.TempDir()), "r", "")
	one, two := newStore(t, StoreOptions{Driver: d, TTL: time.Hour}), newStore(t, StoreOptions{Driver: d, TTL: time.Hour})
	stop := sweeping(t, one, two)
	defer stop()
	if hammer(t, one, two) == 0 {
		t.Error("no hit")
	}
}

// hammer puts and reads the same 40 blobs of 4 repositories on the stores, and
// says how many reads found something.
func hammer(t *testing.T, stores ...*Store) (hits int) {
	var mu sync.Mutex
	var all sync.WaitGroup
	for worker := range 4 {
		all.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(worker), 1))
			s := stores[worker%len(stores)]
			for range 60 {
				n := rng.IntN(40)
				repository := fmt.Sprint("team/app", rng.IntN(4))
				d, body := blobOf(n, 5000+n)
				pinned := n == 0
				if pinned {
					if err := s.Pin(t.Context(), repository, fmt.Sprint("v", worker), []digest.Digest{d}); err != nil {
						t.Error(err)
					}
				}
				if err := s.PutBlob(t.Context(), repository, d, bytes.NewReader(body)); err != nil {
					t.Errorf("put: %v", err)
				}
				got, err := readBlob(s, repository, d, 0)
				if err == nil && bytes.Equal(got, body) {
					mu.Lock()
					hits++
					mu.Unlock()
				} else if err == nil || pinned || !errors.Is(err, ErrNotCached) {
					t.Errorf("blob %d of %s: %d bytes, %v", n, repository, len(got), err)
				}
			}
		})
	}
	all.Wait()
	return hits
}

// TestRunSweepsAtOnceThenOnTimeAndWhenItIsFull.
func TestRunSweepsAtOnceThenOnTimeAndWhenItIsFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		swept := make(chan Swept, 100)
		s := newStore(t, StoreOptions{Driver: Root(inmemory.New(), "r", ""), MaxSize: 10_000, Swept: func(did Swept, err error) {
			if err != nil {
				t.Error(err)
			}
			swept <- did
		}})
		ended := make(chan error)
		go func() { ended <- s.Run(ctx) }()
		start := time.Now()
		next := func() (Swept, time.Duration) { did := <-swept; return did, time.Since(start) }
		if _, after := next(); after != 0 {
			t.Errorf("the first sweep was after %v", after)
		}
		putBlob(t, s, repository, 1, 9000)
		if did, after := next(); after != sweepEvery || did.Bytes != 9000 {
			t.Errorf("the second was after %v: %+v", after, did)
		}
		time.Sleep(time.Minute)
		start = time.Now()
		putBlob(t, s, repository, 2, 9000)
		if did, after := next(); after > time.Second || did.Evicted != 1 || did.Bytes != 9000 {
			t.Errorf("when it was full, after %v: %+v", after, did)
		}
		if got := s.Stats(); got.Bytes != 9000 || got.Evicted != 1 || got.EvictedBytes != 9000 || got.Links != 1 || got.Objects != 1 || got.LastSweep.IsZero() {
			t.Errorf("%+v", got)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}
