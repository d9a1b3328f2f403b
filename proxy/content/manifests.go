// Package content keeps content that was verified against its digest, by
// repository and digest: manifests in memory, bounded by bytes (Manifests), and
// manifests and blobs of any size on a storage driver, bounded by bytes and age
// (Store). Nothing enters unless its sha256 is its key, and nothing of one
// repository is another's. What is on its way there is fetched once, for all who
// want it (Flights); Closure says what a manifest names. The package does not know
// where content comes from, nor who may have it.
package content

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"math"
	"strconv"
	"strings"
	"sync"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// ErrDigest: the bytes are not those of the digest they were offered for.
var ErrDigest = errors.New("content does not match its digest")

// Manifest is a verified manifest with the headers it is served with, made
// once by Check. It is immutable.
type Manifest struct {
	sum       [sha256.Size]byte
	Body      []byte
	MediaType string
	Digest    string // "sha256:…"
	Header    Header
}

// Header holds the values of the headers that a manifest is served with, each
// of them one, in the form of http.Header. They are not modified.
type Header struct {
	Digest []string // Docker-Content-Digest
	ETag   []string // the digest in quotes
	Type   []string // Content-Type
	Length []string // Content-Length
}

// key tells repositories apart: what one may read another may not have.
type key struct {
	origin     string // the registry's address: another one may not have it either
	repository string // with the registry's name, as in a GUN
	digest     [sha256.Size]byte
}

// overhead is what an entry costs besides body and strings, in bytes.
const overhead = 640

// Manifests is an LRU bounded by bytes, safe for concurrent use.
type Manifests struct {
	mu           sync.Mutex
	lru          *simplelru.LRU[key, *Manifest]
	bytes        int64
	most         int64
	hits, misses uint64
}

// Stats sum up the cache for whoever watches it.
type Stats struct {
	Entries      int
	Bytes        int64
	Hits, Misses uint64 // of Get, since the cache was made
}

// NewManifests returns a cache of at most most bytes.
func NewManifests(most int64) *Manifests {
	m := &Manifests{most: most}
	m.lru, _ = simplelru.NewLRU(math.MaxInt, func(k key, v *Manifest) { m.bytes -= size(k, v) })
	return m
}

func size(k key, v *Manifest) int64 {
	return int64(len(v.Body) + len(v.MediaType) + len(k.origin) + len(k.repository) + overhead)
}

// Get returns the manifest of a repository of the registry at origin, nil where
// it is not held.
func (m *Manifests) Get(origin, repository string, digest [sha256.Size]byte) *Manifest {
	m.mu.Lock()
	defer m.mu.Unlock()
	v, ok := m.lru.Get(key{origin, repository, digest})
	if ok {
		m.hits++
	} else {
		m.misses++
	}
	return v
}

// Peek is Get that counts neither as a hit nor as a use.
func (m *Manifests) Peek(origin, repository string, digest [sha256.Size]byte) *Manifest {
	m.mu.Lock()
	defer m.mu.Unlock()
	v, _ := m.lru.Peek(key{origin, repository, digest})
	return v
}

// Drop forgets the manifest of a repository of the registry at origin, where it
// is held: it was deleted there. digest is "sha256:…"; no other is ever held.
func (m *Manifests) Drop(origin, repository, digest string) {
	k := key{origin: origin, repository: repository}
	text, ok := strings.CutPrefix(digest, "sha256:")
	if n, err := hex.Decode(k.digest[:], []byte(text)[:min(len(text), 2*len(k.digest))]); !ok || err != nil || n != len(k.digest) {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.lru.Remove(k)
}

// Stats returns the present state of the cache.
func (m *Manifests) Stats() Stats {
	m.mu.Lock()
	defer m.mu.Unlock()
	return Stats{Entries: m.lru.Len(), Bytes: m.bytes, Hits: m.hits, Misses: m.misses}
}

// Check makes a Manifest of body, which the caller does not modify afterwards.
// The error is ErrDigest where body is not what digest names.
func Check(digest [sha256.Size]byte, body []byte, mediaType string) (*Manifest, error) {
	if sha256.Sum256(body) != digest {
		return nil, ErrDigest
	}
	text := "sha256:" + hex.EncodeToString(digest[:])
	return &Manifest{sum: digest, Body: body, MediaType: mediaType, Digest: text, Header: Header{
		Digest: []string{text},
		ETag:   []string{`"` + text + `"`},
		Type:   []string{mediaType},
		Length: []string{strconv.Itoa(len(body))},
	}}, nil
}

// Put holds a manifest for a repository of the registry at origin, unless it
// alone exceeds the bound.
func (m *Manifests) Put(origin, repository string, v *Manifest) {
	k := key{origin, repository, v.sum}
	if size(k, v) > m.most {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.lru.Remove(k)
	m.lru.Add(k, v)
	m.bytes += size(k, v)
	for m.bytes > m.most {
		m.lru.RemoveOldest()
	}
}
