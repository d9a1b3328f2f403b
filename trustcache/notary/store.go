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
// newest verified root and the floor of every role ever seen.
type State struct {
	Root   []byte
	Floors map[string][]Floor // by role; more than one where signers took turns
}

// Store keeps the State of each GUN. Implementations are safe for concurrent
// use; Save stores the whole state or none of it.
type Store interface {
	// Load returns the state of gun, nil where none was ever saved. The caller
	// does not modify it.
	Load(gun string) (*State, error)
	// Save replaces the state of gun. The caller does not modify it afterwards.
	Save(gun string, state *State) error
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
func (m *MemoryStore) Save(gun string, state *State) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.states[gun] = state
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

// errBelowFloor: the version is older than one that was accepted.
var errBelowFloor = errors.New("older than a version that was accepted before")

// maxFloors bounds the floors of one role; the highest are kept.
const maxFloors = 16

// accept checks a verified role against its floors and raises them.
func (f *floors) accept(role string, keys *roleKeys, v verified, payload []byte) error {
	raised := Floor{Signers: v.signers, Version: v.Version, Payload: sha256.Sum256(payload)}
	var kept []Floor
	for _, old := range f.old[role] {
		switch {
		case !keys.satisfiedBy(old.Signers):
			continue // their keys were taken away
		case v.Version < old.Version:
			return fmt.Errorf("version %d is %w (%d)", v.Version, errBelowFloor, old.Version)
		case v.Version == old.Version && raised.Payload != old.Payload:
			return fmt.Errorf("version %d has other content than when it was accepted before", v.Version)
		case v.Version == old.Version:
			raised.Signers = union(raised.Signers, old.Signers)
		case !includes(old.Signers, raised.Signers):
			kept = append(kept, old) // it may hold when the new signers are gone
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
