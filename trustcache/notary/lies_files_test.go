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
	w.sign(role, "latest", 66)
	w.publish()
}

// tamper changes one byte of the signed part.
func tamper(file []byte) []byte {
	at := bytes.Index(file, []byte(`"expires":"2`))
	file[at+len(`"expires":"`)] = '3' // 3026
	return file
}

func TestForgedFilesAreNotBelieved(t *testing.T) {
	var lies []lie
	for _, role := range []string{"targets", releases, "snapshot", "timestamp"} {
		lies = append(lies,
			lie{
				name: role + " signed by a stranger",
				tell: func(w *world, _ map[string][]byte) {
					w.parties[role].hands = []*signer{newSigner(w.tb)}
					evil(w, releases)
				},
				cold: trustcache.ErrMalicious, warm: trustcache.ErrMalicious,
			},
			lie{
				name: role + " signed by a stranger under the publisher's key ID",
				tell: func(w *world, _ map[string][]byte) {
					w.spoil[role] = func(file []byte) []byte {
						return forge(w, file, w.parties[role].keys[0].public.ID())
					}
					evil(w, releases)
				},
				cold: trustcache.ErrMalicious, warm: trustcache.ErrMalicious,
			},
			lie{
				name: role + " changed after it was signed",
				tell: func(w *world, _ map[string][]byte) {
					w.spoil[role] = tamper
					evil(w, releases)
				},
				cold: trustcache.ErrMalicious, warm: trustcache.ErrMalicious,
			},
			lie{
				name: role + " without any signature",
				tell: func(w *world, _ map[string][]byte) {
					w.spoil[role] = func(file []byte) []byte { return append(signedPart(file), `,"signatures":[]}`...) }
					evil(w, releases)
				},
				cold: trustcache.ErrMalicious, warm: trustcache.ErrMalicious,
			},
			lie{
				name: role + " is another role's file with good signatures",
				tell: func(w *world, _ map[string][]byte) {
					other := map[string]string{"targets": "snapshot", releases: "timestamp", "snapshot": "targets", "timestamp": "snapshot"}[role]
					w.parties[role].hands = w.parties[role].keys
					w.edit[role] = func([]byte) []byte { return payloadOf(w.raw[other]) }
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
					name := fmt.Sprintf("%s.%x.json", role, sha256.Sum256(w.raw[role]))
					w.serve[name] = bytes.Replace(w.raw[role], []byte(`"signatures"`), []byte(`"signaturez"`), 1)
				},
				cold: trustcache.ErrMalicious, warm: trustcache.ErrMalicious,
			},
			lie{
				name: role + " promised with a wrong sha512 beside the right sha256",
				tell: func(w *world, _ map[string][]byte) {
					w.publish()
					meta := w.meta(role)
					meta.Hashes["sha512"] = make([]byte, 64)
					w.declare[role] = meta
					w.republishAbove(role)
				},
				cold: trustcache.ErrMalicious, warm: trustcache.ErrMalicious,
			},
			lie{
				name: role + " promised by a sha512 alone",
				tell: func(w *world, _ map[string][]byte) {
					w.publish()
					meta := w.meta(role)
					delete(meta.Hashes, "sha256")
					w.declare[role] = meta
					w.republishAbove(role)
				},
				cold: trustcache.ErrMalicious, warm: trustcache.ErrMalicious,
			},
		)
	}
	testLies(t, lies)
}

// republishAbove signs what names the role's file anew.
func (w *world) republishAbove(role string) {
	if role == "snapshot" {
		w.publishTimestamp()
		return
	}
	w.publishSnapshot()
}

