package notary_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"maps"
	"testing"
	"time"

	"github.com/sealgate/sealgate/trustcache"
	"github.com/theupdateframework/notary/tuf/data"
)

// evil signs "latest" for another digest in role and publishes.
func evil(w *world, role string) {
	w.Sign(role, "latest", 66)
	w.Publish()
}

func TestForgedFilesAreNotBelieved(t *testing.T) {
	var lies []lie
	for _, role := range []string{"targets", releases, "snapshot", "timestamp"} {
		lies = append(lies,
			lie{
				name: role + " signed by a stranger",
				tell: func(w *world, _ map[string][]byte) {
					w.Parties[role].Hands = []*signer{newSigner(w.TB)}
					evil(w, releases)
				},
				cold: trustcache.ErrMalicious, warm: trustcache.ErrMalicious,
			},
			lie{
				name: role + " signed by a stranger under the publisher's key ID",
				tell: func(w *world, _ map[string][]byte) {
					w.Spoil[role] = func(file []byte) []byte {
						return forge(w, file, w.Parties[role].Keys[0].Public.ID())
					}
					evil(w, releases)
				},
				cold: trustcache.ErrMalicious, warm: trustcache.ErrMalicious,
			},
			lie{
				name: role + " changed after it was signed",
				tell: func(w *world, _ map[string][]byte) {
					w.Spoil[role] = tamper
					evil(w, releases)
				},
				cold: trustcache.ErrMalicious, warm: trustcache.ErrMalicious,
			},
			lie{
				name: role + " without any signature",
				tell: func(w *world, _ map[string][]byte) {
					w.Spoil[role] = func(file []byte) []byte { return append(signedPart(file), `,"signatures":[]}`...) }
					evil(w, releases)
				},
				cold: trustcache.ErrMalicious, warm: trustcache.ErrMalicious,
			},
			lie{
				name: role + " is another role's file with good signatures",
				tell: func(w *world, _ map[string][]byte) {
					other := map[string]string{"targets": "snapshot", releases: "timestamp", "snapshot": "targets", "timestamp": "snapshot"}[role]
					w.Parties[role].Hands = w.Parties[role].Keys
					w.Edit[role] = func([]byte) []byte { return payloadOf(w.Raw[other]) }
					evil(w, releases)
				},
				cold: trustcache.ErrMalicious, warm: trustcache.ErrMalicious,
			},
		)
	}
	for _, role := range []string{"targets", releases, "snapshot"} {
		lies = append(lies,
			lie{
				name: role + " other than the one that was promised",
				tell: func(w *world, _ map[string][]byte) {
					evil(w, releases)
					name := fmt.Sprintf("%s.%x.json", role, sha256.Sum256(w.Raw[role]))
					w.Serve[name] = bytes.Replace(w.Raw[role], []byte(`"signatures"`), []byte(`"signaturez"`), 1)
				},
				cold: trustcache.ErrMalicious, warm: trustcache.ErrMalicious,
			},
			lie{
				name: role + " promised with a wrong sha512 beside the right sha256",
				tell: func(w *world, _ map[string][]byte) {
					w.Publish()
					meta := w.Meta(role)
					meta.Hashes["sha512"] = make([]byte, 64)
					w.Declare[role] = meta
					w.RepublishAbove(role)
				},
				cold: trustcache.ErrMalicious, warm: trustcache.ErrMalicious,
			},
			lie{
				name: role + " promised by a sha512 alone",
				tell: func(w *world, _ map[string][]byte) {
					w.Publish()
					meta := w.Meta(role)
					delete(meta.Hashes, "sha256")
					w.Declare[role] = meta
					w.RepublishAbove(role)
				},
				cold: trustcache.ErrMalicious, warm: trustcache.ErrMalicious,
			},
		)
	}
	testLies(t, lies)
}

func TestVersionsNeverGoBack(t *testing.T) {
	var lies []lie
	for _, role := range []string{"targets", releases, "snapshot"} {
		lies = append(lies,
			lie{
				name: "an older and shorter " + role + " under a newer snapshot and timestamp",
				tell: func(w *world, old map[string][]byte) {
					w.Use(role, old[role])
					w.RepublishAbove(role)
				},
				warm: trustcache.ErrRolledBack,
			},
			lie{
				name: role + " of the same version with other bytes",
				tell: func(w *world, _ map[string][]byte) {
					w.Version[role]--
					evil(w, releases)
				},
				warm: trustcache.ErrMalicious,
			},
		)
	}
	lies = append(lies,
		lie{
			name: "an older timestamp",
			tell: func(w *world, old map[string][]byte) { w.Serve["timestamp.json"] = old["timestamp"] },
			warm: trustcache.ErrRolledBack,
		},
		lie{
			name: "a timestamp of the same version with other bytes",
			tell: func(w *world, _ map[string][]byte) {
				w.Version["timestamp"]--
				evil(w, releases)
			},
			warm: trustcache.ErrMalicious,
		},
		lie{
			name: "the whole repository as it was before",
			tell: func(w *world, old map[string][]byte) {
				maps.Copy(w.Serve, map[string][]byte{"timestamp.json": old["timestamp"], "root.json": old["root"]})
			},
			warm: trustcache.ErrMalicious,
		},
	)
	for _, version := range []string{"0", "-1", `"5"`, "1.5", "99999999999999999999", "null"} {
		lies = append(lies, lie{
			name: "a targets file of version " + version,
			tell: func(w *world, _ map[string][]byte) {
				w.Edit["targets"] = replaceVersion(version)
				w.Publish()
			},
			cold: trustcache.ErrMalicious, warm: trustcache.ErrMalicious,
		})
	}
	testLies(t, lies)
}

