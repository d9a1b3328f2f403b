package notary_test

import (
	"errors"
	"maps"
	"math/rand/v2"
	"net/http"
	"path"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/distribution/distribution/v3/registry/storage/driver/inmemory"
	"github.com/sealgate/sealgate/trustcache"
	"github.com/sealgate/sealgate/trustcache/notary"
	"github.com/sealgate/sealgate/trustcache/trustcachetest"
)

func TestSaveStoresNothingOverWhatAnotherStored(t *testing.T) {
	kept := notary.NewMemoryStore()
	mine, other := &notary.State{Root: []byte("mine")}, &notary.State{Root: []byte("other")}
	conflict := func(old, state *notary.State) {
		t.Helper()
		if err := kept.Save(testGUN, old, state); !errors.Is(err, notary.ErrConflict) {
			t.Errorf("saved over another: %v", err)
		}
	}
	conflict(mine, other) // nothing is stored
	must(t, kept.Save(testGUN, nil, other))
	conflict(nil, mine)
	conflict(mine, mine)
	must(t, kept.Save("registry.example.com/acme/else", nil, mine))
	must(t, kept.Save(testGUN, other, mine))
	must(t, kept.Forget(testGUN))
	must(t, kept.Forget(testGUN))
	conflict(mine, other)
	if state, err := kept.Load(testGUN); state == nil || state.Root != nil || state.Floors != nil || err != nil {
		t.Errorf("forgotten, and there are %v, %v", state, err)
	}
	conflict(nil, mine) // what was not known before it was forgotten, is known no more
	if state, err := kept.Load("registry.example.com/acme/else"); state != mine || err != nil {
		t.Errorf("another repository has %v, %v", state, err)
	}
}

// whenAsked calls do once, when the source asks for a file whose name begins
// like that, before it is answered.
func whenAsked(w *world, prefix string, do func()) func(*notary.Options) {
	var once sync.Once
	return func(o *notary.Options) {
		o.Transport = roundTripper(func(req *http.Request) (*http.Response, error) {
			if strings.HasPrefix(path.Base(req.URL.Path), prefix) {
				once.Do(do)
			}
			return w.RoundTrip(req)
		})
	}
}

// TestTwoSourcesOverOneStore: another source accepts what is newer while this
// one is shown what is older.
func TestTwoSourcesOverOneStore(t *testing.T) {
	for _, rotated := range []bool{false, true} {
		w, _ := lyingWorld(t)
		kept := newStore()
		pin := w.Parties["root"].Keys[0].Canonical()
		other := w.source(pinned(pin), keptIn(kept))
		snap := w.verified(other, nil)
		before, seen := maps.Clone(w.Files), w.Keep()
		now := w.Files
		w.Sign(releases, "latest", 2)
		if rotated {
			w.Rotate("root", newRootSigner(t, w.GUN, w.Now()))
		}
		w.Publish()
		w.Files = before
		s := w.source(pinned(pin), keptIn(kept), whenAsked(w, "timestamp", func() {
			w.Files = now
			wantDigest(t, w.verified(other, snap), "latest", 2)
			w.Files = before
		}))
		_, err := w.fetch(s, snap)
		wantClass(t, err, trustcache.ErrMalicious)
		if got := kept.state(t).Floors[releases][0].Version; got != w.Version[releases] {
			t.Errorf("the floor went back to %d", got)
		}

		// What this one remembers may be older than what the other accepted:
		// new timestamps and snapshots do not bring it back.
		w.Files = now
		w.Asked()
		wantDigest(t, w.verified(s, snap), "latest", 2)
		if asked := w.Asked(); slices.ContainsFunc(asked, func(name string) bool { return strings.HasSuffix(name, "root.json") }) {
			t.Errorf("the root that the other found was not taken from the store: asked for %v", asked)
		}
		for _, again := range []string{releases, "snapshot"} {
			w.Use(again, seen[again])
			if again == releases {
				w.PublishSnapshot()
			} else {
				w.PublishTimestamp()
			}
			_, err = w.fetch(s, snap)
			wantClass(t, err, trustcache.ErrMalicious)
		}
	}
}