func TestVersionsNeverGoBack(t *testing.T) {
	var lies []lie
	for _, role := range []string{"targets", releases, "snapshot"} {
		lies = append(lies,
			lie{
				name: "an older and shorter " + role + " under a newer snapshot and timestamp",
				tell: func(w *world, old map[string][]byte) {
					w.use(role, old[role])
					w.republishAbove(role)
				},
				warm: trustcache.ErrRolledBack,
			},
			lie{
				name: role + " of the same version with other bytes",
				tell: func(w *world, _ map[string][]byte) {
					w.version[role]--
					evil(w, releases)
				},
				warm: trustcache.ErrMalicious,
			},
		)
	}
	lies = append(lies,
		lie{
			name: "an older timestamp",
			tell: func(w *world, old map[string][]byte) { w.serve["timestamp.json"] = old["timestamp"] },
			warm: trustcache.ErrRolledBack,
		},
		lie{
			name: "a timestamp of the same version with other bytes",
			tell: func(w *world, _ map[string][]byte) {
				w.version["timestamp"]--
				evil(w, releases)
			},
			warm: trustcache.ErrMalicious,
		},
		lie{
			name: "the whole repository as it was before",
			tell: func(w *world, old map[string][]byte) {
				maps.Copy(w.serve, map[string][]byte{"timestamp.json": old["timestamp"], "root.json": old["root"]})
			},
			warm: trustcache.ErrMalicious,
		},
	)
	for _, version := range []string{"0", "-1", `"5"`, "1.5", "99999999999999999999", "null"} {
		lies = append(lies, lie{
			name: "a targets file of version " + version,
			tell: func(w *world, _ map[string][]byte) {
				w.edit["targets"] = replaceVersion(version)
				w.publish()
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
				w.expires[role] = w.now().Add(-time.Second)
				evil(w, releases)
			},
			cold: trustcache.ErrExpired, warm: trustcache.ErrExpired,
		})
	}
	lies = append(lies,
		lie{
			name: "a timestamp expired for longer than the grace",
			tell: func(w *world, _ map[string][]byte) {
				w.expires["timestamp"] = w.now().Add(-61 * time.Second)
				evil(w, releases)
			},
			cold: trustcache.ErrExpired, warm: trustcache.ErrExpired,
		},
		lie{
			name: "a root expired",
			tell: func(w *world, _ map[string][]byte) {
				w.expires["root"] = w.now().Add(-time.Second)
				w.publishRoot()
				evil(w, releases)
			},
			cold: trustcache.ErrExpired, warm: trustcache.ErrExpired,
			repair: func(w *world) { w.publishRoot() },
		},
		lie{
			name: "a releases file that gives no expiry",
			tell: func(w *world, _ map[string][]byte) {
				w.edit[releases] = func(p []byte) []byte { return bytes.Replace(p, []byte(`"expires"`), []byte(`"expirez"`), 1) }
				w.publish()
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
		o := newWorldFor(w.tb, "registry.example.com/acme/other")
		o.delegate(releases)
		o.delegate("targets/alice")
		for _, role := range []string{"root", "targets", "snapshot", "timestamp", releases, "targets/alice"} {
			o.parties[role] = w.parties[role]
			o.version[role] = w.version[role] + 5
		}
		o.sign(releases, "latest", 66)
		o.publishRoot()
		o.publish()
		return o
	}
	testLies(t, []lie{
		{
			name: "another repository's files under this name, root and all",
			tell: func(w *world, _ map[string][]byte) {
				o := other(w)
				o.parties["root"] = &party{keys: []*signer{newRootSigner(w.tb, o.gun, w.now())}, threshold: 1}
				o.publishRoot()
				o.publish()
				maps.Copy(w.serve, o.files)
			},
			cold: trustcache.ErrMalicious, warm: trustcache.ErrMalicious,
		},
		{
			name: "another repository's timestamp, snapshot and targets, signed by the same keys",
			tell: func(w *world, _ map[string][]byte) {
				o := other(w)
				maps.Copy(w.serve, o.files)
				for name := range w.serve {
					if name == "root.json" || bytes.Contains([]byte(name), []byte(".root.json")) {
						delete(w.serve, name)
					}
				}
			},
			cold: trustcache.ErrMalicious, warm: trustcache.ErrMalicious,
		},
		{
			name: "a new snapshot with an older delegation than its own",
			tell: func(w *world, old map[string][]byte) {
				w.publish()
				w.use(releases, old[releases])
				w.publishSnapshot()
			},
			warm: trustcache.ErrMalicious,
		},
		{
			name: "the role that decides is dropped from the snapshot",
			tell: func(w *world, _ map[string][]byte) {
				w.dropped[releases] = true
				w.publish()
			},
			warm: trustcache.ErrMalicious,
		},
		{
			name: "targets is dropped from the snapshot",
			tell: func(w *world, _ map[string][]byte) {
				w.dropped["targets"] = true
				w.publish()
			},
			cold: trustcache.ErrMalicious, warm: trustcache.ErrMalicious,
		},
		{
			name: "the snapshot names no root",
			tell: func(w *world, _ map[string][]byte) {
				w.declare["root"] = data.FileMeta{}
				w.publish()
			},
			cold: trustcache.ErrMalicious, warm: trustcache.ErrMalicious,
		},
		{
			name: "the timestamp names no snapshot",
			tell: func(w *world, _ map[string][]byte) {
				w.edit["timestamp"] = func(p []byte) []byte { return bytes.Replace(p, []byte(`"snapshot"`), []byte(`"snapshut"`), 1) }
				w.publish()
			},
			cold: trustcache.ErrMalicious, warm: trustcache.ErrMalicious,
		},
	})
}
