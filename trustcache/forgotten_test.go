package trustcache_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sealgate/sealgate/trustcache"
)

// forgetful is a source whose snapshots another process has forgotten.
func forgetful(s *source) {
	s.fetched = func(prev *trustcache.Snapshot) error {
		if prev != nil {
			return trustcache.ErrForgotten
		}
		return nil
	}
}

// TestWhatAReplicaHasForgottenIsLookedAtAnew, in the same refresh.
func TestWhatAReplicaHasForgottenIsLookedAtAnew(t *testing.T) {
	s := newSource("latest")
	in(t, s, trustcache.Options{}, func(t *testing.T, c *trustcache.Cache) {
		first := fresh(t, c)
		time.Sleep(time.Minute)
		s.tell(forgetful)
		if view := fresh(t, c); view.Snapshot == first.Snapshot {
			t.Error("what was forgotten is used")
		}
		s.wantCalls(t, 3)
	})
}

// TestWhatAReplicaHasForgottenDoesNotStand while the source gives no answer, not
// even for a caller who has no patience with a source that is slow.
func TestWhatAReplicaHasForgottenDoesNotStand(t *testing.T) {
	for name, lie := range map[string]func(s *source){
		"the source fails":   func(s *source) { s.err = trustcache.ErrUnreachable },
		"the source is slow": func(s *source) { s.slow, s.err = 10*time.Second, trustcache.ErrUnreachable },
	} {
		t.Run(name, func(t *testing.T) {
			s := newSource("latest")
			in(t, s, trustcache.Options{}, func(t *testing.T, c *trustcache.Cache) {
				fresh(t, c)
				time.Sleep(time.Minute)
				s.tell(forgetful)
				s.tell(lie)
				late := make(chan error)
				go func() {
					time.Sleep(time.Second)
					_, err := c.Repository(t.Context(), gun)
					late <- err
				}()
				fails(t, c, trustcache.ErrUnreachable)
				if err := <-late; !errors.Is(err, trustcache.ErrUnreachable) {
					t.Errorf("who came later got %v", err)
				}
				synctest.Wait()
				if stats := c.Stats(); stats.Known != 0 {
					t.Errorf("kept: %+v", stats)
				}
			})
		})
	}
}

// TestWhatAReplicaHasAcceptedStands in the place of what this one had, as stale,
// while its own source fails.
func TestWhatAReplicaHasAcceptedStands(t *testing.T) {
	s := newSource("old", "latest")
	in(t, s, trustcache.Options{}, func(t *testing.T, c *trustcache.Cache) {
		first := fresh(t, c)
		time.Sleep(50 * time.Second)
		newer := snapshot(gun, 0, "latest")
		s.tell(func(s *source) { s.err, s.beside = trustcache.ErrMalicious, newer })
		ask := func() { c.Tag(t.Context(), gun, "latest") }
		for range 9 { // an early refresh, at a moment that chance picks
			ask()
			synctest.Wait()
			time.Sleep(time.Second)
		}
		if view := stale(t, c, trustcache.ErrMalicious); view.Snapshot != newer || !view.Contact.Equal(first.Contact) {
			t.Errorf("stands: %v, with a contact at %s", view.Snapshot, view.Contact)
		}
		s.tell(func(s *source) { s.err, s.beside = nil, nil })
		time.Sleep(2 * time.Second)
		if view := fresh(t, c); view.Snapshot == newer {
			t.Error("the source's own answer is not used")
		}
	})
}
