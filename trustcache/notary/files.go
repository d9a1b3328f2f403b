package notary

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"time"

	"github.com/sealgate/sealgate/trustcache"
)

// Files keeps the verified metadata of each GUN as it was fetched, so that a
// snapshot can be built without the server. What is lost costs a download, no
// more: nothing in it is believed that is not verified again, against the
// floors of the Store. Implementations are safe for concurrent use.
type Files interface {
	// PutFile stores a file, called by the sha256 of its bytes in hexadecimal or
	// by another name; it takes the place of the one before. added says that
	// there was no file of this name.
	PutFile(gun, name string, raw []byte) (added bool, err error)
	// File returns a file of at most limit bytes; where there is none the error
	// is fs.ErrNotExist.
	File(gun, name string, limit int64) ([]byte, error)
	// KeepFiles removes all files of gun but these, DropFiles these.
	KeepFiles(gun string, names []string) error
	DropFiles(gun string, names []string) error
}

const (
	// KeptTimestamp is the name of the timestamp among the files, after a line
	// that says when the server last gave a good answer. Its arrival puts the others
	// in force: who writes Files writes it last.
	KeptTimestamp = "timestamp"
	// contactLine is the form of that line.
	contactLine = time.RFC3339
	// contactEvery is how old that may become while nothing else changes.
	contactEvery = 10 * time.Minute
)

// readKept returns the timestamp that was kept of gun and when the server last
// gave a good answer; fs.ErrNotExist where nothing was kept.
func (s *Source) readKept(gun string) (timestamp []byte, contact time.Time, err error) {
	const line = int64(len(contactLine) + len("\n"))
	kept, err := s.opts.Files.File(gun, KeptTimestamp, line+s.opts.Limits.Timestamp)
	if err != nil {
		return nil, contact, err
	}
	first, timestamp, _ := bytes.Cut(kept, []byte("\n"))
	contact, err = time.Parse(contactLine, string(first))
	return timestamp, contact, err
}

// hasKept says whether metadata of gun is kept: it was known once.
func (s *Source) hasKept(gun string) bool {
	if s.opts.Files == nil {
		return false
	}
	_, _, err := s.readKept(gun)
	return !errors.Is(err, fs.ErrNotExist)
}

// Restore builds the snapshot of gun from what was kept of it, without asking
// anybody, and says when the server last gave a good answer. Everything is
// verified as if the server had sent it; nothing is stored. Where nothing was
// kept the error is ErrNoTrustData, which says nothing about the server; and
// where there is no server, since Fetch does the same.
func (s *Source) Restore(ctx context.Context, gun string) (snap *trustcache.Snapshot, contact time.Time, err error) {
	defer trustcache.CatchPanic(gun, &err)
	if s.opts.Files == nil || s.offline() {
		return nil, contact, trustcache.ErrNoTrustData
	}
	u, err := s.begin(ctx, gun, nil)
	if err != nil {
		return nil, contact, err
	}
	if u.state == nil {
		return nil, contact, trustcache.ErrNoTrustData
	}
	u.kept, contact, err = s.readKept(gun)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, contact, trustcache.ErrNoTrustData
	case err != nil:
		return nil, contact, u.storeFailed("read", err)
	}
	snap, err = u.run()
	return snap, contact, err
}

// Kept returns what is remembered of gun in the Store, nil where it is not known,
// and when the server last gave a good answer, as far as that is kept: zero
// where it is not. It is for humans.
func (s *Source) Kept(gun string) (state *State, contact time.Time, err error) {
	state, err = s.opts.Store.Load(gun)
	if err != nil || !state.known() {
		return nil, contact, err
	}
	if s.opts.Files != nil {
		_, contact, _ = s.readKept(gun) // for convenience: what cannot be read is not known
	}
	return state, contact, nil
}

// keptFile is file for an update from what was kept.
func (u *update) keptFile(name string, limit int64, use func(raw []byte) error) error {
	if name == "timestamp.json" {
		return use(u.kept)
	}
	called := contentName(name)
	number, isRoot := strings.CutSuffix(name, ".root.json")
	if isRoot {
		called = rootPrefix + number
	}
	if isRoot && !u.source.offline() {
		return errNotFound // the newest root is in the Store, and the next one is asked for
	}
	if err := u.source.memory.Acquire(u.ctx, limit); err != nil {
		return u.storeFailed("read", err)
	}
	defer u.source.memory.Release(limit)
	raw, err := u.source.opts.Files.File(u.gun, called, limit)
	switch {
	case isRoot && errors.Is(err, fs.ErrNotExist):
		return errNotFound
	case err != nil:
		return u.storeFailed("read", err)
	}
	return use(raw)
}

// contentName is the hash in the name of a metadata file.
func contentName(file string) string {
	return strings.TrimPrefix(path.Ext(strings.TrimSuffix(file, ".json")), ".")
}

// keep stores a file that was just verified. That it cannot be kept costs a
// download after a restart, and is no reason not to use it.
func (u *update) keep(name string, raw []byte) (kept bool) {
	if u.source.opts.Files == nil || u.kept != nil {
		return false
	}
	added, err := u.source.opts.Files.PutFile(u.gun, name, raw)
	if added {
		u.wrote = append(u.wrote, name)
	}
	u.unkept(err)
	return err == nil
}

func (u *update) unkept(err error) {
	if err != nil && u.source.opts.OnUnkept != nil {
		u.source.opts.OnUnkept(u.gun, err)
	}
}

// dropFiles removes what an update that has failed has added, so that a server
// cannot fill the disk with it; and all where the server says that there is
// nothing any more, which a restart must not undo.
func (u *update) dropFiles(all bool) {
	switch {
	case u.source.opts.Files == nil:
	case all:
		u.unkept(u.source.opts.Files.KeepFiles(u.gun, nil))
	case len(u.wrote) > 0:
		u.unkept(u.source.opts.Files.DropFiles(u.gun, u.wrote))
	}
}

// keepAll makes what m was built from the files that are kept: the timestamp
// comes last, so that what it leads to is there, and what nothing leads to any
// more goes after that.
func (u *update) keepAll(ts *timestampFile, m *memo) {
	if u.source.opts.Files == nil {
		return
	}
	same := u.memo != nil && m.snapshot.hash == u.memo.snapshot.hash && u.floors.last("timestamp", ts.verified)
	if same && u.now.Sub(u.memo.kept) < contactEvery {
		return
	}
	if !same && u.source.opts.KeepRoots {
		u.keepRoots()
	}
	contact := fmt.Appendf(nil, "%s\n", u.now.UTC().Format(contactLine))
	if !u.keep(KeptTimestamp, append(contact, ts.raw...)) {
		return // the next update tries again
	}
	m.kept = u.now
	if same {
		return
	}
	names := []string{KeptTimestamp, fmt.Sprintf("%x", m.snapshot.hash)}
	for _, r := range m.roles {
		names = append(names, fmt.Sprintf("%x", r.hash))
	}
	names = append(names, u.rootNames()...)
	u.unkept(u.source.opts.Files.KeepFiles(u.gun, names))
}

// storeFailed says that what has to outlive this process cannot be read or
// written. Clients see the text, the operator the cause.
func (u *update) storeFailed(what string, cause error) error {
	return trustcache.WithCause(fmt.Errorf("%w: %s: it cannot be %s", trustcache.ErrStore, u.gun, what), cause)
}
