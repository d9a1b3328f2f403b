package trustcachetest

import (
	"bytes"
	"crypto/sha256"
	"fmt"

	"github.com/sealgate/sealgate/trustcache"
)

// evil signs "latest" for another digest in role and publishes.
func evil(w *World, role string) {
	w.Sign(role, "latest", 66)
	w.Publish()
}

// Forged are files that do not bear the signatures of who may sign them, or are
// not the ones that were promised.
func Forged() []Lie {
	var lies []Lie
	for _, role := range []string{"targets", Releases, "snapshot", "timestamp"} {
		lies = append(lies,
			Lie{
				Name: role + " signed by a stranger",
				Tell: func(w *World, _ map[string][]byte) {
					w.Parties[role].Hands = []*Signer{NewSigner(w.TB)}
					evil(w, Releases)
				},
				Cold: trustcache.ErrMalicious, Warm: trustcache.ErrMalicious,
			},
			Lie{
				Name: role + " signed by a stranger under the publisher's key ID",
				Tell: func(w *World, _ map[string][]byte) {
					w.Spoil[role] = func(file []byte) []byte {
						return Forge(w, file, w.Parties[role].Keys[0].Public.ID())
					}
					evil(w, Releases)
				},
				Cold: trustcache.ErrMalicious, Warm: trustcache.ErrMalicious,
			},
			Lie{
				Name: role + " changed after it was signed",
				Tell: func(w *World, _ map[string][]byte) {
					w.Spoil[role] = Tamper
					evil(w, Releases)
				},
				Cold: trustcache.ErrMalicious, Warm: trustcache.ErrMalicious,
			},
			Lie{
				Name: role + " without any signature",
				Tell: func(w *World, _ map[string][]byte) {
					w.Spoil[role] = func(file []byte) []byte { return append(SignedPart(file), `,"signatures":[]}`...) }
					evil(w, Releases)
				},
				Cold: trustcache.ErrMalicious, Warm: trustcache.ErrMalicious,
			},
			Lie{
				Name: role + " is another role's file with good signatures",
				Tell: func(w *World, _ map[string][]byte) {
					other := map[string]string{"targets": "snapshot", Releases: "timestamp", "snapshot": "targets", "timestamp": "snapshot"}[role]
					w.Parties[role].Hands = w.Parties[role].Keys
					w.Edit[role] = func([]byte) []byte { return PayloadOf(w.Raw[other]) }
					evil(w, Releases)
				},
				Cold: trustcache.ErrMalicious, Warm: trustcache.ErrMalicious,
			},
		)
	}
	for _, role := range []string{"targets", Releases, "snapshot"} {
		lies = append(lies,
			Lie{
				Name: role + " other than the one that was promised",
				Tell: func(w *World, _ map[string][]byte) {
					evil(w, Releases)
					name := fmt.Sprintf("%s.%x.json", role, sha256.Sum256(w.Raw[role]))
					w.Serve[name] = bytes.Replace(w.Raw[role], []byte(`"signatures"`), []byte(`"signaturez"`), 1)
				},
				Cold: trustcache.ErrMalicious, Warm: trustcache.ErrMalicious,
			},
		)
	}
	return lies
}
