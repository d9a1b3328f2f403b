package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sealgate/sealgate/trustcache/guard"
	"github.com/sealgate/sealgate/trustcache/notary"
	"github.com/sealgate/sealgate/trustcache/state"
)

const (
	// storeTimeout is how long a caller waits for one Load, Save and the like.
	storeTimeout = 10 * time.Second
	// maxStoring bounds the operations under way: the filesystem driver takes no
	// notice of a deadline, so those on a disk that hangs stay behind.
	maxStoring = 256
)

// trustStore is a notary.Store, and its Files, on the storage of the
// configuration. The two packages do not know each other; what they say of a
// repository is the same.
type trustStore struct {
	kept  *state.Store
	slots chan struct{}
}

func newTrustStore(kept *state.Store) trustStore {
	return trustStore{kept, make(chan struct{}, maxStoring)}
}

// do waits for op no longer than storeTimeout. An op that is given up goes on
// and may still take effect.
func do[T any](s trustStore, op func(context.Context) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(context.Background(), storeTimeout)
	defer cancel()
	type outcome struct {
		value T
		err   error
	}
	ended := make(chan outcome, 1)
	select {
	case s.slots <- struct{}{}:
	case <-ctx.Done():
		var none T
		return none, fmt.Errorf("storage: %d operations are under way and none ends: %w", maxStoring, ctx.Err())
	}
	go func() {
		var o outcome
		o.err = guard.Run(func() (err error) { o.value, err = op(ctx); return err })
		<-s.slots
		ended <- o
	}()
	select {
	case o := <-ended:
		return o.value, o.err
	case <-ctx.Done():
		var none T
		return none, fmt.Errorf("storage: no answer within %s: %w", storeTimeout, ctx.Err())
	}
}

// doOnly is do for an op that has only an error.
func doOnly(s trustStore, op func(context.Context) error) error {
	_, err := do(s, func(ctx context.Context) (struct{}, error) { return struct{}{}, op(ctx) })
	return err
}

// Load implements notary.Store. The state of a repository that was forgotten
// has an epoch and no root.
func (s trustStore) Load(gun string) (*notary.State, error) {
	st, err := do(s, func(ctx context.Context) (*state.State, error) { return s.kept.Load(ctx, gun) })
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
	before, after := toKeep(old), toKeep(next)
	err := doOnly(s, func(ctx context.Context) error { return s.kept.Save(ctx, gun, before, after) })
	if errors.Is(err, state.ErrConflict) {
		return fmt.Errorf("%w: %w", notary.ErrConflict, err)
	}
	return err
}

// Forget implements notary.Store.
func (s trustStore) Forget(gun string) error {
	return doOnly(s, func(ctx context.Context) error { return s.kept.Forget(ctx, gun) })
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
func (s trustStore) PutFile(gun, name string, raw []byte) (added bool, err error) {
	content := bytes.Clone(raw) // the caller's is used again, should this be given up
	return do(s, func(ctx context.Context) (bool, error) { return s.kept.PutFile(ctx, gun, name, content) })
}

// File implements notary.Files.
func (s trustStore) File(gun, name string, limit int64) ([]byte, error) {
	return do(s, func(ctx context.Context) ([]byte, error) { return s.kept.File(ctx, gun, name, limit) })
}

// KeepFiles implements notary.Files.
func (s trustStore) KeepFiles(gun string, names []string) error {
	return doOnly(s, func(ctx context.Context) error { return s.kept.KeepFiles(ctx, gun, names) })
}

// DropFiles implements notary.Files.
func (s trustStore) DropFiles(gun string, names []string) error {
	return doOnly(s, func(ctx context.Context) error { return s.kept.DropFiles(ctx, gun, names) })
}
