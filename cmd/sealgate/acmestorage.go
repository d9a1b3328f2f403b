package main

import (
	"context"
	"sync"
	"time"

	"github.com/caddyserver/certmagic"
)

// acmeStorage is certmagic's storage in a directory of one process, and knows
// when certmagic is done with it: the library's jobs have no other end that
// somebody could wait for. Each job holds a lock, and writes nothing once the
// storage is closed.
type acmeStorage struct {
	files certmagic.Storage
	open  sync.RWMutex // held for reading by every operation, and for good by close

	mu   sync.Mutex
	held map[string]chan struct{} // by name; closed when the lock is free again
}

func newACMEStorage(directory string) *acmeStorage {
	return &acmeStorage{files: &certmagic.FileStorage{Path: directory}, held: map[string]chan struct{}{}}
}

// close waits for the jobs, whose context has ended, for as long as patience,
// and for what is being written. Nothing is written from then on.
func (s *acmeStorage) close(patience time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for _, free := range s.locks() {
		select {
		case <-free:
		case <-ctx.Done():
		}
	}
	s.open.Lock()
}

func (s *acmeStorage) locks() []chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []chan struct{}
	for _, free := range s.held {
		all = append(all, free)
	}
	return all
}

// Lock implements certmagic.Locker, within this process.
func (s *acmeStorage) Lock(ctx context.Context, name string) error {
	for {
		s.mu.Lock()
		free, held := s.held[name]
		if !held && ctx.Err() == nil {
			s.held[name] = make(chan struct{})
		}
		s.mu.Unlock()
		if err := ctx.Err(); err != nil || !held {
			return err
		}
		select {
		case <-free:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Unlock implements certmagic.Locker.
func (s *acmeStorage) Unlock(_ context.Context, name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if free, held := s.held[name]; held {
		close(free)
		delete(s.held, name)
	}
	return nil
}

// during does something with the files unless the storage is closed.
func (s *acmeStorage) during(do func(files certmagic.Storage) error) error {
	if !s.open.TryRLock() {
		return context.Canceled
	}
	defer s.open.RUnlock()
	return do(s.files)
}

// Store implements certmagic.Storage, as do the methods below.
func (s *acmeStorage) Store(ctx context.Context, key string, value []byte) error {
	return s.during(func(files certmagic.Storage) error { return files.Store(ctx, key, value) })
}

func (s *acmeStorage) Load(ctx context.Context, key string) (value []byte, err error) {
	err = s.during(func(files certmagic.Storage) (err error) {
		value, err = files.Load(ctx, key)
		return err
	})
	return value, err
}

func (s *acmeStorage) Delete(ctx context.Context, key string) error {
	return s.during(func(files certmagic.Storage) error { return files.Delete(ctx, key) })
}

func (s *acmeStorage) Exists(ctx context.Context, key string) (exists bool) {
	_ = s.during(func(files certmagic.Storage) error {
		exists = files.Exists(ctx, key)
		return nil
	})
	return exists
}

func (s *acmeStorage) List(ctx context.Context, path string, recursive bool) (keys []string, err error) {
	err = s.during(func(files certmagic.Storage) (err error) {
		keys, err = files.List(ctx, path, recursive)
		return err
	})
	return keys, err
}

func (s *acmeStorage) Stat(ctx context.Context, key string) (info certmagic.KeyInfo, err error) {
	err = s.during(func(files certmagic.Storage) (err error) {
		info, err = files.Stat(ctx, key)
		return err
	})
	return info, err
}
