package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/distribution/distribution/v3/registry/storage/driver/filesystem"
	"github.com/distribution/distribution/v3/registry/storage/driver/inmemory"
	"github.com/rs/zerolog"
	"github.com/sealgate/sealgate/config"
	"github.com/sealgate/sealgate/proxy"
	"github.com/sealgate/sealgate/trustcache/notary"
	"github.com/sealgate/sealgate/trustcache/state"
)

// clockFile keeps the highest time seen, in the state directory.
const clockFile = "clock"

// remembered is what is known of repositories, and of the time, over restarts
// where the configuration says so.
type remembered struct {
	store     notary.Store
	files     notary.Files // nil where nothing outlives the process
	onStorage *trustStore  // what both are then; nil likewise
	clock     *state.Clock // nil without a state directory
	// uploadKeys are the keys of upload locations; nil where nothing outlives the
	// process.
	uploadKeys func(context.Context) ([]proxy.UploadKey, error)
	driver     driver.StorageDriver // of the whole storage; nil where there is none to look at
	notBefore  time.Time            // of a clock that is only read

	mu      sync.Mutex
	checked time.Time // when usable last looked
	usable  error
}

// openRemembered opens what cfg names, or makes it.
func openRemembered(cfg *config.Config, log zerolog.Logger) (*remembered, error) {
	m := &remembered{}
	if cfg.StateDir != "" {
		if err := os.MkdirAll(cfg.StateDir, 0o700); err != nil {
			return nil, fmt.Errorf("state-dir: %w", err)
		}
		var err error
		m.clock, err = state.OpenClock(filepath.Join(cfg.StateDir, clockFile), nil, func(back time.Duration) {
			log.Error().Bool("alarm", true).Stringer("back", back.Round(time.Second)).Msg("the clock has jumped back: set it right; if it was far ahead before, stop sealgate and remove the file clock in state-dir")
		})
		if err != nil {
			return nil, fmt.Errorf("state-dir: %w", err)
		}
	}
	if cfg.Storage.Driver == config.InMemory {
		m.store, m.driver = notary.NewMemoryStore(), inmemory.New()
		return m, nil
	}
	if err := makeRoot(cfg.Storage); err != nil {
		return nil, err
	}
	d, err := openDriver(cfg.Storage)
	if err != nil {
		return nil, err
	}
	m.driver = d
	kept := state.New(state.Options{Driver: d})
	onStorage := newTrustStore(kept)
	keys := uploadKeys{driver: d, root: cfg.Storage.RootDirectory()}
	m.uploadKeys = func(context.Context) ([]proxy.UploadKey, error) { return do(onStorage, keys.load) }
	m.store, m.files, m.onStorage = onStorage, onStorage, &onStorage
	empty, err := do(onStorage, kept.Empty)
	if err == nil {
		err = doOnly(onStorage, kept.Check)
	}
	if err != nil {
		return nil, fmt.Errorf("storage.%s: %w", cfg.Storage.Driver, err)
	}
	if empty {
		log.Info().Msg("no trust state is stored: this is a first start, or everything was lost")
	}
	return m, nil
}

// makeRoot makes the directory of the filesystem driver, for this user alone, where
// there is none yet.
func makeRoot(s config.Storage) error { return makeInRoot(s, "") }

// makeInRoot is makeRoot for a directory in it.
func makeInRoot(s config.Storage, directory string) error {
	root := s.RootDirectory()
	if root == "" {
		return nil
	}
	if err := os.MkdirAll(filepath.Join(root, filepath.FromSlash(directory)), 0o700); err != nil {
		return fmt.Errorf("storage.filesystem.rootdirectory: %w", err)
	}
	return nil
}

// openDriver returns the driver that s names. It asks nobody and makes nothing.
// Two of InMemory share nothing.
func openDriver(s config.Storage) (driver.StorageDriver, error) {
	switch s.Driver {
	case config.Filesystem:
		return filesystem.New(filesystem.DriverParameters{RootDirectory: s.RootDirectory(), MaxThreads: storageThreads}), nil
	case config.S3:
		return openS3(s)
	}
	return inmemory.New(), nil
}

// storageThreads bounds the operations on the file system at once.
const storageThreads = 64

// now is the time for everything about trust.
func (m *remembered) now() time.Time {
	if m.clock != nil {
		return m.clock.Now()
	}
	if now := time.Now(); now.After(m.notBefore) {
		return now
	}
	return m.notBefore
}

// keepTime stores the time every minute until ctx ends, and then.
func (m *remembered) keepTime(ctx context.Context, log zerolog.Logger) {
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

// checkEvery is how long an answer of ready holds, since a look writes and deletes;
// checkAgain, where the answer was no.
const (
	checkEvery = 10 * time.Second
	checkAgain = 2 * time.Second
)

// ready is nil while the storage can be used.
func (m *remembered) ready() error {
	if m.onStorage == nil {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	holds := checkEvery
	if m.usable != nil {
		holds = checkAgain
	}
	if time.Since(m.checked) >= holds {
		m.usable = doOnly(*m.onStorage, m.onStorage.kept.Check)
		m.checked = time.Now()
	}
	return m.usable
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
func (readOnly) PutFile(string, string, []byte) (bool, error) { return false, nil }

// DropFiles implements notary.Files.
func (readOnly) DropFiles(string, []string) error { return nil }

// KeepFiles implements notary.Files.
func (readOnly) KeepFiles(string, []string) error { return nil }

// openReadOnly opens the memory of cfg, for a process beside the one whose it
// is: neither what is stored nor the clock is touched, and no directory is made.
func openReadOnly(cfg *config.Config) (*remembered, error) {
	m := &remembered{store: notary.NewMemoryStore()}
	if cfg.StateDir != "" {
		var err error
		if m.notBefore, err = state.HighestTime(filepath.Join(cfg.StateDir, clockFile)); err != nil {
			return nil, fmt.Errorf("state-dir: %w", err)
		}
	}
	if cfg.Storage.Driver == config.InMemory {
		return m, nil
	}
	if root := cfg.Storage.RootDirectory(); root != "" {
		if _, err := os.Stat(root); errors.Is(err, os.ErrNotExist) {
			return m, nil
		}
	}
	d, err := openDriver(cfg.Storage)
	if err != nil {
		return nil, err
	}
	onStorage := readOnly{newTrustStore(state.New(state.Options{Driver: d})), &sync.Map{}}
	m.store, m.files, m.driver = onStorage, onStorage, d
	return m, nil
}

// openBeside opens the memory of cfg for a process that remembers there what it
// learns, as a replica of the server would. The clock is the server's own to write.
func openBeside(cfg *config.Config) (*remembered, error) {
	m, err := openReadOnly(cfg)
	if err != nil {
		return nil, err
	}
	if onStorage, ok := m.store.(readOnly); ok {
		m.store, m.files = onStorage.trustStore, onStorage.trustStore
	}
	return m, nil
}
