package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sealgate/sealgate/config"
	"github.com/sealgate/sealgate/e2e/sandbox"
)

// inspectWorld starts the demo's servers and returns a configuration file for
// them; trust is the content-trust block, with %s for the root key.
func inspectWorld(t *testing.T, trust string) string {
	t.Helper()
	ca, err := sandbox.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	story, err := sandbox.NewStory(t.Context(), ca, "registry.example.com")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { story.Close() })
	path := file(t, "proxy.yaml", fmt.Sprintf(`
listen: 127.0.0.1:0
tls: {plain-http: {}}
registries:
  - name: registry.example.com
    upstream: %s
    upstream-ca-file: ca.pem
    notary: {url: %q, ca-file: ca.pem}
content-trust: %s
`, story.Registry.URL(), story.Trust.URL(), strings.ReplaceAll(trust, "%s", story.RootKey)))
	if err := os.WriteFile(filepath.Join(filepath.Dir(path), "ca.pem"), ca.PEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestInspectSaysWhy(t *testing.T) {
	path := inspectWorld(t, `{mode: enforced, trust-pinning: {root-keys: {"registry.example.com/demo/*": [%s]}}}`)
	for _, tc := range []struct {
		name, image string
		code        int
		says        []string
	}{
		{"a signed tag is visible", "registry.example.com/demo/app:1.0", 0, []string{"VISIBLE", "sha256:", "targets/releases"}},
		{"the registry's name may be left out", "demo/app:1.0", 0, []string{"VISIBLE"}},
		{"an unsigned tag is hidden", "demo/app:nightly", exitFailed, []string{"HIDDEN", `no trust data for tag "nightly"`}},
		{"a tag signed elsewhere is hidden, with the role", "demo/app:qa-only", exitFailed, []string{"HIDDEN", "targets/qa"}},
		{"a repository without trust data hides its tags", "demo/never-signed:latest", exitFailed, []string{"HIDDEN", "remote trust data does not exist"}},
		{"an unpinned repository hides its tags", "other/app:1", exitFailed, []string{"HIDDEN", "no pin covers"}},
		{"a repository is listed", "demo/app", 0, []string{"latest", "qa-only", "timestamp", "stands until"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			code, stdout, stderr := call(t, "inspect", "--config", path, tc.image)
			if code != tc.code {
				t.Errorf("exit %d, want %d", code, tc.code)
			}
			for _, want := range tc.says {
				if !strings.Contains(stdout, want) {
					t.Errorf("does not say %q", want)
				}
			}
			if t.Failed() {
				t.Log(stdout, stderr)
			}
		})
	}
}

func TestInspectPrintsJSON(t *testing.T) {
	path := inspectWorld(t, `{mode: enforced, trust-on-first-use: true}`)
	code, stdout, _ := call(t, "inspect", "--config", path, "--json", "demo/app:latest")
	var report inspectReport
	if err := json.Unmarshal([]byte(stdout), &report); err != nil || code != 0 {
		t.Fatalf("exit %d, %v: %s", code, err, stdout)
	}
	if report.Tag.Verdict != "visible" || len(report.Signed) != 4 || len(report.Roles) < 5 {
		t.Errorf("got %s", stdout)
	}
}

func TestInspectShowsOfferedKeysAsNotVerified(t *testing.T) {
	path := inspectWorld(t, `{mode: enforced}`)
	code, stdout, _ := call(t, "inspect", "--config", path, "demo/app")
	if code != exitFailed || !strings.Contains(stdout, "OFFERED, NOT VERIFIED") || !strings.Contains(stdout, "root key ") {
		t.Errorf("exit %d\n%s", code, stdout)
	}
	if strings.Contains(stdout, "ROOT SIGNED WITH") {
		t.Errorf("shows it as verified as well\n%s", stdout)
	}
}

// TestInspectShowsRootKeysAsPinsWantThem: what is offered, put into the
// configuration in either form, is what is verified then.
func TestInspectShowsRootKeysAsPinsWantThem(t *testing.T) {
	path := inspectWorld(t, `{mode: enforced}`)
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	look := func() (code int, report inspectReport, text string) {
		t.Helper()
		code, stdout, _ := call(t, "inspect", "--config", path, "--json", "demo/app")
		if err := json.Unmarshal([]byte(stdout), &report); err != nil {
			t.Fatal(err)
		}
		_, text, _ = call(t, "inspect", "--config", path, "demo/app")
		return code, report, text
	}
	_, offered, _ := look()
	if len(offered.Offered) != 1 || len(offered.RootKeys) != 0 {
		t.Fatalf("got %+v", offered)
	}
	key := offered.Offered[0]
	if key.KeyID == key.CertID || key.Subject != "registry.example.com/demo/app" || key.Issuer != key.Subject || key.Expires.IsZero() {
		t.Errorf("got %+v", key)
	}
	for kind, id := range map[string]string{"root-keys": key.KeyID, "cert-ids": key.CertID} {
		pinned := strings.Replace(string(before), "mode: enforced", fmt.Sprintf("mode: enforced, trust-pinning: {%s: {registry.example.com/demo/app: [%s]}}", kind, id), 1)
		if err := os.WriteFile(path, []byte(pinned), 0o600); err != nil {
			t.Fatal(err)
		}
		code, report, text := look()
		if code != 0 || len(report.RootKeys) != 1 || report.RootKeys[0] != key || report.Offered != nil {
			t.Errorf("%s: exit %d, %+v", kind, code, report)
		}
		for _, part := range []string{"root key " + key.KeyID + " (root-keys)", "certificate " + key.CertID + " (cert-ids)", `for "registry.example.com/demo/app"`, key.Expires.UTC().Format("2006-01-02")} {
			if !strings.Contains(text, part) {
				t.Errorf("%s: says nothing of %q:\n%s", kind, part, text)
			}
		}
	}
}

func TestInspectFindsTheRegistry(t *testing.T) {
	two := &config.Config{Registries: []config.Registry{{Name: "a.example:5000"}, {Name: "b.example"}}}
	for _, tc := range []struct {
		arg      string
		registry int
		gun, tag string
		bad      bool
	}{
		{arg: "a.example:5000/app", gun: "a.example:5000/app"},
		{arg: "a.example:5000/app:1", gun: "a.example:5000/app", tag: "1"},
		{arg: "b.example/x/y:1.0", registry: 1, gun: "b.example/x/y", tag: "1.0"},
		{arg: "app:1", bad: true},
		{arg: "c.example/app", bad: true},
	} {
		registry, gun, tag, err := parseInspect(two, tc.arg)
		if (err != nil) != tc.bad || registry != tc.registry || gun != tc.gun || tag != tc.tag {
			t.Errorf("%s: %d %q %q %v", tc.arg, registry, gun, tag, err)
		}
	}
}

// TestFamiliarNamesMeanDockerHub where it is configured, and nothing elsewhere.
func TestFamiliarNamesMeanDockerHub(t *testing.T) {
	hub := config.Registry{Name: "docker.io"}
	alone := &config.Config{Registries: []config.Registry{hub}}
	among := &config.Config{Registries: []config.Registry{{Name: "registry.example.com"}, hub, {Name: "intern"}}}
	without := &config.Config{Registries: []config.Registry{{Name: "registry.example.com"}}}
	for _, tc := range []struct {
		cfg      *config.Config
		arg      string
		gun, tag string // "" for a usage error
	}{
		{alone, "alpine", "docker.io/library/alpine", ""},
		{alone, "alpine:3.20", "docker.io/library/alpine", "3.20"},
		{alone, "docker.io/alpine", "docker.io/library/alpine", ""},
		{alone, "docker.io/library/alpine:3.20", "docker.io/library/alpine", "3.20"},
		{alone, "library/alpine", "docker.io/library/alpine", ""},
		{alone, "index.docker.io/alpine:1", "docker.io/library/alpine", "1"},
		{alone, "team/app:1", "docker.io/team/app", "1"},
		{alone, "registry.example.com/app", "", ""},
		{alone, "Alpine", "", ""},
		{alone, "alpine@sha256:" + strings.Repeat("0", 64), "", ""},
		{among, "alpine:3.20", "docker.io/library/alpine", "3.20"},
		{among, "registry.example.com/alpine:3.20", "registry.example.com/alpine", "3.20"},
		{among, "intern/alpine:3.20", "intern/alpine", "3.20"},
		{without, "alpine:3.20", "registry.example.com/alpine", "3.20"},
		{without, "docker.io/alpine", "", ""},
	} {
		registry, gun, tag, err := parseInspect(tc.cfg, tc.arg)
		if (err != nil) != (tc.gun == "") || gun != tc.gun || tag != tc.tag {
			t.Errorf("%s: got %q %q %v, want %q %q", tc.arg, gun, tag, err, tc.gun, tc.tag)
		}
		if err == nil && !strings.HasPrefix(gun, tc.cfg.Registries[registry].Name+"/") {
			t.Errorf("%s: registry %d", tc.arg, registry)
		}
	}
	for _, arg := range []string{"alpine", "docker.io/alpine", "docker.io/library/alpine"} { // as forget takes them
		if gun := fullName(among, arg); gun != "docker.io/library/alpine" || checkGUN(among, gun) != nil {
			t.Errorf("%s is forgotten as %s: %v", arg, gun, checkGUN(among, gun))
		}
	}
}

// TestInspectOfASignatureTagThatPasses cannot know without asking the registry.
func TestInspectOfASignatureTagThatPasses(t *testing.T) {
	tag := "sha256-" + strings.Repeat("0", 64) + ".sig"
	for _, tc := range []struct {
		name, tag, mode, passes string
		exempt                  []string
		code                    int
	}{
		{"passes", tag, "enforced", "pass", nil, exitUnknown},
		{"hidden", tag, "enforced", "hidden", nil, exitFailed},
		{"another tag", "latest", "enforced", "pass", nil, exitFailed},
		{"exempt as well", tag, "enforced", "pass", []string{"sha256-*"}, 0},
	} {
		report := &inspectReport{Tag: &inspectVerdict{Verdict: "hidden", inspectTag: inspectTag{Tag: tc.tag}}}
		report.apply(&config.Policy{Mode: config.Mode(tc.mode), ExemptTags: tc.exempt})
		report.signatureTag(config.Registry{SignatureTags: tc.passes})
		if code := report.exitCode(); code != tc.code {
			t.Errorf("%s: exit %d, want %d: %+v", tc.name, code, tc.code, report.Tag)
		}
	}
}
