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

// maxUses is of how many links is remembered that they need not be written.
const maxUses = 1 << 16

// uses remembers when links were last written, so that most uses touch nothing.
type uses struct {
	mu      sync.Mutex
	written *simplelru.LRU[link, time.Time]
}

func newUses() *uses {
	written, _ := simplelru.NewLRU[link, time.Time](maxUses, nil)
	return &uses{written: written}
}

func (u *uses) get(l link) (time.Time, bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.written.Get(l)
}

func (u *uses) put(l link, at time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.written.Add(l, at)
}

// UseManifest says that a manifest of the repository was served from elsewhere
// (memory), so that the store keeps it too. It is cheap.
func (s *Store) UseManifest(ctx context.Context, repository, d string) {
	l := link{manifests, repository, digest.Digest(d)}
	if at, ok := s.uses.get(l); ok && s.o.Now().Sub(at) < s.renewAfter() {
		return
	}
	if _, err := s.open(ctx, s.reads, repository, l.digest); err == nil {
		s.use(ctx, l)
	}
}

// renewAfter is how old a link gets before a use writes it again: a quarter of
// what would remove it, at most.
func (s *Store) renewAfter() time.Duration {
	if s.o.TTL > 0 {
		return min(renewEvery, s.o.TTL/4)
	}
	return renewEvery
}

// use makes now the time of the last use of a link that is there. That it
// cannot is no reason not to serve: it is counted, and the link gets older.
func (s *Store) use(ctx context.Context, l link) {
	now := s.o.Now()
	if at, ok := s.uses.get(l); ok && now.Sub(at) < s.renewAfter() {
		return
	}
	lock := s.lock(l.digest)
	if !lock.TryRLock() {
		return // it is being removed; the next use tells
	}
	defer lock.RUnlock()
	info, err := s.o.Driver.Stat(ctx, l.path())
	if err != nil {
		return // removed: it must not come back without its content
	}
	if at := info.ModTime(); now.Sub(at) < s.renewAfter() {
		s.uses.put(l, at)
		return
	}
	if err := s.o.Driver.PutContent(ctx, l.path(), []byte(l.digest)); err != nil {
		s.counts.failed(err)
	}
	s.uses.put(l, now) // failed or not: no more than so often
}
