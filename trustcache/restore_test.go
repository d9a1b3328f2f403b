package trustcache_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sealgate/sealgate/trustcache"
)

// keeper is a source that restores what it kept.
type keeper struct {
	*source
	kept    *trustcache.Snapshot
	contact time.Time
	fails   error
	asked   int
	during  func()
}

func (k *keeper) Restore(context.Context, string) (*trustcache.Snapshot, time.Time, error) {
	k.asked++
	if k.during != nil {
		k.during()
	}
	return k.kept, k.contact, k.fails
}

// restart runs a test with a cache over a source that kept "latest" age ago.
func restart(t *testing.T, age time.Duration, opts trustcache.Options, test func(t *testing.T, k *keeper, c *trustcache.Cache)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		k := &keeper{source: newSource("latest", "new"), kept: snapshot(gun, 0, "latest"), contact: time.Now().Add(-age)}
		opts.Source, opts.MaxStale = k, 24*time.Hour
		c := trustcache.New(opts)
		defer c.Close()
		test(t, k, c)
	})
}

func TestWhatWasKeptIsUsedWhileItIsFresh(t *testing.T) {
	restart(t, 30*time.Second, trustcache.Options{}, func(t *testing.T, k *keeper, c *trustcache.Cache) {
		if view := fresh(t, c); view.Snapshot != k.kept || !view.Contact.Equal(k.contact) {
			t.Error("another snapshot, or another contact")
		}
		k.wantCalls(t, 0)
		time.Sleep(30 * time.Second)
		if view := fresh(t, c); view.Snapshot == k.kept {
			t.Error("not refreshed")
		}
		k.wantCalls(t, 1)
		if k.prevs[0] != k.kept || k.asked != 1 {
			t.Errorf("the source did not get back what it kept, or was asked %d times", k.asked)
		}
	})
}

func TestWhatWasKeptIsRefreshedBeforeItIsUsed(t *testing.T) {
	restart(t, time.Hour, trustcache.Options{}, func(t *testing.T, k *keeper, c *trustcache.Cache) {
		view := fresh(t, c)
		if _, ok := view.Lookup("new"); !ok || k.prevs[0] != k.kept {
			t.Error("answered with what was kept, though the source could be asked")
		}
		k.wantCalls(t, 1)
	})
}

// TestAContactInTheFutureSaysNothing: a clock was wrong once, and the source is
// asked all the same.
func TestAContactInTheFutureSaysNothing(t *testing.T) {
	restart(t, -240*time.Hour, trustcache.Options{}, func(t *testing.T, k *keeper, c *trustcache.Cache) {
		if view := fresh(t, c); view.Snapshot == k.kept {
			t.Error("the source was not asked")
		}
		k.wantCalls(t, 1)
	})
}

// TestWhatWasKeptStandsInAnOutage, no longer than if there had been no restart.
func TestWhatWasKeptStandsInAnOutage(t *testing.T) {
	restart(t, time.Hour, trustcache.Options{}, func(t *testing.T, k *keeper, c *trustcache.Cache) {
		k.err = trustcache.ErrUnreachable
		if view := stale(t, c, trustcache.ErrUnreachable); view.Snapshot != k.kept {
			t.Error("another snapshot")
		}
		time.Sleep(23*time.Hour - time.Second)
		stale(t, c, trustcache.ErrUnreachable)
		time.Sleep(2 * time.Second)
		fails(t, c, trustcache.ErrUnreachable)
		k.tell(func(s *source) { s.err = trustcache.ErrVanished })
		time.Sleep(2 * time.Second)
		fails(t, c, trustcache.ErrVanished)
	})
}

func TestASlowSourceKeepsNobodyFromWhatWasKept(t *testing.T) {
	restart(t, time.Hour, trustcache.Options{}, func(t *testing.T, k *keeper, c *trustcache.Cache) {
		k.slow = 19 * time.Second
		begin := time.Now()
		stale(t, c, trustcache.ErrUnreachable)
		if took := time.Since(begin); took != 2*time.Second {
			t.Errorf("answered after %s", took)
		}
	})
}

