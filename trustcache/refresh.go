package trustcache

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/sealgate/sealgate/trustcache/guard"
	"go.opentelemetry.io/otel/trace"
)

// flight is one refresh under way; done is closed after st and err are set.
type flight struct {
	start time.Time
	first bool // of a repository without a snapshot
	done  chan struct{}
	st    *state
	err   error
	// restored: st was not fetched; a refresh has to follow.
	restored bool
	landed   bool // for its own goroutine alone
	// caller is the span of who began it, span its own; neither is recorded where
	// nothing is traced.
	caller trace.Span
	span   trace.SpanContext
}

// startLocked joins the refresh of gun under way or starts one, on behalf of who
// ctx belongs to; nil when the cache is closed, or when too many first looks wait
// already.
func (c *Cache) startLocked(ctx context.Context, gun string, st *state) *flight {
	if f, ok := c.flights[gun]; ok {
		return f
	}
	if c.closed {
		return nil
	}
	f := &flight{start: c.opts.Now(), first: st == nil, done: make(chan struct{}), caller: trace.SpanFromContext(ctx)}
	if f.first {
		if c.waiting == maxWaiting {
			return nil
		}
		c.waiting++
	}
	c.flights[gun] = f
	c.wg.Go(func() {
		err := guard.Run(func() error { c.refresh(gun, st, f); return nil })
		if caught := (*guard.Panic)(nil); errors.As(err, &caught) {
			c.crash(gun, st, f, &PanicError{GUN: gun, Stack: caught.Stack})
		}
	})
	return f
}

// crash lands f, unless it has landed, as a refresh that failed: else nobody would
// ever look at the repository again. Where it was OnRefresh that panicked, all is
// done.
func (c *Cache) crash(gun string, old *state, f *flight, err error) {
	select {
	case <-f.done:
		return
	default:
	}
	now := c.opts.Now()
	if !f.landed {
		c.land(gun, old, f, nil, err, time.Time{}, now)
	}
	close(f.done)
	_ = guard.Run(func() error {
		c.report(Refresh{GUN: gun, Err: err, Standing: f.st != nil && c.stands(f.st, now) == nil})
		return nil
	})
}

func (c *Cache) refresh(gun string, old *state, f *flight) {
	var prev *Snapshot
	if old != nil {
		prev = old.snap
	}
	ctx, span := refreshSpan(c.ctx, f.caller, gun)
	defer span.End()
	f.span = span.SpanContext()
	ctx, cancel := context.WithTimeout(ctx, c.opts.Deadline)
	defer cancel()
	if f.first && c.restored(ctx, gun, f) {
		return
	}
	start := c.opts.Now()
	snap, err := c.inTurn(ctx, f, gun, prev)
	if errors.Is(err, ErrForgotten) && old != nil {
		c.drop(gun, old)
		old = nil
		snap, err = c.inTurn(ctx, f, gun, nil)
	}
	now := c.opts.Now()

	old, heir := c.land(gun, old, f, snap, err, start, now)
	if heir != nil && err == nil {
		heir(snap, start)
	}
	outcome := Refresh{
		GUN: gun, Duration: now.Sub(start), Err: err,
		Standing:  err != nil && f.st != nil && c.stands(f.st, now) == nil,
		Recovered: err == nil && old != nil && old.err != nil,
		Before:    prev,
	}
	if f.st != nil {
		outcome.After = f.st.snap
	}
	refreshed(span, err)
	close(f.done)
	c.report(outcome)
}

// land keeps what a refresh has brought, and returns the state before it and who
// is to hear of it.
func (c *Cache) land(gun string, old *state, f *flight, snap *Snapshot, err error, start, now time.Time) (*state, func(*Snapshot, time.Time)) {
	var prev *Snapshot
	if old != nil {
		prev = old.snap
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	f.landed = true
	if newer, ok := c.known.Peek(gun); ok && old != nil {
		old = newer // from the cache before, while this one asked
	}
	switch {
	case err == nil && old != nil && old.contact.After(start):
		f.st = old // which is newer than what this one brings
	case err == nil:
		f.st = c.good(snap, start)
	case old != nil:
		f.st = old.failed(err, now)
		if snap != nil && old.snap == prev {
			f.st.snap, f.st.until = snap, now // by another's word: stale from the start
		}
	default:
		f.err = err
	}
	if c.flights[gun] == f { // else the repository was forgotten meanwhile
		delete(c.flights, gun)
		c.landLocked(gun, f, now)
	}
	if f.first {
		c.waiting--
	}
	return old, c.heir
}

// report tells OnRefresh, unless the cache was closed before there was an answer.
func (c *Cache) report(r Refresh) {
	if c.opts.OnRefresh == nil || r.Err != nil && c.ctx.Err() != nil {
		return
	}
	if caught := (*PanicError)(nil); errors.As(r.Err, &caught) {
		r.Panic = caught.Stack
	}
	c.opts.OnRefresh(r)
}

// good is the state after a good answer. The request's start counts as the
// contact: what was signed after it may be missing. A caller in the last
// fifth of the refresh interval, spread by chance, starts the next refresh
// ahead of time, so that callers seldom wait for one.
func (c *Cache) good(snap *Snapshot, contact time.Time) *state {
	lead := time.Duration((0.1 + 0.1*rand.Float64()) * float64(c.opts.Refresh))
	until := contact.Add(c.opts.Refresh)
	if snap.expires.Before(until) {
		until = snap.expires
	}
	return &state{snap: snap, contact: contact, until: until, early: contact.Add(c.opts.Refresh - lead)}
}

// failed is the state after a failed refresh.
func (st *state) failed(err error, now time.Time) *state {
	after := *st
	if !errors.Is(st.err, ErrVanished) || errors.Is(err, ErrVanished) {
		after.err = err // only good metadata ends "vanished"
	}
	after.retry = now.Add(retryAfterFailure)
	return &after
}

// landLocked keeps what a refresh brought.
func (c *Cache) landLocked(gun string, f *flight, now time.Time) {
	if f.st != nil {
		c.putLocked(gun, f.st)
		c.unknown.Remove(gun)
		return
	}
	hold := retryAfterFailure
	if errors.Is(f.err, ErrNoTrustData) {
		hold = missAge
	}
	c.unknown.Add(gun, failure{err: f.err, until: now.Add(hold)})
}

// inTurn fetches; a first look waits for its turn, so that names that cost a
// stranger nothing to invent never take more than their share.
func (c *Cache) inTurn(ctx context.Context, f *flight, gun string, prev *Snapshot) (*Snapshot, error) {
	if f.first {
		if err := c.firstLooks.Acquire(ctx, 1); err != nil {
			return nil, fmt.Errorf("%w: %s: too many repositories are looked up at once", ErrUnreachable, gun)
		}
		defer c.firstLooks.Release(1)
	}
	return c.fetch(ctx, gun, prev)
}

// fetch keeps a panic of the source from ending the process.
func (c *Cache) fetch(ctx context.Context, gun string, prev *Snapshot) (snap *Snapshot, err error) {
	defer CatchPanic(gun, &err)
	snap, err = c.opts.Source.Fetch(ctx, gun, prev)
	if err == nil && snap == nil {
		err = fmt.Errorf("%w: %s: the source returned nothing", ErrUnreachable, gun)
	}
	return snap, err
}
