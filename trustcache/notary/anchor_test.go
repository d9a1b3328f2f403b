package notary_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sealgate/sealgate/trustcache"
	"github.com/sealgate/sealgate/trustcache/notary"
)

// rotatedTwice is a world whose root keys went from a to b to c, and a store
// that knows the root of a, as one that pinned it has left it.
func rotatedTwice(t *testing.T, kind notary.PinKind) (w *world, kept *store, a, b, c *signer) {
	t.Helper()
	w = newWorld(t)
	w.Sign("targets", "latest", 1)
	w.Publish()
	kept = newStore()
	a = w.Parties["root"].Keys[0]
	w.verified(w.source(pinnedAs(kind, a), keptIn(kept)), nil)
	w.Rotate("root", newRootSigner(t, w.GUN, w.Now()))
	b = w.Parties["root"].Keys[0]
	w.Rotate("root", newRootSigner(t, w.GUN, w.Now()))
	c = w.Parties["root"].Keys[0]
	return w, kept, a, b, c
}

func (s *store) state(tb testing.TB) *notary.State {
	tb.Helper()
	state, err := s.Load(testGUN)
	must(tb, err)
	return state
}

// TestPinsThatChange: a source with other pins, also of another kind, over the
// store of the one before, as after a reload.
func TestPinsThatChange(t *testing.T) {
	for _, test := range []struct {
		name     string
		advanced bool // the one before had followed the rotations
		pins     func(a, b, c, stranger *signer) []*signer
		firstUse bool
		want     error
	}{
		{"the anchor is pinned", true, func(a, _, _, _ *signer) []*signer { return []*signer{a} }, false, nil},
		{"the anchor is pinned, rotations still to follow", false, func(a, _, _, _ *signer) []*signer { return []*signer{a} }, false, nil},
		{"the newest root is pinned", true, func(_, _, c, _ *signer) []*signer { return []*signer{c} }, false, nil},
		{"the newest root is pinned, rotations still to follow", false, func(_, _, c, _ *signer) []*signer { return []*signer{c} }, false, nil},
		{"both are pinned", true, func(a, _, c, _ *signer) []*signer { return []*signer{c, a} }, false, nil},
		{"a root between them is pinned", true, func(_, b, _, _ *signer) []*signer { return []*signer{b} }, false, trustcache.ErrMalicious},
		{"a root between them is pinned, rotations still to follow", false, func(_, b, _, _ *signer) []*signer { return []*signer{b} }, false, trustcache.ErrMalicious},
		{"a stranger is pinned", true, func(_, _, _, x *signer) []*signer { return []*signer{x} }, false, trustcache.ErrMalicious},
		{"a stranger is pinned, rotations still to follow", false, func(_, _, _, x *signer) []*signer { return []*signer{x} }, false, trustcache.ErrMalicious},
		{"a stranger is pinned and first use is on", true, func(_, _, _, x *signer) []*signer { return []*signer{x} }, true, trustcache.ErrMalicious},
		{"nothing is pinned and first use is on", true, nil, true, nil},
		{"nothing is pinned and first use is off", true, nil, false, trustcache.ErrUnpinned},
	} {
		for _, from := range pinKinds() {
			for _, to := range pinKinds() {
				t.Run(fmt.Sprintf("%s: %s, then %s", test.name, from, to), func(t *testing.T) {
					w, kept, a, b, c := rotatedTwice(t, from)
					before := w.source(pinnedAs(from, a), keptIn(kept))
					var snap *trustcache.Snapshot
					if test.advanced {
						snap = w.verified(before, nil)
					}
					w.Sign("targets", "latest", 2)
					w.Publish()
					stored := kept.state(t)
					var pins notary.Pins
					if test.pins != nil {
						pins = pinsOf(to, test.pins(a, b, c, newRootSigner(t, w.GUN, w.Now()))...)
					}
					s := w.source(pinning(pins), keptIn(kept), func(o *notary.Options) { o.TrustOnFirstUse = test.firstUse })
					if snap != nil && s.Accepts(snap) != (test.want == nil) {
						t.Errorf("accepts the snapshot: %v", s.Accepts(snap))
					}
					for what, prev := range map[string]*trustcache.Snapshot{"without a snapshot": nil, "with the snapshot of the one before": snap} {
						got, err := w.fetch(s, prev)
						if test.want != nil {
							wantClass(t, err, test.want)
							if kept.state(t) != stored {
								t.Errorf("%s: stored something", what)
							}
						} else if err != nil {
							t.Errorf("%s: %v", what, err)
						} else {
							wantDigest(t, got, "latest", 2)
							wantDigest(t, w.verified(s, got), "latest", 2)
						}
					}
					if snap != nil && s.Accepts(snap) != (test.want == nil) {
						t.Errorf("accepts the snapshot afterwards: %v", s.Accepts(snap))
					}
				})
			}
		}
	}
}

