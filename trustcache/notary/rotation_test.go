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
			w.Sign(releases, "latest", 2)
			if role == "root" {
				w.Rotate(role, newRootSigner(t, w.GUN, w.Now()))
			} else {
				w.Rotate(role, newSigner(t))
			}
			wantDigest(t, w.verified(s, snap), "latest", 2)
		})
	}
	t.Run(releases, func(t *testing.T) {
		w, _ := lyingWorld(t)
		s := w.source()
		snap := w.verified(s, nil)
		w.Parties[releases].Keys = []*signer{newSigner(t)}
		w.Sign(releases, "latest", 2)
		w.Publish()
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
			w.Version[role] = 1 << 40
			w.Publish()
			view, err := cache.Tag(t.Context(), w.GUN, "latest")
			must(t, err)
			wantDigest(t, view.Snapshot, "latest", 1)

			// Without a rotation the small numbers are a rollback.
			w.Version[role] = 5
			w.Sign(releases, "latest", 2)
			w.Publish()
			w.Pass(61 * time.Second)
			view, err = cache.Tag(t.Context(), w.GUN, "latest")
			must(t, err)
			wantDigest(t, view.Snapshot, "latest", 1)
			wantClass(t, view.Stale, trustcache.ErrMalicious)

			rotateAll(w)
			w.Publish()
			w.Pass(2 * time.Second)
			view, err = cache.Tag(t.Context(), w.GUN, "latest")
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
		w.Parties[role].Keys = []*signer{newSigner(w.TB)}
	}
	for _, role := range []string{"targets", releases, "snapshot", "timestamp"} {
		w.Version[role] = 0
	}
	w.PublishRoot()
}

// TestAFloorOfManySignersOutlivesThatOfFewer: what two keys signed stays a
// floor for each of them, when one has signed alone since and is taken away.
func TestAFloorOfManySignersOutlivesThatOfFewer(t *testing.T) {
	for _, role := range []string{"targets", releases} {
		t.Run(role, func(t *testing.T) {
			w, _ := lyingWorld(t)
			one, two := newSigner(t), newSigner(t)
			p := w.Parties[role]
			p.Keys, p.Hands, p.Threshold = []*signer{one, two}, []*signer{two}, 1
			w.PublishRoot()
			w.Publish()
			s := w.source()
			snap := w.verified(s, nil)
			old := w.Keep()
			for _, hands := range [][]*signer{{one, two}, {one}} {
				p.Hands = hands
				w.Publish()
				snap = w.verified(s, snap)
			}
			p.Keys, p.Hands = []*signer{two}, nil // by a verified root, or by targets
			w.PublishRoot()
			w.Publish()
			if role != "targets" {
				w.PublishRoles("targets")
			}
			w.Use(role, old[role])
			w.PublishSnapshot()
			_, err := w.fetch(s, snap)
			wantClass(t, err, trustcache.ErrMalicious)
		})
	}
}

func TestARotationByOneRoleDoesNotLetAnotherGoBack(t *testing.T) {
	w, old := lyingWorld(t)
	s := w.source()
	snap := w.verified(s, nil)
	w.Parties["timestamp"].Keys = []*signer{newSigner(t)}
	w.Parties["snapshot"].Keys = []*signer{newSigner(t)}
	w.PublishRoot()
	w.Use(releases, old[releases])
	w.PublishSnapshot()
	_, err := w.fetch(s, snap)
	wantClass(t, err, trustcache.ErrMalicious)
}

func TestManyRotationsAreFollowedOneByOne(t *testing.T) {
	w, _ := lyingWorld(t)
	s := w.source()
	snap := w.verified(s, nil)
	w.Asked()
	const rotations = 5
	for range rotations {
		w.Parties["root"].Keys = append(w.Parties["root"].Keys[:0:0], newRootSigner(t, w.GUN, w.Now()), w.Parties["root"].Keys[0])
		w.Parties["timestamp"].Keys = []*signer{newSigner(t)}
		w.PublishRoot()
	}
	w.Sign(releases, "latest", 2)
	w.Publish()
	wantDigest(t, w.verified(s, snap), "latest", 2)
	got := w.Asked()
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
		w.PublishRoot()
	}
	w.Publish()
	_, err := w.fetch(s, snap)
	wantClass(t, err, trustcache.ErrMalicious)
}

