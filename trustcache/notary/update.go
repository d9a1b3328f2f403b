package notary

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/sealgate/sealgate/trustcache"
	"github.com/theupdateframework/notary/tuf/data"
)

// timestampGrace is how long a timestamp is used past its expiry: a Notary
// server signs a new one only when the old one has expired.
const timestampGrace = time.Minute

// errSignature: not signed by the keys known so far, which a rotation that is
// not known yet may have replaced.
var errSignature = errors.New("signature")

// update is one run of the client workflow for one GUN.
type update struct {
	ctx    context.Context
	source *Source
	gun    string
	now    time.Time
	pins   Pins
	policy *Policy
	loaded *State // what the Store has
	state  *State // the same, nil for a repository never verified
	prev   *trustcache.Snapshot
	memo   *memo    // what prev was built from, nil without it
	kept   []byte   // the timestamp of an update from what is kept; nil: from the server
	wrote  []string // names of files that this update has added to those that are kept

	floors       *floors
	root         *root     // the newest that is trusted
	anchor       *root     // what it descends from; itself accepted by pins or first use
	vouched      vouched   // for the anchor
	lapsed       time.Time // when a certificate expired but for which pins would accept a root
	rootAdvanced bool      // the chain was followed because something pointed to it
	rootPolled   bool      // the chain was followed because it was time
}

// begin finds out what is known of the GUN and whether anything may be
// believed of it at all.
func (s *Source) begin(ctx context.Context, gun string, prev *trustcache.Snapshot) (*update, error) {
	u := &update{ctx: ctx, source: s, gun: gun, prev: prev, now: s.opts.Now(), pins: s.opts.Pins(gun), policy: s.opts.Policy(gun)}
	if u.pins.Kind == NoPins && !s.opts.TrustOnFirstUse {
		return nil, fmt.Errorf("%w: %s", trustcache.ErrUnpinned, gun)
	}
	var err error
	if u.loaded, err = s.opts.Store.Load(gun); err != nil {
		return nil, u.storeFailed("read", err)
	}
	if u.loaded == nil && s.hasKept(gun) {
		return nil, u.storeFailed("read", errors.New(`what was fetched of it is kept, but not what is known of it: restore that, or drop all of it with "sealgate forget"`))
	}
	var known map[string][]Floor
	if prev != nil {
		u.memo, _ = prev.Memo().(*memo)
	}
	if u.loaded.known() {
		u.state = u.loaded
		known = u.state.Floors
	}
	if u.memo != nil && (u.state == nil || u.memo.epoch != u.state.Epoch) {
		return nil, fmt.Errorf("%w: %s", trustcache.ErrForgotten, gun)
	}
	u.floors = newFloors(known)
	return u, nil
}

// fetch is run for an update from the server.
func (u *update) fetch() (*trustcache.Snapshot, error) {
	snap, err := u.run()
	if err != nil {
		u.dropFiles(errors.Is(err, trustcache.ErrVanished))
	}
	return snap, err
}

// run takes the steps in the order of TUF 1.0 section 5: root, timestamp,
// snapshot, targets. Nothing is stored or returned unless all of them succeed.
func (u *update) run() (*trustcache.Snapshot, error) {
	if err := u.establishRoot(); err != nil {
		return nil, err
	}
	ts, err := u.readTimestamp()
	if err != nil {
		return nil, err
	}
	if u.unchanged(ts) {
		m := *u.memo
		c, err := u.conclude(ts, &m)
		if err != nil {
			return nil, err
		}
		return u.prev.Renew(c), nil
	}
	before := u.root
	snap, err := u.readSnapshot(ts)
	if err == nil && u.root != before {
		// The new root may have taken the keys away that signed the timestamp.
		if ts, err = u.readTimestamp(); err == nil {
			snap, err = u.readSnapshot(ts)
		}
	}
	if err != nil {
		return nil, err
	}
	m := &memo{policy: u.policy, snapshot: snap.snapshotHead, complete: true}
	if err := u.readRoles(snap, m); err != nil {
		return nil, err
	}
	c, err := u.conclude(ts, m)
	if err != nil {
		return nil, err
	}
	c.Targets, c.Hidden = m.merge()
	return trustcache.NewSnapshot(c), nil
}

