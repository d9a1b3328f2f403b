package notary_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/distribution/distribution/v3/registry/storage/driver/inmemory"
	"github.com/sealgate/sealgate/trustcache"
	"github.com/sealgate/sealgate/trustcache/notary"
)

func TestARotationIsFollowedInOneUpdate(t *testing.T) {
	for _, role := range []string{"root", "timestamp", "snapshot", "targets"} {
		t.Run(role, func(t *testing.T) {
			w, _ := lyingWorld(t)
			s := w.source()
			snap := w.verified(s, nil)
			w.sign(releases, "latest", 2)
			if role == "root" {
				w.rotate(role, newRootSigner(t, w.gun, w.now()))
			} else {
				w.rotate(role, newSigner(t))
			}
			wantDigest(t, w.verified(s, snap), "latest", 2)
		})
	}
	t.Run(releases, func(t *testing.T) {
		w, _ := lyingWorld(t)
		s := w.source()
		snap := w.verified(s, nil)
		w.parties[releases].keys = []*signer{newSigner(t)}
		w.sign(releases, "latest", 2)
		w.publish()
		wantDigest(t, w.verified(s, snap), "latest", 2)
	})
}

// TestARotatedRoleMayCountAnew is the way out of a fast-forward: whoever held
// the keys signed versions that nobody can reach, and every key was rotated.
func TestARotatedRoleMayCountAnew(t *testing.T) {
	for _, role := range []string{"targets", releases, "snapshot", "timestamp"} {
		t.Run(role, func(t *testing.T) {
			w, _ := lyingWorld(t)
			cache := w.cache(w.source())
			w.version[role] = 1 << 40
			w.publish()
			view, err := cache.Tag(t.Context(), w.gun, "latest")
			must(t, err)
			wantDigest(t, view.Snapshot, "latest", 1)

			// Without a rotation the small numbers are a rollback.
			w.version[role] = 5
			w.sign(releases, "latest", 2)
			w.publish()
			w.pass(61 * time.Second)
			view, err = cache.Tag(t.Context(), w.gun, "latest")
			must(t, err)
			wantDigest(t, view.Snapshot, "latest", 1)
			wantClass(t, view.Stale, trustcache.ErrMalicious)

			rotateAll(w)
			w.publish()
			w.pass(2 * time.Second)
			view, err = cache.Tag(t.Context(), w.gun, "latest")
			must(t, err)
			wantDigest(t, view.Snapshot, "latest", 2)
			if view.Stale != nil {
				t.Errorf("stale: %v", view.Stale)
			}
		})
	}
}

// rotateAll gives every role but root new keys and starts its versions anew.
func rotateAll(w *world) {
	for _, role := range []string{"targets", "snapshot", "timestamp", releases} {
		w.parties[role].keys = []*signer{newSigner(w.tb)}
	}
	for _, role := range []string{"targets", releases, "snapshot", "timestamp"} {
		w.version[role] = 0
	}
	w.publishRoot()
}

// TestAFloorOfManySignersOutlivesThatOfFewer: what two keys signed stays a
// floor for each of them, when one has signed alone since and is taken away.
func TestAFloorOfManySignersOutlivesThatOfFewer(t *testing.T) {
	for _, role := range []string{"targets", releases} {
		t.Run(role, func(t *testing.T) {
			w, _ := lyingWorld(t)
			one, two := newSigner(t), newSigner(t)
			p := w.parties[role]
			p.keys, p.hands, p.threshold = []*signer{one, two}, []*signer{two}, 1
			w.publishRoot()
			w.publish()
			s := w.source()
			snap := w.verified(s, nil)
			old := w.keep()
			for _, hands := range [][]*signer{{one, two}, {one}} {
				p.hands = hands
				w.publish()
				snap = w.verified(s, snap)
			}
			p.keys, p.hands = []*signer{two}, nil // by a verified root, or by targets
			w.publishRoot()
			w.publish()
			if role != "targets" {
				w.publishRoles("targets")
			}
			w.use(role, old[role])
			w.publishSnapshot()
			_, err := w.fetch(s, snap)
			wantClass(t, err, trustcache.ErrMalicious)
		})
	}
}