func TestExpiredFilesDoNotServe(t *testing.T) {
	var lies []lie
	for _, role := range []string{"targets", releases, "snapshot"} {
		lies = append(lies, lie{
			name: role + " expired",
			tell: func(w *world, _ map[string][]byte) {
				w.Expires[role] = w.Now().Add(-time.Second)
				evil(w, releases)
			},
			cold: trustcache.ErrExpired, warm: trustcache.ErrExpired,
		})
	}
	lies = append(lies,
		lie{
			name: "a timestamp expired for longer than the grace",
			tell: func(w *world, _ map[string][]byte) {
				w.Expires["timestamp"] = w.Now().Add(-61 * time.Second)
				evil(w, releases)
			},
			cold: trustcache.ErrExpired, warm: trustcache.ErrExpired,
		},
		lie{
			name: "a root expired",
			tell: func(w *world, _ map[string][]byte) {
				w.Expires["root"] = w.Now().Add(-time.Second)
				w.PublishRoot()
				evil(w, releases)
			},
			cold: trustcache.ErrExpired, warm: trustcache.ErrExpired,
			repair: func(w *world) { w.PublishRoot() },
		},
		lie{
			name: "a releases file that gives no expiry",
			tell: func(w *world, _ map[string][]byte) {
				w.Edit[releases] = func(p []byte) []byte { return bytes.Replace(p, []byte(`"expires"`), []byte(`"expirez"`), 1) }
				w.Publish()
			},
			cold: trustcache.ErrExpired, warm: trustcache.ErrExpired,
		},
	)
	testLies(t, lies)
}

func TestFilesThatDoNotBelongTogetherAreNotBelieved(t *testing.T) {
	// A second repository of the same publisher, all keys but the root's the
	// same: its files bear signatures that are good here too.
	other := func(w *world) *world {
		o := newWorldFor(w.TB, "registry.example.com/acme/other")
		o.Delegate(releases)
		o.Delegate("targets/alice")
		for _, role := range []string{"root", "targets", "snapshot", "timestamp", releases, "targets/alice"} {
			o.Parties[role] = w.Parties[role]
			o.Version[role] = w.Version[role] + 5
		}
		o.Sign(releases, "latest", 66)
		o.PublishRoot()
		o.Publish()
		return o
	}
	testLies(t, []lie{
		{
			name: "another repository's files under this name, root and all",
			tell: func(w *world, _ map[string][]byte) {
				o := other(w)
				o.Parties["root"] = &party{Keys: []*signer{newRootSigner(w.TB, o.GUN, w.Now())}, Threshold: 1}
				o.PublishRoot()
				o.Publish()
				maps.Copy(w.Serve, o.Files)
			},
			cold: trustcache.ErrMalicious, warm: trustcache.ErrMalicious,
		},
		{
			name: "another repository's timestamp, snapshot and targets, signed by the same keys",
			tell: func(w *world, _ map[string][]byte) {
				o := other(w)
				maps.Copy(w.Serve, o.Files)
				for name := range w.Serve {
					if name == "root.json" || bytes.Contains([]byte(name), []byte(".root.json")) {
						delete(w.Serve, name)
					}
				}
			},
			cold: trustcache.ErrMalicious, warm: trustcache.ErrMalicious,
		},
		{
			name: "a new snapshot with an older delegation than its own",
			tell: func(w *world, old map[string][]byte) {
				w.Publish()
				w.Use(releases, old[releases])
				w.PublishSnapshot()
			},
			warm: trustcache.ErrMalicious,
		},
		{
			name: "the role that decides is dropped from the snapshot",
			tell: func(w *world, _ map[string][]byte) {
				w.Dropped[releases] = true
				w.Publish()
			},
			warm: trustcache.ErrMalicious,
		},
		{
			name: "targets is dropped from the snapshot",
			tell: func(w *world, _ map[string][]byte) {
				w.Dropped["targets"] = true
				w.Publish()
			},
			cold: trustcache.ErrMalicious, warm: trustcache.ErrMalicious,
		},
		{
			name: "the snapshot names no root",
			tell: func(w *world, _ map[string][]byte) {
				w.Declare["root"] = data.FileMeta{}
				w.Publish()
			},
			cold: trustcache.ErrMalicious, warm: trustcache.ErrMalicious,
		},
		{
			name: "the timestamp names no snapshot",
			tell: func(w *world, _ map[string][]byte) {
				w.Edit["timestamp"] = func(p []byte) []byte { return bytes.Replace(p, []byte(`"snapshot"`), []byte(`"snapshut"`), 1) }
				w.Publish()
			},
			cold: trustcache.ErrMalicious, warm: trustcache.ErrMalicious,
		},
	})
}
