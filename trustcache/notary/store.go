package notary

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"sync"
)

// Floor is the newest version of a role that was accepted. It holds for as
// long as the keys that signed it could still sign for the role: a verified
// parent that takes them away lets the role start anew, one that only adds
// keys does not.
type Floor struct {
	Signers []string // canonical IDs of the keys that signed it
	Version int
	Payload [sha256.Size]byte // of the signed part
}

// State is what must outlive a snapshot for versions never to go back: the
// newest verified root and the floor of every role ever seen.
type State struct {
	Root   []byte
	Floors map[string]Floor // by role
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
	old  map[string]Floor
	next map[string]Floor
}

func newFloors(old map[string]Floor) *floors {
	next := maps.Clone(old)
	if next == nil {
		next = map[string]Floor{}
	}
	return &floors{old: old, next: next}
}

// seen says whether the role was ever accepted.
func (f *floors) seen(role string) bool { _, ok := f.old[role]; return ok }

// errBelowFloor: the version is older than one that was accepted.
var errBelowFloor = errors.New("older than a version that was accepted before")

// accept checks a verified role against its floor and raises it.
func (f *floors) accept(role string, keys *roleKeys, v verified, payload []byte) error {
	version := v.Version
	next := Floor{Signers: v.signers, Version: version, Payload: sha256.Sum256(payload)}
	old, seen := f.old[role]
	switch {
	case !seen || !keys.satisfiedBy(old.Signers):
	case version < old.Version:
		return fmt.Errorf("version %d is %w (%d)", version, errBelowFloor, old.Version)
	case version == old.Version && next.Payload != old.Payload:
		return fmt.Errorf("version %d has other content than when it was accepted before", version)
	}
	f.next[role] = next
	return nil
}