func TestWhatWasKeptForTooLongAnswersNothing(t *testing.T) {
	restart(t, 25*time.Hour, trustcache.Options{}, func(t *testing.T, k *keeper, c *trustcache.Cache) {
		k.err = trustcache.ErrUnreachable
		fails(t, c, trustcache.ErrUnreachable)
		k.tell(func(s *source) { s.err = nil })
		time.Sleep(2 * time.Second)
		fresh(t, c)
	})
}

// TestWhatCannotBeRestoredIsFetched, and told where it is more than nothing.
func TestWhatCannotBeRestoredIsFetched(t *testing.T) {
	for _, why := range []error{trustcache.ErrNoTrustData, trustcache.ErrMalicious, trustcache.ErrExpired, trustcache.ErrUnreachable} {
		var told []trustcache.Refresh
		restart(t, 0, trustcache.Options{OnRefresh: func(r trustcache.Refresh) { told = append(told, r) }}, func(t *testing.T, k *keeper, c *trustcache.Cache) {
			k.kept, k.fails = nil, why
			fresh(t, c)
			synctest.Wait() // OnRefresh is told after the callers
			k.wantCalls(t, 1)
			if k.prevs[0] != nil {
				t.Error("with a snapshot that is none")
			}
			if restores := len(told) - 1; (restores == 1) != !errors.Is(why, trustcache.ErrNoTrustData) || restores == 1 && (!told[0].Restore || !errors.Is(told[0].Err, why)) {
				t.Errorf("%v: told %+v", why, told)
			}
		})
		told = nil
	}
}

func TestAPanicWhileRestoringIsCaught(t *testing.T) {
	var told []trustcache.Refresh
	restart(t, 0, trustcache.Options{OnRefresh: func(r trustcache.Refresh) { told = append(told, r) }}, func(t *testing.T, k *keeper, c *trustcache.Cache) {
		k.during = func() { panic("boom") }
		fresh(t, c)
		synctest.Wait()
		if len(told) != 2 || told[0].Panic == nil {
			t.Errorf("told %+v", told)
		}
	})
}

func TestWhatIsForgottenWhileItIsRestored(t *testing.T) {
	restart(t, 0, trustcache.Options{}, func(t *testing.T, k *keeper, c *trustcache.Cache) {
		k.during = func() {
			k.during, k.kept = nil, nil
			c.Forget(gun)
		}
		if view := fresh(t, c); view.Len() != 2 {
			t.Error("what was forgotten is back")
		}
	})
}

// TestWhatHadToMakeRoomIsRestored, and not fetched as a whole.
func TestWhatHadToMakeRoomIsRestored(t *testing.T) {
	restart(t, 0, trustcache.Options{MaxBytes: 1}, func(t *testing.T, k *keeper, c *trustcache.Cache) {
		fresh(t, c)
		k.kept = snapshot("other", 0, "latest")
		ask(t, c, "other")
		k.kept = snapshot(gun, 0, "latest")
		fresh(t, c)
		k.wantCalls(t, 0)
	})
}

// TestAllowExpired: what is in memory may stand past its expiry, marked, and no
// longer than max-stale.
func TestAllowExpired(t *testing.T) {
	restart(t, time.Hour, trustcache.Options{AllowExpired: true}, func(t *testing.T, k *keeper, c *trustcache.Cache) {
		k.kept, k.err = snapshot(gun, time.Hour, "latest"), trustcache.ErrUnreachable
		stale(t, c, trustcache.ErrUnreachable)
		time.Sleep(time.Hour)
		stale(t, c, trustcache.ErrExpired)
		k.tell(func(s *source) { s.err = trustcache.ErrExpired }) // what is fetched may not be expired
		time.Sleep(time.Hour)
		stale(t, c, trustcache.ErrExpired)
		time.Sleep(21 * time.Hour)
		fails(t, c, trustcache.ErrExpired)
	})
}
