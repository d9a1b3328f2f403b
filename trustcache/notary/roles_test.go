package notary_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sealgate/sealgate/trustcache"
	"github.com/theupdateframework/notary/tuf/data"
)

// TestWhoseWordCounts is Docker's rule, one world per case. A tag that is not
// in want is not visible.
func TestWhoseWordCounts(t *testing.T) {
	type signed struct {
		role, tag string
		digest    int
	}
	type answer struct {
		digest  int
		role    string
		signers []string
	}
	const child = releases + "/ci"
	for _, c := range []struct {
		name  string
		roles map[string][]string // delegations and their paths
		idle  []string
		signs []signed
		want  map[string]answer
	}{
		{
			name:  "targets alone",
			signs: []signed{{"targets", "latest", 1}},
			want:  map[string]answer{"latest": {1, "targets", []string{"targets"}}},
		},
		{
			name:  "releases goes before targets",
			roles: map[string][]string{releases: nil},
			signs: []signed{{"targets", "latest", 1}, {releases, "latest", 2}, {"targets", "old", 3}},
			want: map[string]answer{
				"latest": {2, releases, []string{releases}}, "old": {3, "targets", []string{"targets"}},
			},
		},
		{
			name:  "who signs the same digest is named, who signs another is not",
			roles: map[string][]string{releases: nil, "targets/alice": nil, "targets/bob": nil},
			signs: []signed{{releases, "latest", 2}, {"targets", "latest", 2}, {"targets/alice", "latest", 2}, {"targets/bob", "latest", 3}},
			want:  map[string]answer{"latest": {2, releases, []string{releases, "targets", "targets/alice"}}},
		},
		{
			name:  "a tag only in another role is unsigned",
			roles: map[string][]string{releases: nil, "targets/alice": nil},
			signs: []signed{{"targets/alice", "latest", 1}},
		},
		{
			name:  "a child of releases hides the tag of targets",
			roles: map[string][]string{releases: nil, child: nil},
			signs: []signed{{"targets", "latest", 1}, {child, "latest", 2}},
		},
		{
			name:  "a child of releases hides even the same digest in targets",
			roles: map[string][]string{releases: nil, child: nil},
			signs: []signed{{"targets", "latest", 1}, {child, "latest", 1}},
		},
		{
			name:  "releases itself goes before its child",
			roles: map[string][]string{releases: nil, child: nil},
			signs: []signed{{releases, "latest", 1}, {child, "latest", 2}, {"targets", "latest", 3}},
			want:  map[string]answer{"latest": {1, releases, []string{releases}}},
		},
		{
			name:  "a grandchild of releases hides the tag too",
			roles: map[string][]string{releases: nil, child: nil, child + "/night": nil},
			signs: []signed{{"targets", "latest", 1}, {child + "/night", "latest", 2}},
		},
		{
			name:  "a child of another role hides nothing",
			roles: map[string][]string{"targets/alice": nil, "targets/alice/ci": nil},
			signs: []signed{{"targets", "latest", 1}, {"targets/alice/ci", "latest", 2}},
			want:  map[string]answer{"latest": {1, "targets", []string{"targets"}}},
		},
		{
			name:  "a role whose name only begins like releases is another role",
			roles: map[string][]string{"targets/releases2": nil, "targets/releases-x": nil},
			signs: []signed{{"targets/releases2", "latest", 2}, {"targets/releases-x", "old", 2}, {"targets", "latest", 1}},
			want:  map[string]answer{"latest": {1, "targets", []string{"targets"}}},
		},
		{
			name:  "releases counts only for its paths",
			roles: map[string][]string{releases: {"v1", "v2."}},
			signs: []signed{{releases, "v1", 1}, {releases, "v1.2", 2}, {releases, "v2", 3}, {releases, "v2.0", 4}, {releases, "latest", 5}, {"targets", "latest", 6}},
			want: map[string]answer{
				"v1": {1, releases, []string{releases}}, "v1.2": {2, releases, []string{releases}},
				"v2.0": {4, releases, []string{releases}}, "latest": {6, "targets", []string{"targets"}},
			},
		},
		{
			name:  "a role without paths signs nothing",
			roles: map[string][]string{releases: {}},
			signs: []signed{{releases, "latest", 1}},
		},
		{
			name:  "a child cannot widen its parent's paths",
			roles: map[string][]string{releases: {"v"}, child: {"", "v1"}},
			signs: []signed{{"targets", "latest", 1}, {child, "latest", 2}, {"targets", "v1.0", 3}, {child, "v1.0", 4}, {"targets", "v2.0", 5}, {child, "v2.0", 6}},
			want: map[string]answer{
				"latest": {1, "targets", []string{"targets"}}, "v2.0": {5, "targets", []string{"targets"}},
			},
		},
		{
			name:  "a role outside its paths is not named as a signer",
			roles: map[string][]string{"targets/alice": {"v"}},
			signs: []signed{{"targets", "latest", 1}, {"targets/alice", "latest", 1}},
			want:  map[string]answer{"latest": {1, "targets", []string{"targets"}}},
		},
		{
			name:  "a delegation that was never published is empty",
			roles: map[string][]string{releases: nil, "targets/alice": nil},
			idle:  []string{releases, "targets/alice"},
			signs: []signed{{"targets", "latest", 1}},
			want:  map[string]answer{"latest": {1, "targets", []string{"targets"}}},
		},
		{
			name: "target names that are no tags are ignored",
			signs: []signed{
				{"targets", "latest", 1}, {"targets", "", 2}, {"targets", ".x", 2}, {"targets", "-x", 2}, {"targets", "a/b", 2}, {"targets", "a b", 2},
				{"targets", "ä", 2}, {"targets", strings.Repeat("x", 129), 2}, {"targets", "a:b", 2},
				{"targets", strings.Repeat("x", 128), 3}, {"targets", "_", 4}, {"targets", "A.b-c_9", 5},
			},
			want: map[string]answer{
				"latest": {1, "targets", []string{"targets"}}, strings.Repeat("x", 128): {3, "targets", []string{"targets"}},
				"_": {4, "targets", []string{"targets"}}, "A.b-c_9": {5, "targets", []string{"targets"}},
			},
		},
		{name: "nothing signed at all"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			for _, role := range sortedKeys(c.roles) {
				w.Delegate(role)
				if c.roles[role] != nil {
					w.Paths[role] = c.roles[role]
				}
			}
			for _, role := range c.idle {
				w.Idle[role] = true
			}
			for _, s := range c.signs {
				w.Sign(s.role, s.tag, s.digest)
			}
			w.Publish()
			snap := w.verified(w.source(), nil)
			if snap.Len() != len(c.want) || snap.GUN() != w.GUN {
				t.Errorf("%d tags of %s, expected %d", snap.Len(), snap.GUN(), len(c.want))
			}
			for tag, want := range c.want {
				wantDigest(t, snap, tag, want.digest)
				got, _ := snap.Lookup(tag)
				if got.Role != want.role || !slices.Equal(got.Signers, want.signers) || got.Length != int64(want.digest) {
					t.Errorf("tag %q: %s by %v, length %d, expected %s by %v", tag, got.Role, got.Signers, got.Length, want.role, want.signers)
				}
			}
			for _, s := range c.signs {
				if _, visible := c.want[s.tag]; !visible {
					wantHidden(t, snap, s.tag)
				}
			}
		})
	}
}

