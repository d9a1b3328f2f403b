package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// dockerTrust runs `docker trust` with no trust server set: it then asks the
// registry's own host, which is Sealgate.
func dockerTrust(t *testing.T, w *world, arguments ...string) string {
	t.Helper()
	config := t.TempDir()
	certificates := filepath.Join(config, "tls", w.listen)
	if err := os.MkdirAll(certificates, 0o700); err != nil {
		t.Fatal(err)
	}
	ca := must(os.ReadFile(w.ca.file))(t)
	if err := os.WriteFile(filepath.Join(certificates, "ca.crt"), ca, 0o600); err != nil {
		t.Fatal(err)
	}
	return mustRun(t, []string{"DOCKER_CONFIG=" + config}, append([]string{"docker", "trust"}, arguments...)...)
}

func TestDockerTrustInspectThroughTheProxyNeedsNoTrustServer(t *testing.T) {
	s := shared(t)
	var views []struct {
		SignedTags []struct {
			SignedTag string
			Digest    string
			Signers   []string
		}
	}
	out := dockerTrust(t, s.world, "inspect", s.gun("team/app"))
	if err := json.Unmarshal([]byte(out), &views); err != nil || len(views) != 1 {
		t.Fatalf("%v in:\n%s", err, out)
	}
	got := map[string]string{}
	for _, tag := range views[0].SignedTags {
		got[tag.SignedTag] = "sha256:" + tag.Digest
	}
	for tag, image := range map[string]pushed{"signed": s.signed, "released": s.released, "drifted": s.drifted, "index": s.index} {
		if got[tag] != image.digest {
			t.Errorf("%s: want %s, got %q", tag, image.digest, got[tag])
		}
	}
	if _, ok := got["unsigned"]; ok {
		t.Error("the unsigned tag is shown as signed")
	}
}

func TestNotaryListsThroughTheProxy(t *testing.T) {
	s := shared(t)
	through := &publisher{dir: t.TempDir(), server: s.gate.url, ca: s.ca.file}
	out, err := through.cli("list", s.gun("team/list"))
	if err != nil {
		t.Fatal(err)
	}
	for tag, image := range map[string]pushed{"v1": s.v1, "v2": s.v2} {
		if !slices.ContainsFunc(strings.Split(out, "\n"), func(line string) bool {
			f := strings.Fields(line)
			return len(f) > 1 && f[0] == tag && "sha256:"+f[1] == image.digest
		}) {
			t.Errorf("want %s %s in:\n%s", tag, image.digest, out)
		}
	}
}

func TestNotaryCannotPublishThroughTheProxy(t *testing.T) {
	s := shared(t)
	through := &publisher{dir: s.publisher.dir, server: s.gate.url, ca: s.ca.file}
	if err := through.sign(s.gun("team/list"), "v3", s.v3); err == nil {
		t.Fatal("published, although notary.writes is not set")
	}
	if _, err := s.cli("reset", "--all", s.gun("team/list")); err != nil { // drop what was staged
		t.Fatal(err)
	}
	wantTags(t, tagsIn(t, s.get(t, "/v2/team/list/tags/list")), "v1", "v2")
}
