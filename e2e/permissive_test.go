package e2e

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/types"
)

// TestFromPermissiveToEnforced is the way that an organisation goes: first the
// registry's own tags, with a word on what would become of them; then, by a
// reload, signed tags only.
func TestFromPermissiveToEnforced(t *testing.T) {
	t.Parallel()
	w, image := oneSignedTag(t, registryOptions{unfiltered: true})
	unsigned := w.mustSay(t, "team/app", "unsigned", "unsigned words")
	signedFirst := w.mustSay(t, "team/app", "drifted", "as it was signed")
	w.mustSign(t, "team/app", "drifted", signedFirst)
	drift := w.mustSay(t, "team/app", "drifted", "as it is now")
	w.mustOpen(t, func(s *settings) { s.mode = "permissive"; withAdmin(t, s) })

	accept := http.Header{"Accept": {string(types.DockerManifestSchema2)}} // else the registry converts to schema1
	for tag, want := range map[string]struct {
		image   pushed
		warning string
	}{
		"signed":   {image, ""},
		"unsigned": {unsigned, "would be denied: unsigned"},
		"drifted":  {drift, "would be the signed " + signedFirst.digest},
	} {
		a := w.do(t, request{path: "/v2/team/app/manifests/" + tag, header: accept})
		wantServed(t, a, want.image)
		if got := a.header.Get("Warning"); (got == "") != (want.warning == "") || !strings.Contains(got, want.warning) {
			t.Errorf("%s: the warning is %q, want %q", tag, got, want.warning)
		}
	}
	tags := tagsIn(t, w.get(t, "/v2/team/app/tags/list"))
	slices.Sort(tags)
	wantTags(t, tags, "drifted", "signed", "unsigned")
	for series, want := range map[string]string{
		fmt.Sprintf(`sealgate_would_deny_total{reason="unsigned",registry=%q}`, w.settings.name): "1",
		fmt.Sprintf(`sealgate_would_change_total{registry=%q}`, w.settings.name):                 "1",
	} {
		if got := w.metric(t, series); got != want {
			t.Errorf("%s is %q, want %s", series, got, want)
		}
	}
	eachClient(t, func(t *testing.T, c client) {
		wantPulled(t, c, w, w.tag("team/app", "unsigned"), unsigned)
	})

	if err := w.write(w.text(t, func(s *settings) { s.mode = "enforced" })); err != nil {
		t.Fatal(err)
	}
	w.hangup(t, "configuration reloaded")
	wantServed(t, w.manifest(t, "team/app", "signed"), image)
	wantServed(t, w.manifest(t, "team/app", "drifted"), signedFirst)
	wantRefused(t, w.manifest(t, "team/app", "unsigned"), 404, "MANIFEST_UNKNOWN", noTrustData(w, "team/app", "unsigned"))
	wantTags(t, tagsIn(t, w.get(t, "/v2/team/app/tags/list")), "drifted", "signed")
}
