package notary_test

import (
	"bytes"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sealgate/sealgate/trustcache"
	"github.com/sealgate/sealgate/trustcache/notary"
	"github.com/sealgate/sealgate/trustcache/state"
	"github.com/sealgate/sealgate/trustcache/trustcachetest"
)

// site is a place that no server reaches: what is carried there is all it has.
type site struct {
	*world
	pin   func(*notary.Options) // of the root key that the world has at first
	state *store
	files *files
}

func newSite(w *world) *site {
	return &site{w, pinned(w.Parties["root"].Keys[0].Canonical()), newStore(), newFiles()}
}

// carry verifies what the world serves now and keeps it, as loading a bundle
// does.
func (s *site) carry(change ...func(*notary.Options)) {
	s.TB.Helper()
	into := []func(*notary.Options){s.pin, keptIn(s.state), keeping(s.files), func(o *notary.Options) { o.KeepRoots = true }}
	s.verified(s.source(append(into, change...)...), nil)
}

// there returns a source that asks nobody.
func (s *site) there(change ...func(*notary.Options)) *notary.Source {
	nobody := func(o *notary.Options) { o.URL, o.Transport = nil, nil }
	return s.source(append([]func(*notary.Options){s.pin, keptIn(s.state), keeping(s.files), nobody}, change...)...)
}

func grace(d time.Duration) func(*notary.Options) { return func(o *notary.Options) { o.Grace = d } }

// timed is a world whose timestamp and snapshot expire in an hour, and the rest
// long after.
func timed(t *testing.T) *world {
	w, _ := lyingWorld(t)
	w.Expires["timestamp"] = w.Now().Add(time.Hour)
	w.Expires["snapshot"] = w.Now().Add(time.Hour)
	w.Publish()
	return w
}

func TestWhatWasCarriedIsVerifiedWithoutAServer(t *testing.T) {
	w := timed(t)
	s := newSite(w)
	s.carry()
	w.Asked()
	src := s.there()
	snap := w.verified(src, nil)
	wantDigest(t, snap, "latest", 1)
	w.Pass(time.Minute)
	wantDigest(t, w.verified(src, snap), "latest", 1)
	puts := s.files.since()
	w.verified(src, snap)
	if n := s.files.since(); n != 0 || puts == 0 {
		t.Errorf("%d files were written, %d when they were carried", n, puts)
	}
	if asked := w.Asked(); len(asked) != 0 {
		t.Errorf("asked for %v", asked)
	}
}

func TestANewerBundleIsSeenByTheNextUpdate(t *testing.T) {
	w := timed(t)
	s := newSite(w)
	s.carry()
	src := s.there()
	snap := w.verified(src, nil)
	w.Sign(releases, "latest", 2)
	w.Rotate("targets", newSigner(t))
	w.Rotate("root", newRootSigner(t, w.GUN, w.Now()))
	s.carry()
	wantDigest(t, w.verified(src, snap), "latest", 2)
}

// TestARotationIsFollowedFromWhatWasCarried where the files are there before
// what is remembered: a reader in between follows the chain itself.
func TestARotationIsFollowedFromWhatWasCarried(t *testing.T) {
	w := timed(t)
	s := newSite(w)
	s.carry()
	src := s.there()
	snap := w.verified(src, nil)
	w.Sign(releases, "latest", 2)
	w.Rotate("root", newRootSigner(t, w.GUN, w.Now()))
	other := newSite(w)
	other.carry(firstUse)
	maps.Copy(s.files.kept, other.files.kept)
	wantDigest(t, w.verified(src, snap), "latest", 2)
	if got := s.state.state(t); !bytes.Equal(got.Root, w.Raw["root"]) {
		t.Error("the rotation was not remembered")
	}
}

func TestTimestampAndSnapshotStandForTheGrace(t *testing.T) {
	for _, role := range []string{"timestamp", "snapshot"} {
		for _, allowed := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, expired data allowed: %t", role, allowed), func(t *testing.T) {
				w, _ := lyingWorld(t)
				w.Expires[role] = w.Now().Add(time.Hour)
				w.Publish()
				s := newSite(w)
				s.carry()
				src := s.there(grace(24*time.Hour), func(o *notary.Options) { o.AllowExpired = allowed })
				end := w.Now().Add(25 * time.Hour)
				snap := w.verified(src, nil)
				if at, which := snap.Expires(); which != role || !at.Equal(end) {
					t.Errorf("ends at %s with %s, expected %s", at, which, end)
				}
				w.Pass(25*time.Hour - time.Second)
				wantDigest(t, w.verified(src, snap), "latest", 1)
				wantDigest(t, w.verified(src, nil), "latest", 1)
				w.Pass(time.Second)
				for _, prev := range []*trustcache.Snapshot{snap, nil} {
					_, err := w.fetch(src, prev)
					wantClass(t, err, trustcache.ErrExpired)
					want := role + " of " + w.GUN + " expired at " + end.Add(-24*time.Hour).UTC().Format(time.RFC3339) + ", more than the grace of 24h0m0s ago: load a newer bundle"
					if err == nil || !strings.HasSuffix(err.Error(), want) {
						t.Errorf("says %v, expected %s", err, want)
					}
				}
			})
		}
	}
}

