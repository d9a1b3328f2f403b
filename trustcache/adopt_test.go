package trustcache_test

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sealgate/sealgate/trustcache"
)

func all(snap *trustcache.Snapshot) *trustcache.Snapshot { return snap }

// reloaded runs a test with a cache that lives through before, and one over the
// same source that has adopted what judge lets through of it.
func reloaded(t *testing.T, s *source, opts trustcache.Options, judge func(*trustcache.Snapshot) *trustcache.Snapshot, before func(t *testing.T, old *trustcache.Cache), test func(t *testing.T, old, c *trustcache.Cache)) {
	t.Helper()
	in(t, s, trustcache.Options{}, func(t *testing.T, old *trustcache.Cache) {
		before(t, old)
		s.tell(func(s *source) { clear(s.calls); s.prevs = nil })
		opts.Source, opts.MaxStale = s, 24*time.Hour
		c := trustcache.New(opts)
		defer c.Close()
		c.Adopt(old, judge)
		test(t, old, c)
	})
}

func TestAnAdoptedSnapshotIsAsFreshAsItWas(t *testing.T) {
	s := newSource("latest")
	var was trustcache.View
	reloaded(t, s, trustcache.Options{}, all, func(t *testing.T, old *trustcache.Cache) {
		was = fresh(t, old)
		time.Sleep(30 * time.Second)
	}, func(t *testing.T, old, c *trustcache.Cache) {
		view := fresh(t, c)
		if view.Snapshot != was.Snapshot || !view.Contact.Equal(was.Contact) {
			t.Error("another snapshot, or another time of contact")
		}
		s.wantCalls(t, 0)
		time.Sleep(30 * time.Second)
		fresh(t, c)
		s.wantCalls(t, 1)
		if s.prevs[0] != was.Snapshot {
			t.Error("the source did not get the adopted snapshot back")
		}
		fresh(t, old) // which goes on by itself
		s.wantCalls(t, 2)
	})
}

func TestAnAdoptedFailureIsNotForgotten(t *testing.T) {
	for _, why := range []error{trustcache.ErrUnreachable, trustcache.ErrMalicious} {
		s := newSource("latest")
		reloaded(t, s, trustcache.Options{}, all, func(t *testing.T, old *trustcache.Cache) {
			fresh(t, old)
			s.tell(func(s *source) { s.err = why })
			time.Sleep(time.Minute)
			stale(t, old, why)
		}, func(t *testing.T, _, c *trustcache.Cache) {
			stale(t, c, why)
			s.wantCalls(t, 0) // not before a second has passed
			time.Sleep(time.Second)
			stale(t, c, why)
			s.wantCalls(t, 1)
			time.Sleep(24*time.Hour - time.Minute - time.Second)
			fails(t, c, why) // a day after the last good answer, not after the reload
		})
	}
}

func TestWhatVanishedIsAdoptedAsVanished(t *testing.T) {
	s := newSource("latest")
	vanished := func(t *testing.T, old *trustcache.Cache) {
		fresh(t, old)
		s.tell(func(s *source) { s.err = trustcache.ErrVanished })
		time.Sleep(time.Minute)
		fails(t, old, trustcache.ErrVanished)
		s.tell(func(s *source) { s.err = trustcache.ErrUnreachable })
		time.Sleep(time.Second)
	}
	reloaded(t, s, trustcache.Options{}, all, vanished, func(t *testing.T, _, c *trustcache.Cache) {
		fails(t, c, trustcache.ErrVanished)
		s.tell(func(s *source) { s.err = nil })
		time.Sleep(time.Second)
		fresh(t, c)
	})
}

func TestWhatIsNotKeptIsLookedAtAnew(t *testing.T) {
	s := newSource("latest")
	judge := func(snap *trustcache.Snapshot) *trustcache.Snapshot {
		if snap.GUN() == gun {
			return nil
		}
		return snap
	}
	reloaded(t, s, trustcache.Options{}, judge, func(t *testing.T, old *trustcache.Cache) {
		fresh(t, old)
		ask(t, old, "other")
	}, func(t *testing.T, _, c *trustcache.Cache) {
		ask(t, c, "other")
		s.wantCalls(t, 0)
		fresh(t, c)
		s.wantCalls(t, 1)
		if s.prevs[0] != nil {
			t.Error("the source got a snapshot that was not kept")
		}
	})
}