func TestAnErrorOverPinsSaysWhatToDo(t *testing.T) {
	forEachKind(t, func(t *testing.T, kind notary.PinKind) {
		w, kept, _, _, _ := rotatedTwice(t, kind)
		_, err := w.fetch(w.source(pinnedAs(kind, newRootSigner(t, w.GUN, w.Now())), keptIn(kept)), nil)
		wantClass(t, err, trustcache.ErrMalicious)
		for _, part := range []string{w.GUN, "matches the pins that are configured now", "trust-pinning." + string(kind), `"sealgate forget"`} {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%q says nothing of %q", err, part)
			}
		}
	})
}

// TestTheAnchorIsKept for as long as the pins match it, and moves to the root
// that does where they no longer do.
func TestTheAnchorIsKept(t *testing.T) {
	forEachKind(t, func(t *testing.T, kind notary.PinKind) {
		w, kept, a, _, c := rotatedTwice(t, kind)
		first := w.Files["1.root.json"]
		if state := kept.state(t); state.Anchor != nil || !bytes.Equal(state.Root, first) {
			t.Error("the first root is not its own anchor")
		}
		s := w.source(pinnedAs(kind, a), keptIn(kept))
		snap := w.verified(s, nil)
		for range 2 { // rotated, then unchanged
			if state := kept.state(t); !bytes.Equal(state.Anchor, first) || !bytes.Equal(state.Root, w.Raw["root"]) {
				t.Error("the anchor is not the first root")
			}
			snap = w.verified(s, snap)
		}

		moved := w.Raw["root"]
		old, oldKept, _, _, oldPin := rotatedTwice(t, kind)
		old.verified(old.source(pinnedAs(kind, oldPin), keptIn(oldKept)), nil)
		s = w.source(pinnedAs(kind, c), keptIn(kept))
		w.verified(s, snap)
		for what, state := range map[string]*notary.State{"remembered": kept.state(t), "found": oldKept.state(t)} {
			if state.Anchor != nil {
				t.Errorf("the anchor did not move to a root that was %s", what)
			}
		}
		for _, prev := range []*trustcache.Snapshot{nil, snap} { // which was vouched for by the anchor that is gone
			_, err := w.fetch(w.source(pinnedAs(kind, a), keptIn(kept)), prev)
			wantClass(t, err, trustcache.ErrMalicious)
		}
		w.Rotate("root", newRootSigner(t, w.GUN, w.Now()))
		w.verified(s, nil)
		if state := kept.state(t); !bytes.Equal(state.Anchor, moved) || !bytes.Equal(state.Root, w.Raw["root"]) {
			t.Error("the anchor is not the root that it moved to")
		}
	})
}

// TestTheAnchorOfAFirstUse is the root that was seen first; a pin that is set
// later has to match it or what came of it.
func TestTheAnchorOfAFirstUse(t *testing.T) {
	w := newWorld(t)
	w.Sign("targets", "latest", 1)
	w.Publish()
	kept := newStore()
	a := w.Parties["root"].Keys[0]
	snap := w.verified(w.source(firstUse, keptIn(kept)), nil)
	w.Rotate("root", newRootSigner(t, w.GUN, w.Now()))
	snap = w.verified(w.source(firstUse, keptIn(kept)), snap)
	if !bytes.Equal(kept.state(t).Anchor, w.Files["1.root.json"]) {
		t.Error("the anchor is not the first root")
	}
	forEachKind(t, func(t *testing.T, kind notary.PinKind) {
		w.verified(w.source(pinnedAs(kind, a), keptIn(kept)), snap)
		_, err := w.fetch(w.source(pinnedAs(kind, newRootSigner(t, w.GUN, w.Now())), keptIn(kept)), snap)
		wantClass(t, err, trustcache.ErrMalicious)
	})
}

