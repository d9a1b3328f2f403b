package content

import (
	"cmp"
	"context"
	"slices"
	"time"
)

const (
	// sweepEvery is how often Run sweeps.
	sweepEvery = time.Hour
	// abandoned is the age at which what nothing names is removed: bytes without
	// a link, links without bytes, uploads and half-written files. It is far more
	// than lies between the two writes of one put.
	abandoned = time.Hour
	// margin is by how much the time of a file may be behind the clock, and more.
	margin = 2 * time.Second
	// pinsFor is how long a sweep believes the pins that it has read.
	pinsFor = 10 * time.Second
)

// Swept says what a sweep found and did.
type Swept struct {
	Links, Objects int   // that are left
	Bytes          int64 // that are left
	PinnedBytes    int64
	Expired        int   // links that nobody used for TTL
	Evicted        int   // links that had to go for MaxSize
	Young          int   // links that were spared by their age alone, with more than MaxSize left
	Freed          int64 // bytes
	Abandoned      int   // uploads, half-written files, links without bytes
	Took           time.Duration
}

// Sweep removes what nobody used for TTL, then, where there is more than
// MaxSize, what was not used for longest, until 19/20 of it are left, so that
// not every put begins another; and what crashes have left. What is pinned
// stays. It runs once at a time; while it does, the store can be used.
func (s *Store) Sweep(ctx context.Context) (Swept, error) {
	s.sweeping.Lock()
	defer s.sweeping.Unlock()
	start, put := s.o.Now(), s.counts.bytesPut()
	w := &sweep{store: s, start: start}
	err := w.run(ctx)
	w.did.Took = s.o.Now().Sub(start)
	s.counts.swept(w.did, put, s.o.Now(), err)
	return w.did, err
}

// sweep is one run of Sweep.
type sweep struct {
	store  *Store
	start  time.Time
	found  *survey
	did    Swept
	pinned map[pin]bool
	read   time.Time // when pinned was
	pins   uint64    // the count of pins then
}

// pin is one pinned digest.
type pin struct {
	repository string // "": of any
	sum        sum
}

func (w *sweep) run(ctx context.Context) error {
	var err error
	for range 3 { // what vanishes meanwhile, by Drop or another process, ends a walk
		if w.found, err = w.store.look(ctx, w.start.Add(-w.store.abandoned)); !absent(err) {
			break
		}
	}
	if err != nil {
		return err
	}
	slices.SortFunc(w.found.links, func(a, b usedLink) int { return cmp.Compare(a.used, b.used) })
	for _, step := range []func(context.Context) error{w.dangling, w.expired, w.unlinked, w.oversize, w.leftovers} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return w.sum(ctx)
}

// dangling removes links whose bytes are gone.
func (w *sweep) dangling(ctx context.Context) error {
	return w.each(ctx, func(l *usedLink) (bool, error) {
		if w.found.objects[l.sum] != nil || l.used > w.start.Add(-w.store.abandoned).UnixNano() {
			return false, nil
		}
		removed, err := w.remove(ctx, l)
		if removed {
			w.did.Abandoned++
		}
		return removed, err
	})
}

// expired removes links that nobody used for TTL, and then their bytes.
func (w *sweep) expired(ctx context.Context) error {
	ttl := w.store.o.TTL
	if ttl <= 0 {
		return nil
	}
	oldest := w.start.Add(-ttl).UnixNano()
	return w.each(ctx, func(l *usedLink) (bool, error) {
		if l.used >= oldest {
			return false, nil
		}
		removed, err := w.remove(ctx, l)
		if removed {
			w.did.Expired++
		}
		return removed, err
	})
}

// unlinked removes bytes that no link is to.
func (w *sweep) unlinked(ctx context.Context) error {
	for sum, o := range w.found.objects {
		if o.links > 0 || !o.written.Before(w.start.Add(-w.store.abandoned)) {
			continue
		}
		if err := w.free(ctx, sum, w.start.Add(-w.store.abandoned)); err != nil {
			return err
		}
	}
	return nil
}

// oversize removes what was not used for longest, and counts what it spares, of
// what another sweep could remove.
func (w *sweep) oversize(ctx context.Context) error {
	most := w.store.o.MaxSize
	if most <= 0 || w.found.total <= most {
		return nil
	}
	target, young := most-most/20, w.start.Add(-w.store.margin).UnixNano()
	err := w.each(ctx, func(l *usedLink) (bool, error) {
		if w.found.total <= target {
			return false, nil
		}
		if l.used < young {
			removed, err := w.remove(ctx, l)
			if removed {
				w.did.Evicted++
			}
			if removed || err != nil {
				return removed, err
			}
		}
		pinned, err := w.isPinned(ctx, pin{"", l.sum})
		if !pinned && w.found.objects[l.sum] != nil {
			w.did.Young++
		}
		return false, err
	})
	if w.found.total <= most {
		w.did.Young = 0
	}
	return err
}