// TestWhatIsUnknownIsNotAdopted: it may well be known under the new pins.
func TestWhatIsUnknownIsNotAdopted(t *testing.T) {
	s := newSource("latest")
	s.err = trustcache.ErrUnpinned
	reloaded(t, s, trustcache.Options{}, all, func(t *testing.T, old *trustcache.Cache) {
		fails(t, old, trustcache.ErrUnpinned)
		s.err = nil
	}, func(t *testing.T, _, c *trustcache.Cache) {
		fresh(t, c)
		s.wantCalls(t, 1)
	})
}

// TestARefreshUnderWayIsNotAdopted: it ends where it was begun.
func TestARefreshUnderWayIsNotAdopted(t *testing.T) {
	s := newSource("latest")
	reloaded(t, s, trustcache.Options{}, all, func(t *testing.T, old *trustcache.Cache) {
		fresh(t, old)
		time.Sleep(time.Minute)
		s.tell(func(s *source) { s.slow = 5 * time.Second })
		go old.Tag(t.Context(), gun, "latest")
		synctest.Wait()
	}, func(t *testing.T, old, c *trustcache.Cache) {
		go c.Tag(t.Context(), gun, "latest")
		s.wantCalls(t, 1)
		time.Sleep(5 * time.Second)
		s.wantCalls(t, 1)
		if a, b := fresh(t, old), fresh(t, c); a.Snapshot == b.Snapshot {
			t.Error("one refresh served both caches")
		}
	})
}

func TestAShorterIntervalCountsFromTheLastContact(t *testing.T) {
	s := newSource("latest")
	reloaded(t, s, trustcache.Options{Refresh: 10 * time.Second}, all, func(t *testing.T, old *trustcache.Cache) { fresh(t, old) }, func(t *testing.T, _, c *trustcache.Cache) {
		time.Sleep(8*time.Second - 1)
		fresh(t, c)
		s.wantCalls(t, 0)
		time.Sleep(time.Second + 1) // in the last tenth, ahead of time
		was := fresh(t, c)
		s.wantCalls(t, 1)
		if view := fresh(t, c); view.Snapshot == was.Snapshot {
			t.Error("the caller waited for a refresh ahead of time")
		}
	})
	s = newSource("latest")
	reloaded(t, s, trustcache.Options{Refresh: 10 * time.Second}, all, func(t *testing.T, old *trustcache.Cache) {
		fresh(t, old)
		time.Sleep(10 * time.Second)
	}, func(t *testing.T, _, c *trustcache.Cache) {
		fresh(t, c)
		s.wantCalls(t, 1)
	})
}

func TestTheLeastRecentlyUsedAreNotAdopted(t *testing.T) {
	s := sized(func(string) int64 { return 1000 })
	reloaded(t, s, trustcache.Options{MaxBytes: 5000}, all, func(t *testing.T, old *trustcache.Cache) {
		for i := range 10 {
			ask(t, old, fmt.Sprint(i))
		}
		ask(t, old, "0") // used again
	}, func(t *testing.T, old, c *trustcache.Cache) {
		if stats := c.Stats(); stats.Known != 5 || stats.Bytes != 5000 {
			t.Errorf("%d adopted with %d bytes", stats.Known, stats.Bytes)
		}
		uses := c.InUse(10)
		for i, want := range []string{"0", "9", "8", "7", "6"} {
			if uses[i].GUN != want {
				t.Errorf("place %d has %s, expected %s", i, uses[i].GUN, want)
			}
		}
		if stats := old.Stats(); stats.Known != 10 || stats.Bytes != 10_000 || old.InUse(1)[0].GUN != "0" {
			t.Errorf("the old cache has %d with %d bytes", stats.Known, stats.Bytes)
		}
	})
}

