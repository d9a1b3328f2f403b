package notary_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/sealgate/sealgate/trustcache"
	"github.com/sealgate/sealgate/trustcache/notary"
	"github.com/sealgate/sealgate/trustcache/trustcachetest"
)

// lie is one way in which a trust server, or who stands between, does not tell
// the truth.
type lie struct {
	name string
	// tell makes an honest world lie. "latest" is signed in targets/releases
	// with digest 1, and the files before that are in old.
	tell func(w *world, old map[string][]byte)
	// cold is the class of error that a first look gives; nil where only those
	// who remember can see the lie.
	cold error
	// warm is the class that a repository verified before is marked with, and
	// the error after a restart; nil where those who remember do not ask.
	warm error
	// repair is done before the honest publication that ends the lie.
	repair func(w *world)
}

// told are the lies that no source may believe.
func told(lies []trustcachetest.Lie) []lie {
	list := make([]lie, len(lies))
	for i, l := range lies {
		list[i] = lie{name: l.Name, tell: func(w *world, old map[string][]byte) { l.Tell(w.World, old) }, cold: l.Cold, warm: l.Warm}
		if l.Repair != nil {
			list[i].repair = func(w *world) { l.Repair(w.World) }
		}
	}
	return list
}

func testLies(t *testing.T, lies []lie) {
	seed, old := lyingWorld(t)
	for _, l := range lies {
		t.Run(l.name, func(t *testing.T) {
			if l.cold != nil {
				t.Run("first look", func(t *testing.T) { l.testCold(t, seed.clone(t), old) })
			}
			if l.warm != nil {
				t.Run("known repository", func(t *testing.T) { l.testWarm(t, seed.clone(t), old) })
			}
			t.Run("after a restart", func(t *testing.T) { l.testRestarted(t, seed.clone(t), old) })
		})
	}
}

// testCold: never a snapshot, never "no trust data", and honest metadata
// afterwards is believed.
func (l lie) testCold(t *testing.T, w *world, old map[string][]byte) {
	l.tell(w, old)
	s := w.source()
	snap, err := w.fetch(s, nil)
	if snap != nil {
		t.Fatal("got a snapshot")
	}
	wantClass(t, err, l.cold)
	if _, err := w.cache(s).Tag(t.Context(), w.GUN, "latest"); !errors.Is(err, l.cold) {
		t.Errorf("the cache says %v, expected %q", err, l.cold)
	}
	l.endOf(w)
	w.Pass(2 * time.Second)
	wantDigest(t, w.verified(s, nil), "latest", 2)
}

// testWarm: the last verified snapshot stands, marked with the reason, and
// honest metadata afterwards is believed in one refresh. What vanished does
// not stand.
func (l lie) testWarm(t *testing.T, w *world, old map[string][]byte) {
	cache := w.cache(w.source())
	view, err := cache.Tag(t.Context(), w.GUN, "latest")
	must(t, err)
	wantDigest(t, view.Snapshot, "latest", 1)

	w.Pass(61 * time.Second)
	l.tell(w, old)
	for range 2 {
		view, err = cache.Tag(t.Context(), w.GUN, "latest")
		if l.warm == trustcache.ErrVanished {
			wantClass(t, err, l.warm)
		} else {
			must(t, err)
			wantDigest(t, view.Snapshot, "latest", 1)
			wantClass(t, view.Stale, l.warm)
		}
		w.Pass(2 * time.Second)
	}

	l.endOf(w)
	view, err = cache.Tag(t.Context(), w.GUN, "latest")
	must(t, err)
	wantDigest(t, view.Snapshot, "latest", 2)
	if view.Stale != nil {
		t.Errorf("still stale after honest metadata: %v", view.Stale)
	}
}

func (l lie) endOf(w *world) {
	w.Honest()
	if l.repair != nil {
		l.repair(w)
	}
	w.Sign(releases, "latest", 2)
	w.Publish()
}

// wantHidden checks that a tag is not visible and, where roles are given, that
// these are known to name it.
func wantHidden(tb testing.TB, snap *trustcache.Snapshot, tag string, roles ...string) {
	tb.Helper()
	if target, ok := snap.Lookup(tag); ok {
		tb.Fatalf("tag %q is visible through %s", tag, target.Role)
	}
	for _, h := range snap.Hidden() {
		if h.Tag == tag {
			if len(roles) > 0 && !slices.Equal(h.Roles, roles) {
				tb.Errorf("tag %q is named by %v, expected %v", tag, h.Roles, roles)
			}
			return
		}
	}
	if len(roles) > 0 {
		tb.Errorf("tag %q is not among the hidden ones", tag)
	}
}

// pollsRoot makes a source look for a next root at every update.
func pollsRoot(o *notary.Options) { o.RootPoll = time.Nanosecond }