// TestGraceIsForNoOtherRole: those say themselves until when they are meant,
// unless expired data is allowed.
func TestGraceIsForNoOtherRole(t *testing.T) {
	for _, role := range []string{"root", "targets", releases} {
		t.Run(role, func(t *testing.T) {
			w, _ := lyingWorld(t)
			w.Expires[role] = w.Now().Add(time.Hour)
			if role == "root" {
				w.PublishRoot()
			}
			w.Publish()
			s := newSite(w)
			s.carry()
			src := s.there(grace(24 * time.Hour))
			snap := w.verified(src, nil)
			w.Pass(time.Hour)
			for _, prev := range []*trustcache.Snapshot{snap, nil} {
				_, err := w.fetch(src, prev)
				wantClass(t, err, trustcache.ErrExpired)
				if !strings.HasSuffix(err.Error(), ": load a newer bundle") {
					t.Errorf("says %v", err)
				}
			}
			lenient := s.there(grace(24*time.Hour), func(o *notary.Options) { o.AllowExpired = true })
			snap = w.verified(lenient, nil)
			if at, which := snap.Expires(); which == role {
				t.Errorf("ends at %s with %s", at, which)
			}
			w.verified(lenient, snap)
		})
	}
}

// TestGraceIsForWhatAServerSendsToo: a bundle is verified as it is loaded.
func TestGraceIsForWhatAServerSendsToo(t *testing.T) {
	w := timed(t)
	w.Pass(3 * time.Hour)
	_, err := w.fetch(w.source(grace(time.Hour)), nil)
	wantClass(t, err, trustcache.ErrExpired)
	wantDigest(t, w.verified(w.source(grace(24*time.Hour)), nil), "latest", 1)
}

// TestACacheServesWhatWasCarriedUntilTheGraceEnds, however long after it was
// last carried there, and not a moment longer.
func TestACacheServesWhatWasCarriedUntilTheGraceEnds(t *testing.T) {
	w := timed(t)
	s := newSite(w)
	s.carry()
	cache := w.cache(s.there(grace(200 * time.Hour)))
	for range 5 {
		w.Pass(40 * time.Hour)
		view, err := cache.Tag(t.Context(), w.GUN, "latest")
		must(t, err)
		if view.Stale != nil {
			t.Errorf("stale: %v", view.Stale)
		}
	}
	w.Pass(time.Hour)
	_, err := cache.Tag(t.Context(), w.GUN, "latest")
	wantClass(t, err, trustcache.ErrExpired)
}

func TestWhereNothingWasCarriedNothingIsSigned(t *testing.T) {
	w := timed(t)
	s := newSite(w)
	_, err := w.fetch(s.there(), nil)
	wantClass(t, err, trustcache.ErrNotLoaded)
	s.carry()
	forget(t, s.there(), w.GUN)
	_, err = w.fetch(s.there(), nil)
	wantClass(t, err, trustcache.ErrNoTrustData)
}

// TestWhatIsLostOfABundleIsNotReportedAsUnsigned, nor what was damaged.
func TestWhatIsLostOfABundleIsNotReportedAsUnsigned(t *testing.T) {
	w := timed(t)
	s := newSite(w)
	s.carry()
	for name, raw := range maps.Clone(s.files.kept) {
		for what, harm := range map[string][]byte{"lost": nil, "empty": {}, "cut": raw[:len(raw)/2]} {
			delete(s.files.kept, name)
			if harm != nil {
				s.files.kept[name] = harm
			}
			snap, err := w.fetch(s.there(), nil)
			if trustcache.Absent(err) {
				t.Errorf("%s of %s is reported as absent: %v", name, what, err)
			}
			if err == nil {
				wantDigest(t, snap, "latest", 1) // a root version, or a role that only names signers
			}
			s.files.kept[name] = raw
		}
	}
	if _, err := w.fetch(s.there(keptIn(newStore())), nil); err == nil || trustcache.Absent(err) {
		t.Errorf("files without what is known of them: %v", err)
	}
}

