package trustcache_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sealgate/sealgate/trustcache"
)

const gun = "registry.example.com/acme/app"

// source answers as it is told to, slowly if it is told to, and counts.
type source struct {
	mu    sync.Mutex
	calls map[string]int
	prevs []*trustcache.Snapshot
	err   error
	slow  time.Duration
	tags  []string
	lives time.Duration // of a snapshot; zero: for ever
	panic any
	build func(gun string) *trustcache.Snapshot // instead of tags
	// fetched, where it is set, may refuse what it is given, at once.
	fetched func(prev *trustcache.Snapshot) error
	beside  *trustcache.Snapshot // what comes with err
}

func newSource(tags ...string) *source { return &source{tags: tags, calls: map[string]int{}} }

func (s *source) Fetch(ctx context.Context, gun string, prev *trustcache.Snapshot) (*trustcache.Snapshot, error) {
	s.mu.Lock()
	s.calls[gun]++
	s.prevs = append(s.prevs, prev)
	err, slow, tags, lives, panics, build, fetched, beside := s.err, s.slow, s.tags, s.lives, s.panic, s.build, s.fetched, s.beside
	s.mu.Unlock()
	if fetched != nil {
		if err := fetched(prev); err != nil {
			return nil, err
		}
	}
	if slow > 0 {
		select {
		case <-time.After(slow):
		case <-ctx.Done():
			return nil, errors.Join(trustcache.ErrUnreachable, ctx.Err())
		}
	}
	if panics != nil {
		panic(panics)
	}
	if err != nil {
		return beside, err
	}
	if build != nil {
		return build(gun), nil
	}
	return snapshot(gun, lives, tags...), nil
}

// tell changes what the source does.
func (s *source) tell(change func(s *source)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(s)
}

func (s *source) called() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, c := range s.calls {
		n += c
	}
	return n
}

func (s *source) wantCalls(t *testing.T, n int) {
	t.Helper()
	synctest.Wait()
	if got := s.called(); got != n {
		t.Errorf("the source was asked %d times, expected %d", got, n)
	}
}

func digest(tag string) trustcache.Digest { return sha256.Sum256([]byte(tag)) }

func snapshot(gun string, lives time.Duration, tags ...string) *trustcache.Snapshot {
	if lives == 0 {
		lives = 1000 * time.Hour
	}
	c := trustcache.Contents{GUN: gun, Expires: time.Now().Add(lives), ExpiresRole: "targets"}
	for _, tag := range tags {
		c.Targets = append(c.Targets, trustcache.Target{Tag: tag, Digest: digest(tag), Role: "targets", Signers: []string{"targets"}})
	}
	return trustcache.NewSnapshot(c)
}

// in runs a test in a bubble of fake time with a cache over the source, whose
// snapshots stand for a day unless opts says otherwise.
func in(t *testing.T, s *source, opts trustcache.Options, test func(t *testing.T, c *trustcache.Cache)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		opts.Source = s
		if opts.MaxStale == 0 {
			opts.MaxStale = 24 * time.Hour
		}
		c := trustcache.New(opts)
		defer c.Close()
		test(t, c)
	})
}

// fresh and stale check what a caller gets for the tag "latest".
func fresh(t *testing.T, c *trustcache.Cache) trustcache.View {
	t.Helper()
	view, err := c.Tag(t.Context(), gun, "latest")
	must(t, err)
	if view.Stale != nil {
		t.Fatalf("stale: %v", view.Stale)
	}
	return view
}

func stale(t *testing.T, c *trustcache.Cache, why error) trustcache.View {
	t.Helper()
	view, err := c.Tag(t.Context(), gun, "latest")
	must(t, err)
	if !errors.Is(view.Stale, why) {
		t.Fatalf("stale because %v, expected %v", view.Stale, why)
	}
	return view
}

func fails(t *testing.T, c *trustcache.Cache, why error) {
	t.Helper()
	if _, err := c.Tag(t.Context(), gun, "latest"); !errors.Is(err, why) {
		t.Fatalf("error %v, expected %v", err, why)
	}
}
