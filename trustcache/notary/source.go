// Package notary is the trust source for Notary v1 (Docker Content Trust): it
// fetches TUF metadata from a Notary server, verifies it and says what is
// signed. It is the only importer of a TUF library, and uses that library for
// single steps alone (types, key forms, one signature at a time): the order of
// the steps, what is remembered and what is refused is decided here.
//
// An update follows the client workflow of TUF 1.0 section 5 in Notary's
// dialect: trusted root (root.go), then timestamp, snapshot (update.go), then
// targets and delegations (targets.go), each through the same reader: bounded
// fetch (fetch.go), scan (scan.go), signatures over the very bytes that are
// parsed afterwards (verify.go).
//
// It refuses to fall back past a role that decides and cannot be verified, to
// go back to an older version, and to hand any byte to a library before its
// own scan has capped size and nesting.
package notary

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/sealgate/sealgate/trustcache"
	"golang.org/x/sync/semaphore"
)

// Options configure a Source. URL and Transport, or Files, are required.
type Options struct {
	// URL is the Notary server, without "/v2/" and without a trailing slash.
	URL *url.URL
	// Transport sends the requests, with Notary's own credentials if there are
	// any. Redirects are not followed. Nil means that there is no server: Fetch
	// verifies what is in Files, as somebody has put it there.
	Transport http.RoundTripper
	// Pins returns the pins of a GUN, of the one kind that decides for it; the
	// zero value when no pin covers it. It must be safe for concurrent use. Nil
	// means no pins.
	Pins func(gun string) Pins
	// Policy returns whose word counts for the tags of a GUN. It must be safe
	// for concurrent use; what it returns is never nil. Nil means Docker's rule
	// for all.
	Policy func(gun string) *Policy
	// TrustOnFirstUse accepts the first root seen of a GUN that no pin covers.
	TrustOnFirstUse bool
	// Store remembers verified roots and versions; nil means a new MemoryStore.
	Store Store
	// Files keeps what was fetched for Restore; nil means that nothing is kept.
	Files Files
	// OnUnkept, when not nil, is told why metadata could not be kept, from the
	// goroutine of the update.
	OnUnkept func(gun string, err error)
	// KeepRoots keeps every version of the root among Files, also those before the
	// first that is trusted, as far as the server has them and each is signed for
	// by the one before it.
	KeepRoots bool
	// AllowExpired lets Restore use what has expired, and so Fetch without a
	// Transport, but for timestamp and snapshot: there Grace says how old these
	// may be.
	AllowExpired bool
	// Grace is how long timestamp and snapshot stand past their expiry: who signed
	// them may be out of reach. The timestamp stands for a minute in any case.
	Grace time.Duration
	// Limits bound what is read; zero fields mean DefaultLimits.
	Limits Limits
	// RootPoll is how often a next root is asked for without any sign of a
	// rotation; zero means an hour.
	RootPoll time.Duration
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// Source implements trustcache.Source. It is safe for concurrent use; where
// two update one GUN at once, also through two Sources that share a Store, the
// later one starts again from what the other has stored.
type Source struct {
	opts   Options
	memory *semaphore.Weighted
}

// New returns a source.
func New(opts Options) *Source {
	if opts.Store == nil {
		opts.Store = NewMemoryStore()
	}
	if opts.RootPoll <= 0 {
		opts.RootPoll = time.Hour
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Pins == nil {
		opts.Pins = func(string) Pins { return Pins{} }
	}
	if opts.Policy == nil {
		dockers := &Policy{}
		opts.Policy = func(string) *Policy { return dockers }
	}
	opts.Limits = opts.Limits.withDefaults()
	return &Source{opts: opts, memory: semaphore.NewWeighted(opts.Limits.Memory)}
}

// maxConflicts is how often an update is tried whose trust state others change
// under it.
const maxConflicts = 3

// Fetch brings the verified view of gun up to date. See trustcache.Source.
func (s *Source) Fetch(ctx context.Context, gun string, prev *trustcache.Snapshot) (snap *trustcache.Snapshot, err error) {
	defer trustcache.CatchPanic(gun, &err) // a library over hostile bytes
	for range maxConflicts {
		var u *update
		if u, err = s.begin(ctx, gun, prev); err != nil {
			return nil, err
		}
		update := u.fetch
		if s.offline() {
			update = u.fetchKept
		}
		snap, err = update()
		switch {
		case err == nil:
			return snap, nil
		case !errors.Is(err, ErrConflict):
			return u.overtaken(err), err
		}
	}
	return nil, fmt.Errorf("%w: %s: its trust state is changed by others all the time", trustcache.ErrUnreachable, gun)
}

// overtakenTimeout bounds the look at what another process has accepted.
const overtakenTimeout = 10 * time.Second

// overtaken returns, for an update that has failed, what another process on the
// same store has accepted since the snapshot that this one began with: else clients
// of several would go back and forth between two versions. It is nil where there
// is nothing such, or where it cannot be built from what is kept.
func (u *update) overtaken(failure error) *trustcache.Snapshot {
	if u.source.offline() || u.memo == nil || errors.Is(failure, trustcache.ErrVanished) || errors.Is(failure, trustcache.ErrStore) ||
		u.floors.last("snapshot", u.memo.snapshot.verified) {
		return nil
	}
	// The server may have used up all of the time.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(u.ctx), overtakenTimeout)
	defer cancel()
	snap, _, err := u.source.Restore(ctx, u.gun)
	if err != nil || snap.Memo().(*memo).snapshot.hash == u.memo.snapshot.hash {
		return nil
	}
	return snap
}

// Forget drops what is remembered of gun in the Store, its roots and versions,
// and says whether anything was; nothing is written where nothing was. The next
// Fetch looks at it for the first time, and so does one that is under
// way, whatever it has verified so far. Where a cache holds snapshots of gun,
// forget it here first and there afterwards.
func (s *Source) Forget(gun string) (known bool, err error) {
	state, err := s.opts.Store.Load(gun)
	known = err != nil || state.known() || state == nil && s.hasKept(gun) // what cannot be read is there
	if !known {
		return false, nil
	}
	if err := s.opts.Store.Forget(gun); err != nil {
		return known, fmt.Errorf("forget %q: %w", gun, err)
	}
	return known, nil
}

// Accepts says whether the root of a snapshot that a Source made, this one or
// another, satisfies the pins of this one for as long as the snapshot stands,
// so that it may go on being used here. It asks no server; the certificates
// that pins may be about are in the Store. False is no verdict on the
// repository: a Fetch may find a newer root that satisfies them.
func (s *Source) Accepts(snap *trustcache.Snapshot) bool {
	m, ours := snap.Memo().(*memo)
	if !ours {
		return false
	}
	u := &update{source: s, gun: snap.GUN(), now: s.opts.Now(), pins: s.opts.Pins(snap.GUN()), memo: m}
	switch {
	case u.pins.Kind == NoPins:
		return s.opts.TrustOnFirstUse
	case m.vouched.holds(u.pins, u.now):
		return true
	case u.pins.Kind == RootKeys:
		return u.now.Before(u.pins.accept(&root{rootHead: m.root}, u.now)) || u.now.Before(u.pins.accept(&root{rootHead: m.anchor}, u.now))
	}
	var err error
	defer trustcache.CatchPanic(u.gun, &err) // a library over what is stored
	if u.state, err = s.opts.Store.Load(u.gun); err != nil || !u.state.known() || sha256.Sum256(u.state.Root) != m.root.hash {
		return false
	}
	if err = u.recall(); err != nil {
		return false
	}
	for _, r := range []*root{u.anchor, u.root} {
		accepted, err := u.accepted(r)
		if ends, _ := snap.Expires(); err == nil && accepted && !u.vouched.until.Before(ends) {
			return true
		}
	}
	return false
}

// Adopt returns what a snapshot that a Source made, this one or another, is
// under the pins and the policy of this one, without asking anybody; nil where
// a Fetch has to find that out.
func (s *Source) Adopt(snap *trustcache.Snapshot) *trustcache.Snapshot {
	if !s.Accepts(snap) {
		return nil
	}
	before := snap.Memo().(*memo)
	policy := s.opts.Policy(snap.GUN())
	switch {
	case before.policy.equal(policy) && before.terms == s.opts.terms():
		return snap
	case len(before.notes) > 0:
		return nil // a role that could not be read may decide now
	}
	// Where keys are required, what they have signed before has a say.
	state, err := s.opts.Store.Load(snap.GUN())
	if err != nil || !state.known() {
		return nil
	}
	m := *before
	m.policy, m.terms = policy, s.opts.terms()
	m.counted = newFloors(state.Floors).count(policy, m.roles)
	var timestamp verified
	for _, e := range snap.Evidence() {
		if e.Role == "timestamp" {
			timestamp = verified{version: e.Version, expires: e.Expires, signers: e.KeyIDs}
		}
	}
	c := m.contents(snap.GUN(), timestamp)
	c.Targets, c.Hidden = m.merge()
	return trustcache.NewSnapshot(c)
}
