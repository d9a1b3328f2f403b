package e2e

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/types"
)

// oneSignedTag is a world with team/app:signed and no gate yet.
func oneSignedTag(t *testing.T, o registryOptions) (*world, pushed) {
	t.Helper()
	w := ownWorld(t, o)
	w.mustBegin(t, "team/app")
	image := w.mustSay(t, "team/app", "signed", "words")
	w.mustSign(t, "team/app", "signed", image)
	return w, image
}

func TestWithoutPinNothingIsServedAndTheMessageSaysWhatToDo(t *testing.T) {
	w, image := oneSignedTag(t, registryOptions{})
	w.mustOpen(t, func(s *settings) { s.rootKeys = map[string]string{s.name + "/elsewhere/*": strings.Repeat("ab", 32)} })
	wantRefused(t, w.manifest(t, "team/app", "signed"), 404, "MANIFEST_UNKNOWN",
		"no pin covers "+w.gun("team/app")+": ask its publisher for the root key ID and add it to trust-pinning.root-keys")
	wantTags(t, tagsIn(t, w.get(t, "/v2/team/app/tags/list")))
	wantServed(t, w.manifest(t, "team/app", image.digest), image)
}

func TestAnotherRootThanThePinnedOneIsMaliciousBehaviour(t *testing.T) {
	w, image := oneSignedTag(t, registryOptions{})
	w.mustOpen(t, func(s *settings) { s.rootKeys = map[string]string{s.name + "/team/app": strings.Repeat("ab", 32)} })
	a := w.manifest(t, "team/app", "signed")
	wantRefused(t, a, 503, "UNAVAILABLE", "potential malicious behavior: ")
	wantRetryAfter(t, a)
	wantServed(t, w.manifest(t, "team/app", image.digest), image)
}

func TestTheMoreSpecificPinDecides(t *testing.T) {
	w, image := oneSignedTag(t, registryOptions{})
	key := must(w.rootKey())(t)
	w.mustOpen(t, func(s *settings) {
		s.rootKeys = map[string]string{s.name + "/*": strings.Repeat("ab", 32), s.name + "/team/app": key}
	})
	wantServed(t, w.manifest(t, "team/app", "signed"), image)
}

func TestFirstUseServesSignedTagsWhereItIsAskedFor(t *testing.T) {
	w, image := oneSignedTag(t, registryOptions{})
	w.mustOpen(t, func(s *settings) { s.rootKeys, s.firstUse = nil, true })
	wantServed(t, w.manifest(t, "team/app", "signed"), image)
	wantRefused(t, w.manifest(t, "team/app", "unsigned"), 404, "MANIFEST_UNKNOWN", noTrustData(w, "team/app", "unsigned"))
}

func TestModeDisabledServesTheRegistrysTags(t *testing.T) {
	w, image := oneSignedTag(t, registryOptions{unfiltered: true})
	unsigned := w.mustSay(t, "team/app", "unsigned", "unsigned words")
	w.mustOpen(t, func(s *settings) { s.mode = "disabled" })
	accept := http.Header{"Accept": {string(types.DockerManifestSchema2)}} // else the registry converts to schema1
	wantServed(t, w.do(t, request{path: "/v2/team/app/manifests/signed", header: accept}), image)
	wantServed(t, w.do(t, request{path: "/v2/team/app/manifests/unsigned", header: accept}), unsigned)
	tags := tagsIn(t, w.get(t, "/v2/team/app/tags/list"))
	slices.Sort(tags)
	wantTags(t, tags, "signed", "unsigned")
	if len(w.registry.tagReads()) == 0 {
		t.Error("the access log shows no read by tag: then the check at the suite's end could not fail")
	}
}
