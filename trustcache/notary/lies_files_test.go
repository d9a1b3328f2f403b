package notary_test

import (
	"testing"

	"github.com/sealgate/sealgate/trustcache"
	"github.com/sealgate/sealgate/trustcache/trustcachetest"
)

// evil signs "latest" for another digest in role and publishes.
func evil(w *world, role string) {
	w.Sign(role, "latest", 66)
	w.Publish()
}

func TestForgedFilesAreNotBelieved(t *testing.T) {
	lies := told(trustcachetest.Forged())
	for _, role := range []string{"targets", releases, "snapshot"} {
		lies = append(lies,
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
	lies := told(trustcachetest.RolledBack())
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

func TestExpiredFilesDoNotServe(t *testing.T) { testLies(t, told(trustcachetest.Expired())) }

func TestFilesThatDoNotBelongTogetherAreNotBelieved(t *testing.T) {
	testLies(t, told(trustcachetest.MixedUp()))
}
