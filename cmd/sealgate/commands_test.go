package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// call runs the command line and returns its exit code and output.
func call(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(args, &out, &errs)
	return code, out.String(), errs.String()
}

// file writes content to a file of that name in a new directory.
func file(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

const goodConfig = `
listen: 127.0.0.1:0
tls: {plain-http: {}}
registries:
  - name: registry.example.com
    upstream: http://127.0.0.1:1
    notary: {url: "http://127.0.0.1:1"}
content-trust: {mode: enforced, trust-on-first-use: true}
`

func TestExitCodes(t *testing.T) {
	good := file(t, "proxy.yaml", goodConfig)
	bad := file(t, "proxy.yaml", strings.Replace(goodConfig, "upstream:", "upstraem:", 1))
	for _, tc := range []struct {
		name string
		args []string
		code int
		says string // on either output
	}{
		{"version is printed", []string{"version"}, 0, "sealgate dev"},
		{"help is printed", []string{"--help"}, 0, "serve"},
		{"no command is bad usage", nil, exitUsage, "a command is needed"},
		{"an unknown command is bad usage", []string{"sevre"}, exitUsage, "sevre"},
		{"an unknown flag is bad usage", []string{"serve", "--confg", "x"}, exitUsage, "--confg"},
		{"an argument too many is bad usage", []string{"check", "x"}, exitUsage, "x"},
		{"an unknown log format is bad usage", []string{"serve", "--config", good, "--log-format", "xml"}, exitUsage, "json or console"},
		{"an unknown log level is bad usage", []string{"serve", "--config", good, "--log-level", "loud"}, exitUsage, "loud"},
		{"a level that hides failures is none", []string{"serve", "--config", good, "--log-level", "fatal"}, exitUsage, "one of trace, debug, info, warn, error is expected"},
		{"nor is panic", []string{"serve", "--config", good, "--log-level", "panic"}, exitUsage, "one of trace"},
		{"nor is disabled", []string{"serve", "--config", good, "--log-level", "disabled"}, exitUsage, "one of trace"},
		{"nor is a number", []string{"check", "--config", good, "--log-level", "1"}, exitUsage, "one of trace"},
		{"nor is nothing", []string{"check", "--config", good, "--log-level", ""}, exitUsage, "one of trace"},
		{"a level in capitals is one", []string{"check", "--config", good, "--log-level", "WARN"}, 0, "ok"},
		{"serve says how it is steered", []string{"serve", "--help"}, 0, "SIGHUP"},
		{"serve says how it exits", []string{"serve", "--help"}, 0, "drain-timeout"},
		{"a configuration without a control socket is warned of", []string{"check", "--config", good}, 0, "warning: admin.control: no control socket"},
		{"a good configuration is ok", []string{"check", "--config", good}, 0, "ok"},
		{"a bad configuration is named with line and key", []string{"check", "--config", bad}, exitUsage, "proxy.yaml:6: registries[0].upstraem"},
		{"a bad configuration does not serve", []string{"serve", "--config", bad}, exitUsage, "registries[0].upstraem"},
		{"a missing configuration is named", []string{"check", "--config", good + ".no"}, exitUsage, good + ".no"},
		{"inspect wants a repository", []string{"inspect", "--config", good}, exitUsage, "one REPO[:TAG] is expected"},
		{"a configuration is named by a flag", []string{"check", good}, exitUsage, "--config"},
		{"inspect refuses a digest", []string{"inspect", "--config", good, "app@sha256:00"}, exitUsage, "REPO:TAG"},
		{"inspect refuses an empty tag", []string{"inspect", "--config", good, "app:"}, exitUsage, "a tag is expected"},
		{"inspect refuses what is no repository", []string{"inspect", "--config", good, "a/../../x?y"}, exitUsage, "not a repository"},
		{"inspect refuses what is no tag", []string{"inspect", "--config", good, "app:no such tag!"}, exitUsage, "not a repository"},
		{"the doctor pulls with clients that it knows", []string{"doctor", "--proxy", "https://gate.example.com", "--registry", "docker.io", "--canary", "a:b", "--pull", "dcoker"}, exitUsage, "one of crictl, docker, podman, skopeo is expected"},
		{"log flags are checked by every command", []string{"check", "--config", good, "--log-level", "bogus"}, exitUsage, "bogus"},
		{"inspect cannot know with Notary down", []string{"inspect", "--config", good, "app:1"}, exitUnknown, "connection refused"},
		{"inspect of a repository cannot know with Notary down", []string{"inspect", "--config", good, "app"}, exitUnknown, "connection refused"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			code, stdout, stderr := call(t, tc.args...)
			if code != tc.code || !strings.Contains(stdout+stderr, tc.says) {
				t.Errorf("sealgate %s: exit %d, want %d and %q\n%s%s", strings.Join(tc.args, " "), code, tc.code, tc.says, stdout, stderr)
			}
		})
	}
}

func TestDemoPerformsTheStory(t *testing.T) {
	code, stdout, stderr := call(t, "demo", "--once")
	if code != 0 || strings.Contains(stdout, "WRONG") || !strings.Contains(stdout, "drifted") {
		t.Errorf("exit %d\n%s%s", code, stdout, stderr)
	}
}