// sortedKeys also puts parents before children.
func sortedKeys[V any](m map[string]V) []string {
	var keys []string
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

func TestHiddenTagsAreKnownWithTheRolesThatNameThem(t *testing.T) {
	w := newWorld(t)
	for _, role := range []string{releases, releases + "/ci", "targets/alice", "targets/bob"} {
		w.Delegate(role)
	}
	w.Paths["targets/bob"] = []string{"v"}
	for role := range w.Content {
		if role != releases {
			w.Sign(role, "latest", 1)
		}
	}
	w.Sign("targets/bob", "v1", 2)
	w.Sign("targets/alice", "v1", 3)
	w.Publish()
	snap := w.verified(w.source(), nil)
	wantHidden(t, snap, "latest", "targets", "targets/alice", releases+"/ci")
	wantHidden(t, snap, "v1", "targets/alice", "targets/bob")
	if snap.Len() != 0 || len(snap.Hidden()) != 2 {
		t.Errorf("%d tags, hidden %v", snap.Len(), snap.Hidden())
	}
}

func TestATagWithoutSHA256IsDecidedAndCannotBeServed(t *testing.T) {
	long, short := digest(1), digest(2)
	for name, hashes := range map[string]data.Hashes{
		"sha512 alone": {"sha512": slices.Concat(long[:], long[:])}, "no hashes": {}, "nil hashes": nil,
		"short sha256": {"sha256": short[:31]}, "long sha256": {"sha256": slices.Concat(long[:], long[:1])}, "empty sha256": {"sha256": []byte{}},
		"upper-case name": {"SHA256": long[:]},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.Delegate(releases)
			w.Sign("targets", "latest", 3) // no fallback to it
			w.Sign("targets", "v1", 4)
			w.Content[releases]["latest"] = data.FileMeta{Length: 5, Hashes: hashes}
			w.Publish()
			snap := w.verified(w.source(), nil)
			got, ok := snap.Lookup("latest")
			if !ok || !got.NoDigest || got.Digest != (trustcache.Digest{}) || got.Role != releases || !slices.Equal(got.Signers, []string{releases}) {
				t.Errorf("found %v: %+v", ok, got)
			}
			if snap.Len() != 1 || len(snap.Unusable()) != 1 {
				t.Errorf("%d tags, %d unusable", snap.Len(), len(snap.Unusable()))
			}
			wantDigest(t, snap, "v1", 4)
		})
	}
}

