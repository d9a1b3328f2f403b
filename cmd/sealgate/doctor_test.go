package main

import (
	"strings"
	"testing"
)

func TestDoctorRefusesFlagsThatDoNotGoTogether(t *testing.T) {
	good := file(t, "proxy.yaml", goodConfig)
	for _, tc := range []struct {
		args []string
		says string
	}{
		{nil, "either --emit, or --proxy"},
		{[]string{"--emit", "dockr"}, "one of containerd, dns, docker, kubernetes, podman is expected"},
		{[]string{"--proxy", "https://gate.example.com"}, "go together"},
		{[]string{"--emit", "docker", "--proxy", "https://gate.example.com"}, "--proxy has no meaning with --emit"},
		{[]string{"--proxy", "https://g", "--registry", "docker.io", "--canary", "x:1", "--address", "g"}, "--address has no meaning without --emit"},
		{[]string{"--proxy", "gate.example.com", "--registry", "docker.io", "--canary", "x:1"}, "--proxy: a URL such as"},
		{[]string{"--proxy", "https://me:secret@g", "--registry", "docker.io", "--canary", "x:1"}, "--proxy: a URL such as"},
		{[]string{"--proxy", "https://g", "--registry", "docker.io/x", "--canary", "x:1"}, "--registry"},
		{[]string{"--proxy", "https://g", "--registry", "docker.io", "--canary", "x"}, "REPO:TAG is expected"},
		{[]string{"--proxy", "https://g", "--registry", "docker.io", "--canary", "../x:1"}, "is not a repository"},
		{[]string{"--emit", "docker", "--config", good, "--registry", "other.example.com"}, "no registry of that name"},
		{[]string{"--emit", "docker", "--config", good, "--address", "Gate:1"}, "host or host:port is expected"},
		{[]string{"--emit", "docker", "--config", good, "--ca-file", good}, "--ca-file"},
		{[]string{"--emit", "dns", "--config", good, "--ip", "10.0.0.0/8"}, "is not an IP address"},
		{[]string{"--emit", "docker", "--config", good + ".no"}, "proxy.yaml.no"},
	} {
		code, stdout, stderr := call(t, append([]string{"doctor"}, tc.args...)...)
		if code != exitUsage || !strings.Contains(stderr, tc.says) || strings.Contains(stderr, "secret") {
			t.Errorf("doctor %s: want exit 2 and %q, got %d\n%s%s", strings.Join(tc.args, " "), tc.says, code, stdout, stderr)
		}
	}
}

func TestDoctorPrintsALineForEachFindingAndAVerdict(t *testing.T) {
	d := &diagnosis{Registry: "docker.io"}
	d.add(levelOK, "podman", "/etc/x", "fine")
	for _, step := range []struct {
		level, says string
		code        int
	}{
		{levelNote, "no way to unsigned tags of docker.io was found", 0},
		{levelClosed, "no way to unsigned tags", 0},
		{levelUnknown, "cannot be known", exitUnknown},
		{levelHole, "this host can be talked into unsigned tags of docker.io: 1 found", exitFailed},
	} {
		d.add(step.level, "dockerd", "", "something")
		var b strings.Builder
		if err := d.write(&b, false); err != nil || d.exitCode() != step.code || !strings.Contains(b.String(), step.says) || !strings.Contains(b.String(), "podman: /etc/x: fine\n") {
			t.Errorf("%v, %d\n%s", err, d.exitCode(), &b)
		}
	}
}