// TestNothingIsBelievedOnTheWayToAPinnedRoot: the chain that is to lead there
// is broken, unreachable or ends elsewhere.
func TestNothingIsBelievedOnTheWayToAPinnedRoot(t *testing.T) {
	for name, c := range map[string]struct {
		tell func(w *world)
		want error
	}{
		"the pinned root does not descend from what is remembered": {func(w *world) {
			impostor := newWorld(w.TB)
			key := newRootSigner(w.TB, w.GUN, w.Now())
			impostor.Rotate("root", key)
			w.Serve["2.root.json"], w.Parties["root"].Keys = impostor.Files["2.root.json"], []*signer{key}
		}, trustcache.ErrMalicious},
		"the server gives no answer": {func(w *world) {
			w.Rotate("root", newRootSigner(w.TB, w.GUN, w.Now()))
			w.Answer = func(string) *reply { return status(503, "") }
		}, trustcache.ErrUnreachable},
		"the server holds it back": {func(w *world) {
			w.Rotate("root", newRootSigner(w.TB, w.GUN, w.Now()))
			w.Serve["2.root.json"] = nil
		}, trustcache.ErrMalicious},
		"the server holds it back, and what is remembered has expired": {func(w *world) {
			w.Pass(60 * 24 * time.Hour)
			w.Rotate("root", newRootSigner(w.TB, w.GUN, w.Now()))
			w.Serve["2.root.json"] = nil
		}, trustcache.ErrMalicious},
		"the pinned root has expired": {func(w *world) {
			w.Expires["root"] = w.Now().Add(-time.Second)
			w.Rotate("root", newRootSigner(w.TB, w.GUN, w.Now()))
		}, trustcache.ErrExpired},
	} {
		for _, kind := range pinKinds() {
			t.Run(name+": "+string(kind), func(t *testing.T) {
				w := newWorld(t)
				w.Sign("targets", "latest", 1)
				w.Publish()
				kept := newStore()
				snap := w.verified(w.source(pinnedAs(kind, w.Parties["root"].Keys[0]), keptIn(kept)), nil)
				stored := kept.state(t)
				c.tell(w)
				s := w.source(pinnedAs(kind, w.Parties["root"].Keys[0]), keptIn(kept)) // what the root is now
				w.Asked()
				for _, prev := range []*trustcache.Snapshot{nil, snap} {
					_, err := w.fetch(s, prev)
					wantClass(t, err, c.want)
				}
				for _, name := range w.Asked() {
					if !strings.HasSuffix(name, ".root.json") {
						t.Errorf("asked for %s", name)
					}
				}
				if kept.state(t) != stored {
					t.Error("stored something")
				}
				if s.Accepts(snap) {
					t.Error("accepts the snapshot")
				}
			})
		}
	}
}

// TestPinsNeedAsManyKeysAsTheRoot does, of what is remembered as of a first
// root.
func TestPinsNeedAsManyKeysAsTheRoot(t *testing.T) {
	forEachKind(t, func(t *testing.T, kind notary.PinKind) {
		w := newWorld(t)
		one, two := newRootSigner(t, w.GUN, w.Now()), newRootSigner(t, w.GUN, w.Now())
		w.Parties["root"] = &party{Keys: []*signer{one, two}, Threshold: 2}
		w.PublishRoot()
		w.Sign("targets", "latest", 1)
		w.Publish()
		kept := newStore()
		snap := w.verified(w.source(pinnedAs(kind, one, two), keptIn(kept)), nil)
		half := w.source(pinnedAs(kind, one), keptIn(kept))
		if half.Accepts(snap) {
			t.Error("accepts the snapshot")
		}
		_, err := w.fetch(half, snap)
		wantClass(t, err, trustcache.ErrMalicious)
	})
}

func TestAcceptsNoSnapshotOfAnotherKind(t *testing.T) {
	w := newWorld(t)
	if w.source(firstUse).Accepts(trustcache.NewSnapshot(trustcache.Contents{GUN: w.GUN})) {
		t.Error("accepted")
	}
}
