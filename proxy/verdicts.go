package proxy

import (
	"crypto/sha256"
	"sync"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// maxVerdicts bounds the verdicts that are remembered; each takes about 150 bytes.
const maxVerdicts = 16384

// role is what a digest was judged as: the bytes of a manifest are no archive,
// and that a layer may have them says nothing of the manifest.
type role byte

const (
	underTag role = iota
	inIndex
	asLayer
)

// verdicts remembers of digests whether what they name can be run, for each
// registry by itself: of a layer only the beginning is seen, and what one
// registry said of it does not bind another. It is safe for concurrent use.
type verdicts struct {
	mu  sync.Mutex
	lru *simplelru.LRU[[sha256.Size]byte, bool]
}

func newVerdicts() *verdicts {
	v := &verdicts{}
	v.lru, _ = simplelru.NewLRU[[sha256.Size]byte, bool](maxVerdicts, nil)
	return v
}

func verdictKey(origin string, as role, digest string) [sha256.Size]byte {
	return sha256.Sum256([]byte(origin + string([]byte{0, byte(as)}) + digest))
}

func (v *verdicts) get(origin string, as role, digest string) (runs, known bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.lru.Get(verdictKey(origin, as, digest))
}

func (v *verdicts) put(origin string, as role, digest string, runs bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.lru.Add(verdictKey(origin, as, digest), runs)
}
