package trustcache

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"golang.org/x/sync/semaphore"
)

const (
	// missAge: a tag that a snapshot does not have is looked for once more
	// when the snapshot is older than this, and so is a repository that had no
	// trust data: a publisher who has just signed is not kept waiting.
	missAge = 2 * time.Second
	// retryAfterFailure: how long a failed update is not tried again.
	retryAfterFailure = time.Second
	// maxFirstLooks bounds the refreshes under way of repositories without a
	// snapshot, maxWaiting those of them that wait for their turn.
	maxFirstLooks = 64
	maxWaiting    = 4096
	// patience: how long a caller waits for an update while a snapshot stands.
	patience = 2 * time.Second
)

// A Source fetches and verifies what the publishers of repositories signed.
type Source interface {
	// Fetch returns the newest verified snapshot of the repository gun. prev
	// is the last snapshot that Fetch returned for it, or nil where none is
	// remembered; a Source must not rely on getting it back to refuse older
	// versions. The cache calls Fetch for one repository at most once at a
	// time, unless it was forgotten during a call, and for different ones
	// concurrently. Every error wraps one of this package's sentinels:
	// ErrForgotten, before anybody is asked, where prev may not stand any more. A
	// snapshot beside an error is what another process on the same store has
	// accepted since prev, verified here: it stands in the place of prev.
	Fetch(ctx context.Context, gun string, prev *Snapshot) (*Snapshot, error)
}

// A Restorer is a Source that keeps what it has verified over a restart.
type Restorer interface {
	Source
	// Restore returns the newest snapshot that was kept of gun, verified once
	// more, and when the source last gave a good answer. It asks nobody. The
	// error wraps one of this package's sentinels; ErrNoTrustData means that
	// nothing was kept.
	Restore(ctx context.Context, gun string) (*Snapshot, time.Time, error)
}

// Options configure a Cache. Source is required.
type Options struct {
	// Source may be a Restorer: it is asked to restore a repository that is
	// looked at for the first time.
	Source Source
	// Refresh is how long a verified snapshot is used before Source is asked
	// again; zero means 60 s.
	Refresh time.Duration
	// MaxStale is how long after the last good answer a snapshot stands while
	// Source gives no other; never shorter than Refresh.
	MaxStale time.Duration
	// AllowExpired lets snapshots in memory stand past their expiry while Source
	// gives no other, marked as stale; never longer than MaxStale.
	AllowExpired bool
	// Deadline bounds one call of Source.Fetch; zero means 20 s.
	Deadline time.Duration
	// MaxBytes bounds the snapshots in memory, MaxUnknown the number of
	// remembered repositories without a snapshot. Zero means 64 MiB and 4,096.
	MaxBytes   int64
	MaxUnknown int
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// OnRefresh, when not nil, is told the outcome of every call of
	// Source.Fetch, from the goroutine that made it, and of those of Restore that
	// failed.
	OnRefresh func(Refresh)
}

// Refresh is the outcome of one call of Source.Fetch, or of Restore.
type Refresh struct {
	Restore  bool
	GUN      string
	Duration time.Duration
	Err      error // nil when the snapshot is good
	// Panic is the stack of a panic of the Source, nil where there was none.
	Panic []byte
	// Standing says that an older snapshot goes on being used after Err;
	// Recovered, that this good answer follows a failed one.
	Standing, Recovered bool
	// Before is the snapshot that was known until then, After the one that is from
	// now on; nil where there is none. They are the same where nothing came of it.
	Before, After *Snapshot
}

// View is what a caller gets: a snapshot that may be used now.
type View struct {
	*Snapshot
	// Stale is nil while the snapshot is fresh; otherwise why the source gave
	// no newer answer.
	Stale error
	// Contact is when the source last gave a good answer.
	Contact time.Time

	// found is where the snapshot has the tag that Tag was asked for, so that
	// nobody has to look for it again.
	tag   string
	found place
}

// Lookup is Snapshot.Lookup.
func (v View) Lookup(tag string) (Target, bool) {
	if v.tag != "" && v.tag == tag {
		return v.at(v.found)
	}
	return v.Snapshot.Lookup(tag)
}

