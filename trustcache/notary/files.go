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
	// PutFile stores a file: the sha256 of its bytes in hexadecimal, and then
	// there is nothing to do where it exists, or another name, and then it takes
	// the place of the one before.
	PutFile(gun, name string, raw []byte) error
	// File returns a file of at most limit bytes; where there is none the error
	// is fs.ErrNotExist.
	File(gun, name string, limit int64) ([]byte, error)
	// KeepFiles removes all files of gun but these.
	KeepFiles(gun string, names []string) error
}

const (
	// keptTimestamp is the name of the timestamp among the files, after a line
	// that says when the server last gave a good answer.
	keptTimestamp = "timestamp"
	// contactLine is the form of that line.
	contactLine = time.RFC3339
	// contactEvery is how old that may become while nothing else changes.
	contactEvery = 10 * time.Minute
)

// Restore builds the snapshot of gun from what was kept of it, without asking
// anybody, and says when the server last gave a good answer. Everything is
// verified as if the server had sent it; nothing is stored. Where nothing was
// kept the error is ErrNoTrustData, which says nothing about the server.
func (s *Source) Restore(ctx context.Context, gun string) (snap *trustcache.Snapshot, contact time.Time, err error) {
	defer trustcache.CatchPanic(gun, &err)
	if s.opts.Files == nil {
		return nil, contact, trustcache.ErrNoTrustData
	}
	u, err := s.begin(ctx, gun, nil)
	if err != nil {
		return nil, contact, err
	}
	kept, err := s.opts.Files.File(gun, keptTimestamp, s.opts.Limits.Timestamp+int64(len(contactLine))+2)
	if errors.Is(err, fs.ErrNotExist) || err == nil && u.state == nil {
		return nil, contact, trustcache.ErrNoTrustData
	}
	if err != nil {
		return nil, contact, trustcache.WithCause(u.unreachable("kept trust data cannot be read"), err)
	}
	line, timestamp, _ := bytes.Cut(kept, []byte("\n"))
	if contact, err = time.Parse(contactLine, string(line)); err != nil {
		return nil, contact, u.unreachable("kept trust data does not say when it was fetched")
	}
	u.kept = timestamp
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
	if s.opts.Files == nil {
		return state, contact, nil
	}
	kept, err := s.opts.Files.File(gun, keptTimestamp, s.opts.Limits.Timestamp+int64(len(contactLine))+2)
	if err != nil {
		return state, contact, nil // it is kept for convenience
	}
	line, _, _ := bytes.Cut(kept, []byte("\n"))
	contact, _ = time.Parse(contactLine, string(line))
	return state, contact, nil
}

// keptFile is file for an update from what was kept.
func (u *update) keptFile(name string, limit int64, use func(raw []byte) error) error {
	if strings.HasSuffix(name, ".root.json") {
		return errNotFound // the newest root is in the Store
	}
	if name == "timestamp.json" {
		return use(u.kept)
	}
	if err := u.source.memory.Acquire(u.ctx, limit); err != nil {
		return u.noAnswer(err)
	}
	defer u.source.memory.Release(limit)
	raw, err := u.source.opts.Files.File(u.gun, contentName(name), limit)
	if err != nil {
		return trustcache.WithCause(u.unreachable("kept trust data cannot be read"), err)
	}
	return use(raw)
}

// contentName is the hash in the name of a metadata file.
func contentName(file string) string {
	return strings.TrimPrefix(path.Ext(strings.TrimSuffix(file, ".json")), ".")
}

// keep stores a file that was just verified.
func (u *update) keep(name string, raw []byte) error {
	if u.source.opts.Files == nil || u.kept != nil {
		return nil
	}
	if err := u.source.opts.Files.PutFile(u.gun, name, raw); err != nil {
		return u.storeFailed("written", err)
	}
	return nil
}

// keepAll makes what m was built from the files that are kept: the timestamp
// comes last, so that what it leads to is there, and what nothing leads to any
// more goes after that.
func (u *update) keepAll(ts *timestampFile, m *memo) error {
	if u.source.opts.Files == nil || u.kept != nil {
		return nil
	}
	same := u.memo != nil && m.snapshot.hash == u.memo.snapshot.hash && u.floors.last("timestamp", ts.verified)
	if same && u.now.Sub(u.memo.kept) < contactEvery {
		return nil
	}
	m.kept = u.now
	contact := fmt.Appendf(nil, "%s\n", u.now.UTC().Format(contactLine))
	if err := u.keep(keptTimestamp, append(contact, ts.raw...)); err != nil || same {
		return err
	}
	names := []string{keptTimestamp, fmt.Sprintf("%x", m.snapshot.hash)}
	for _, r := range m.roles {
		names = append(names, fmt.Sprintf("%x", r.hash))
	}
	if err := u.source.opts.Files.KeepFiles(u.gun, names); err != nil {
		return u.storeFailed("written", err)
	}
	return nil
}

// storeFailed says that what has to outlive this process cannot be read or
// written. Clients see the text, the operator the cause.
func (u *update) storeFailed(what string, cause error) error {
	return trustcache.WithCause(u.unreachable("trust state cannot be %s", what), cause)
}