// TestAStateThatOthersChangeAllTheTime is given up as if there were no answer.
func TestAStateThatOthersChangeAllTheTime(t *testing.T) {
	w, _ := lyingWorld(t)
	kept := newStore()
	kept.save = notary.ErrConflict
	_, err := w.fetch(w.source(keptIn(kept)), nil)
	wantClass(t, err, trustcache.ErrUnreachable)
	asked := 0
	for _, name := range w.Asked() {
		if name == "root.json" {
			asked++
		}
	}
	if asked != 3 {
		t.Errorf("tried %d times", asked)
	}
}

func forget(tb testing.TB, s *notary.Source, gun string) {
	tb.Helper()
	if known, err := s.Forget(gun); !known || err != nil {
		tb.Errorf("forget: known %v, %v", known, err)
	}
}

// TestWhatIsForgottenStaysForgotten, also by an update that was under way.
func TestWhatIsForgottenStaysForgotten(t *testing.T) {
	for _, at := range []string{"timestamp", "snapshot", releases[len("targets/"):]} {
		t.Run("at "+at, func(t *testing.T) {
			w, _ := lyingWorld(t)
			kept := newStore()
			s := w.source(keptIn(kept), firstUse)
			snap := w.verified(s, nil)

			// The publisher starts anew: other keys, low versions.
			anew := newWorld(t)
			anew.Delegate(releases)
			anew.Sign(releases, "latest", 9)
			anew.Publish()
			_, err := anew.fetch(anew.source(keptIn(kept), firstUse), snap)
			wantClass(t, err, trustcache.ErrMalicious)

			w.Sign(releases, "latest", 2)
			w.Publish()
			slow := w.source(keptIn(kept), firstUse, whenAsked(w, at, func() {
				forget(t, s, w.GUN)
				maps.Copy(w.Files, anew.Files) // what it is about to ask for is there still
			}))
			_, err = w.fetch(slow, snap)
			if at == "timestamp" { // of other keys than the root that it began with
				wantClass(t, err, trustcache.ErrMalicious)
				if kept.state(t).Root != nil {
					t.Fatal("what was forgotten was stored again")
				}
				_, err = w.fetch(slow, snap)
			}
			wantClass(t, err, trustcache.ErrForgotten) // what it was given stands no longer
			got, err := w.fetch(slow, nil)
			must(t, err)
			wantDigest(t, got, "latest", 9)
			if floors := kept.state(t).Floors["root"]; floors[0].Signers[0] != anew.Parties["root"].Keys[0].Canonical() {
				t.Error("the floors are those of the root that was forgotten")
			}
		})
	}
}

// TestForgetWhileAnUpdateEnds: all of the update was verified, and counts for
// nothing, like what it began with.
func TestForgetWhileAnUpdateEnds(t *testing.T) {
	w, _ := lyingWorld(t)
	kept := newStore()
	s := w.source(keptIn(kept))
	snap := w.verified(s, nil)
	w.Asked()
	slow := w.source(keptIn(kept), whenAsked(w, "timestamp", func() { forget(t, s, w.GUN) }))
	_, err := w.fetch(slow, snap)
	wantClass(t, err, trustcache.ErrForgotten)
	wantDigest(t, w.verified(slow, nil), "latest", 1)
	w.wantAsked("timestamp.json", "root.json", "timestamp.json", "snapshot", "targets", releases, "targets/alice")
}

// TestWhatAReplicaForgetsStandsNowhere: the next look at a repository that was
// forgotten through another source takes the snapshot away before anybody is
// asked, be the server there or not, and be the repository known again or not.
func TestWhatAReplicaForgetsStandsNowhere(t *testing.T) {
	for _, known := range []bool{false, true} {
		w, _ := lyingWorld(t)
		disk := inmemory.New()
		here, there := w.source(storedOn(t, disk)), w.source(storedOn(t, disk))
		snap := w.verified(here, nil)
		w.verified(there, nil)
		forget(t, there, w.GUN)
		if known {
			w.verified(there, nil)
		}
		w.Asked()
		_, err := w.fetch(here, snap)
		wantClass(t, err, trustcache.ErrForgotten)
		w.wantAsked()
	}
}

