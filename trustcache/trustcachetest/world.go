package trustcachetest

import (
	"crypto/sha256"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/sealgate/sealgate/trustcache"
	"github.com/theupdateframework/notary/tuf/data"
)

const (
	// GUN is the repository that a world is, unless told otherwise.
	GUN = "registry.example.com/acme/app"
	// Releases is the delegation that decides before targets does.
	Releases = "targets/releases"
)

// A World is one repository in Notary's dialect of TUF, held in memory, and the
// trust server that hands it out: an http.RoundTripper for https://notary.test.
// It signs what it is told to, lies in the ways it is told to, and keeps its own
// time. Nothing but the root is served before Publish.
//
// The clock and the server may be used by several goroutines at once. The rest
// is changed while no request is under way, or from within Answer where only one
// is. What goes wrong in a World ends the test TB.
type World struct {
	TB  testing.TB
	GUN string

	// The model. Change it, then Publish.
	Parties map[string]*Party     // by role
	Content map[string]data.Files // what is signed, by targets role
	Paths   map[string][]string   // by delegation
	Order   []string              // delegations, parents before children
	Idle    map[string]bool       // delegated, never published
	Version map[string]int        // of the newest file, by role
	Expires map[string]time.Time  // of the next file, by role; a month from now where there is none

	// The lies, all of them taken back by Honest. The first four take effect with
	// the next publication.
	Edit    map[string]func(payload []byte) []byte // by role, before it signs
	Spoil   map[string]func(file []byte) []byte    // by role, after it has signed
	Dropped map[string]bool                        // roles that the snapshot does not name
	Declare map[string]data.FileMeta               // what is said of a role's file instead of the truth
	// Serve is served under a file's name instead of the file; nil bytes are a
	// file that is not found. Under "cached " and the name, only to those who do
	// not ask with Cache-Control: no-cache.
	Serve map[string][]byte
	// Answer decides what a request for the file of that name gets; where it is
	// nil, or returns nil, that is the file, or what Serve has for it.
	Answer func(name string) *Reply

	// What was published, and what was asked for.
	Raw        map[string][]byte // newest file by role
	Files      map[string][]byte // by name, the older ones of a hash or a version too
	PastCaches map[string]int    // requests with Cache-Control: no-cache, by name

	mu       sync.Mutex // guards what is below, and PastCaches
	clock    time.Time
	requests []string
}

// A Party is who may sign a role, and who does.
type Party struct {
	Keys      []*Signer
	Threshold int
	Hands     []*Signer // who signs; nil means Keys
}

// Signers are those who sign.
func (p *Party) Signers() []*Signer {
	if p.Hands != nil {
		return p.Hands
	}
	return p.Keys
}

// NewWorld returns the repository GUN with a root, in which nothing is signed.
// Its clock stands at noon of the first of March 2026, UTC.
func NewWorld(tb testing.TB) *World {
	tb.Helper()
	return NewWorldFor(tb, GUN)
}

// NewWorldFor is NewWorld for a repository of another name. It shares no key
// with any other world.
func NewWorldFor(tb testing.TB, gun string) *World {
	tb.Helper()
	w := &World{
		TB: tb, GUN: gun, clock: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC),
		Parties: map[string]*Party{}, Content: map[string]data.Files{"targets": {}}, Paths: map[string][]string{},
		Idle: map[string]bool{}, Version: map[string]int{},
		Raw: map[string][]byte{}, Files: map[string][]byte{}, PastCaches: map[string]int{},
	}
	w.Honest()
	w.Parties["root"] = &Party{Keys: []*Signer{NewRootSigner(tb, gun, w.clock)}, Threshold: 1}
	for _, role := range []string{"targets", "snapshot", "timestamp"} {
		w.Parties[role] = &Party{Keys: []*Signer{NewSigner(tb)}, Threshold: 1}
	}
	w.PublishRoot(w.Parties["root"].Keys...)
	return w
}

// Clone returns an honest world that goes its own way from here on. The keys, and
// what was published, are the same.
func (w *World) Clone(tb testing.TB) *World {
	c := &World{
		TB: tb, GUN: w.GUN, clock: w.Now(), Parties: map[string]*Party{}, Content: map[string]data.Files{}, Paths: maps.Clone(w.Paths),
		Order: slices.Clone(w.Order), Idle: maps.Clone(w.Idle), Version: maps.Clone(w.Version),
		Raw: maps.Clone(w.Raw), Files: maps.Clone(w.Files), PastCaches: map[string]int{},
	}
	for role, p := range w.Parties {
		c.Parties[role] = &Party{Keys: slices.Clone(p.Keys), Threshold: p.Threshold}
	}
	for role, files := range w.Content {
		c.Content[role] = maps.Clone(files)
	}
	c.Honest()
	return c
}

// Honest takes back every lie; Publish makes it take effect.
func (w *World) Honest() {
	w.Expires = map[string]time.Time{}
	w.Edit = map[string]func([]byte) []byte{}
	w.Spoil = map[string]func([]byte) []byte{}
	w.Dropped = map[string]bool{}
	w.Declare = map[string]data.FileMeta{}
	w.Serve = map[string][]byte{}
	w.Answer = nil
	for _, p := range w.Parties {
		p.Hands = nil
	}
}

// Now is the time in the world.
func (w *World) Now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.clock
}

// Pass sets the clock forward, or back where d is negative.
func (w *World) Pass(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.clock = w.clock.Add(d)
}

// Delegate makes a targets role with a key of its own, which signs nothing yet. No path means every tag.
func (w *World) Delegate(role string, paths ...string) *Party {
	if len(paths) == 0 {
		paths = []string{""}
	}
	p := &Party{Keys: []*Signer{NewSigner(w.TB)}, Threshold: 1}
	w.Parties[role], w.Content[role], w.Paths[role] = p, data.Files{}, paths
	w.Order = append(w.Order, role)
	return p
}

// Digest returns the n-th of the digests that are signed in worlds.
func Digest(n int) trustcache.Digest {
	return sha256.Sum256([]byte{byte(n), byte(n >> 8), byte(n >> 16)})
}

// Sign has the targets role name the n-th digest for tag, with the length n.
func (w *World) Sign(role, tag string, n int) {
	sum := Digest(n)
	w.Content[role][tag] = data.FileMeta{Length: int64(n), Hashes: data.Hashes{"sha256": sum[:]}}
}
