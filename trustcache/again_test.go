package trustcache_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sealgate/sealgate/trustcache"
)

func TestARefreshThatIsAskedForIsSeenAtOnce(t *testing.T) {
	s := newSource("latest")
	in(t, s, trustcache.Options{}, func(t *testing.T, c *trustcache.Cache) {
		fresh(t, c)
		s.tell(func(s *source) { s.tags = []string{"latest", "new"} })
		must(t, c.Refresh(t.Context(), gun))
		s.wantCalls(t, 2)
		if view, err := c.Repository(t.Context(), gun); err != nil || view.Len() != 2 {
			t.Errorf("got %v with %v, want both tags from memory", view, err)
		}
		s.wantCalls(t, 2)
	})
}

func TestARefreshEndsThatARepositoryIsUnknown(t *testing.T) {
	s := newSource("latest")
	s.err = fmt.Errorf("%w: %s", trustcache.ErrNoTrustData, gun)
	in(t, s, trustcache.Options{}, func(t *testing.T, c *trustcache.Cache) {
		fails(t, c, trustcache.ErrNoTrustData)
		s.tell(func(s *source) { s.err = nil })
		must(t, c.Refresh(t.Context(), gun))
		fresh(t, c)
		s.wantCalls(t, 2)
	})
}

func TestARefreshUnderWayMayHaveAskedBefore(t *testing.T) {
	s := newSource("latest")
	s.slow = time.Second
	in(t, s, trustcache.Options{}, func(t *testing.T, c *trustcache.Cache) {
		early := make(chan error)
		go func() {
			_, err := c.Tag(t.Context(), gun, "latest")
			early <- err
		}()
		synctest.Wait()
		s.tell(func(s *source) { s.tags = []string{"latest", "new"} })
		must(t, c.Refresh(t.Context(), gun))
		must(t, <-early)
		s.wantCalls(t, 2)
		if view, err := c.Tag(t.Context(), gun, "new"); err != nil || view.Len() != 2 {
			t.Errorf("got %v with %v, want both tags", view, err)
		}
	})
}

func TestARefreshThatFailsSaysWhy(t *testing.T) {
	for _, known := range []bool{false, true} {
		s := newSource("latest")
		in(t, s, trustcache.Options{}, func(t *testing.T, c *trustcache.Cache) {
			if known {
				fresh(t, c)
			}
			s.tell(func(s *source) { s.err = trustcache.ErrUnreachable })
			if err := c.Refresh(t.Context(), gun); !errors.Is(err, trustcache.ErrUnreachable) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestNobodyWaitsForARefreshLongerThanHeLikes(t *testing.T) {
	s := newSource("latest")
	s.slow = time.Minute
	in(t, s, trustcache.Options{Deadline: time.Hour}, func(t *testing.T, c *trustcache.Cache) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		if err := c.Refresh(ctx, gun); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Second {
			t.Errorf("got %v after %s", err, time.Since(start))
		}
	})
	closed := trustcache.New(trustcache.Options{Source: s})
	closed.Close()
	if err := closed.Refresh(t.Context(), gun); !errors.Is(err, trustcache.ErrUnreachable) {
		t.Errorf("a closed cache: got %v", err)
	}
}