// TestBrokenRootChains: the next root is not what the chain asks for. A source
// that knew the first root keeps what it had, after a restart it believes
// nothing that came by such a root, and both follow once it is mended.
func TestBrokenRootChains(t *testing.T) {
	stranger := func(w *world) *signer { return newRootSigner(w.TB, w.GUN, w.Now()) }
	for _, c := range []struct {
		name string
		tell func(w *world)
		want error
	}{
		{"a gap", func(w *world) {
			w.Rotate("root", stranger(w))
			w.Rotate("root", stranger(w))
			w.Serve["2.root.json"] = nil
		}, trustcache.ErrMalicious},
		{"a gap closed with the root after it", func(w *world) {
			w.Rotate("root", stranger(w))
			w.Rotate("root", stranger(w))
			w.Serve["2.root.json"] = w.Files["3.root.json"]
		}, trustcache.ErrMalicious},
		{"a version jumped over under the same keys", func(w *world) {
			w.Version["root"]++
			w.PublishRoot()
			w.Publish()
			w.Serve["2.root.json"] = w.Files["3.root.json"]
		}, trustcache.ErrMalicious},
		{"the same root again as the next", func(w *world) {
			w.Serve["2.root.json"] = w.Files["1.root.json"]
		}, trustcache.ErrMalicious},
		{"not signed by the root before", func(w *world) {
			key := stranger(w)
			w.Parties["root"].Keys = []*signer{key}
			w.PublishRoot(key)
			w.Publish()
		}, trustcache.ErrMalicious},
		{"not signed by its own new key", func(w *world) {
			before := w.Parties["root"].Keys
			w.Parties["root"].Keys = []*signer{stranger(w)}
			w.PublishRoot(before...)
			w.Publish()
		}, trustcache.ErrMalicious},
		{"a root for another repository", func(w *world) {
			w.Rotate("root", newRootSigner(w.TB, "registry.example.com/acme/other", w.Now()))
		}, trustcache.ErrMalicious},
		{"a root without a usable key", func(w *world) {
			w.Rotate("root", newSigner(w.TB))
		}, trustcache.ErrMalicious},
		{"a root that lists a role without a threshold", func(w *world) {
			w.Parties["snapshot"].Threshold = 0
			w.PublishRoot()
			w.Publish()
		}, trustcache.ErrMalicious},
		{"nonsense", func(w *world) { w.Serve["2.root.json"] = []byte("null") }, trustcache.ErrMalicious},
		{"an ingress's 404", func(w *world) {
			w.Answer = func(name string) *reply {
				if name == "2.root.json" {
					return status(404, "default backend - 404")
				}
				return nil
			}
		}, trustcache.ErrUnreachable},
		{"a server error", func(w *world) {
			w.Answer = func(name string) *reply {
				if name == "2.root.json" {
					return status(503, "")
				}
				return nil
			}
		}, trustcache.ErrUnreachable},
	} {
		t.Run(c.name, func(t *testing.T) {
			w, _ := lyingWorld(t)
			first := w.Parties["root"].Keys
			disk := inmemory.New()
			cache := w.cache(w.source(pollsRoot, storedOn(t, disk)))
			_, err := cache.Tag(t.Context(), w.GUN, "latest")
			must(t, err)
			w.Sign(releases, "latest", 66)
			c.tell(w)
			w.Pass(61 * time.Second)
			view, err := cache.Tag(t.Context(), w.GUN, "latest")
			must(t, err)
			wantDigest(t, view.Snapshot, "latest", 1)
			wantClass(t, view.Stale, c.want)
			restarted := w.source(pinned(first[0].Canonical()), pollsRoot, storedOn(t, disk))
			if snap, err := w.fetch(restarted, nil); err == nil {
				wantDigest(t, snap, "latest", 1) // nothing led it to the next root
			} else {
				wantClass(t, err, c.want)
			}

			w.Honest()
			w.Version["root"] = 1
			w.Parties["root"].Keys, w.Parties["snapshot"].Threshold = first, 1
			w.PublishRoot()
			w.Sign(releases, "latest", 2)
			w.Publish()
			delete(w.Files, "3.root.json")
			w.Pass(2 * time.Second)
			view, err = cache.Tag(t.Context(), w.GUN, "latest")
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
	w.Asked()
	w.Sign(releases, "latest", 2)
	w.Rotate("root", newRootSigner(t, w.GUN, w.Now())) // all other keys stay
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
	w.Parties["targets"].Keys = []*signer{newSigner(t)}
	w.PublishRoot()
	w.Pass(time.Second)
	_, err := w.fetch(s, snap)
	wantClass(t, err, trustcache.ErrMalicious)
	w.Publish()
	wantDigest(t, w.verified(s, snap), "latest", 1)
}

func TestAnExpiredRootThatWasReplacedIsFollowed(t *testing.T) {
	w := newWorld(t)
	w.Expires["root"] = w.Now().Add(30 * time.Minute)
	w.PublishRoot()
	w.Sign("targets", "latest", 1)
	w.Publish()
	s := w.source()
	snap := w.verified(s, nil)
	if at, role := snap.Expires(); role != "root" || !at.Equal(w.Now().Add(30*time.Minute)) {
		t.Errorf("expires at %s with %s", at, role)
	}
	w.Pass(30 * time.Minute) // before the next poll
	w.Asked()
	_, err := w.fetch(s, snap)
	wantClass(t, err, trustcache.ErrExpired)
	w.wantAsked("3.root.json") // and nothing that it would verify with the old one
	w.Honest()
	w.PublishRoot()
	w.Sign("targets", "latest", 2)
	w.Publish()
	wantDigest(t, w.verified(s, snap), "latest", 2)
}

// TestIntermediateRootsMayHaveExpired: TUF 1.0 section 5.3 checks the expiry
// of the last one only.
func TestIntermediateRootsMayHaveExpired(t *testing.T) {
	w, _ := lyingWorld(t)
	s := w.source()
	snap := w.verified(s, nil)
	w.Expires["root"] = w.Now().Add(-time.Hour)
	w.PublishRoot()
	w.Honest()
	w.PublishRoot()
	w.Sign(releases, "latest", 2)
	w.Publish()
	wantDigest(t, w.verified(s, snap), "latest", 2)
}
