package state

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
)

// fileName is what a file may be called.
var fileName = regexp.MustCompile(`^[a-z0-9]{1,64}$`)

// PutFile stores a file of gun, in the place of the one before, if there was one
// of this name; added says that there was none. After a crash there is either.
// Files are worth no more than the time to fetch them again: whoever reads them
// checks them.
func (s *Store) PutFile(ctx context.Context, gun, name string, raw []byte) (added bool, err error) {
	at, err := filePath(gun, name)
	if err != nil {
		return false, err
	}
	before, err := s.File(ctx, gun, name, int64(len(raw)))
	added = errors.Is(err, fs.ErrNotExist)
	if err == nil && bytes.Equal(before, raw) {
		return false, nil
	}
	if err := s.opts.Driver.PutContent(ctx, at, raw); err != nil {
		return false, fmt.Errorf("kept metadata of %q cannot be written: %w", gun, err)
	}
	return added, nil
}

// DropFiles removes the files of gun of these names.
func (s *Store) DropFiles(ctx context.Context, gun string, names []string) error {
	var failed error
	for _, name := range names {
		at, err := filePath(gun, name)
		if err == nil {
			err = s.opts.Driver.Delete(ctx, at)
		}
		if err != nil && !absent(err) {
			failed = errors.Join(failed, fmt.Errorf("kept metadata of %q cannot be removed: %w", gun, err))
		}
	}
	return failed
}

// File returns a file of gun of at most limit bytes. Where there is none the
// error wraps fs.ErrNotExist.
func (s *Store) File(ctx context.Context, gun, name string, limit int64) ([]byte, error) {
	at, err := filePath(gun, name)
	if err != nil {
		return nil, err
	}
	info, err := s.opts.Driver.Stat(ctx, at)
	if err == nil && info.Size() > limit {
		return nil, fmt.Errorf("%s has %d bytes where %d are the most", at, info.Size(), limit)
	}
	var raw []byte
	if err == nil {
		raw, err = s.opts.Driver.GetContent(ctx, at)
	}
	switch {
	case absent(err):
		return nil, fmt.Errorf("%s: %w", at, fs.ErrNotExist)
	case err != nil:
		return nil, fmt.Errorf("kept metadata of %q cannot be read: %w", gun, err)
	}
	return raw, nil
}

// KeepFiles removes the files of gun but those of these names.
func (s *Store) KeepFiles(ctx context.Context, gun string, names []string) error {
	objects, err := s.list(ctx, directory(filesTop, gun))
	if err != nil {
		return err
	}
	for _, at := range objects {
		if slices.Contains(names, path.Base(at)) {
			continue
		}
		if temporary(at) {
			s.sweepAbandoned(ctx, at)
			continue
		}
		if err := s.opts.Driver.Delete(ctx, at); err != nil && !absent(err) {
			return fmt.Errorf("kept metadata of %q cannot be removed: %w", gun, err)
		}
	}
	return nil
}

func filePath(gun, name string) (string, error) {
	if !fileName.MatchString(name) {
		return "", fmt.Errorf("%q is not the name of a file", name)
	}
	return directory(filesTop, gun) + "/" + name, nil
}