// TestAnOlderBundleIsRolledBack even where its files take the place of the newer.
func TestAnOlderBundleIsRolledBack(t *testing.T) {
	w := timed(t)
	s := newSite(w)
	s.carry()
	old := maps.Clone(s.files.kept)
	w.Sign(releases, "latest", 2)
	w.Publish()
	s.carry()
	snap := w.verified(s.there(), nil)
	maps.Copy(s.files.kept, old)
	for _, prev := range []*trustcache.Snapshot{snap, nil} {
		_, err := w.fetch(s.there(), prev)
		wantClass(t, err, trustcache.ErrRolledBack)
	}
}

// TestAnUpdateWithoutAServerRaisesTheFloors: what was shown is not taken back
// when somebody changes the files under it.
func TestAnUpdateWithoutAServerRaisesTheFloors(t *testing.T) {
	w := timed(t)
	s := newSite(w)
	s.carry()
	before := maps.Clone(s.files.kept)
	w.Sign(releases, "latest", 2)
	w.Publish()
	newer := newSite(w)
	newer.carry()
	maps.Copy(s.files.kept, newer.files.kept)
	wantDigest(t, w.verified(s.there(), nil), "latest", 2)
	s.files.kept = before
	_, err := w.fetch(s.there(), nil)
	wantClass(t, err, trustcache.ErrRolledBack)
}

func TestPinsOfTodayDecideAboutWhatWasCarried(t *testing.T) {
	w := timed(t)
	s := newSite(w)
	s.carry()
	snap := w.verified(s.there(), nil)
	_, err := w.fetch(s.there(pinned("ff")), snap)
	wantClass(t, err, trustcache.ErrMalicious)
	_, err = w.fetch(s.there(func(o *notary.Options) { o.Pins = nil }), snap)
	wantClass(t, err, trustcache.ErrUnpinned)
	wantDigest(t, w.verified(s.there(under(notary.Policy{Roles: []string{"targets"}})), snap), "latest", 8)
}

// TestAReloadedGraceAppliesToWhatIsInMemory.
func TestAReloadedGraceAppliesToWhatIsInMemory(t *testing.T) {
	w := timed(t)
	s := newSite(w)
	s.carry()
	snap := w.verified(s.there(grace(24*time.Hour)), nil)
	shorter := s.there(grace(2 * time.Hour)).Adopt(snap)
	if shorter == nil {
		t.Fatal("not adopted")
	}
	wantDigest(t, shorter, "latest", 1)
	if at, _ := shorter.Expires(); !at.Equal(w.Now().Add(3 * time.Hour)) {
		t.Errorf("ends at %s", at)
	}
}

// TestTheGraceThatEndedStaysSoWhenTheClockIsSetBack.
func TestTheGraceThatEndedStaysSoWhenTheClockIsSetBack(t *testing.T) {
	w := timed(t)
	s := newSite(w)
	s.carry()
	file := filepath.Join(t.TempDir(), "clock")
	restarted := func() *notary.Source {
		clock, err := state.OpenClock(file, w.Now, func(time.Duration) {})
		must(t, err)
		return s.there(grace(24*time.Hour), func(o *notary.Options) { o.Now = clock.Now })
	}
	w.verified(restarted(), nil)
	w.Pass(26 * time.Hour)
	_, err := w.fetch(restarted(), nil)
	wantClass(t, err, trustcache.ErrExpired)
	w.Pass(-20 * time.Hour)
	_, err = w.fetch(restarted(), nil)
	wantClass(t, err, trustcache.ErrExpired)
}

// rootsOf says which root versions are kept, and that they are the world's.
func (s *site) rootsOf(t *testing.T) (versions []int) {
	t.Helper()
	src := s.there()
	for version := 1; version <= 9; version++ {
		name := fmt.Sprintf("%d.root.json", version)
		raw, err := src.Metadata(s.GUN, name)
		if err != nil {
			wantClass(t, err, fs.ErrNotExist)
			continue
		}
		if !bytes.Equal(raw, s.Files[name]) {
			t.Errorf("%s is another", name)
		}
		versions = append(versions, version)
	}
	return versions
}

