package notary_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"slices"
	"sync"
	"testing"
	"time"

	cjson "github.com/docker/go/canonical/json"
	"github.com/sealgate/sealgate/trustcache"
	"github.com/theupdateframework/notary/tuf/data"
)

const (
	testGUN  = "registry.example.com/acme/app"
	releases = "targets/releases"
)

// world is one repository in Notary's dialect of TUF, held in memory, and the
// server that hands it out (worldserve_test.go). It signs what it is told to,
// lies in the ways it is told to, and keeps its own time. Nothing in it is
// served before publish.
type world struct {
	tb  testing.TB
	gun string

	mu    sync.Mutex
	clock time.Time

	// The model. Change it, then publish.
	parties map[string]*party     // by role
	content map[string]data.Files // by targets role
	paths   map[string][]string   // by delegation
	order   []string              // delegations, parents before children
	idle    map[string]bool       // delegated, never published
	version map[string]int
	expires map[string]time.Time

	// The lies, all of them taken back by honest.
	edit    map[string]func(payload []byte) []byte // before the role signs
	spoil   map[string]func(file []byte) []byte    // after it has signed
	dropped map[string]bool                        // not in the snapshot
	declare map[string]data.FileMeta               // instead of the file's own
	serve   map[string][]byte                      // by file name; nil bytes: not found
	answer  func(name string) *reply               // nil: the true answer

	raw      map[string][]byte // newest file by role
	files    map[string][]byte // by name
	requests []string
	noCache  map[string]int
}

// party is who may sign a role, and who does.
type party struct {
	keys      []*signer
	threshold int
	hands     []*signer // who signs; nil means keys
}

func (p *party) signers() []*signer {
	if p.hands != nil {
		return p.hands
	}
	return p.keys
}

// newWorld returns a repository with a root and targets, and nothing signed.
func newWorld(tb testing.TB) *world { return newWorldFor(tb, testGUN) }

func newWorldFor(tb testing.TB, gun string) *world {
	tb.Helper()
	w := &world{
		tb: tb, gun: gun, clock: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC),
		parties: map[string]*party{}, content: map[string]data.Files{"targets": {}}, paths: map[string][]string{},
		idle: map[string]bool{}, version: map[string]int{},
		raw: map[string][]byte{}, files: map[string][]byte{}, noCache: map[string]int{},
	}
	w.honest()
	w.parties["root"] = &party{keys: []*signer{newRootSigner(tb, gun, w.clock)}, threshold: 1}
	for _, role := range []string{"targets", "snapshot", "timestamp"} {
		w.parties[role] = &party{keys: []*signer{newSigner(tb)}, threshold: 1}
	}
	w.publishRoot(w.parties["root"].keys...)
	return w
}

// clone returns a world that goes its own way from here on.
func (w *world) clone(tb testing.TB) *world {
	c := &world{
		tb: tb, gun: w.gun, clock: w.now(), parties: map[string]*party{}, content: map[string]data.Files{}, paths: maps.Clone(w.paths),
		order: slices.Clone(w.order), idle: maps.Clone(w.idle), version: maps.Clone(w.version),
		raw: maps.Clone(w.raw), files: maps.Clone(w.files), noCache: map[string]int{},
	}
	for role, p := range w.parties {
		c.parties[role] = &party{keys: slices.Clone(p.keys), threshold: p.threshold}
	}
	for role, files := range w.content {
		c.content[role] = maps.Clone(files)
	}
	c.honest()
	return c
}

// honest takes back every lie; publish makes it take effect.
func (w *world) honest() {
	w.expires = map[string]time.Time{}
	w.edit = map[string]func([]byte) []byte{}
	w.spoil = map[string]func([]byte) []byte{}
	w.dropped = map[string]bool{}
	w.declare = map[string]data.FileMeta{}
	w.serve = map[string][]byte{}
	w.answer = nil
	for _, p := range w.parties {
		p.hands = nil
	}
}

func (w *world) now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.clock
}

func (w *world) pass(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.clock = w.clock.Add(d)
}

// delegate makes a role with a key of its own. No path means every tag.
func (w *world) delegate(role string, paths ...string) *party {
	if len(paths) == 0 {
		paths = []string{""}
	}
	p := &party{keys: []*signer{newSigner(w.tb)}, threshold: 1}
	w.parties[role], w.content[role], w.paths[role] = p, data.Files{}, paths
	w.order = append(w.order, role)
	return p
}

// digest returns the n-th of the digests that the tests sign.
func digest(n int) trustcache.Digest {
	return sha256.Sum256([]byte{byte(n), byte(n >> 8), byte(n >> 16)})
}

func (w *world) sign(role, tag string, n int) {
	sum := digest(n)
	w.content[role][tag] = data.FileMeta{Length: int64(n), Hashes: data.Hashes{"sha256": sum[:]}}
}

// publish signs every targets role, the snapshot and the timestamp anew.
func (w *world) publish() {
	w.publishRoles(append([]string{"targets"}, w.order...)...)
}