func TestHitsAndMissesGoOn(t *testing.T) {
	s := newSource("latest")
	reloaded(t, s, trustcache.Options{}, all, func(t *testing.T, old *trustcache.Cache) {
		fresh(t, old)
		fresh(t, old)
	}, func(t *testing.T, _, c *trustcache.Cache) {
		fresh(t, c)
		if stats := c.Stats(); stats.Hits != 2 || stats.Misses != 1 {
			t.Errorf("%d hits, %d misses", stats.Hits, stats.Misses)
		}
	})
}

func TestForgetLeavesNothing(t *testing.T) {
	for _, why := range []error{nil, trustcache.ErrVanished, trustcache.ErrNoTrustData} {
		s := newSource("latest")
		in(t, s, trustcache.Options{}, func(t *testing.T, c *trustcache.Cache) {
			if !errors.Is(why, trustcache.ErrNoTrustData) {
				fresh(t, c)
				time.Sleep(time.Minute)
			}
			ask := func() { c.Tag(t.Context(), gun, "latest") }
			s.tell(func(s *source) { s.err = why })
			ask()
			s.tell(func(s *source) { s.err, s.prevs = nil, nil })
			before := s.called()
			c.Forget(gun)
			c.Forget("never heard of")
			if stats := c.Stats(); stats.Known != 0 || stats.Unknown != 0 || stats.Bytes != 0 {
				t.Errorf("left: %+v", stats)
			}
			fresh(t, c)
			s.wantCalls(t, before+1)
			if s.prevs[0] != nil {
				t.Error("the source got back what was forgotten")
			}
		})
	}
}

// TestForgetDuringARefresh: who waits for it gets its answer, nobody else does.
func TestForgetDuringARefresh(t *testing.T) {
	for _, known := range []bool{false, true} {
		for _, err := range []error{nil, trustcache.ErrMalicious, trustcache.ErrNoTrustData} {
			s := newSource("old")
			in(t, s, trustcache.Options{}, func(t *testing.T, c *trustcache.Cache) {
				if known {
					ask(t, c, gun)
					time.Sleep(time.Minute)
				}
				s.tell(func(s *source) { s.slow, s.err = time.Second, err })
				ended := make(chan error)
				go func() {
					_, err := c.Repository(t.Context(), gun)
					ended <- err
				}()
				synctest.Wait()
				c.Forget(gun)
				s.tell(func(s *source) { s.slow, s.err, s.tags = 0, nil, []string{"latest"} })
				was := fresh(t, c)
				if got := <-ended; !known && !errors.Is(got, err) || known && got != nil {
					t.Errorf("who waited got %v", got)
				}
				if view := fresh(t, c); view.Snapshot != was.Snapshot {
					t.Error("what was forgotten came back")
				}
				if stats := c.Stats(); stats.Known != 1 || stats.Unknown != 0 || stats.Bytes != was.Size() {
					t.Errorf("kept: %+v", stats)
				}
				for range 3 { // and no refresh is taken for being under way
					time.Sleep(time.Minute)
					fresh(t, c)
				}
			})
		}
	}
}

// TestWhatTheCacheBeforeLearnsLater reaches the one after, and the one after
// that: what was shown to somebody is not taken back.
func TestWhatTheCacheBeforeLearnsLater(t *testing.T) {
	s := newSource("old")
	reloaded(t, s, trustcache.Options{Refresh: time.Hour}, all, func(t *testing.T, old *trustcache.Cache) {
		ask(t, old, gun)
		time.Sleep(30 * time.Second)
		s.tell(func(s *source) { s.slow, s.tags = 5*time.Second, []string{"latest"} })
		go old.Tag(t.Context(), gun, "latest") // not there yet: it asks once more
		synctest.Wait()
		s.tell(func(s *source) { s.slow = 0 })
	}, func(t *testing.T, old, c *trustcache.Cache) {
		after := trustcache.New(trustcache.Options{Source: s, MaxStale: 24 * time.Hour, Refresh: time.Hour})
		defer after.Close()
		after.Adopt(c, all)
		strict := trustcache.New(trustcache.Options{Source: s, MaxStale: 24 * time.Hour, Refresh: time.Hour})
		defer strict.Close()
		strict.Adopt(after, func(snap *trustcache.Snapshot) *trustcache.Snapshot {
			if _, ok := snap.Lookup("old"); !ok {
				return nil
			}
			return snap
		})
		time.Sleep(6 * time.Second)
		was := fresh(t, old)
		s.tell(func(s *source) { s.err = trustcache.ErrUnreachable })
		for name, cache := range map[string]*trustcache.Cache{"the next": c, "the one after": after} {
			view, err := cache.Tag(t.Context(), gun, "latest")
			must(t, err)
			if view.Snapshot != was.Snapshot || !view.Contact.Equal(was.Contact) {
				t.Errorf("%s cache went back to %v", name, view)
			}
		}
		if view, err := strict.Repository(t.Context(), gun); err != nil || view.Snapshot == was.Snapshot {
			t.Errorf("one whose pins do not vouch for it has it: %v, %v", view, err)
		}
	})
}

