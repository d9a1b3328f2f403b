package content

import (
	"context"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"github.com/opencontainers/go-digest"
)

// renewEvery is how often at most a link is written because it is used.
const renewEvery = time.Hour

// lookAgain is how often at most it is looked for a link that was not there.
const lookAgain = time.Minute

// maxUses is of how many links the uses are remembered; about 4 MiB.
const maxUses = 1 << 14

// uses remembers when links were used and written, so that most uses write
// nothing, and a sweep knows of them nevertheless.
type uses struct {
	mu  sync.Mutex
	lru *simplelru.LRU[link, *times]
}

type times struct{ used, written time.Time }

func newUses() *uses {
	lru, _ := simplelru.NewLRU[link, *times](maxUses, nil)
	return &uses{lru: lru}
}

// again notes a use and says when the link was written; false: that is not known.
func (u *uses) again(l link, now time.Time) (time.Time, bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	of, ok := u.lru.Get(l)
	if !ok {
		return time.Time{}, false
	}
	of.used = now
	return of.written, true
}

// wrote notes a use of a link that was written at that time.
func (u *uses) wrote(l link, now, at time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.lru.Add(l, &times{now, at})
}

// last is when the link was last used, as far as is remembered.
func (u *uses) last(l link) time.Time {
	u.mu.Lock()
	defer u.mu.Unlock()
	of, ok := u.lru.Peek(l)
	if !ok {
		return time.Time{}
	}
	return of.used
}

// UseManifest says that a manifest of the repository was served from elsewhere
// (memory), so that the store keeps it too. d is as in Manifest.Digest. It costs
// what a look into a map does, but for once an hour, or once a minute where it is
// not there: then it reports true, for a caller who has it, and may put it again.
func (s *Store) UseManifest(ctx context.Context, repository, d string) (missing bool) {
	l := link{manifests, repository, digest.Digest(d)}
	if !s.renews(l) {
		return false
	}
	if _, err := s.open(ctx, s.reads, repository, l.digest); err != nil {
		return false
	}
	return s.renew(ctx, l)
}

// use notes that a link that is there was used.
func (s *Store) use(ctx context.Context, l link) {
	if s.renews(l) {
		s.renew(ctx, l)
	}
}

// renews says whether the link is to be written because it is used now.
func (s *Store) renews(l link) bool {
	now := s.o.Now()
	at, known := s.uses.again(l, now)
	return !known || now.Sub(at) >= s.renewAfter()
}

// renewAfter is how old a link gets before a use writes it again: a quarter of
// what would remove it, at most.
func (s *Store) renewAfter() time.Duration {
	if s.o.TTL > 0 {
		return min(renewEvery, s.o.TTL/4)
	}
	return renewEvery
}

// renew makes now the modification time of a link, unless it has hardly aged.
// That it cannot is no reason not to serve: it is counted, and the link ages.
func (s *Store) renew(ctx context.Context, l link) (missing bool) {
	lock := s.lock(l.digest)
	if !lock.TryRLock() {
		return false // it may be being removed; the next use tells
	}
	lock.RUnlock()
	_, err := look(ctx, s, func(ctx context.Context) (bool, error) { return true, s.write(ctx, l, s.renewAfter()) })
	s.counts.failed(gone(err))
	return absent(err)
}

// write writes a link that is there and older than that. One that is not there
// must not come back: its content may be gone.
func (s *Store) write(ctx context.Context, l link, older time.Duration) error {
	lock := s.lock(l.digest)
	lock.RLock()
	defer lock.RUnlock()
	now := s.o.Now()
	s.uses.wrote(l, now, now) // or will be: others who use it do not wait for that
	info, err := s.o.Driver.Stat(ctx, l.path())
	if err == nil && now.Sub(info.ModTime()) < older {
		s.uses.wrote(l, now, info.ModTime())
		return nil
	}
	if err == nil {
		err = s.o.Driver.PutContent(ctx, l.path(), []byte(l.digest))
	}
	at := now // written or not: no more than so often
	if absent(err) {
		at = now.Add(lookAgain - s.renewAfter())
	}
	s.uses.wrote(l, now, at)
	return err
}