// publishRoles signs the given targets roles, the snapshot and the timestamp.
func (w *world) publishRoles(roles ...string) {
	w.tb.Helper()
	for _, role := range roles {
		if !w.idle[role] {
			w.put(role, data.Targets{SignedCommon: w.next(role, "Targets"), Targets: w.content[role], Delegations: w.delegations(role)})
		}
	}
	w.publishSnapshot()
}

func (w *world) publishSnapshot() {
	w.tb.Helper()
	meta := data.Files{"root": w.meta("root")}
	for role := range w.content {
		if w.raw[role] != nil && !w.dropped[role] {
			meta[role] = w.meta(role)
		}
	}
	w.put("snapshot", data.Snapshot{SignedCommon: w.next("snapshot", "Snapshot"), Meta: meta})
	w.publishTimestamp()
}

func (w *world) publishTimestamp() {
	w.tb.Helper()
	w.put("timestamp", data.Timestamp{SignedCommon: w.next("timestamp", "Timestamp"), Meta: data.Files{"snapshot": w.meta("snapshot")}})
	w.files["timestamp.json"] = w.raw["timestamp"]
}

// publishRoot signs the next root with the given signers.
func (w *world) publishRoot(signers ...*signer) {
	w.tb.Helper()
	root := data.Root{SignedCommon: w.next("root", "Root"), Keys: data.Keys{}, Roles: map[data.RoleName]*data.RootRole{}}
	for _, role := range data.BaseRoles {
		root.Roles[role] = w.parties[role.String()].list(root.Keys)
	}
	w.put("root", root, signers...)
	w.files["root.json"] = w.raw["root"]
	w.files[fmt.Sprintf("%d.root.json", w.version["root"])] = w.raw["root"]
}

// rotate gives a base role new keys and publishes everything under them. A new
// root is signed by the old root keys and by its own.
func (w *world) rotate(role string, keys ...*signer) {
	w.tb.Helper()
	before := w.parties["root"].signers()
	w.parties[role].keys, w.parties[role].hands = keys, nil
	if role == "root" {
		w.publishRoot(append(slices.Clone(before), keys...)...)
	} else {
		w.publishRoot(before...)
	}
	w.publish()
}

func (p *party) list(keys data.Keys) *data.RootRole {
	r := &data.RootRole{Threshold: p.threshold}
	for _, s := range p.keys {
		keys[s.public.ID()] = s.public
		r.KeyIDs = append(r.KeyIDs, s.public.ID())
	}
	return r
}

func (w *world) delegations(parent string) data.Delegations {
	d := data.Delegations{Keys: data.Keys{}, Roles: []*data.Role{}}
	for _, role := range w.order {
		if path.Dir(role) == parent {
			d.Roles = append(d.Roles, &data.Role{RootRole: *w.parties[role].list(d.Keys), Name: data.RoleName(role), Paths: w.paths[role]})
		}
	}
	return d
}

// next is what the next file of the role begins with.
func (w *world) next(role, kind string) data.SignedCommon {
	w.version[role]++
	expires, ok := w.expires[role]
	if !ok {
		expires = w.now().AddDate(0, 1, 0)
	}
	return data.SignedCommon{Type: kind, Version: w.version[role], Expires: expires}
}

// put signs the payload and keeps the file under the names it is asked for.
func (w *world) put(role string, payload any, signers ...*signer) {
	w.tb.Helper()
	canonical, err := cjson.MarshalCanonical(payload)
	must(w.tb, err)
	if edit := w.edit[role]; edit != nil {
		canonical = edit(canonical)
	}
	if len(signers) == 0 {
		signers = w.parties[role].signers()
	}
	raw := seal(w.tb, canonical, signers...)
	if spoil := w.spoil[role]; spoil != nil {
		raw = spoil(bytes.Clone(raw))
	}
	w.raw[role] = raw
	w.files[fmt.Sprintf("%s.%x.json", role, sha256.Sum256(raw))] = raw
}

// use puts a file in the place of the role's newest.
func (w *world) use(role string, raw []byte) {
	w.raw[role] = raw
	w.files[fmt.Sprintf("%s.%x.json", role, sha256.Sum256(raw))] = raw
}

func (w *world) meta(role string) data.FileMeta {
	if declared, ok := w.declare[role]; ok {
		return declared
	}
	meta, err := data.NewFileMeta(bytes.NewReader(w.raw[role]), data.NotaryDefaultHashes...)
	must(w.tb, err)
	return meta
}

// keep returns the newest files by role as they are now.
func (w *world) keep() map[string][]byte { return maps.Clone(w.raw) }

// seal signs payload as it stands and makes a metadata file of it.
func seal(tb testing.TB, payload []byte, signers ...*signer) []byte {
	tb.Helper()
	sigs := make([]data.Signature, 0, len(signers))
	for _, s := range signers {
		sigs = append(sigs, s.sign(tb, payload))
	}
	return envelope(tb, payload, sigs)
}

func envelope(tb testing.TB, payload []byte, sigs []data.Signature) []byte {
	tb.Helper()
	list, err := json.Marshal(sigs)
	must(tb, err)
	return slices.Concat([]byte(`{"signed":`), payload, []byte(`,"signatures":`), list, []byte(`}`))
}
