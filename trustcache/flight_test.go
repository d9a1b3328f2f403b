package trustcache_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sealgate/sealgate/trustcache"
)

func TestAThousandCallersShareOneFetch(t *testing.T) {
	for _, cold := range []bool{true, false} {
		s := newSource("latest")
		in(t, s, trustcache.Options{}, func(t *testing.T, c *trustcache.Cache) {
			if !cold {
				fresh(t, c)
				time.Sleep(time.Hour)
			}
			before := s.called()
			s.tell(func(s *source) { s.slow = time.Second })
			var wg sync.WaitGroup
			var good atomic.Int64
			for range 1000 {
				wg.Go(func() {
					if view, err := c.Tag(t.Context(), gun, "latest"); err == nil && view.Stale == nil {
						good.Add(1)
					}
				})
			}
			wg.Wait()
			s.wantCalls(t, before+1)
			if good.Load() != 1000 {
				t.Errorf("%d of 1000 got the answer", good.Load())
			}
		})
	}
}

func TestAThousandCallersShareOneFailure(t *testing.T) {
	s := newSource()
	s.err, s.slow = trustcache.ErrMalicious, time.Second
	in(t, s, trustcache.Options{}, func(t *testing.T, c *trustcache.Cache) {
		var wg sync.WaitGroup
		for range 1000 {
			wg.Go(func() {
				if _, err := c.Tag(t.Context(), gun, "latest"); !errors.Is(err, trustcache.ErrMalicious) {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		s.wantCalls(t, 1)
	})
}

func TestDifferentRepositoriesDoNotWaitForEachOther(t *testing.T) {
	s := newSource("latest")
	s.slow = time.Second
	in(t, s, trustcache.Options{}, func(t *testing.T, c *trustcache.Cache) {
		start := time.Now()
		var wg sync.WaitGroup
		for i := range 200 { // as after a start
			wg.Go(func() {
				_, err := c.Tag(t.Context(), fmt.Sprint(i), "latest")
				must(t, err)
			})
		}
		wg.Wait()
		if took := time.Since(start); took != 4*time.Second {
			t.Errorf("took %s, want four turns of at most 64", took)
		}
	})
}

func TestInventedNamesDoNotHoldUpKnownRepositories(t *testing.T) {
	s := newSource("latest")
	in(t, s, trustcache.Options{}, func(t *testing.T, c *trustcache.Cache) {
		_, err := c.Tag(t.Context(), gun, "latest")
		must(t, err)
		time.Sleep(2 * time.Minute)
		s.tell(func(s *source) { s.slow = time.Second })
		var refused atomic.Int32
		var wg sync.WaitGroup
		for i := range 5000 {
			wg.Go(func() {
				if _, err := c.Tag(t.Context(), fmt.Sprint("invented", i), "latest"); errors.Is(err, trustcache.ErrUnreachable) {
					refused.Add(1)
				}
			})
		}
		synctest.Wait()
		start := time.Now()
		view, err := c.Tag(t.Context(), gun, "latest")
		must(t, err)
		if took := time.Since(start); view.Stale != nil || took != time.Second {
			t.Errorf("the known repository waited %s and got %v", took, view.Stale)
		}
		wg.Wait()
		// 64 in each of the 20 seconds of the deadline have their turn; who is
		// late in the last one may or may not.
		if served := 5000 - refused.Load(); served < 19*64 || served > 20*64 {
			t.Errorf("%d names were looked up", served)
		}
	})
}

// TestACallerWhoHangsUpHarmsNobody: not the others, and not the fetch that he
// began.
func TestACallerWhoHangsUpHarmsNobody(t *testing.T) {
	s := newSource("latest")
	s.slow = 10 * time.Second
	in(t, s, trustcache.Options{}, func(t *testing.T, c *trustcache.Cache) {
		ctx, hangUp := context.WithCancel(t.Context())
		first := make(chan error)
		go func() {
			_, err := c.Tag(ctx, gun, "latest")
			first <- err
		}()
		synctest.Wait()
		var wg sync.WaitGroup
		wg.Go(func() { fresh(t, c) })
		time.Sleep(time.Second)
		hangUp()
		if err := <-first; !errors.Is(err, context.Canceled) {
			t.Errorf("the one who hung up got %v", err)
		}
		wg.Wait()
		s.wantCalls(t, 1)
	})
}

func TestACallerOfNoPatienceGetsHisContextsError(t *testing.T) {
	s := newSource("latest")
	s.slow = 10 * time.Second
	in(t, s, trustcache.Options{}, func(t *testing.T, c *trustcache.Cache) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := c.Tag(ctx, gun, "latest"); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		// His fetch goes on and serves the next.
		time.Sleep(9 * time.Second)
		fresh(t, c)
		s.wantCalls(t, 1)
	})
}

func TestAPanickingSourceIsAnError(t *testing.T) {
	for _, value := range []any{"boom", errors.New("boom"), fmt.Errorf("%w", trustcache.ErrNoTrustData), 7} {
		s := newSource("latest")
		s.panic = value
		var stacks []string
		opts := trustcache.Options{OnRefresh: func(r trustcache.Refresh) { stacks = append(stacks, string(r.Panic)) }}
		in(t, s, opts, func(t *testing.T, c *trustcache.Cache) {
			fails(t, c, trustcache.ErrMalicious)
			s.tell(func(s *source) { s.panic = nil })
			time.Sleep(time.Second)
			first := fresh(t, c)
			s.tell(func(s *source) { s.panic = value })
			time.Sleep(time.Minute)
			if view := stale(t, c, trustcache.ErrMalicious); view.Snapshot != first.Snapshot {
				t.Error("another snapshot answers")
			}
			synctest.Wait()
		})
		if len(stacks) != 3 || !strings.Contains(stacks[0], "source_test.go") || stacks[1] != "" || stacks[2] == "" {
			t.Errorf("stacks: %q", stacks)
		}
	}
}

func TestASourceThatReturnsNothingIsAnError(t *testing.T) {
	s := newSource()
	s.build = func(string) *trustcache.Snapshot { return nil }
	in(t, s, trustcache.Options{}, func(t *testing.T, c *trustcache.Cache) {
		fails(t, c, trustcache.ErrUnreachable)
	})
}

func TestCloseEndsWhatIsUnderWay(t *testing.T) {
	s := newSource("latest")
	s.slow = 10 * time.Second
	in(t, s, trustcache.Options{}, func(t *testing.T, c *trustcache.Cache) {
		ended := make(chan error)
		go func() {
			_, err := c.Tag(t.Context(), gun, "latest")
			ended <- err
		}()
		synctest.Wait()
		start := time.Now()
		closed := make(chan struct{})
		go func() { c.Close(); close(closed) }()
		if err := <-ended; !errors.Is(err, trustcache.ErrUnreachable) {
			t.Error(err)
		}
		<-closed
		if took := time.Since(start); took != 0 {
			t.Errorf("took %s", took)
		}
	})
}

func TestAClosedCacheAnswersFromWhatItHas(t *testing.T) {
	s := newSource("latest")
	s.lives = time.Hour
	in(t, s, trustcache.Options{}, func(t *testing.T, c *trustcache.Cache) {
		fresh(t, c)
		c.Close()
		c.Close()
		fresh(t, c)
		time.Sleep(55 * time.Second)
		fresh(t, c)
		time.Sleep(5 * time.Second)
		stale(t, c, trustcache.ErrUnreachable)
		if _, err := c.Tag(t.Context(), "another", "latest"); !errors.Is(err, trustcache.ErrUnreachable) {
			t.Error(err)
		}
		time.Sleep(time.Hour)
		fails(t, c, trustcache.ErrExpired)
		s.wantCalls(t, 1)
	})
}

// TestManyCallersAtOnce is for the race detector: every path at the same time.
func TestManyCallersAtOnce(t *testing.T) {
	s := newSource("latest", "v1")
	synctest.Test(t, func(t *testing.T) {
		c := trustcache.New(trustcache.Options{Source: s, MaxBytes: 3000, MaxUnknown: 3, Refresh: 3 * time.Second, OnRefresh: func(trustcache.Refresh) {}})
		var wg sync.WaitGroup
		for i := range 50 {
			wg.Go(func() {
				for n := range 50 {
					ctx, cancel := context.WithTimeout(t.Context(), time.Duration(n%4+1)*time.Second)
					_, _ = c.Tag(ctx, fmt.Sprint(n%7), []string{"latest", "v1", "v2"}[i%3])
					cancel()
					time.Sleep(time.Duration(i%5) * 100 * time.Millisecond)
					s.tell(func(s *source) {
						s.err = []error{nil, trustcache.ErrUnreachable, trustcache.ErrNoTrustData, trustcache.ErrVanished}[n%4]
						s.slow = time.Duration(n%3) * time.Second
					})
				}
			})
		}
		wg.Wait()
		c.Close()
	})
}

// TestARefreshThatPanicsIsLanded: the defect is not in the source but around it,
// and whoever waits hears of it; the next one looks again.
func TestARefreshThatPanicsIsLanded(t *testing.T) {
	s := newSource("latest")
	var bomb atomic.Bool
	var reports []trustcache.Refresh
	opts := trustcache.Options{
		Now: func() time.Time {
			if bomb.Load() && s.called() > 1 { // after the source has answered
				bomb.Store(false)
				panic("a bug")
			}
			return time.Now()
		},
		OnRefresh: func(r trustcache.Refresh) { reports = append(reports, r) },
	}
	in(t, s, opts, func(t *testing.T, c *trustcache.Cache) {
		fresh(t, c)
		time.Sleep(2 * time.Minute)
		bomb.Store(true)
		view, err := c.Tag(t.Context(), gun, "latest")
		if err != nil || !errors.Is(view.Stale, trustcache.ErrMalicious) {
			t.Errorf("got %+v, %v: what stood before stands, and says why", view, err)
		}
		synctest.Wait() // until it is reported
		if last := reports[len(reports)-1]; last.Panic == nil || !last.Standing {
			t.Errorf("reported %+v", last)
		}
		time.Sleep(2 * time.Minute)
		fresh(t, c)
	})
}

func TestAPanicOfWhoeverIsToldOfARefreshIsLeftThere(t *testing.T) {
	s := newSource("latest")
	in(t, s, trustcache.Options{OnRefresh: func(trustcache.Refresh) { panic("a bug") }}, func(t *testing.T, c *trustcache.Cache) {
		for range 2 {
			fresh(t, c)
			time.Sleep(2 * time.Minute)
		}
		s.wantCalls(t, 2)
	})
}