// each calls do for every link, the one not used for longest first, and
// forgets those that it says are removed.
func (w *sweep) each(ctx context.Context, do func(*usedLink) (removed bool, err error)) error {
	var err error
	w.found.links = slices.DeleteFunc(w.found.links, func(l usedLink) bool {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return false
		}
		var removed bool
		removed, err = do(&l)
		return removed
	})
	return err
}

// remove removes a link, unless it is pinned or has been used since, and its
// bytes where it was the last one to them.
func (w *sweep) remove(ctx context.Context, l *usedLink) (bool, error) {
	if pinned, err := w.isPinned(ctx, pin{l.repository, l.sum}); pinned || err != nil {
		return false, err
	}
	removed, err := w.store.removeLink(ctx, l)
	if !removed || err != nil {
		return removed, err
	}
	o := w.found.objects[l.sum]
	if o == nil {
		return true, nil
	}
	if o.links--; o.links > 0 {
		return true, nil
	}
	// Whoever links these bytes anew has written them anew (anew), so that those
	// from before this sweep are still linked by nobody.
	return true, w.free(ctx, l.sum, w.start.Add(-w.store.margin))
}

// free removes bytes that no link is to, unless they were written after before.
func (w *sweep) free(ctx context.Context, sum sum, before time.Time) error {
	if pinned, err := w.isPinned(ctx, pin{"", sum}); pinned || err != nil {
		return err
	}
	removed, err := w.store.removeData(ctx, sum, func(written time.Time) bool { return written.Before(before) })
	if removed {
		size := w.found.objects[sum].size
		w.found.total -= size
		w.did.Freed += size
		delete(w.found.objects, sum)
	}
	return err
}

// isPinned reads the pins where it last did so long ago, or some were written
// in this process since.
func (w *sweep) isPinned(ctx context.Context, p pin) (bool, error) {
	if count := w.store.pinned.Load(); w.pinned == nil || count != w.pins || w.store.o.Now().Sub(w.read) > pinsFor {
		list, err := w.store.Pins(ctx)
		if err != nil {
			return false, err
		}
		w.pinned, w.pins, w.read = map[pin]bool{}, count, w.store.o.Now()
		for _, of := range list {
			for _, d := range of.Digests {
				w.pinned[pin{of.Repository, asSum(d)}] = true
				w.pinned[pin{"", asSum(d)}] = true
			}
		}
	}
	return w.pinned[p], nil
}

// sum says what is left.
func (w *sweep) sum(ctx context.Context) error {
	w.did.Links, w.did.Objects, w.did.Bytes = len(w.found.links), len(w.found.objects), w.found.total
	for sum, o := range w.found.objects {
		pinned, err := w.isPinned(ctx, pin{"", sum})
		if err != nil {
			return err
		}
		if pinned {
			w.did.PinnedBytes += o.size
		}
	}
	return nil
}

// Run sweeps at once, then every hour or as often as TTL asks for, when more has
// been put than MaxSize allows, and soon after a sweep that left more than that of
// what was too young to go; until ctx ends. It returns nil.
func (s *Store) Run(ctx context.Context) error {
	every := sweepEvery
	if s.o.TTL > 0 {
		every = max(time.Minute, min(every, s.o.TTL/4))
	}
	soon := 2 * s.margin
	for {
		began := time.Now()
		did, err := s.Sweep(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if s.o.Swept != nil {
			s.o.Swept(did, err)
		}
		// A store that cannot be brought below its bound is not swept all the time:
		// what is in use stays young, and is looked at less and less often.
		pause, next := max(time.Second, 4*time.Since(began)), every
		if did.Young > 0 && err == nil {
			next, soon = soon, min(2*soon, every)
		} else {
			soon = 2 * s.margin
		}
		if !s.rest(ctx, pause, nil) || !s.rest(ctx, next-pause, s.wake) {
			return nil
		}
	}
}

// rest waits for d or until woken; false: ctx has ended.
func (s *Store) rest(ctx context.Context, d time.Duration, woken <-chan struct{}) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-woken:
	case <-ctx.Done():
		return false
	}
	return true
}

// gone is err, but nil where there is nothing any more.
func gone(err error) error {
	if absent(err) {
		return nil
	}
	return err
}
