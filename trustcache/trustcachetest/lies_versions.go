package trustcachetest

import (
	"bytes"
	"maps"
	"time"

	"github.com/sealgate/sealgate/trustcache"
)

// RolledBack are files that are older than what was seen, or of the same age and
// other content. Whoever tells these lies has stolen the keys of the snapshot and
// the timestamp where others but that name the file that went back.
func RolledBack() []Lie {
	var lies []Lie
	for _, role := range []string{"targets", Releases, "snapshot"} {
		lies = append(lies,
			Lie{
				Name: role + " as it was before and shorter, re-sealed with a newer snapshot and timestamp",
				Tell: func(w *World, old map[string][]byte) {
					w.Use(role, old[role])
					w.RepublishAbove(role)
				},
				Warm: trustcache.ErrRolledBack,
			},
			Lie{
				Name: role + " of the same version with other bytes",
				Tell: func(w *World, _ map[string][]byte) {
					w.Version[role]--
					evil(w, Releases)
				},
				Warm: trustcache.ErrMalicious,
			},
		)
	}
	lies = append(lies,
		Lie{
			Name: "an older timestamp",
			Tell: func(w *World, old map[string][]byte) { w.Serve["timestamp.json"] = old["timestamp"] },
			Warm: trustcache.ErrRolledBack,
		},
		Lie{
			Name: "a timestamp of the same version with other bytes",
			Tell: func(w *World, _ map[string][]byte) {
				w.Version["timestamp"]--
				evil(w, Releases)
			},
			Warm: trustcache.ErrMalicious,
		},
		Lie{
			Name: "the whole repository as it was before",
			Tell: func(w *World, old map[string][]byte) {
				maps.Copy(w.Serve, map[string][]byte{"timestamp.json": old["timestamp"], "root.json": old["root"]})
			},
			Warm: trustcache.ErrMalicious,
		},
	)
	return lies
}

// Expired are files that have expired when they are served. A timestamp may be
// used for a minute more.
func Expired() []Lie {
	var lies []Lie
	for _, role := range []string{"targets", Releases, "snapshot"} {
		lies = append(lies, Lie{
			Name: role + " expired",
			Tell: func(w *World, _ map[string][]byte) {
				w.Expires[role] = w.Now().Add(-time.Second)
				evil(w, Releases)
			},
			Cold: trustcache.ErrExpired, Warm: trustcache.ErrExpired,
		})
	}
	lies = append(lies,
		Lie{
			Name: "a timestamp expired for longer than the grace",
			Tell: func(w *World, _ map[string][]byte) {
				w.Expires["timestamp"] = w.Now().Add(-61 * time.Second)
				evil(w, Releases)
			},
			Cold: trustcache.ErrExpired, Warm: trustcache.ErrExpired,
		},
		Lie{
			Name: "a root expired",
			Tell: func(w *World, _ map[string][]byte) {
				w.Expires["root"] = w.Now().Add(-time.Second)
				w.PublishRoot()
				evil(w, Releases)
			},
			Cold: trustcache.ErrExpired, Warm: trustcache.ErrExpired,
			Repair: func(w *World) { w.PublishRoot() },
		},
		Lie{
			Name: "a releases file that gives no expiry",
			Tell: func(w *World, _ map[string][]byte) {
				w.Edit[Releases] = func(p []byte) []byte { return bytes.Replace(p, []byte(`"expires"`), []byte(`"expirez"`), 1) }
				w.Publish()
			},
			Cold: trustcache.ErrExpired, Warm: trustcache.ErrExpired,
		},
	)
	return lies
}