// unchanged says that the timestamp names the snapshot that was verified
// last time, under the same root, with nothing left to try again and no newer
// one accepted by another source since.
func (u *update) unchanged(ts *timestampFile) bool {
	return u.memo != nil && u.memo.complete && u.memo.policy.equal(u.policy) && u.memo.root == u.root.rootHead && u.memo.snapshot.hash == ts.snapshot.hash &&
		u.floors.last("snapshot", u.memo.snapshot.verified)
}

// conclude completes m, stores the new floors, and says all of the snapshot
// but its tags.
func (u *update) conclude(ts *timestampFile, m *memo) (trustcache.Contents, error) {
	m.root, m.anchor, m.vouched, m.rootPolled = u.root.rootHead, u.anchor.rootHead, u.vouched, u.now
	m.counted, m.terms = u.floors.count(m.policy, m.roles), u.source.opts.terms()
	if u.loaded != nil {
		m.epoch = u.loaded.Epoch // which Save keeps, or refuses
	}
	switch polled := u.rootAdvanced || u.rootPolled; {
	case u.memo != nil && !polled:
		m.rootPolled = u.memo.rootPolled
	case u.state != nil && !polled:
		m.rootPolled = time.Time{} // not since the process began: the next update does
	}
	c := m.contents(u.gun, ts.verified)
	if err := u.unexpired(c.ExpiresRole, c.Expires.Add(-m.terms.past(c.ExpiresRole))); err != nil {
		return c, err
	}
	if u.kept != nil && !u.source.offline() {
		return c, nil // restored: the server has yet to be asked
	}
	if err := u.save(); err != nil {
		return c, err
	}
	if u.kept == nil {
		u.keepAll(ts, m)
	}
	return c, nil
}

// save stores what this update accepted, if what it began with is still there.
// From then on the repository is known.
func (u *update) save() error {
	state := &State{Root: exact(u.root.raw), Floors: u.floors.next}
	if u.anchor != u.root {
		state.Anchor = exact(u.anchor.raw)
	}
	err := u.source.opts.Store.Save(u.gun, u.loaded, state)
	switch {
	case errors.Is(err, ErrConflict):
		return err
	case err != nil:
		return u.storeFailed("written", err)
	}
	u.state = state
	return nil
}

// unexpired fails when a role is further past its expiry than it may be.
func (u *update) unexpired(role string, expires time.Time) error {
	if u.now.Before(expires.Add(u.source.opts.terms().past(role))) {
		return nil
	}
	aged := u.source.offline() && (role == "timestamp" || role == "snapshot")
	if u.kept != nil && u.source.opts.AllowExpired && !aged {
		return nil
	}
	return fmt.Errorf("%w: %s", trustcache.ErrExpired, u.ageOf(role, expires))
}

// fileRef is how one role names a file of another.
type fileRef struct {
	hash [sha256.Size]byte
	meta data.FileMeta
}

func newFileRef(meta data.FileMeta) (fileRef, error) {
	ref := fileRef{meta: meta}
	sum := meta.Hashes["sha256"]
	if copy(ref.hash[:], sum) != sha256.Size || len(sum) != sha256.Size {
		return ref, errors.New("no sha256")
	}
	return ref, nil
}

// fetchRef fetches a file under its hash-name, reads no more of it than was
// declared, and checks its hashes.
func (u *update) fetchRef(role string, ref fileRef, limit int64, use func(raw []byte) error) error {
	if ref.meta.Length < 0 || ref.meta.Length > limit {
		return u.bad(role, fmt.Errorf("declared with %d bytes where %d are the most", ref.meta.Length, limit))
	}
	err := u.file(fmt.Sprintf("%s.%x.json", role, ref.hash), ref.meta.Length, false, func(raw []byte) error {
		if err := data.CheckHashes(raw, role, ref.meta.Hashes); err != nil {
			return u.bad(role, err)
		}
		if err := use(raw); err != nil {
			return err
		}
		u.keep(fmt.Sprintf("%x", ref.hash), raw)
		return nil
	})
	if errors.Is(err, errNotFound) {
		return u.unreachable("it does not have the %s that it names", role)
	}
	return err
}

// timestampFile is a verified timestamp.
type timestampFile struct {
	verified
	snapshot fileRef
	raw      []byte // where files are kept
}

