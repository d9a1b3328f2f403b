package content

import (
	"context"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/sealgate/sealgate/trustcache/guard"
	"golang.org/x/sync/semaphore"
)

// Source is where a flight gets a blob from, and what becomes of it.
type Source struct {
	// Open begins to read the blob at offset; size is that of the whole blob, -1
	// where it is not known before the end. The body must not stand still for
	// ever. It is called once for the flight, with 0, and again for a Reader that
	// has to go on by itself.
	Open func(ctx context.Context, offset int64) (body io.ReadCloser, size int64, err error)
	// Keep is given the whole blob, verified, after the last byte has come, while
	// others may still be reading; readers that come meanwhile join. ctx ends where
	// it stands still for minutes. Nil: it is not kept, nor where too many wait for
	// that.
	Keep func(ctx context.Context, blob io.Reader)
	// Failed, when not nil, is told why a fetch that had begun did not bring the whole
	// blob; not that nobody wanted it any more, nor what is the spool's fault.
	Failed func(error)
}

// FlightsOptions configure Flights.
type FlightsOptions struct {
	// Spool holds what is under way. Required.
	Spool Spool
	// Linger is how long a flight goes on without a reader. Zero means 10 s.
	Linger time.Duration
	// OnSpoolError, when not nil, is told that a blob goes on without the spool.
	OnSpoolError func(error)
	// OnPanic, when not nil, is told of panics that were caught: the blob of one is
	// not served, or not kept.
	OnPanic func(*guard.Panic)
}

const (
	defaultLinger = 10 * time.Second
	// maxKeeping bounds how many are kept at once: some drivers hold megabytes of
	// each. maxWaiting bounds those that wait for it, each with an open file or a
	// manifest, and maxWaitingBytes the manifests: a driver may stand still.
	maxKeeping      = 8
	maxWaiting      = 256
	maxWaitingBytes = 64 << 20
	// maxLonely bounds the flights that go on without a reader: clients that begin
	// and hang up must not leave more of them behind than that.
	maxLonely = 64
	// keepStall is how long nothing of a blob is read by who keeps it: a driver may
	// have to copy all of it when it has the last byte.
	keepStall = 10 * time.Minute
	// closeGrace is how long what is being kept is waited for at the end.
	closeGrace = 10 * time.Second
)

// Flights fetch blobs: one at a time under a key, however many ask for it, each
// of whom reads it as it comes. It is safe for concurrent use.
type Flights struct {
	opts    FlightsOptions
	ctx     context.Context // of what is kept
	cancel  context.CancelFunc
	running sync.WaitGroup
	keeping *semaphore.Weighted
	waiting *semaphore.Weighted
	pending *semaphore.Weighted // bytes that Later was given
	lonely  *semaphore.Weighted
	readers atomic.Int64
	spooled atomic.Int64

	mu     sync.Mutex
	byKey  map[string]*flight
	closed bool
}

// FlightStats sum up what is under way.
type FlightStats struct {
	Flights int   // blobs being fetched or kept
	Readers int64 // clients that read them
	Spooled int64 // bytes on this machine's disk
}

// NewFlights returns flights; Close them when nobody asks any more.
func NewFlights(opts FlightsOptions) *Flights {
	if opts.Linger <= 0 {
		opts.Linger = defaultLinger
	}
	if opts.OnSpoolError == nil {
		opts.OnSpoolError = func(error) {}
	}
	if opts.OnPanic == nil {
		opts.OnPanic = func(*guard.Panic) {}
	}
	f := &Flights{
		opts: opts, byKey: map[string]*flight{},
		keeping: semaphore.NewWeighted(maxKeeping), waiting: semaphore.NewWeighted(maxWaiting),
		pending: semaphore.NewWeighted(maxWaitingBytes), lonely: semaphore.NewWeighted(maxLonely),
	}
	f.ctx, f.cancel = context.WithCancel(context.Background())
	return f
}

// Stats returns the present state.
func (f *Flights) Stats() FlightStats {
	f.mu.Lock()
	defer f.mu.Unlock()
	return FlightStats{Flights: len(f.byKey), Readers: f.readers.Load(), Spooled: f.spooled.Load()}
}

