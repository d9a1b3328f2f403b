package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"sync"

	"github.com/sealgate/sealgate/trustcache/notary"
)

// staging is what is known of one repository, as a notary.Store and its Files, with
// what an update makes of it kept aside until commit.
type staging struct {
	store notary.Store
	files notary.Files // nil: there are none

	mu        sync.Mutex
	old, next *notary.State // next is nil until an update has saved
	put       map[string][]byte
	keep      []string // what remains of the files, once commit is done
	unkept    []error
}

func newStaging(store notary.Store, files notary.Files) *staging {
	return &staging{store: store, files: files, put: map[string][]byte{}}
}

// over is opts with the staging in the place of what is remembered. Every version
// of the root is kept.
func (s *staging) over(opts notary.Options) notary.Options {
	opts.Store, opts.Files, opts.KeepRoots = s, s, true
	opts.OnUnkept = func(_ string, err error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.unkept = append(s.unkept, err)
	}
	return opts
}

// Load implements notary.Store.
func (s *staging) Load(gun string) (*notary.State, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.next != nil {
		return s.next, nil
	}
	return s.store.Load(gun)
}

// Save implements notary.Store.
func (s *staging) Save(_ string, old, next *notary.State) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.next == nil {
		s.old = old
	}
	s.next = next
	return nil
}

// Forget implements notary.Store; nothing of an update calls it.
func (s *staging) Forget(string) error { return errors.ErrUnsupported }

// PutFile implements notary.Files.
func (s *staging) PutFile(_, name string, raw []byte) (added bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, there := s.put[name]
	s.put[name] = bytes.Clone(raw)
	return !there, nil
}

// File implements notary.Files.
func (s *staging) File(gun, name string, limit int64) ([]byte, error) {
	s.mu.Lock()
	raw, staged := s.put[name]
	s.mu.Unlock()
	switch {
	case staged && int64(len(raw)) > limit:
		return nil, fmt.Errorf("%s has %d bytes where %d are the most", name, len(raw), limit)
	case staged:
		return raw, nil
	case s.files == nil:
		return nil, fmt.Errorf("%s: %w", name, fs.ErrNotExist)
	}
	return s.files.File(gun, name, limit)
}

// KeepFiles implements notary.Files.
func (s *staging) KeepFiles(_ string, names []string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keep = names
	return nil
}

// DropFiles implements notary.Files.
func (s *staging) DropFiles(_ string, names []string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, name := range names {
		delete(s.put, name)
	}
	return nil
}

// commit puts in force what was staged. Wherever it ends, a server goes on with
// the old data or with the new: the timestamp is there after all that it leads to,
// and what is remembered comes last, since a server that sees the new timestamp
// first remembers the same by itself. Only a repository that is not known at all
// has to be remembered before anything of it may be there. The error wraps
// notary.ErrConflict where more is known by now.
func (s *staging) commit(ctx context.Context, gun string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(s.put)) {
		if err := ctx.Err(); err != nil {
			return err
		}
		if name == notary.KeptTimestamp {
			continue
		}
		if _, err := s.files.PutFile(gun, name, s.put[name]); err != nil {
			return err
		}
	}
	save := func() error { return s.store.Save(gun, s.old, s.next) }
	timestamp := func() error {
		_, err := s.files.PutFile(gun, notary.KeptTimestamp, s.put[notary.KeptTimestamp])
		return err
	}
	steps := []func() error{timestamp, save}
	if s.old == nil || s.old.Root == nil {
		steps = []func() error{save, timestamp}
	} else if err := s.current(gun); err != nil {
		return err
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return s.files.KeepFiles(gun, s.keep)
}

// current fails where another has saved since the update began.
func (s *staging) current(gun string) error {
	now, err := s.store.Load(gun)
	if err != nil {
		return err
	}
	same := now != nil && bytes.Equal(now.Root, s.old.Root) && now.Epoch == s.old.Epoch &&
		maps.EqualFunc(now.Floors, s.old.Floors, func(a, b []notary.Floor) bool {
			return slices.EqualFunc(a, b, func(x, y notary.Floor) bool { return x.Version == y.Version && x.Payload == y.Payload })
		})
	if !same {
		return fmt.Errorf("%w: %q", notary.ErrConflict, gun)
	}
	return nil
}
