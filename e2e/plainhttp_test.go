package e2e

import (
	"strings"
	"testing"
)

func TestPlainHTTPOnLoopbackBeforeAPlainHTTPRegistry(t *testing.T) {
	w, image := oneSignedTag(t, registryOptions{plainHTTP: true})
	unsigned := w.mustSay(t, "team/app", "unsigned", "unsigned words")
	w.mustOpen(t, func(s *settings) { s.plainHTTP, s.credentials = true, "anonymous" })
	wantServed(t, w.manifest(t, "team/app", "signed"), image)
	wantServed(t, w.manifest(t, "team/app", unsigned.digest), unsigned)
	wantRefused(t, w.manifest(t, "team/app", "unsigned"), 404, "MANIFEST_UNKNOWN", noTrustData(w, "team/app", "unsigned"))

	t.Run("docker", func(t *testing.T) { // it tries plain HTTP on loopback by itself
		wantPulled(t, client{name: "docker", pull: dockerPull}, w, w.tag("team/app", "signed"), image)
		wantDenied(t, client{name: "docker", pull: dockerPull}, w, w.tag("team/app", "unsigned"), noTrustData(w, "team/app", "unsigned"))
	})
	t.Run("crane", func(t *testing.T) {
		if out := mustRun(t, nil, "crane", "digest", "--insecure", w.tag("team/app", "signed")); strings.TrimSpace(out) != image.digest {
			t.Errorf("want %s, got %s", image.digest, out)
		}
		wantTags(t, strings.Fields(mustRun(t, nil, "crane", "ls", "--insecure", w.gun("team/app"))), "signed")
	})
	t.Run("skopeo", func(t *testing.T) {
		mustRun(t, nil, "skopeo", "copy", "--src-tls-verify=false", "docker://"+w.tag("team/app", "signed"), "dir:"+t.TempDir())
		if out, err := run(nil, "skopeo", "inspect", "--tls-verify=false", "docker://"+w.tag("team/app", "unsigned")); err == nil {
			t.Errorf("the unsigned tag can be inspected:\n%s", out)
		}
	})
}

func TestAnonymousCredentialsBeforeATLSRegistry(t *testing.T) {
	w, image := oneSignedTag(t, registryOptions{})
	w.mustOpen(t, func(s *settings) { s.credentials = "anonymous" })
	wantStatus(t, w.get(t, "/v2/"), 200)
	eachClient(t, func(t *testing.T, c client) {
		wantPulled(t, c, w, w.tag("team/app", "signed"), image)
	})
}