func TestARotationByOneRoleDoesNotLetAnotherGoBack(t *testing.T) {
	w, old := lyingWorld(t)
	s := w.source()
	snap := w.verified(s, nil)
	w.parties["timestamp"].keys = []*signer{newSigner(t)}
	w.parties["snapshot"].keys = []*signer{newSigner(t)}
	w.publishRoot()
	w.use(releases, old[releases])
	w.publishSnapshot()
	_, err := w.fetch(s, snap)
	wantClass(t, err, trustcache.ErrMalicious)
}

func TestManyRotationsAreFollowedOneByOne(t *testing.T) {
	w, _ := lyingWorld(t)
	s := w.source()
	snap := w.verified(s, nil)
	w.asked()
	const rotations = 5
	for range rotations {
		w.parties["root"].keys = append(w.parties["root"].keys[:0:0], newRootSigner(t, w.gun, w.now()), w.parties["root"].keys[0])
		w.parties["timestamp"].keys = []*signer{newSigner(t)}
		w.publishRoot()
	}
	w.sign(releases, "latest", 2)
	w.publish()
	wantDigest(t, w.verified(s, snap), "latest", 2)
	got := w.asked()
	for i := range rotations {
		if want := fmt.Sprintf("%d.root.json", i+2); got[i+1] != want {
			t.Errorf("request %d is %s, expected %s", i+1, got[i+1], want)
		}
	}
}

func TestAnEndlessRootChainIsGivenUp(t *testing.T) {
	w, _ := lyingWorld(t)
	s := w.source()
	snap := w.verified(s, nil)
	for range 130 {
		w.publishRoot()
	}
	w.publish()
	_, err := w.fetch(s, snap)
	wantClass(t, err, trustcache.ErrMalicious)
}

// TestBrokenRootChains: the next root is not what the chain asks for. A source
// that knew the first root keeps what it had, after a restart it believes
// nothing that came by such a root, and both follow once it is mended.
func TestBrokenRootChains(t *testing.T) {
	stranger := func(w *world) *signer { return newRootSigner(w.tb, w.gun, w.now()) }
	for _, c := range []struct {
		name string
		tell func(w *world)
		want error
	}{
		{"a gap", func(w *world) {
			w.rotate("root", stranger(w))
			w.rotate("root", stranger(w))
			w.serve["2.root.json"] = nil
		}, trustcache.ErrMalicious},
		{"a gap closed with the root after it", func(w *world) {
			w.rotate("root", stranger(w))
			w.rotate("root", stranger(w))
			w.serve["2.root.json"] = w.files["3.root.json"]
		}, trustcache.ErrMalicious},
		{"a version jumped over under the same keys", func(w *world) {
			w.version["root"]++
			w.publishRoot()
			w.publish()
			w.serve["2.root.json"] = w.files["3.root.json"]
		}, trustcache.ErrMalicious},
		{"the same root again as the next", func(w *world) {
			w.serve["2.root.json"] = w.files["1.root.json"]
		}, trustcache.ErrMalicious},
		{"not signed by the root before", func(w *world) {
			key := stranger(w)
			w.parties["root"].keys = []*signer{key}
			w.publishRoot(key)
			w.publish()
		}, trustcache.ErrMalicious},
		{"not signed by its own new key", func(w *world) {
			before := w.parties["root"].keys
			w.parties["root"].keys = []*signer{stranger(w)}
			w.publishRoot(before...)
			w.publish()
		}, trustcache.ErrMalicious},
		{"a root for another repository", func(w *world) {
			w.rotate("root", newRootSigner(w.tb, "registry.example.com/acme/other", w.now()))
		}, trustcache.ErrMalicious},
		{"a root without a usable key", func(w *world) {
			w.rotate("root", newSigner(w.tb))
		}, trustcache.ErrMalicious},
		{"a root that lists a role without a threshold", func(w *world) {
			w.parties["snapshot"].threshold = 0
			w.publishRoot()
			w.publish()
		}, trustcache.ErrMalicious},
		{"nonsense", func(w *world) { w.serve["2.root.json"] = []byte("null") }, trustcache.ErrMalicious},
		{"an ingress's 404", func(w *world) {
			w.answer = func(name string) *reply {
				if name == "2.root.json" {
					return status(404, "default backend - 404")
				}
				return nil
			}
		}, trustcache.ErrUnreachable},
		{"a server error", func(w *world) {
			w.answer = func(name string) *reply {
				if name == "2.root.json" {
					return status(503, "")
				}
				return nil
			}
		}, trustcache.ErrUnreachable},
	} {
		t.Run(c.name, func(t *testing.T) {
			w, _ := lyingWorld(t)
			first := w.parties["root"].keys
			disk := inmemory.New()
			cache := w.cache(w.source(pollsRoot, storedOn(t, disk)))
			_, err := cache.Tag(t.Context(), w.gun, "latest")
			must(t, err)
			w.sign(releases, "latest", 66)
			c.tell(w)
			w.pass(61 * time.Second)
			view, err := cache.Tag(t.Context(), w.gun, "latest")
			must(t, err)
			wantDigest(t, view.Snapshot, "latest", 1)
			wantClass(t, view.Stale, c.want)
			restarted := w.source(pinned(first[0].canonical()), pollsRoot, storedOn(t, disk))
			if snap, err := w.fetch(restarted, nil); err == nil {
				wantDigest(t, snap, "latest", 1) // nothing led it to the next root
			} else {
				wantClass(t, err, c.want)
			}

			w.honest()
			w.version["root"] = 1
			w.parties["root"].keys, w.parties["snapshot"].threshold = first, 1
			w.publishRoot()
			w.sign(releases, "latest", 2)
			w.publish()
			delete(w.files, "3.root.json")
			w.pass(2 * time.Second)
			view, err = cache.Tag(t.Context(), w.gun, "latest")
			must(t, err)
			wantDigest(t, view.Snapshot, "latest", 2)
			if view.Stale != nil {
				t.Errorf("stale: %v", view.Stale)
			}
			wantDigest(t, w.verified(restarted, nil), "latest", 2)
		})
	}
}

