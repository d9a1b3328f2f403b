package trustcachetest

import (
	"maps"

	"github.com/sealgate/sealgate/trustcache"
)

// WrongRoots are roots that no pin vouches for and that no verified chain leads
// to, each with a whole repository under it.
func WrongRoots() []Lie {
	stranger := func(w *World) *Signer { return NewRootSigner(w.TB, w.GUN, w.Now()) }
	// forked is a lie told by another history of the repository, in which "latest"
	// is signed for another digest.
	forked := func(name string, from func(w *World) *World) Lie {
		return Lie{
			Name: name,
			Tell: func(w *World, _ map[string][]byte) {
				f := from(w)
				evil(f, Releases)
				maps.Copy(w.Serve, f.Files)
			},
			Cold: trustcache.ErrMalicious, Warm: trustcache.ErrMalicious,
		}
	}
	return []Lie{
		forked("another root, and all that it lists", func(w *World) *World {
			f, _ := NewLyingWorld(w.TB)
			return f
		}),
		forked("a next root that the one before has not signed", func(w *World) *World {
			f, key := w.Clone(w.TB), stranger(w)
			f.Parties["root"].Keys = []*Signer{key}
			f.PublishRoot(key)
			return f
		}),
		forked("a next root that its own key has not signed", func(w *World) *World {
			f := w.Clone(w.TB)
			before := f.Parties["root"].Keys
			f.Parties["root"].Keys = []*Signer{stranger(w)}
			f.PublishRoot(before...)
			return f
		}),
		forked("a root chain with a gap", func(w *World) *World {
			f := w.Clone(w.TB)
			f.Rotate("root", stranger(w))
			f.Rotate("root", stranger(w))
			w.Serve["2.root.json"] = nil
			delete(f.Files, "2.root.json")
			return f
		}),
	}
}