// Join returns a reader of the blob of digest want, a sha256, which is fetched
// from src unless it is under way already: then key, which stands for all that
// tells one blob from another, is the same. It returns when the fetch has begun;
// led says that it is this caller's. An error that wraps ErrSpool means that there
// is no room for it; any other is that of the Open of whoever led, or ctx's.
func (f *Flights) Join(ctx context.Context, key string, want digest.Digest, src Source) (r *Reader, led bool, err error) {
	f.mu.Lock()
	if f.closed {
		f.mu.Unlock()
		return nil, true, fmt.Errorf("%w: stopping", ErrSpool)
	}
	fl := f.byKey[key]
	if fl == nil || !fl.board() {
		fl, led = f.depart(ctx, key, want, src), true
	}
	f.mu.Unlock()
	select {
	case <-fl.opened:
		err = fl.openErr
	case <-ctx.Done():
		err = ctx.Err()
	}
	if err != nil {
		fl.leave()
		return nil, led, err
	}
	return &Reader{ctx: ctx, flight: fl, src: src}, led, nil
}

// Find is Join for a caller that wants what is under way or nothing: nil unless
// the size of the blob is known and more than past bytes of it have come.
func (f *Flights) Find(ctx context.Context, key string, past int64, src Source) *Reader {
	f.mu.Lock()
	defer f.mu.Unlock()
	fl := f.byKey[key]
	if fl == nil || !fl.reached(past) || !fl.board() {
		return nil
	}
	return &Reader{ctx: ctx, flight: fl, src: src}
}

// Drop takes what is under way under key out of reach of those who come from now
// on, and nothing of it is kept: it returns when that is sure, or ctx is done.
func (f *Flights) Drop(ctx context.Context, key string) {
	f.mu.Lock()
	fl := f.byKey[key]
	delete(f.byKey, key)
	f.mu.Unlock()
	if fl == nil || !fl.drop() {
		return
	}
	select {
	case <-fl.kept:
	case <-ctx.Done():
	}
}

// Later has something of size bytes in memory kept, not while its caller waits,
// unless too much is waiting already. It reports whether it will be.
func (f *Flights) Later(size int64, keep func(ctx context.Context)) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed || !f.pending.TryAcquire(size) {
		return false
	}
	if !f.waiting.TryAcquire(1) {
		f.pending.Release(size)
		return false
	}
	f.running.Go(func() {
		defer guard.Tell(f.opts.OnPanic)
		defer f.pending.Release(size)
		defer f.waiting.Release(1)
		f.keep(keep)
	})
	return true
}

func (f *Flights) keep(do func(ctx context.Context)) {
	if f.keeping.Acquire(f.ctx, 1) == nil {
		defer f.keeping.Release(1)
		do(f.ctx)
	}
}

// Close ends what is being fetched and waits, for a while, until what has come
// is kept. Nothing begins any more.
func (f *Flights) Close() {
	f.mu.Lock()
	f.closed = true
	for _, fl := range f.byKey {
		fl.abandon(func() bool { return true })
	}
	f.mu.Unlock()
	late := time.AfterFunc(closeGrace, f.cancel)
	f.running.Wait()
	late.Stop()
	f.cancel()
}

// depart begins a flight with one reader on board. f.mu is held.
func (f *Flights) depart(ctx context.Context, key string, want digest.Digest, src Source) *flight {
	fl := &flight{of: f, want: want, size: -1, readers: 1, opened: make(chan struct{}), kept: make(chan struct{})}
	f.readers.Add(1)
	ctx, fl.cancel = context.WithCancel(context.WithoutCancel(ctx))
	f.byKey[key] = fl
	f.running.Go(func() {
		defer guard.Tell(f.opts.OnPanic)
		defer fl.cancel()
		defer fl.done()
		defer f.forget(key, fl)
		defer close(fl.kept)
		if fl.fetch(ctx, src) && src.Keep != nil && f.waiting.TryAcquire(1) {
			defer f.waiting.Release(1)
			f.keep(func(ctx context.Context) { fl.keep(ctx, src) })
		}
	})
	return fl
}

// forget makes room for another flight under key.
func (f *Flights) forget(key string, fl *flight) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.byKey[key] == fl {
		delete(f.byKey, key)
	}
}
