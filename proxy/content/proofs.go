package content

import (
	"context"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"github.com/opencontainers/go-digest"
)

// proveEvery is how long the bytes of a blob that were hashed are believed to
// be the same.
const proveEvery = 24 * time.Hour

// maxProofs is of how many blobs it is remembered that they were hashed; about 2 MiB.
const maxProofs = 1 << 14

// proofs remembers when blobs were hashed as they were read.
type proofs struct {
	mu  sync.Mutex
	lru *simplelru.LRU[sum, time.Time]
}

func newProofs() *proofs {
	lru, _ := simplelru.NewLRU[sum, time.Time](maxProofs, nil)
	return &proofs{lru: lru}
}

// due says whether a read of the whole blob is to be hashed.
func (p *proofs) due(d digest.Digest, now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	at, ok := p.lru.Get(asSum(d))
	return !ok || now.Sub(at) >= proveEvery
}

func (p *proofs) done(d digest.Digest, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lru.Add(asSum(d), now)
}

// damaged removes the bytes of a digest that are not its own any more, unless
// they were written anew since. Links to them stay: they are a miss until
// somebody puts the bytes again.
func (s *Store) damaged(d digest.Digest, written time.Time) {
	ctx, cancel := context.WithTimeout(context.Background(), patience) // a client waits
	defer cancel()
	removed, err := s.removeData(ctx, asSum(d), written.Equal)
	s.counts.failed(err)
	if !removed {
		return
	}
	s.counts.damaged()
	if s.o.Damaged != nil {
		s.o.Damaged(d)
	}
}