// TestWhatIsVerifiedAfterAForgetStands like any other: the next update goes on from
// there, and asks for nothing twice.
func TestWhatIsVerifiedAfterAForgetStands(t *testing.T) {
	for name, change := range map[string]func(*notary.Options){"in memory": keptIn(newStore()), "on a storage": storedOn(t, inmemory.New())} {
		t.Run(name, func(t *testing.T) {
			w, _ := lyingWorld(t)
			s := w.source(change)
			w.verified(s, nil)
			forget(t, s, w.GUN)
			snap := w.verified(s, nil)
			w.Asked()
			w.verified(s, snap)
			w.wantAsked("timestamp.json")
		})
	}
}

func TestForgetSaysWhenItFails(t *testing.T) {
	w := newWorld(t)
	failed := errors.New("disk full")
	s := w.source(func(o *notary.Options) { o.Store = forgetful{notary.NewMemoryStore(), failed} })
	w.Sign("targets", "latest", 1)
	w.Publish()
	w.verified(s, nil)
	if _, err := s.Forget(w.GUN); !errors.Is(err, failed) || !strings.Contains(err.Error(), w.GUN) {
		t.Error(err)
	}
}

type forgetful struct {
	*notary.MemoryStore
	err error
}

func (f forgetful) Forget(string) error { return f.err }

// monotone is a store that notices when a floor goes back.
type monotone struct {
	*notary.MemoryStore
	tb        testing.TB
	mu        sync.Mutex
	saves     int
	conflicts int
}

func (m *monotone) Save(gun string, old, state *notary.State) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	last, err := m.Load(gun)
	must(m.tb, err)
	if err := m.MemoryStore.Save(gun, old, state); err != nil {
		m.conflicts++
		return err
	}
	m.saves++
	if last == nil {
		return nil
	}
	for role, floors := range last.Floors {
		if is := state.Floors[role]; len(is) == 0 || is[0].Version < floors[0].Version {
			m.tb.Errorf("%s went back from version %d", role, floors[0].Version)
		}
	}
	return nil
}

// TestTwoSourcesRace: they share a store, as the one before and the one after
// a reload do, and the server shows each of them older and newer metadata at
// random.
func TestTwoSourcesRace(t *testing.T) {
	w, _ := lyingWorld(t)
	var published []map[string][]byte
	for n := range 20 {
		w.Sign(releases, "latest", n)
		w.Publish()
		published = append(published, maps.Clone(w.Files))
	}
	kept := &monotone{MemoryStore: notary.NewMemoryStore(), tb: t}
	var newest atomic.Int64
	shown := roundTripper(func(req *http.Request) (*http.Response, error) {
		at := newest.Load()
		if req.Header.Get("Cache-Control") == "" && at > 0 && rand.IntN(2) == 0 {
			at--
		}
		// Files of a hash name are there for ever.
		file := published[len(published)-1]
		if strings.HasSuffix(req.URL.Path, "/timestamp.json") {
			file = published[at]
		}
		return (&trustcachetest.World{GUN: w.GUN, Files: file, PastCaches: map[string]int{}}).RoundTrip(req)
	})
	var wg sync.WaitGroup
	for range 2 {
		s := w.source(keptIn(kept), func(o *notary.Options) { o.Transport = shown })
		for range 2 {
			wg.Go(func() {
				var snap *trustcache.Snapshot
				for i := range 100 {
					next, err := w.fetch(s, snap)
					switch {
					case err == nil:
						snap = next
					case !errors.Is(err, trustcache.ErrMalicious) && !errors.Is(err, trustcache.ErrUnreachable):
						t.Error(err)
					}
					if at := int64(i / 5); at > newest.Load() {
						newest.Store(at)
					}
				}
			})
		}
	}
	wg.Wait()
	t.Logf("%d saved, %d conflicts", kept.saves, kept.conflicts)
	wantDigest(t, w.verified(w.source(keptIn(kept)), nil), "latest", 19)
}