// broken lists what can be wrong with a delegation.
var broken = map[string]func(w *world, role string){
	"forged":     func(w *world, role string) { w.Parties[role].Hands = []*signer{newSigner(w.TB)} },
	"expired":    func(w *world, role string) { w.Expires[role] = w.Now().Add(-time.Second) },
	"malformed":  func(w *world, role string) { w.Spoil[role] = func([]byte) []byte { return []byte("{}") } },
	"changed":    func(w *world, role string) { w.Spoil[role] = tamper },
	"no version": func(w *world, role string) { w.Edit[role] = replaceVersion("0") },
	"unfetchable": func(w *world, role string) {
		w.Answer = func(name string) *reply {
			if strings.HasPrefix(name, role+".") {
				return status(500, "")
			}
			return nil
		}
	},
	"withheld": func(w *world, role string) {
		w.Answer = func(name string) *reply {
			if strings.HasPrefix(name, role+".") {
				return status(404, metadataNotFound)
			}
			return nil
		}
	},
	"without a usable key": func(w *world, role string) {
		w.Edit["targets"] = func(p []byte) []byte {
			id := w.Parties[role].Keys[0].Public.ID()
			return bytes.Replace(p, []byte(`"keyids":["`+id), []byte(`"keyids":["x`+id[1:]), 1)
		}
	},
}

func TestNothingFallsBackPastARoleThatDecides(t *testing.T) {
	for what, spoil := range broken {
		for _, role := range []string{releases, releases + "/ci"} {
			if role != releases && what == "without a usable key" {
				continue // that one is in releases' own file
			}
			t.Run(role+" "+what, func(t *testing.T) {
				w := newWorld(t)
				w.Delegate(releases)
				w.Delegate(releases + "/ci")
				w.Sign("targets", "latest", 8)
				w.Sign(role, "latest", 1)
				spoil(w, role)
				w.Publish()
				if snap, err := w.fetch(w.source(), nil); err == nil {
					target, _ := snap.Lookup("latest")
					t.Fatalf("got a snapshot with %+v", target)
				}
			})
		}
	}
}

func TestARoleThatDecidesNothingOnlyLosesItsName(t *testing.T) {
	for what, spoil := range broken {
		t.Run(what, func(t *testing.T) {
			w := newWorld(t)
			w.Delegate("targets/alice")
			w.Delegate("targets/bob")
			for role := range w.Content {
				w.Sign(role, "latest", 1)
			}
			spoil(w, "targets/alice")
			w.Publish()
			s := w.source()
			snap := w.verified(s, nil)
			wantSigners(t, snap, "targets", "targets/bob")
			if note := noteOf(snap, "targets/alice"); note == "" {
				t.Error("nothing says what is wrong with targets/alice")
			}

			// It is looked at again: at once where it could not be fetched,
			// when something new is published where it could not be believed.
			w.Honest()
			if what != "unfetchable" && what != "withheld" {
				w.Publish()
			}
			snap = w.verified(s, snap)
			wantSigners(t, snap, "targets", "targets/alice", "targets/bob")
			if note := noteOf(snap, "targets/alice"); note != "" {
				t.Errorf("still noted: %s", note)
			}
		})
	}
}

func TestANoteOutlivesAnUnchangedUpdate(t *testing.T) {
	w := newWorld(t)
	w.Delegate("targets/alice")
	w.Sign("targets", "latest", 1)
	broken["forged"](w, "targets/alice")
	w.Publish()
	s := w.source()
	snap := w.verified(s, nil)
	note := noteOf(snap, "targets/alice")
	for range 3 {
		snap = w.verified(s, snap)
	}
	if got := noteOf(snap, "targets/alice"); got == "" || got != note || len(snap.Evidence()) != 5 {
		t.Errorf("note is %q, expected %q; %d pieces of evidence", got, note, len(snap.Evidence()))
	}
}

func noteOf(snap *trustcache.Snapshot, role string) string {
	for _, e := range snap.Evidence() {
		if e.Role == role {
			return e.Note
		}
	}
	return ""
}

func wantSigners(tb testing.TB, snap *trustcache.Snapshot, signers ...string) {
	tb.Helper()
	got, ok := snap.Lookup("latest")
	if !ok || !slices.Equal(got.Signers, signers) {
		tb.Fatalf("latest: found %v, signed by %v, expected %v", ok, got.Signers, signers)
	}
}