// readTimestamp fetches and verifies the timestamp. A bad signature may mean
// a rotation, so the root chain is tried once; a version below the floor may
// come from a cache on the way, so it is asked for once more past caches. One
// may hide the other, so each is done at most once, in whatever order.
func (u *update) readTimestamp() (*timestampFile, error) {
	noCache := false
	for {
		ts, err := u.tryTimestamp(noCache)
		switch {
		case errors.Is(err, errSignature) && !u.rootAdvanced:
			if err := u.advanceRoot(); err != nil {
				return nil, err
			}
		case errors.Is(err, errBelowFloor) && !noCache:
			noCache = true
		case errors.Is(err, errNotFound):
			return nil, u.absent("root.json", u.source.opts.Limits.Root)
		default:
			return ts, err
		}
	}
}

func (u *update) tryTimestamp(noCache bool) (*timestampFile, error) {
	ts := &timestampFile{}
	err := u.file("timestamp.json", u.source.opts.Limits.Timestamp, noCache, func(raw []byte) error {
		head, meta, err := u.openBase(raw, "timestamp", "Timestamp")
		if err != nil {
			return err
		}
		ts.verified = head
		if u.source.opts.Files != nil {
			ts.raw = bytes.Clone(raw)
		}
		ts.snapshot, err = newFileRef(meta["snapshot"])
		return err
	})
	if err != nil {
		return nil, u.bad("timestamp", err)
	}
	return ts, u.unexpired("timestamp", ts.expires)
}

// open takes a file apart and verifies it with the role's keys. It returns the
// bytes that were signed.
func (u *update) open(raw []byte, wantType string, keys *roleKeys) ([]byte, verified, error) {
	env, err := u.source.openEnvelope(raw)
	if err != nil {
		return nil, verified{}, err
	}
	payload, signers, err := verify(env, keys)
	if err != nil {
		return nil, verified{}, fmt.Errorf("%w: %w", errSignature, err)
	}
	v, err := newVerified(payload, signers, wantType)
	return payload, v, err
}

// openBase is open for a role whose keys the root names; it checks the floor.
// meta is what the file says of others.
func (u *update) openBase(raw []byte, role, wantType string) (v verified, meta map[string]data.FileMeta, err error) {
	keys, err := u.keysOf(role)
	if err != nil {
		return v, nil, err
	}
	payload, v, err := u.open(raw, wantType, keys)
	if err != nil {
		return v, nil, err
	}
	var body struct{ Meta map[string]data.FileMeta }
	if err := json.Unmarshal(payload, &body); err != nil {
		return v, nil, err
	}
	return v, body.Meta, u.floors.accept(role, keys, v)
}

// snapshotFile is a verified snapshot: which files make up the repository.
type snapshotFile struct {
	snapshotHead
	meta map[string]data.FileMeta
}

// snapshotHead is what is kept of it for the next update.
type snapshotHead struct {
	verified
	hash [sha256.Size]byte
}

// readSnapshot fetches and verifies the snapshot that the timestamp names. A
// bad signature or another root than the trusted one means a rotation.
func (u *update) readSnapshot(ts *timestampFile) (*snapshotFile, error) {
	snap, err := u.trySnapshot(ts.snapshot)
	rotated := err == nil && !u.namesRoot(snap)
	if (errors.Is(err, errSignature) || rotated) && !u.rootAdvanced {
		if err := u.advanceRoot(); err != nil {
			return nil, err
		}
		snap, err = u.trySnapshot(ts.snapshot)
	}
	if err == nil && !u.namesRoot(snap) {
		err = u.bad("snapshot", fmt.Errorf("it names another root than version %d", u.root.version))
	}
	if err != nil {
		return nil, err
	}
	return snap, u.unexpired("snapshot", snap.expires)
}

func (u *update) trySnapshot(ref fileRef) (*snapshotFile, error) {
	snap := &snapshotFile{}
	err := u.fetchRef("snapshot", ref, u.source.opts.Limits.Snapshot, func(raw []byte) error {
		head, meta, err := u.openBase(raw, "snapshot", "Snapshot")
		if err != nil {
			return err
		}
		if most := u.source.opts.Limits.Roles + 2; len(meta) > most { // root and targets are no delegations
			return fmt.Errorf("%d roles where %d are the most", len(meta), most)
		}
		snap.snapshotHead, snap.meta = snapshotHead{head, ref.hash}, meta
		return nil
	})
	if err != nil {
		return nil, u.bad("snapshot", err)
	}
	return snap, nil
}

// namesRoot says whether the snapshot and the trusted root belong together.
func (u *update) namesRoot(snap *snapshotFile) bool {
	ref, err := newFileRef(snap.meta["root"])
	return err == nil && ref.hash == u.root.hash
}
