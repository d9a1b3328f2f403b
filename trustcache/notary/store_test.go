package notary_test

import (
	"errors"
	"maps"
	"reflect"
	"testing"
	"time"

	"github.com/sealgate/sealgate/trustcache"
	"github.com/sealgate/sealgate/trustcache/notary"
)

// store is a MemoryStore that fails when it is told to and counts what it saves.
type store struct {
	*notary.MemoryStore
	load, save error
	saved      []*notary.State
}

func newStore() *store { return &store{MemoryStore: notary.NewMemoryStore()} }

func (s *store) Load(gun string) (*notary.State, error) {
	if s.load != nil {
		return nil, s.load
	}
	return s.MemoryStore.Load(gun)
}

func (s *store) Save(gun string, old, state *notary.State) error {
	if s.save != nil {
		return s.save
	}
	s.saved = append(s.saved, state)
	return s.MemoryStore.Save(gun, old, state)
}

func keptIn(s notary.Store) func(*notary.Options) {
	return func(o *notary.Options) { o.Store = s }
}

func TestWhatIsServedNeverRunsAheadOfWhatIsStored(t *testing.T) {
	w, _ := lyingWorld(t)
	kept := newStore()
	cache := w.cache(w.source(keptIn(kept)))
	kept.save = errors.New("disk full: /var/lib/sealgate/trust")
	_, err := cache.Tag(t.Context(), w.GUN, "latest")
	wantClass(t, err, trustcache.ErrStore)
	kept.save = nil
	w.Pass(2 * time.Second)
	view, err := cache.Tag(t.Context(), w.GUN, "latest")
	must(t, err)
	wantDigest(t, view.Snapshot, "latest", 1)

	kept.save = errors.New("disk full")
	w.Sign(releases, "latest", 2)
	w.Publish()
	w.Pass(61 * time.Second)
	view, err = cache.Tag(t.Context(), w.GUN, "latest")
	must(t, err)
	wantDigest(t, view.Snapshot, "latest", 1)
	wantClass(t, view.Stale, trustcache.ErrStore)
	kept.save, kept.load = nil, errors.New("i/o error")
	w.Pass(2 * time.Second)
	view, err = cache.Tag(t.Context(), w.GUN, "latest")
	must(t, err)
	wantDigest(t, view.Snapshot, "latest", 1)
	wantClass(t, view.Stale, trustcache.ErrStore)
	kept.load = nil
	w.Pass(2 * time.Second)
	view, err = cache.Tag(t.Context(), w.GUN, "latest")
	must(t, err)
	wantDigest(t, view.Snapshot, "latest", 2)
}

// TestAnUpdateThatFailsStoresNothing, for every way in which a role can be
// broken, and neither does one that finds no trust data.
func TestAnUpdateThatFailsStoresNothing(t *testing.T) {
	for what, spoil := range broken {
		w, _ := lyingWorld(t)
		kept := newStore()
		s := w.source(keptIn(kept))
		spoil(w, releases)
		w.Publish()
		if _, err := w.fetch(s, nil); err == nil {
			t.Fatalf("%s: believed", what)
		}
		w.Answer = func(string) *reply { return status(404, metadataNotFound) }
		_, err := w.fetch(s, nil)
		wantClass(t, err, trustcache.ErrNoTrustData)
		if len(kept.saved) != 0 {
			t.Errorf("%s: stored %d times", what, len(kept.saved))
		}
	}
}

// TestFloorsOutliveTheSource: another source over the same store, as after a
// restart, refuses what is older, starts from the stored root and is given no
// second first use.
func TestFloorsOutliveTheSource(t *testing.T) {
	w, old := lyingWorld(t)
	kept := newStore()
	w.verified(w.source(keptIn(kept), firstUse), nil)
	state := kept.saved[0]
	for _, role := range []string{"root", "timestamp", "snapshot", "targets", releases, "targets/alice"} {
		if floors := state.Floors[role]; len(floors) != 1 || floors[0].Version != w.Version[role] {
			t.Errorf("floor of %s is %d, expected %d", role, floors[0].Version, w.Version[role])
		}
	}
	before := maps.Clone(state.Floors)
	w.Serve["timestamp.json"] = old["timestamp"]
	_, err := w.fetch(w.source(keptIn(kept), firstUse), nil)
	wantClass(t, err, trustcache.ErrMalicious)
	impostor, _ := lyingWorld(t)
	maps.Copy(w.Serve, impostor.Files)
	_, err = w.fetch(w.source(keptIn(kept), firstUse), nil)
	wantClass(t, err, trustcache.ErrMalicious)
	w.Honest()
	w.Asked()
	wantDigest(t, w.verified(w.source(keptIn(kept), firstUse), nil), "latest", 1)
	if asked := w.Asked(); asked[0] != "timestamp.json" {
		t.Errorf("asked for %v", asked)
	}
	if !reflect.DeepEqual(before, state.Floors) {
		t.Error("a saved state was modified")
	}
}

func TestARepositoryStoresNothingOfAnother(t *testing.T) {
	w, _ := lyingWorld(t)
	kept := newStore()
	w.verified(w.source(keptIn(kept)), nil)
	if state, err := kept.Load("registry.example.com/acme/other"); state != nil || err != nil {
		t.Errorf("another repository has %v, %v", state, err)
	}
}

func TestAPanicOfALibraryIsAnError(t *testing.T) {
	w, _ := lyingWorld(t)
	s := w.source()
	snap := w.verified(s, nil)
	w.Answer = func(string) *reply { panic("boom") }
	for name, look := range map[string]func() error{
		"fetch":   func() error { _, err := w.fetch(s, snap); return err },
		"offered": func() error { _, err := s.Offered(t.Context(), w.GUN); return err },
	} {
		err := look()
		var caught *trustcache.PanicError
		if !errors.As(err, &caught) || !errors.Is(err, trustcache.ErrMalicious) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// The bound on memory is released.
	w.Answer = nil
	for range 100 {
		w.verified(s, nil)
	}
}