func TestASnapshotOfAnotherRootTriggersTheChain(t *testing.T) {
	w, _ := lyingWorld(t)
	s := w.source(func(o *notary.Options) { o.RootPoll = 1000 * time.Hour })
	snap := w.verified(s, nil)
	w.asked()
	w.sign(releases, "latest", 2)
	w.rotate("root", newRootSigner(t, w.gun, w.now())) // all other keys stay
	wantDigest(t, w.verified(s, snap), "latest", 2)
	w.wantAsked("timestamp.json", "snapshot", "2.root.json", "3.root.json", "snapshot", "timestamp.json", "snapshot", "targets", releases, "targets/alice")
}

// TestAnOldSnapshotDoesNotOutliveItsRoot: the server hands out the next root
// and holds back the snapshot that belongs to it, so that what was signed by a
// key that is revoked would go on counting.
func TestAnOldSnapshotDoesNotOutliveItsRoot(t *testing.T) {
	w, _ := lyingWorld(t)
	s := w.source(pollsRoot)
	snap := w.verified(s, nil)
	w.parties["targets"].keys = []*signer{newSigner(t)}
	w.publishRoot()
	w.pass(time.Second)
	_, err := w.fetch(s, snap)
	wantClass(t, err, trustcache.ErrMalicious)
	w.publish()
	wantDigest(t, w.verified(s, snap), "latest", 1)
}

func TestAnExpiredRootThatWasReplacedIsFollowed(t *testing.T) {
	w := newWorld(t)
	w.expires["root"] = w.now().Add(30 * time.Minute)
	w.publishRoot()
	w.sign("targets", "latest", 1)
	w.publish()
	s := w.source()
	snap := w.verified(s, nil)
	if at, role := snap.Expires(); role != "root" || !at.Equal(w.now().Add(30*time.Minute)) {
		t.Errorf("expires at %s with %s", at, role)
	}
	w.pass(30 * time.Minute) // before the next poll
	w.asked()
	_, err := w.fetch(s, snap)
	wantClass(t, err, trustcache.ErrExpired)
	w.wantAsked("3.root.json") // and nothing that it would verify with the old one
	w.honest()
	w.publishRoot()
	w.sign("targets", "latest", 2)
	w.publish()
	wantDigest(t, w.verified(s, snap), "latest", 2)
}

// TestIntermediateRootsMayHaveExpired: TUF 1.0 section 5.3 checks the expiry
// of the last one only.
func TestIntermediateRootsMayHaveExpired(t *testing.T) {
	w, _ := lyingWorld(t)
	s := w.source()
	snap := w.verified(s, nil)
	w.expires["root"] = w.now().Add(-time.Hour)
	w.publishRoot()
	w.honest()
	w.publishRoot()
	w.sign(releases, "latest", 2)
	w.publish()
	wantDigest(t, w.verified(s, snap), "latest", 2)
}
