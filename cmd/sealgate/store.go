package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sealgate/sealgate/trustcache/notary"
	"github.com/sealgate/sealgate/trustcache/state"
)

// storeTimeout is how long the storage has for one Load, Save or Forget. What
// was begun is finished whatever becomes of the request that asked for it.
const storeTimeout = 30 * time.Second

// trustStore is a notary.Store, and its Files, on the storage of the configuration. The two
// packages do not know each other; what they say of a repository is the same.
type trustStore struct{ kept *state.Store }

// Load implements notary.Store. The state of a repository that was forgotten
// has an epoch and no root.
func (s trustStore) Load(gun string) (*notary.State, error) {
	ctx, cancel := context.WithTimeout(context.Background(), storeTimeout)
	defer cancel()
	st, err := s.kept.Load(ctx, gun)
	if err != nil || st == nil {
		return nil, err
	}
	loaded := &notary.State{Epoch: st.Epoch, Root: st.Root, Anchor: st.Anchor, Floors: make(map[string][]notary.Floor, len(st.Floors))}
	for role, floors := range st.Floors {
		for _, f := range floors {
			loaded.Floors[role] = append(loaded.Floors[role], notary.Floor(f))
		}
	}
	return loaded, nil
}

// Save implements notary.Store.
func (s trustStore) Save(gun string, old, next *notary.State) error {
	ctx, cancel := context.WithTimeout(context.Background(), storeTimeout)
	defer cancel()
	err := s.kept.Save(ctx, gun, toKeep(old), toKeep(next))
	if errors.Is(err, state.ErrConflict) {
		return fmt.Errorf("%w: %w", notary.ErrConflict, err)
	}
	return err
}

// Forget implements notary.Store.
func (s trustStore) Forget(gun string) error {
	ctx, cancel := context.WithTimeout(context.Background(), storeTimeout)
	defer cancel()
	return s.kept.Forget(ctx, gun)
}

func toKeep(st *notary.State) *state.State {
	if st == nil {
		return nil
	}
	kept := &state.State{Epoch: st.Epoch, Root: st.Root, Anchor: st.Anchor, Floors: make(map[string][]state.Floor, len(st.Floors))}
	for role, floors := range st.Floors {
		for _, f := range floors {
			kept.Floors[role] = append(kept.Floors[role], state.Floor(f))
		}
	}
	return kept
}

// PutFile implements notary.Files.
func (s trustStore) PutFile(gun, name string, raw []byte) error {
	ctx, cancel := context.WithTimeout(context.Background(), storeTimeout)
	defer cancel()
	return s.kept.PutFile(ctx, gun, name, raw)
}

// File implements notary.Files.
func (s trustStore) File(gun, name string, limit int64) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), storeTimeout)
	defer cancel()
	return s.kept.File(ctx, gun, name, limit)
}

// KeepFiles implements notary.Files.
func (s trustStore) KeepFiles(gun string, names []string) error {
	ctx, cancel := context.WithTimeout(context.Background(), storeTimeout)
	defer cancel()
	return s.kept.KeepFiles(ctx, gun, names)
}
