package state

import (
	"context"
	"errors"
	"fmt"
	"path"

	"github.com/distribution/distribution/v3/registry/storage/driver"
)

// ErrDamaged: what is stored of a GUN is missing, damaged or contradicts
// itself, so that nothing can be believed of it.
var ErrDamaged = errors.New("the stored trust state is damaged")

// damaged says what to do about it.
func damaged(gun, format string, args ...any) error {
	return fmt.Errorf("%w: %q: %w: restore %s and %s from a backup, or drop what is remembered with \"sealgate forget\"",
		ErrDamaged, gun, fmt.Errorf(format, args...), directory(setsTop, gun), directory(indexTop, gun))
}

// movedError is about something that is not there, be it for good or because
// another process has just replaced it.
type movedError struct{ error }

func (e movedError) Unwrap() error { return e.error }

// maxMisses is how often the same thing may be missing until it is lost. What
// another process has replaced is not looked for a second time.
const maxMisses = 10

// names is what the names of the objects of a GUN say.
type names struct {
	epoch     uint64    // the highest
	known     bool      // by a mark of this epoch
	current   []setName // the sets of this epoch
	past      []string  // paths of the sets of lower ones
	temporary []string  // paths of files that are no objects
}

// stored is the state of a GUN as the driver has it.
type stored struct {
	names
	sets  []*set
	state *State // canonical; nil where there is none
}

// read returns what is stored of gun. Nothing at all is no error. It begins
// again as long as others replace what it is about to read.
func (s *Store) read(ctx context.Context, gun string) (*stored, error) {
	var last string
	for misses := 0; ; misses++ {
		found, err := s.tryRead(ctx, gun)
		if err == nil {
			s.memory.note(gun, sighting{epoch: found.epoch, known: found.state != nil})
			return found, nil
		}
		if err.Error() != last {
			last, misses = err.Error(), 0
		}
		if !moved(err) || misses == maxMisses || ctx.Err() != nil {
			return nil, err
		}
	}
}

func (s *Store) tryRead(ctx context.Context, gun string) (*stored, error) {
	last := s.memory.last(gun) // of what was seen before the names were
	n, err := s.names(ctx, gun)
	if err != nil {
		return nil, err
	}
	found := &stored{names: n}
	switch {
	case n.epoch < last.epoch:
		return nil, damaged(gun, "it was of epoch %d and now is of epoch %d", last.epoch, n.epoch)
	case len(n.current) == 0 && (n.known || last.known && n.epoch == last.epoch):
		return nil, movedError{damaged(gun, "the repository is known, but there is no set of epoch %d", n.epoch)}
	case len(n.current) == 0:
		return found, nil
	}
	var states []*State
	var size int64
	for _, name := range n.current {
		one, err := s.set(ctx, gun, name)
		if err != nil {
			return nil, err
		}
		if size += one.size; size > s.maxStored {
			return nil, damaged(gun, "its sets have more than %d bytes", s.maxStored)
		}
		found.sets = append(found.sets, one)
		states = append(states, one.state)
	}
	found.state = join(states...)
	if err := check(found.state); err != nil {
		return nil, damaged(gun, "%w", err)
	}
	return found, nil
}

// names lists the objects of gun. The index comes first: a repository that was
// known before the call is in it, whatever happens to its sets meanwhile.
func (s *Store) names(ctx context.Context, gun string) (n names, err error) {
	marks, err := s.list(ctx, directory(indexTop, gun))
	if err != nil {
		return n, err
	}
	sets, err := s.list(ctx, directory(setsTop, gun))
	if err != nil {
		return n, err
	}
	for _, object := range marks {
		epoch, kind, ok := parseMark(path.Base(object))
		switch {
		case temporary(object):
			n.temporary = append(n.temporary, object)
		case !ok:
			return n, damaged(gun, "%q is not the name of a mark: remove it if it never was one", object)
		case epoch > n.epoch:
			n.epoch, n.known = epoch, kind == known
		case epoch == n.epoch && kind == known:
			n.known = true
		}
	}
	var parsed []setName
	for _, object := range sets {
		name, ok := parseSetName(path.Base(object))
		switch {
		case temporary(object):
			n.temporary = append(n.temporary, object)
			continue
		case !ok:
			return n, damaged(gun, "%q is not the name of a set: remove it if it never was one", object)
		case name.epoch > n.epoch: // its mark was lost
			n.epoch, n.known = name.epoch, false
		}
		parsed = append(parsed, name)
	}
	for _, name := range parsed {
		if name.epoch == n.epoch {
			n.current = append(n.current, name)
		} else {
			n.past = append(n.past, name.path(gun))
		}
	}
	return n, nil
}

// set returns one set, from memory where it has been read before: what has
// that name never changes.
func (s *Store) set(ctx context.Context, gun string, name setName) (*set, error) {
	at := name.path(gun)
	if one := s.memory.set(at); one != nil {
		return one, nil
	}
	// Not by a Reader with a limit: that of the in-memory driver races with a
	// PutContent of the same bytes.
	info, err := s.opts.Driver.Stat(ctx, at)
	if err == nil && info.Size() > maxSet {
		return nil, damaged(gun, "%s has %d bytes where %d are the most", at, info.Size(), maxSet)
	}
	var raw []byte
	if err == nil {
		raw, err = s.opts.Driver.GetContent(ctx, at)
	}
	if absent(err) {
		return nil, movedError{damaged(gun, "%s is listed, but does not exist", at)}
	}
	if err != nil {
		return nil, fmt.Errorf("trust state of %q: %w", gun, err)
	}
	one, err := readSet(gun, name, raw)
	if err != nil {
		return nil, damaged(gun, "%s: %w", at, err)
	}
	s.memory.keep(at, one)
	return one, nil
}

// list returns the paths in a directory; none where it does not exist.
func (s *Store) list(ctx context.Context, directory string) ([]string, error) {
	objects, err := s.opts.Driver.List(ctx, directory)
	if err != nil && !absent(err) {
		return nil, fmt.Errorf("trust state: list %s: %w", directory, err)
	}
	return objects, nil
}

func moved(err error) bool {
	var m movedError
	return errors.As(err, &m)
}

// absent says that the driver knows that the object does not exist. Any other
// error means that it does not know.
func absent(err error) bool {
	var missing driver.PathNotFoundError
	return errors.As(err, &missing)
}