func TestEveryRootVersionIsKept(t *testing.T) {
	w := timed(t)
	for range 3 {
		w.Rotate("root", newRootSigner(t, w.GUN, w.Now()))
	}
	s := newSite(w)
	s.carry(firstUse)
	if got := s.rootsOf(t); len(got) != 4 {
		t.Errorf("kept %v of 4", got)
	}
	w.Rotate("root", newRootSigner(t, w.GUN, w.Now()))
	s.carry()
	// A source that does not keep them leaves those that are there.
	w.Sign(releases, "latest", 2)
	w.Publish()
	s.carry(func(o *notary.Options) { o.KeepRoots = false })
	if got := s.rootsOf(t); len(got) != 5 {
		t.Errorf("kept %v of 5", got)
	}
}

// TestARootThatLeadsNowhereIsNotKept, nor any before it, and it is no reason
// not to use what is signed.
func TestARootThatLeadsNowhereIsNotKept(t *testing.T) {
	stranger := newWorld(t)
	stranger.Rotate("root", newRootSigner(t, stranger.GUN, stranger.Now()))
	lies := map[string]func(w *world){
		"missing":          func(w *world) { w.Serve["2.root.json"] = nil },
		"of other keys":    func(w *world) { w.Serve["2.root.json"] = stranger.Files["2.root.json"] },
		"another version":  func(w *world) { w.Serve["2.root.json"] = w.Files["1.root.json"] },
		"tampered with":    func(w *world) { w.Serve["2.root.json"] = tamper(w.Files["2.root.json"]) },
		"larger than ever": func(w *world) { w.Serve["2.root.json"] = bytes.Repeat([]byte("x"), 2<<20) },
	}
	for name, lie := range lies {
		t.Run(name, func(t *testing.T) {
			w := timed(t)
			for range 3 {
				w.Rotate("root", newRootSigner(t, w.GUN, w.Now()))
			}
			lie(w)
			s := newSite(w)
			var told []string
			s.carry(firstUse, func(o *notary.Options) {
				o.OnUnkept = func(_ string, err error) { told = append(told, err.Error()) }
			})
			if got := s.rootsOf(t); len(got) != 2 || got[0] != 3 {
				t.Errorf("kept %v", got)
			}
			if len(told) != 1 || !strings.HasPrefix(told[0], "root 2 of "+w.GUN) {
				t.Errorf("told %q", told)
			}
		})
	}
}

// TestMetadataIsWhatWasCarried under every name that a client of Notary knows,
// byte for byte.
func TestMetadataIsWhatWasCarried(t *testing.T) {
	w := timed(t)
	s := newSite(w)
	s.carry()
	src := s.there()
	for name, want := range map[string][]byte{
		"root.json": w.Raw["root"], "1.root.json": w.Files["1.root.json"], "timestamp.json": w.Raw["timestamp"],
		"snapshot.json": w.Raw["snapshot"], "targets.json": w.Raw["targets"], releases + ".json": w.Raw[releases],
		trustcachetest.HashName("root", w.Raw["root"]):         w.Raw["root"],
		trustcachetest.HashName("snapshot", w.Raw["snapshot"]): w.Raw["snapshot"],
		trustcachetest.HashName("targets", w.Raw["targets"]):   w.Raw["targets"],
		trustcachetest.HashName(releases, w.Raw[releases]):     w.Raw[releases],
	} {
		raw, err := src.Metadata(w.GUN, name)
		must(t, err)
		if !bytes.Equal(raw, want) {
			t.Errorf("%s is another", name)
		}
	}
	for _, name := range []string{
		"", "root", "0.root.json", "01.root.json", "2.root.json", "9999999999.root.json", "1.targets.json", "targets/nobody.json", "mirror.json",
		"timestamp", "../root.json", "targets/../root.json", "timestamp.key", trustcachetest.HashName("targets", []byte("nothing")),
		trustcachetest.HashName("root", w.Raw["targets"]),
	} {
		if raw, err := src.Metadata(w.GUN, name); raw != nil || err == nil {
			t.Errorf("%q: %d bytes, %v", name, len(raw), err)
		} else {
			wantClass(t, err, fs.ErrNotExist)
		}
	}
}

func TestDamagedMetadataIsNotHandedOut(t *testing.T) {
	w := timed(t)
	s := newSite(w)
	s.carry()
	for name := range s.files.kept {
		s.files.kept[name] = []byte(strings.Repeat("[", 1000))
	}
	for _, name := range []string{"timestamp.json", "snapshot.json", "targets.json", trustcachetest.HashName("targets", w.Raw["targets"])} {
		if raw, err := s.there().Metadata(w.GUN, name); err == nil {
			t.Errorf("%s: %q", name, raw)
		}
	}
}
