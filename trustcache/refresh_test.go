package trustcache_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sealgate/sealgate/trustcache"
)

func TestAFreshSnapshotIsUsedWithoutAskingAgain(t *testing.T) {
	s := newSource("latest")
	in(t, s, trustcache.Options{}, func(t *testing.T, c *trustcache.Cache) {
		first := fresh(t, c)
		for range 47 {
			time.Sleep(time.Second)
			fresh(t, c)
		}
		s.wantCalls(t, 1)
		if first.Contact != time.Now().Add(-47*time.Second) || s.prevs[0] != nil {
			t.Errorf("contact %s, first call with %v", first.Contact, s.prevs[0])
		}
	})
}

// TestARefreshStartsAheadOfTime: within the last fifth of the interval, at a
// moment that chance picks, and no caller waits for it.
func TestARefreshStartsAheadOfTime(t *testing.T) {
	moments := map[int]bool{}
	for range 40 {
		s := newSource("latest")
		in(t, s, trustcache.Options{}, func(t *testing.T, c *trustcache.Cache) {
			first := fresh(t, c)
			s.tell(func(s *source) { s.slow = time.Second })
			for second := 0; ; second++ {
				start := time.Now()
				view := fresh(t, c)
				if time.Since(start) != 0 || view.Snapshot != first.Snapshot {
					t.Fatalf("a caller waited %s", time.Since(start))
				}
				synctest.Wait()
				if s.called() == 2 {
					if second < 48 || second > 54 {
						t.Errorf("refreshed after %d s of 60", second)
					}
					moments[second] = true
					break
				}
				time.Sleep(time.Second)
			}
			if s.prevs[1] != first.Snapshot {
				t.Error("the source was not given the last snapshot")
			}
			time.Sleep(2 * time.Second)
			if view := fresh(t, c); view.Snapshot == first.Snapshot {
				t.Error("the new snapshot is not used")
			}
			s.wantCalls(t, 2)
		})
	}
	if len(moments) < 3 {
		t.Errorf("refreshes of 40 caches fell on %d moments", len(moments))
	}
}

// TestAnAnswerThatTookLongerThanRefreshIsNotStale: it was asked for just now.
func TestAnAnswerThatTookLongerThanRefreshIsNotStale(t *testing.T) {
	s := newSource("latest")
	s.slow = 1500 * time.Millisecond
	in(t, s, trustcache.Options{Refresh: time.Second}, func(t *testing.T, c *trustcache.Cache) {
		fresh(t, c)
		fresh(t, c) // asked for anew
		s.wantCalls(t, 2)
		s.tell(func(s *source) { s.err = trustcache.ErrUnreachable })
		stale(t, c, trustcache.ErrUnreachable)
	})
}

func TestAnOldSnapshotIsRefreshedBeforeItAnswers(t *testing.T) {
	s := newSource("latest")
	in(t, s, trustcache.Options{Refresh: 10 * time.Second}, func(t *testing.T, c *trustcache.Cache) {
		first := fresh(t, c)
		time.Sleep(10 * time.Second)
		if view := fresh(t, c); view.Snapshot == first.Snapshot || view.Contact != time.Now() {
			t.Error("the old snapshot answered")
		}
		s.wantCalls(t, 2)
	})
}

// TestACallerIsNotKeptWaiting while there is something to answer with.
func TestACallerIsNotKeptWaiting(t *testing.T) {
	s := newSource("latest")
	in(t, s, trustcache.Options{}, func(t *testing.T, c *trustcache.Cache) {
		first := fresh(t, c)
		s.tell(func(s *source) { s.slow = 10 * time.Second })
		time.Sleep(time.Hour)
		start := time.Now()
		view := stale(t, c, trustcache.ErrUnreachable)
		if took := time.Since(start); took != 2*time.Second || view.Snapshot != first.Snapshot {
			t.Errorf("answered after %s", took)
		}
		stale(t, c, trustcache.ErrUnreachable) // joins the same refresh
		s.wantCalls(t, 2)
		time.Sleep(8 * time.Second)
		synctest.Wait()
		fresh(t, c)
		s.wantCalls(t, 2)
	})
}

func TestACallerWaitsWhereThereIsNothingToAnswerWith(t *testing.T) {
	s := newSource("latest")
	s.slow = 15 * time.Second
	in(t, s, trustcache.Options{}, func(t *testing.T, c *trustcache.Cache) {
		start := time.Now()
		fresh(t, c)
		if took := time.Since(start); took != 15*time.Second {
			t.Errorf("answered after %s", took)
		}
	})
}

// TestContactIsWhenTheSourceWasAsked: what was signed after that may be
// missing from the answer, however long it took.
func TestContactIsWhenTheSourceWasAsked(t *testing.T) {
	s := newSource("v1")
	s.slow = 3 * time.Second
	in(t, s, trustcache.Options{}, func(t *testing.T, c *trustcache.Cache) {
		start := time.Now()
		if view := fresh(t, c); view.Contact != start {
			t.Errorf("contact %s, asked at %s", view.Contact, start)
		}
		s.tell(func(s *source) { s.slow, s.tags = 0, []string{"latest", "v1"} })
		if _, ok := fresh(t, c).Lookup("latest"); !ok {
			t.Error("a tag signed while the source was slow is not looked for")
		}
	})
}

func TestARefreshHasItsOwnDeadline(t *testing.T) {
	s := newSource("latest")
	s.slow = time.Hour
	for deadline, want := range map[time.Duration]time.Duration{0: 20 * time.Second, 5 * time.Second: 5 * time.Second} {
		in(t, s, trustcache.Options{Deadline: deadline}, func(t *testing.T, c *trustcache.Cache) {
			start := time.Now()
			fails(t, c, trustcache.ErrUnreachable)
			if took := time.Since(start); took != want {
				t.Errorf("gave up after %s, expected %s", took, want)
			}
		})
	}
}

