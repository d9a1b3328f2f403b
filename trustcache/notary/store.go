package notary

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
)

// Floor is the newest version of a role that was accepted with certain
// signers. It holds for as long as these could still sign for the role: a
// verified parent that takes their keys away lets the role start anew, one
// that only adds keys does not.
type Floor struct {
	Signers []string // canonical IDs of the keys that signed it
	Version int
	Payload [sha256.Size]byte // of the signed part
}

// State is what must outlive a snapshot for versions never to go back: the
// newest verified root and the floor of every role ever seen. It is not
// modified once it has been saved.
type State struct {
	// Epoch belongs to the Store: how often the GUN had been forgotten when this
	// was loaded. Save looks at that of old.
	Epoch uint64
	Root  []byte // nil for a repository that is not known
	// Anchor is the root that itself matched the pins, or was the first one
	// seen, and that Root descends from; nil where Root is its own anchor.
	Anchor []byte
	Floors map[string][]Floor // by role; more than one where signers took turns
}

// ErrConflict: what is stored is no longer what was loaded.
var ErrConflict = errors.New("the trust state was changed by another")

// known says whether s is the state of a repository that was verified once. s
// may be nil.
func (s *State) known() bool { return s != nil && s.Root != nil }

// Store keeps the State of each GUN. Implementations are safe for concurrent
// use; several Sources may share one.
type Store interface {
	// Load returns the state of gun. For one that is not known that is nil or,
	// where it was forgotten, a state without a root.
	Load(gun string) (*State, error)
	// Save replaces old, which Load returned, by state: the whole of it or
	// nothing. Where old is no longer what is stored, because another saved or
	// forgot it, it stores nothing and returns an error that wraps ErrConflict.
	Save(gun string, old, state *State) error
	// Forget drops the state of gun. Whatever was loaded before, also that there
	// is none, cannot be replaced any more.
	Forget(gun string) error
}

// MemoryStore is a Store that lasts as long as the process.
type MemoryStore struct {
	mu     sync.Mutex
	states map[string]*State
}

// NewMemoryStore returns an empty store.
func NewMemoryStore() *MemoryStore { return &MemoryStore{states: map[string]*State{}} }

// Load implements Store.
func (m *MemoryStore) Load(gun string) (*State, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.states[gun], nil
}

// Save implements Store.
func (m *MemoryStore) Save(gun string, old, state *State) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.states[gun] != old {
		return ErrConflict
	}
	m.states[gun] = state
	return nil
}

// Forget implements Store.
func (m *MemoryStore) Forget(gun string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.states[gun] = &State{}
	return nil
}

// floors checks versions against what was accepted before and collects what
// this update accepts.
type floors struct {
	old  map[string][]Floor
	next map[string][]Floor
}

func newFloors(old map[string][]Floor) *floors {
	next := maps.Clone(old)
	if next == nil {
		next = map[string][]Floor{}
	}
	return &floors{old: old, next: next}
}

// seen says whether the role was ever accepted.
func (f *floors) seen(role string) bool { _, ok := f.old[role]; return ok }

// last says whether v is what was last accepted for the role.
func (f *floors) last(role string, v verified) bool {
	list := f.old[role]
	return len(list) > 0 && list[0].Version == v.version && list[0].Payload == v.payload
}

// errBelowFloor: the version is older than one that was accepted.
var errBelowFloor = errors.New("older than a version that was accepted before")

// maxFloors bounds the floors of one role; the highest are kept.
const maxFloors = 16

// accept checks a verified role against its floors and raises them.
func (f *floors) accept(role string, keys *roleKeys, v verified) error {
	raised := Floor{Signers: v.signers, Version: v.version, Payload: v.payload}
	var kept []Floor
	for _, old := range f.old[role] {
		switch {
		case !keys.satisfiedBy(old.Signers):
			continue // their keys were taken away
		case v.version < old.Version:
			return fmt.Errorf("version %d is %w (%d)", v.version, errBelowFloor, old.Version)
		case v.version == old.Version && raised.Payload != old.Payload:
			return fmt.Errorf("version %d has other content than when it was accepted before", v.version)
		case v.version == old.Version:
			raised.Signers = union(raised.Signers, old.Signers)
		case !includes(raised.Signers, old.Signers):
			kept = append(kept, old) // it may hold when some of the new signers are gone
		}
	}
	kept = append([]Floor{raised}, kept...)
	f.next[role] = kept[:min(len(kept), maxFloors)] // newest first
	return nil
}

// includes says whether all of some are among signers.
func includes(signers, some []string) bool {
	return !slices.ContainsFunc(some, func(id string) bool { return !slices.Contains(signers, id) })
}

func union(a, b []string) []string {
	all := slices.Clone(a)
	for _, id := range b {
		if !slices.Contains(all, id) {
			all = append(all, id)
		}
	}
	return all
}
