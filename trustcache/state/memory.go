package state

import (
	"math"
	"sync"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// memory is what this process has seen. It is safe for concurrent use.
type memory struct {
	mu        sync.Mutex
	max       int64 // bytes of sets
	bytes     int64
	sets      *simplelru.LRU[string, *set] // by path
	sightings map[string]sighting          // by GUN
}

// sighting is how a GUN was last seen. One is kept for every repository that
// ever had a verified root here, or was forgotten by an operator, and for no
// other: some hundred bytes each.
type sighting struct {
	epoch uint64
	known bool
}

func newMemory(max int64) *memory {
	m := &memory{max: max, sightings: map[string]sighting{}}
	m.sets, _ = simplelru.NewLRU(math.MaxInt, func(path string, one *set) { m.bytes -= footprint(path, one) })
	return m
}

// footprint estimates what a set takes in memory: about what it takes stored.
func footprint(path string, one *set) int64 { return int64(len(path)) + one.size + 256 }

func (m *memory) set(path string) *set {
	m.mu.Lock()
	defer m.mu.Unlock()
	one, _ := m.sets.Get(path)
	return one
}

func (m *memory) keep(path string, one *set) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.sets.Contains(path) {
		return
	}
	m.sets.Add(path, one)
	m.bytes += footprint(path, one)
	for m.bytes > m.max {
		m.sets.RemoveOldest()
	}
}

func (m *memory) drop(path string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.sets.Remove(path)
}

// note remembers the furthest that was seen of gun.
func (m *memory) note(gun string, now sighting) {
	m.mu.Lock()
	defer m.mu.Unlock()
	last := m.sightings[gun]
	if now.epoch > last.epoch || now.epoch == last.epoch && now.known && !last.known {
		m.sightings[gun] = now
	}
}

func (m *memory) last(gun string) sighting {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.sightings[gun]
}
