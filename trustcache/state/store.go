package state

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"slices"
	"sync"
	"time"

	"github.com/distribution/distribution/v3/registry/storage/driver"
)

// ErrConflict: what is stored is no longer what was loaded.
var ErrConflict = errors.New("the stored trust state was changed by another")

// Options of a Store.
type Options struct {
	// Driver has the objects; required. Only List, Stat, GetContent, PutContent
	// and Delete are asked of it.
	Driver driver.StorageDriver
	// MaxMemory bounds the sets that are kept in memory, in bytes; zero means
	// 16 MiB. Without room for those in use every Load reads them again.
	MaxMemory int64
	// Now is the clock by which abandoned temporary files are swept away; nil
	// means time.Now.
	Now func() time.Time
}

// Store keeps the State of each GUN. It is safe for concurrent use, and so is
// the use of one driver by several Stores, in this process or in others.
type Store struct {
	opts      Options
	maxStored int64 // bytes of all sets of a GUN that are read
	memory    *memory
	seed      maphash.Seed
	writes    [64]sync.Mutex // by GUN: those of this process wait for each other
}

// New returns a store over what the driver has.
func New(opts Options) *Store {
	if opts.MaxMemory <= 0 {
		opts.MaxMemory = 16 << 20
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	return &Store{opts: opts, maxStored: maxStored, memory: newMemory(opts.MaxMemory), seed: maphash.MakeSeed()}
}

func (s *Store) lock(gun string) (unlock func()) {
	mu := &s.writes[maphash.String(s.seed, gun)%uint64(len(s.writes))]
	mu.Lock()
	return mu.Unlock
}

// Load returns the state of gun, as all processes have left it: two lists of
// names, and the sets that are new. It is nil for a repository never seen, and
// a State without Root for one that was forgotten and not seen since. Loss or
// damage is an error that wraps ErrDamaged; any other error means that the
// driver could not say.
func (s *Store) Load(ctx context.Context, gun string) (*State, error) {
	found, err := s.read(ctx, gun)
	switch {
	case err != nil:
		return nil, err
	case found.state == nil && found.epoch == 0:
		return nil, nil
	case found.state == nil:
		return &State{Epoch: found.epoch}, nil
	}
	return found.state, nil
}

// Save replaces old, which Load returned, by next; the epoch of next is that of
// old, whatever it says. Where there is stored what old does not say, because
// another saved or forgot, the error wraps ErrConflict: load again and begin
// anew. Almost always nothing has been stored then; where another process
// wrote at the very same moment both sets may be there, and the next Load
// returns what they say together. Nothing is written where nothing changes.
//
// An error that is none of these leaves the old state or the new one, or what
// both say together. Without an error next is stored and stays in force: floors
// are lost only to a Save that was based on them and leaves them out, and to
// Forget. Save refuses a lower version with the same signers.
func (s *Store) Save(ctx context.Context, gun string, old, next *State) error {
	if old == nil {
		old = &State{}
	}
	old, next = canonical(old), canonical(next)
	next.Epoch = old.Epoch
	if err := errors.Join(check(next), lowered(old, next)); err != nil {
		return fmt.Errorf("trust state of %q cannot be stored: %w", gun, err)
	}
	defer s.lock(gun)()
	before, err := s.read(ctx, gun)
	if err != nil {
		return err
	}
	if before.epoch != old.Epoch || before.state != nil && !covers(old, before.state) {
		return fmt.Errorf("%w: %q", ErrConflict, gun)
	}
	kept, err := s.write(ctx, gun, before, next)
	if err != nil {
		return err
	}
	s.sweep(ctx, gun, before, kept)
	return nil
}

// write stores next and returns the set that has it, whose sequence is above
// that of every other in before.
func (s *Store) write(ctx context.Context, gun string, before *stored, next *State) (*set, error) {
	var last uint64
	var latest []*set // more than one where processes wrote at once
	for _, one := range before.sets {
		if one.name.sequence > last {
			last, latest = one.name.sequence, nil
		}
		if one.name.sequence == last {
			latest = append(latest, one)
		}
	}
	if len(latest) == 1 && equal(latest[0].state, next) {
		return latest[0], s.mark(ctx, gun, before)
	}
	kept, raw, err := newSet(gun, last+1, next)
	if err != nil {
		return nil, fmt.Errorf("trust state of %q cannot be stored: %w", gun, err)
	}
	if err := s.opts.Driver.PutContent(ctx, kept.name.path(gun), raw); err != nil {
		return nil, fmt.Errorf("trust state of %q cannot be written: %w", gun, err)
	}
	s.memory.keep(kept.name.path(gun), kept)
	// The set comes first: a crash here leaves a repository that is known by
	// it, where a mark without a set would be damage.
	if err := s.mark(ctx, gun, before); err != nil {
		return nil, err
	}
	return kept, s.unopposed(ctx, gun, before, kept)
}

// mark sees to it that the index has the repository.
func (s *Store) mark(ctx context.Context, gun string, before *stored) error {
	if !before.known {
		if err := s.putMark(ctx, gun, before.epoch, known); err != nil {
			return err
		}
	}
	s.memory.note(gun, sighting{epoch: before.epoch, known: true})
	return nil
}

func (s *Store) putMark(ctx context.Context, gun string, epoch uint64, kind string) error {
	// For those who look around; nothing reads it.
	text := []byte(gun + "\n")
	if err := s.opts.Driver.PutContent(ctx, markPath(gun, epoch, kind), text); err != nil {
		return fmt.Errorf("trust state of %q cannot be written: %w", gun, err)
	}
	return nil
}

// unopposed looks again, now that kept is there for all to see: of two that
// write at once at least one sees the other here, and begins anew.
func (s *Store) unopposed(ctx context.Context, gun string, before *stored, kept *set) error {
	now, err := s.names(ctx, gun)
	if err != nil {
		return err
	}
	conflict := fmt.Errorf("%w: %q", ErrConflict, gun)
	if now.epoch != before.epoch {
		return conflict
	}
	for _, name := range now.current {
		if name == kept.name || slices.Contains(before.current, name) {
			continue
		}
		other, err := s.set(ctx, gun, name)
		if moved(err) {
			return conflict // replaced by something newer still
		}
		if err != nil {
			return err
		}
		if !covers(kept.state, other.state) {
			return conflict
		}
	}
	return nil
}

// abandoned is the age from which a temporary file belongs to nobody.
const abandoned = time.Hour

// sweep deletes what counts for nothing now that kept is stored: the other sets
// of before, and past ones. What cannot be deleted does no harm, and the next
// Save tries again; that the driver can delete at all is for Check to say.
func (s *Store) sweep(ctx context.Context, gun string, before *stored, kept *set) {
	for _, name := range before.current {
		if name != kept.name {
			s.remove(ctx, name.path(gun))
		}
	}
	s.sweepPast(ctx, before.names)
}

func (s *Store) sweepPast(ctx context.Context, n names) {
	for _, path := range n.past {
		s.remove(ctx, path)
	}
	for _, path := range n.temporary {
		s.sweepAbandoned(ctx, path)
	}
}

// sweepAbandoned removes what nobody can be about to use any more.
func (s *Store) sweepAbandoned(ctx context.Context, path string) {
	info, err := s.opts.Driver.Stat(ctx, path)
	if err == nil && s.opts.Now().Sub(info.ModTime()) > abandoned {
		s.remove(ctx, path)
	}
}

func (s *Store) remove(ctx context.Context, path string) {
	s.memory.drop(path)
	_ = s.opts.Driver.Delete(ctx, path)
}

// Forget drops the state of gun, readable or not, for all who share the
// driver. A Save of what was loaded before is a conflict from then on, also
// where there was nothing to forget.
func (s *Store) Forget(ctx context.Context, gun string) error {
	defer s.lock(gun)()
	n, err := s.names(ctx, gun)
	if err != nil {
		return err
	}
	next := max(n.epoch, s.memory.last(gun).epoch) + 1
	if err := s.putMark(ctx, gun, next, forgotten); err != nil {
		return err
	}
	s.memory.note(gun, sighting{epoch: next})
	for _, name := range n.current {
		n.past = append(n.past, name.path(gun))
	}
	s.sweepPast(ctx, n)
	_ = s.KeepFiles(ctx, gun, nil) // nothing of it is believed without a state
	return nil
}