// Cache is safe for concurrent use. Close it to end its refreshes.
type Cache struct {
	opts Options

	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu      sync.Mutex
	known   *simplelru.LRU[string, *state]
	bytes   int64
	unknown *simplelru.LRU[string, failure]
	flights map[string]*flight
	closed  bool

	waiting    int                 // flights of repositories without a snapshot
	firstLooks *semaphore.Weighted // those of them that are under way

	counts *counts
	heir   func(*Snapshot, time.Time) // of what lands from now on; see Adopt
}

// counts go on over a reload: the caches before and after share them.
type counts struct{ hits, misses atomic.Uint64 }

// state is what is known of one repository; replaced, never modified.
type state struct {
	snap    *Snapshot
	contact time.Time // last good answer
	until   time.Time // fresh, if it has not vanished
	early   time.Time // from here on a caller starts a refresh without waiting
	retry   time.Time // after a failure: not before
	err     error     // last failure, nil after a good answer
}

type failure struct {
	err   error
	until time.Time
}

// New returns an empty cache.
func New(opts Options) *Cache {
	if opts.Refresh <= 0 {
		opts.Refresh = time.Minute
	}
	opts.MaxStale = max(opts.MaxStale, opts.Refresh)
	if opts.Deadline <= 0 {
		opts.Deadline = 20 * time.Second
	}
	if opts.MaxBytes <= 0 {
		opts.MaxBytes = 64 << 20
	}
	if opts.MaxUnknown <= 0 {
		opts.MaxUnknown = 4096
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	c := &Cache{opts: opts, counts: &counts{}, flights: map[string]*flight{}, firstLooks: semaphore.NewWeighted(maxFirstLooks)}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	c.known, _ = simplelru.NewLRU(math.MaxInt, func(_ string, s *state) { c.bytes -= s.snap.Size() })
	c.unknown, _ = simplelru.NewLRU[string, failure](opts.MaxUnknown, nil)
	return c
}

// Close ends the refreshes under way and waits for them. A closed cache goes
// on answering from what it has.
func (c *Cache) Close() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.cancel()
	c.wg.Wait()
}

// Repository returns the snapshot of gun, refreshed where it is due. The
// error wraps one of this package's sentinels, or is ctx's.
func (c *Cache) Repository(ctx context.Context, gun string) (View, error) {
	return c.view(ctx, gun, "")
}

// Tag is Repository for a caller that wants tag: a snapshot that does not
// have it and is older than two seconds is refreshed once before it answers.
func (c *Cache) Tag(ctx context.Context, gun, tag string) (View, error) {
	return c.view(ctx, gun, tag)
}

// view answers from memory while the snapshot is fresh and does not miss the
// tag, if one is asked for; otherwise it joins or starts a refresh.
func (c *Cache) view(ctx context.Context, gun, tag string) (View, error) {
	now := c.opts.Now()
	c.mu.Lock()
	st, have := c.known.Get(gun)
	if have && st.fresh(now) {
		found := nowhere
		if tag != "" {
			found = st.snap.find(tag)
		}
		if tag == "" || found != nowhere || now.Sub(st.contact) < missAge {
			if !now.Before(st.early) && !now.Before(st.retry) {
				c.startLocked(ctx, gun, st)
			}
			c.mu.Unlock()
			c.counts.hits.Add(1)
			return View{Snapshot: st.snap, Contact: st.contact, tag: tag, found: found}, nil
		}
	}
	if have && now.Before(st.retry) {
		c.mu.Unlock()
		c.counts.hits.Add(1)
		return c.answer(gun, st, now)
	}
	if !have {
		if f, ok := c.unknown.Get(gun); ok && now.Before(f.until) {
			c.mu.Unlock()
			c.counts.hits.Add(1)
			return View{}, f.err
		}
	}
	f := c.startLocked(ctx, gun, st)
	c.mu.Unlock()
	c.counts.misses.Add(1)
	if f == nil {
		return c.answer(gun, st, now)
	}
	return c.wait(ctx, gun, tag, f, st)
}

