package trustcachetest

import (
	"bytes"
	"maps"

	"github.com/sealgate/sealgate/trustcache"
	"github.com/theupdateframework/notary/tuf/data"
)

// MixedUp are files that were all signed, and not to be served together.
func MixedUp() []Lie {
	// A second repository of the same publisher, all keys but the root's the
	// same: its files bear signatures that are good here too.
	other := func(w *World) *World {
		o := NewWorldFor(w.TB, "registry.example.com/acme/other")
		o.Delegate(Releases)
		o.Delegate("targets/alice")
		for _, role := range []string{"root", "targets", "snapshot", "timestamp", Releases, "targets/alice"} {
			o.Parties[role] = w.Parties[role]
			o.Version[role] = w.Version[role] + 5
		}
		o.Sign(Releases, "latest", 66)
		o.PublishRoot()
		o.Publish()
		return o
	}
	return []Lie{
		{
			Name: "another repository's files under this name, root and all",
			Tell: func(w *World, _ map[string][]byte) {
				o := other(w)
				o.Parties["root"] = &Party{Keys: []*Signer{NewRootSigner(w.TB, o.GUN, w.Now())}, Threshold: 1}
				o.PublishRoot()
				o.Publish()
				maps.Copy(w.Serve, o.Files)
			},
			Cold: trustcache.ErrMalicious, Warm: trustcache.ErrMalicious,
		},
		{
			Name: "another repository's timestamp, snapshot and targets, signed by the same keys",
			Tell: func(w *World, _ map[string][]byte) {
				o := other(w)
				maps.Copy(w.Serve, o.Files)
				for name := range w.Serve {
					if name == "root.json" || bytes.Contains([]byte(name), []byte(".root.json")) {
						delete(w.Serve, name)
					}
				}
			},
			Cold: trustcache.ErrMalicious, Warm: trustcache.ErrMalicious,
		},
		{
			Name: "a new snapshot with an older delegation than its own",
			Tell: func(w *World, old map[string][]byte) {
				w.Publish()
				w.Use(Releases, old[Releases])
				w.PublishSnapshot()
			},
			Warm: trustcache.ErrMalicious,
		},
		{
			Name: "the role that decides is dropped from the snapshot",
			Tell: func(w *World, _ map[string][]byte) {
				w.Dropped[Releases] = true
				w.Publish()
			},
			Warm: trustcache.ErrMalicious,
		},
		{
			Name: "targets is dropped from the snapshot",
			Tell: func(w *World, _ map[string][]byte) {
				w.Dropped["targets"] = true
				w.Publish()
			},
			Cold: trustcache.ErrMalicious, Warm: trustcache.ErrMalicious,
		},
		{
			Name: "the snapshot names no root",
			Tell: func(w *World, _ map[string][]byte) {
				w.Declare["root"] = data.FileMeta{}
				w.Publish()
			},
			Cold: trustcache.ErrMalicious, Warm: trustcache.ErrMalicious,
		},
		{
			Name: "the timestamp names no snapshot",
			Tell: func(w *World, _ map[string][]byte) {
				w.Edit["timestamp"] = func(p []byte) []byte { return bytes.Replace(p, []byte(`"snapshot"`), []byte(`"snapshut"`), 1) }
				w.Publish()
			},
			Cold: trustcache.ErrMalicious, Warm: trustcache.ErrMalicious,
		},
	}
}