// TestAFailureDoesNotTakeBackWhatTheCacheBeforeLearnt while it asked.
func TestAFailureDoesNotTakeBackWhatTheCacheBeforeLearnt(t *testing.T) {
	s := newSource("old")
	reloaded(t, s, trustcache.Options{}, all, func(t *testing.T, old *trustcache.Cache) {
		ask(t, old, gun)
		time.Sleep(30 * time.Second)
	}, func(t *testing.T, old, c *trustcache.Cache) {
		s.tell(func(s *source) { s.slow, s.tags = time.Second, []string{"latest"} })
		go old.Tag(t.Context(), gun, "latest")
		synctest.Wait()
		s.tell(func(s *source) { s.slow, s.err = 3*time.Second, nil })
		s.tell(func(s *source) { s.err = trustcache.ErrUnreachable })
		_, err := c.Tag(t.Context(), gun, "latest") // waits for the failure, no longer than two seconds
		must(t, err)
		time.Sleep(5 * time.Second)
		view, err := c.Tag(t.Context(), gun, "latest")
		must(t, err)
		if _, ok := view.Lookup("latest"); !ok {
			t.Error("the older snapshot is back")
		}
	})
}

// TestALateAnswerDoesNotTakeBackWhatTheCacheBeforeLearnt: it began earlier, and
// was slow to end.
func TestALateAnswerDoesNotTakeBackWhatTheCacheBeforeLearnt(t *testing.T) {
	s := newSource("old")
	reloaded(t, s, trustcache.Options{}, all, func(t *testing.T, old *trustcache.Cache) {
		ask(t, old, gun)
		time.Sleep(30 * time.Second)
	}, func(t *testing.T, old, c *trustcache.Cache) {
		s.tell(func(s *source) { s.slow = 3 * time.Second })
		go c.Tag(t.Context(), gun, "latest")
		synctest.Wait()
		time.Sleep(time.Second)
		s.tell(func(s *source) { s.slow, s.tags = time.Second, []string{"latest"} })
		_, err := old.Tag(t.Context(), gun, "latest")
		must(t, err)
		time.Sleep(4 * time.Second)
		view, err := c.Repository(t.Context(), gun)
		must(t, err)
		if _, ok := view.Lookup("latest"); !ok {
			t.Error("the older answer is back")
		}
	})
}

// TestWhatWasForgottenIsNotInherited, though it was under way in the cache before.
func TestWhatWasForgottenIsNotInherited(t *testing.T) {
	s := newSource("old")
	reloaded(t, s, trustcache.Options{}, all, func(t *testing.T, old *trustcache.Cache) {
		ask(t, old, gun)
		time.Sleep(30 * time.Second)
		s.tell(func(s *source) { s.slow = time.Second })
		go old.Tag(t.Context(), gun, "latest")
		synctest.Wait()
	}, func(t *testing.T, _, c *trustcache.Cache) {
		c.Forget(gun)
		time.Sleep(2 * time.Second)
		if known := c.Stats().Known; known != 0 {
			t.Errorf("%d repositories are known", known)
		}
	})
}