// wait waits for the refresh: as long as it takes where there is nothing to
// answer with, else no longer than a caller should be kept.
func (c *Cache) wait(ctx context.Context, gun, tag string, f *flight, st *state) (View, error) {
	var enough <-chan time.Time
	if now := c.opts.Now(); st != nil && c.stands(st, now) == nil {
		timer := time.NewTimer(patience - now.Sub(f.start))
		defer timer.Stop()
		enough = timer.C
	}
	landed, err := c.landed(ctx, gun, f, enough)
	switch {
	case err != nil:
		return View{}, err
	case !landed:
		if st.err == nil {
			slow := *st
			slow.err = fmt.Errorf("%w: %s: no answer within %s", ErrUnreachable, gun, patience)
			st = &slow
		}
		return c.answer(gun, st, c.opts.Now())
	}
	waitedFor(ctx, f)
	switch {
	case f.restored:
		return c.view(ctx, gun, tag) // which asks the source
	case f.st == nil:
		return View{}, f.err
	}
	v, err := c.answer(gun, f.st, c.opts.Now())
	if f.st.err == nil {
		v.Stale = nil // it was asked for just now, even if that took longer than Refresh
	}
	return v, err
}

// landed waits for f: until enough, but as long as it takes where the snapshot
// that the caller could do with has been forgotten meanwhile.
func (c *Cache) landed(ctx context.Context, gun string, f *flight, enough <-chan time.Time) (bool, error) {
	for {
		select {
		case <-f.done:
			return true, nil
		case <-enough:
			c.mu.Lock()
			stands := c.known.Contains(gun)
			c.mu.Unlock()
			if stands {
				return false, nil
			}
			enough = nil
		case <-ctx.Done():
			return false, ctx.Err()
		}
	}
}

// drop removes what is known of gun, unless it is newer than old.
func (c *Cache) drop(gun string, old *state) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if st, have := c.known.Peek(gun); have && st.snap == old.snap {
		c.known.Remove(gun)
	}
}

// answer turns a state into what the caller gets: a fresh view, a stale one,
// or the reason why nothing stands.
func (c *Cache) answer(gun string, st *state, now time.Time) (View, error) {
	if st == nil {
		return View{}, fmt.Errorf("%w: %s: too many repositories are looked up at once, or shutting down", ErrUnreachable, gun)
	}
	if err := c.stands(st, now); err != nil {
		return View{}, err
	}
	v := View{Snapshot: st.snap, Contact: st.contact}
	if !st.fresh(now) {
		if v.Stale = st.err; v.Stale == nil {
			v.Stale = fmt.Errorf("%w: %s: no answer yet", ErrUnreachable, gun)
		}
		if !now.Before(st.snap.expires) { // AllowExpired
			v.Stale = st.expired()
		}
	}
	return v, nil
}

// fresh says whether the snapshot may be used without asking the source.
func (st *state) fresh(now time.Time) bool {
	return now.Before(st.until) && (st.err == nil || !errors.Is(st.err, ErrVanished))
}

func (st *state) expired() error {
	return fmt.Errorf("%w: %s of %s expired at %s", ErrExpired, st.snap.expiresRole, st.snap.gun, st.snap.expires.UTC().Format(time.RFC3339))
}

// stands returns nil while the snapshot may be used at all.
func (c *Cache) stands(st *state, now time.Time) error {
	if errors.Is(st.err, ErrVanished) {
		return st.err
	}
	var ended error
	switch {
	case !now.Before(st.snap.expires) && !c.opts.AllowExpired:
		ended = st.expired()
	case !now.Before(st.contact.Add(c.opts.MaxStale)):
		ended = fmt.Errorf("%w: %s: no good answer for %s", ErrUnreachable, st.snap.gun, c.opts.MaxStale)
	default:
		return nil
	}
	if st.err != nil {
		return st.err // why nothing newer is here says more than what ended
	}
	return ended
}

// putLocked stores the state and evicts the least recently used repositories
// until the snapshots fit into their budget; the newest always stays.
func (c *Cache) putLocked(gun string, st *state) {
	c.known.Remove(gun)
	c.known.Add(gun, st)
	c.bytes += st.snap.Size()
	for c.bytes > c.opts.MaxBytes && c.known.Len() > 1 {
		c.known.RemoveOldest()
	}
}
