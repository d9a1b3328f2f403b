package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/distribution/distribution/v3/registry/storage/driver/filesystem"
	"github.com/rs/zerolog"
	"github.com/sealgate/sealgate/config"
	"github.com/sealgate/sealgate/trustcache/notary"
	"github.com/sealgate/sealgate/trustcache/state"
)

// clockFile keeps the highest time seen, in the state directory.
const clockFile = "clock"

// memory is what is known of repositories, and of the time, over restarts
// where the configuration says so.
type memory struct {
	store notary.Store
	files notary.Files // nil where nothing outlives the process
	kept  *state.Store // what both are on; nil likewise
	clock *state.Clock // nil without a state directory

	mu      sync.Mutex
	checked time.Time // when usable last looked
	usable  error
}

// openMemory opens what cfg names, or makes it.
func openMemory(cfg *config.Config, log zerolog.Logger) (*memory, error) {
	m := &memory{}
	if cfg.StateDir != "" {
		if err := os.MkdirAll(cfg.StateDir, 0o700); err != nil {
			return nil, fmt.Errorf("state-dir: %w", err)
		}
		var err error
		m.clock, err = state.OpenClock(filepath.Join(cfg.StateDir, clockFile), nil, func(back time.Duration) {
			log.Error().Bool("alarm", true).Stringer("back", back.Round(time.Second)).Msg("the clock has jumped back")
		})
		if err != nil {
			return nil, fmt.Errorf("state-dir: %w", err)
		}
	}
	if cfg.Storage.Driver != config.Filesystem {
		m.store = notary.NewMemoryStore()
		return m, nil
	}
	kept, err := openStorage(cfg.Storage)
	if err != nil {
		return nil, err
	}
	onStorage := trustStore{kept}
	m.store, m.files, m.kept = onStorage, onStorage, kept
	ctx, cancel := context.WithTimeout(context.Background(), storeTimeout)
	defer cancel()
	empty, err := kept.Empty(ctx)
	if err != nil {
		return nil, fmt.Errorf("storage: %w", err)
	}
	if empty {
		log.Info().Msg("no trust state is stored: this is a first start, or everything was lost")
	}
	return m, nil
}

// openStorage opens the filesystem driver, for this user alone where there is no
// directory yet.
func openStorage(s config.Storage) (*state.Store, error) {
	root, _ := s.Parameters["rootdirectory"].(string) // checked by package config
	if err := os.MkdirAll(root, 0o700); err != nil {
		return nil, fmt.Errorf("storage.filesystem.rootdirectory: %w", err)
	}
	return state.New(state.Options{Driver: filesystem.New(filesystem.DriverParameters{RootDirectory: root, MaxThreads: storageThreads})}), nil
}

// storageThreads bounds the operations on the file system at once.
const storageThreads = 64

// now is the time for everything about trust.
func (m *memory) now() time.Time {
	if m.clock == nil {
		return time.Now()
	}
	return m.clock.Now()
}

// keepTime stores the time every minute until ctx ends, and then.
func (m *memory) keepTime(ctx context.Context, log zerolog.Logger) {
	if m.clock == nil {
		return
	}
	every := time.NewTicker(time.Minute)
	defer every.Stop()
	for {
		last := false
		select {
		case <-every.C:
		case <-ctx.Done():
			last = true
		}
		if err := m.clock.Save(); err != nil {
			log.Error().Err(err).Msg("the time cannot be stored")
		}
		if last {
			return
		}
	}
}

// checkEvery is how long an answer of ready holds: a look writes and deletes.
const checkEvery = 10 * time.Second

// ready is nil while the storage can be used.
func (m *memory) ready(ctx context.Context) error {
	if m.kept == nil {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if time.Since(m.checked) < checkEvery {
		return m.usable
	}
	ctx, cancel := context.WithTimeout(ctx, checkEvery/2)
	defer cancel()
	err := m.kept.Check(ctx)
	if errors.Is(err, context.Canceled) {
		return err // of whoever asked, and no news of the storage
	}
	m.checked, m.usable = time.Now(), err
	return err
}

// readOnly is a trustStore for a look that must not change anything: what is
// seen is kept for this process alone.
type readOnly struct {
	trustStore
	seen *sync.Map // *notary.State by GUN
}

// Load implements notary.Store.
func (r readOnly) Load(gun string) (*notary.State, error) {
	if st, ok := r.seen.Load(gun); ok {
		return st.(*notary.State), nil
	}
	return r.trustStore.Load(gun)
}

// Save implements notary.Store.
func (r readOnly) Save(gun string, _, next *notary.State) error {
	r.seen.Store(gun, next)
	return nil
}

// PutFile implements notary.Files.
func (readOnly) PutFile(string, string, []byte) error { return nil }

// KeepFiles implements notary.Files.
func (readOnly) KeepFiles(string, []string) error { return nil }

// openReadOnly opens the memory of cfg, for a process beside the one whose it
// is: neither floors nor clock are touched, and no directory is made.
func openReadOnly(cfg *config.Config) (*memory, error) {
	m := &memory{store: notary.NewMemoryStore()}
	root, _ := cfg.Storage.Parameters["rootdirectory"].(string)
	if _, err := os.Stat(root); cfg.Storage.Driver != config.Filesystem || errors.Is(err, os.ErrNotExist) {
		return m, nil
	}
	kept, err := openStorage(cfg.Storage)
	if err != nil {
		return nil, err
	}
	onStorage := readOnly{trustStore{kept}, &sync.Map{}}
	m.store, m.files = onStorage, onStorage
	return m, nil
}