func TestAFailureIsTriedAgainAfterASecond(t *testing.T) {
	s := newSource("latest")
	in(t, s, trustcache.Options{}, func(t *testing.T, c *trustcache.Cache) {
		fresh(t, c)
		s.tell(func(s *source) { s.err = trustcache.ErrUnreachable })
		time.Sleep(time.Minute)
		stale(t, c, trustcache.ErrUnreachable)
		time.Sleep(time.Second - 1)
		stale(t, c, trustcache.ErrUnreachable)
		s.wantCalls(t, 2)
		s.tell(func(s *source) { s.err = nil })
		time.Sleep(time.Nanosecond)
		fresh(t, c)
		s.wantCalls(t, 3)
	})
}

func TestAFailedEarlyRefreshLeavesTheSnapshotFresh(t *testing.T) {
	s := newSource("latest")
	in(t, s, trustcache.Options{}, func(t *testing.T, c *trustcache.Cache) {
		fresh(t, c)
		s.tell(func(s *source) { s.err = trustcache.ErrMalicious })
		time.Sleep(55 * time.Second)
		fresh(t, c)
		s.wantCalls(t, 2)
		fresh(t, c)
		s.wantCalls(t, 2) // not within the second
		time.Sleep(5 * time.Second)
		stale(t, c, trustcache.ErrMalicious)
		s.wantCalls(t, 3)
	})
}

func TestATagThatIsMissingIsLookedForOnceMore(t *testing.T) {
	s := newSource("v1")
	in(t, s, trustcache.Options{}, func(t *testing.T, c *trustcache.Cache) {
		miss := func(calls int) {
			t.Helper()
			view := fresh(t, c)
			if _, ok := view.Lookup("latest"); ok {
				t.Fatal("the tag is there")
			}
			s.wantCalls(t, calls)
		}
		miss(1)
		time.Sleep(2*time.Second - 1)
		miss(1) // too young
		time.Sleep(time.Nanosecond)
		miss(2)
		miss(2) // once
		_, err := c.Tag(t.Context(), gun, "v1")
		must(t, err)
		time.Sleep(3 * time.Second)
		_, err = c.Tag(t.Context(), gun, "v1")
		must(t, err)
		_, err = c.Repository(t.Context(), gun)
		must(t, err)
		s.wantCalls(t, 2) // nobody missed anything

		s.tell(func(s *source) { s.tags = []string{"latest", "v1"} })
		view := fresh(t, c)
		if target, ok := view.Lookup("latest"); !ok || target.Digest != digest("latest") {
			t.Error("a tag just signed is not there")
		}
		s.wantCalls(t, 3)
	})
}

func TestAMissWhileTheSourceFailsIsTriedOnceASecond(t *testing.T) {
	s := newSource("v1")
	in(t, s, trustcache.Options{}, func(t *testing.T, c *trustcache.Cache) {
		fresh(t, c)
		s.tell(func(s *source) { s.err = trustcache.ErrUnreachable })
		time.Sleep(2 * time.Second)
		for range 100 {
			fresh(t, c)
		}
		s.wantCalls(t, 2)
	})
}

func TestASignedTagWithoutADigestIsNoMiss(t *testing.T) {
	s := newSource()
	s.build = func(gun string) *trustcache.Snapshot {
		return trustcache.NewSnapshot(trustcache.Contents{
			GUN: gun, Expires: time.Now().Add(time.Hour), Targets: []trustcache.Target{{Tag: "latest", NoDigest: true}},
		})
	}
	in(t, s, trustcache.Options{}, func(t *testing.T, c *trustcache.Cache) {
		fresh(t, c)
		time.Sleep(3 * time.Second)
		fresh(t, c)
		s.wantCalls(t, 1)
	})
}

func TestEveryRefreshIsReported(t *testing.T) {
	s := newSource("latest")
	var reports []trustcache.Refresh
	opts := trustcache.Options{OnRefresh: func(r trustcache.Refresh) { reports = append(reports, r) }}
	in(t, s, opts, func(t *testing.T, c *trustcache.Cache) {
		s.tell(func(s *source) { s.slow = time.Second })
		fresh(t, c)
		for _, err := range []error{trustcache.ErrUnreachable, trustcache.ErrVanished, trustcache.ErrMalicious} {
			s.tell(func(s *source) { s.err = err })
			time.Sleep(time.Minute)
			_, _ = c.Tag(context.Background(), gun, "latest")
		}
		s.tell(func(s *source) { s.panic = "boom" })
		time.Sleep(time.Minute)
		_, _ = c.Tag(context.Background(), gun, "latest")
		synctest.Wait()
	})
	want := []struct {
		err      error
		standing bool
	}{{nil, false}, {trustcache.ErrUnreachable, true}, {trustcache.ErrVanished, false}, {trustcache.ErrMalicious, false}, {trustcache.ErrMalicious, false}}
	if len(reports) != len(want) {
		t.Fatalf("%d reports, expected %d", len(reports), len(want))
	}
	for i, r := range reports {
		if !errors.Is(r.Err, want[i].err) || r.Standing != want[i].standing || r.GUN != gun || r.Duration != time.Second {
			t.Errorf("report %d: %+v, expected %+v", i, r, want[i])
		}
		if (r.Panic != nil) != (i == len(want)-1) {
			t.Errorf("report %d: panic %s", i, r.Panic)
		}
	}
}
