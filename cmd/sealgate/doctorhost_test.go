package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	clientfiles "github.com/sealgate/sealgate/config/clients"
)

// tree writes files below a new directory and opens it.
func tree(t *testing.T, files map[string]string) fs.FS {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	root, closeRoot, err := openRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeRoot() })
	return root
}

const (
	closedHosts = "server = \"https://registry-1.docker.io\"\ncapabilities = [\"pull\"]\n[host.\"https://gate.example.com:8443\"]\ncapabilities = [\"pull\", \"resolve\"]\n"
	openHosts   = "server = \"https://registry-1.docker.io\"\n[host.\"https://gate.example.com:8443\"]\ncapabilities = [\"pull\", \"resolve\"]\n"
	blockedConf = "[[registry]]\nlocation = \"registry-1.docker.io\"\nblocked = true\n[[registry]]\nlocation = \"registry.hub.docker.com\"\nblocked = true\n"
	bareConf    = "[[registry]]\nlocation = \"docker.io\"\nblocked = true\n[[registry.mirror]]\nlocation = \"gate.example.com:8443\"\n"
	closedConf  = blockedConf + bareConf
	openConf    = blockedConf + "[[registry]]\nlocation = \"docker.io\"\n[[registry.mirror]]\nlocation = \"gate.example.com:8443\"\n"
	configPath  = "[plugins.\"io.containerd.grpc.v1.cri\".registry]\nconfig_path = \"/etc/containerd/certs.d\"\n"
	snapshotter = `{"features": {"containerd-snapshotter": true}}`
)

func TestDoctorNamesEachHoleOfAHostWithItsFile(t *testing.T) {
	const aliasHosts = "capabilities = [\"pull\"]\n[host.\"https://gate.example.com:8443\"]\ncapabilities = [\"pull\", \"resolve\"]\n"
	for _, tc := range []struct {
		name     string
		files    map[string]string
		fallback origin
		want     []string // level, client, file and a part of what is said
	}{
		{"containerd, Docker Hub's other names", map[string]string{"etc/containerd/config.toml": configPath, "etc/containerd/certs.d/docker.io/hosts.toml": closedHosts, "etc/containerd/certs.d/index.docker.io/hosts.toml": aliasHosts, "etc/containerd/certs.d/registry-1.docker.io/hosts.toml": openHosts}, originAnswers,
			[]string{"ok|containerd|", "hole|containerd|/etc/containerd/certs.d/registry-1.docker.io/hosts.toml|registry-1.docker.io is asked for tags", "hole|containerd|/etc/containerd/certs.d|no hosts.toml for registry.hub.docker.com"}},
		{"podman, Docker Hub's other names", map[string]string{"etc/containers/registries.conf": bareConf}, originAnswers,
			[]string{"hole|podman|/etc/containers/registries.conf|nothing is said of registry-1.docker.io, registry.hub.docker.com"}},
		{"k3s, which has the server resolve", map[string]string{"var/lib/rancher/k3s/agent/etc/containerd/certs.d/docker.io/hosts.toml": "server = \"https://registry-1.docker.io/v2\"\ncapabilities = [\"pull\", \"resolve\", \"push\"]\n[host.\"https://gate.example.com:8443/v2\"]\ncapabilities = [\"pull\", \"resolve\"]\n"}, originAnswers,
			[]string{"hole|k3s|/var/lib/rancher/k3s/agent/etc/containerd/certs.d/docker.io/hosts.toml|registry-1.docker.io is asked for tags", "hole|k3s|/var/lib/rancher/k3s/agent/etc/containerd/certs.d|no hosts.toml for registry-1.docker.io"}},
		{"rke2, nothing said", map[string]string{"var/lib/rancher/rke2/agent/etc/containerd/config.toml": ""}, originSilent,
			[]string{"closed|rke2|/var/lib/rancher/rke2/agent/etc/containerd/certs.d|no hosts.toml for docker.io"}},
		{"buildkitd", map[string]string{"etc/buildkit/buildkitd.toml": "[registry.\"docker.io\"]\nmirrors = [\"gate.example.com:8443\"]\n"}, originAnswers,
			[]string{"hole|buildkitd|/etc/buildkit/buildkitd.toml|falls back to registry-1.docker.io"}},
		{"rootless dockerd", map[string]string{"home/ann/.config/docker/daemon.json": `{}`}, originAnswers,
			[]string{"hole|dockerd|/home/ann/.config/docker/daemon.json|falls back to registry-1.docker.io"}},
		{"a web proxy in daemon.json", map[string]string{"etc/docker/daemon.json": `{"proxies": {"https-proxy": "http://hunter2@proxy.example.com"}}`}, originSilent,
			[]string{"unknown|dockerd|/etc/docker/daemon.json|by a web proxy", "closed|dockerd|"}},
		{"a web proxy in a service", map[string]string{"etc/docker/daemon.json": `{}`, "etc/systemd/system/docker.service.d/proxy.conf": "[Service]\nEnvironment=\"HTTPS_PROXY=http://hunter2@proxy.example.com\"\n"}, originSilent,
			[]string{"closed|dockerd|", "unknown|dockerd|/etc/systemd/system/docker.service.d/proxy.conf|by a web proxy"}},
		{"no web proxy", map[string]string{"etc/docker/daemon.json": `{}`, "etc/default/docker": "# export https_proxy=x\nno_proxy=y\n"}, originSilent,
			[]string{"closed|dockerd|"}},
		{"nothing is installed", nil, originAnswers, nil},
		{"containerd, closed", map[string]string{"etc/containerd/config.toml": configPath, "etc/containerd/certs.d/docker.io/hosts.toml": closedHosts}, originAnswers,
			[]string{"ok|containerd|/etc/containerd/certs.d/docker.io/hosts.toml|tags are asked of Sealgate alone"}},
		{"containerd, the server resolves", map[string]string{"etc/containerd/config.toml": configPath, "etc/containerd/certs.d/docker.io/hosts.toml": openHosts}, originAnswers,
			[]string{"hole|containerd|/etc/containerd/certs.d/docker.io/hosts.toml|registry-1.docker.io is asked for tags when Sealgate refuses"}},
		{"containerd, the server resolves and is Sealgate", map[string]string{"etc/containerd/config.toml": configPath, "etc/containerd/certs.d/docker.io/hosts.toml": openHosts}, originSealgate,
			[]string{"closed|containerd|/etc/containerd/certs.d/docker.io/hosts.toml|but there Sealgate answers"}},
		{"containerd, the server resolves and is not to be reached", map[string]string{"etc/containerd/config.toml": configPath, "etc/containerd/certs.d/docker.io/hosts.toml": openHosts}, originSilent,
			[]string{"closed|containerd|/etc/containerd/certs.d/docker.io/hosts.toml|but nothing answers there"}},
		{"containerd, by default", map[string]string{"etc/containerd/config.toml": configPath, "etc/containerd/certs.d/_default/hosts.toml": closedHosts}, originAnswers,
			[]string{"ok|containerd|/etc/containerd/certs.d/_default/hosts.toml|"}},
		{"containerd, nothing said", map[string]string{"etc/containerd/config.toml": configPath}, originAnswers,
			[]string{"hole|containerd|/etc/containerd/certs.d|no hosts.toml for docker.io"}},
		{"containerd, not read by Kubernetes", map[string]string{"etc/containerd/config.toml": "", "etc/containerd/certs.d/docker.io/hosts.toml": closedHosts}, originAnswers,
			[]string{"note|containerd|/etc/containerd/config.toml|config_path is not set", "ok|containerd|"}},
		{"containerd, a file that it cannot read", map[string]string{"etc/containerd/config.toml": configPath, "etc/containerd/certs.d/docker.io/hosts.toml": "server ="}, originAnswers,
			[]string{"hole|containerd|/etc/containerd/certs.d/docker.io/hosts.toml|cannot be understood, and is passed over"}},
		{"containerd, a misspelt key", map[string]string{"etc/containerd/config.toml": configPath, "etc/containerd/certs.d/docker.io/hosts.toml": "capabilites = []\n" + closedHosts}, originAnswers,
			[]string{"note|containerd|/etc/containerd/certs.d/docker.io/hosts.toml|passes over capabilites", "ok|containerd|"}},
		{"containerd, its own file cannot be understood", map[string]string{"etc/containerd/config.toml": "= hunter2", "etc/containerd/certs.d/docker.io/hosts.toml": closedHosts}, originAnswers,
			[]string{"unknown|containerd|/etc/containerd/config.toml|cannot be understood", "note|containerd|", "ok|containerd|"}},
		{"dockerd's own store falls back", map[string]string{"etc/docker/daemon.json": `{"registry-mirrors": ["https://gate.example.com:8443"]}`}, originAnswers,
			[]string{"hole|dockerd|/etc/docker/daemon.json|only egress or DNS closes this"}},
		{"dockerd's own store, with the network closed", map[string]string{"etc/docker/daemon.json": `{}`}, originSealgate,
			[]string{"closed|dockerd|/etc/docker/daemon.json|only egress or DNS closes this; but there Sealgate answers"}},
		{"dockerd with containerd's store, closed", map[string]string{"etc/docker/daemon.json": snapshotter, "etc/docker/certs.d/docker.io/hosts.toml": closedHosts}, originAnswers,
			[]string{"ok|dockerd|/etc/docker/certs.d/docker.io/hosts.toml|"}},
		{"dockerd with containerd's store, nothing said", map[string]string{"etc/docker/daemon.json": snapshotter}, originAnswers,
			[]string{"hole|dockerd|/etc/docker/certs.d|no hosts.toml"}},
		{"dockerd, whoever answers", map[string]string{"etc/docker/daemon.json": `{"insecure-registries": ["gate.example.com:8443"]}`}, originSilent,
			[]string{"hole|dockerd|/etc/docker/daemon.json|whoever answers there is believed", "closed|dockerd|"}},
		{"podman, closed", map[string]string{"etc/containers/registries.conf": "", "etc/containers/registries.conf.d/50.conf": closedConf}, originAnswers,
			[]string{"ok|podman|/etc/containers/registries.conf.d/50.conf|"}},
		{"podman, not blocked", map[string]string{"etc/containers/registries.conf": openConf}, originAnswers,
			[]string{"hole|podman|/etc/containers/registries.conf|docker.io is not blocked"}},
		{"podman, a user's own file", map[string]string{"etc/containers/registries.conf": closedConf, "home/ann/.config/containers/registries.conf": openConf}, originAnswers,
			[]string{"ok|podman|/etc/containers/registries.conf|", "hole|podman|/home/ann/.config/containers/registries.conf|docker.io is not blocked"}},
		{"podman, a user's file under what the host says", map[string]string{"etc/containers/registries.conf.d/50.conf": closedConf, "home/ann/.config/containers/registries.conf": openConf}, originAnswers,
			[]string{"ok|podman|/etc/containers/registries.conf.d/50.conf|", "ok|podman|/etc/containers/registries.conf.d/50.conf|"}},
		{"podman, a user's file over what the host says", map[string]string{"etc/containers/registries.conf.d/50.conf": closedConf, "root/.config/containers/registries.conf.d/99.conf": openConf}, originAnswers,
			[]string{"ok|podman|/etc/containers/registries.conf.d/50.conf|", "hole|podman|/root/.config/containers/registries.conf.d/99.conf|not blocked"}},
		{"podman, an old file", map[string]string{"etc/containers/registries.conf": "[registries.search]\nregistries = [\"docker.io\"]\n"}, originSilent,
			[]string{"unknown|podman|/etc/containers/registries.conf|version 1", "closed|podman|/etc/containers/registries.conf|nothing is said of docker.io"}},
		{"a file without end", map[string]string{"etc/docker/daemon.json": strings.Repeat(" ", 300<<10)}, originSilent,
			[]string{"unknown|dockerd|/etc/docker/daemon.json|more than", "closed|dockerd|"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			report := &diagnosis{}
			if len(tc.files) > 0 && !strings.HasSuffix(tc.name, "other names") { // are closed
				for _, dir := range []string{"etc/containerd/certs.d/", "etc/docker/certs.d/"} {
					for _, alias := range clientfiles.HubHosts {
						if tc.files[dir+"docker.io/hosts.toml"] != "" {
							tc.files[dir+alias+"/hosts.toml"] = aliasHosts
						}
					}
				}
			}
			host{root: tree(t, tc.files), registry: "docker.io", gate: "gate.example.com:8443", fallback: tc.fallback, report: report}.examine()
			wantFindings(t, report, tc.want...)
		})
	}
}

// wantFindings fails unless those are the findings, each given as level, client,
// file and part of what is said, as far as they matter.
func wantFindings(t *testing.T, report *diagnosis, want ...string) {
	t.Helper()
	if len(report.Findings) != len(want) {
		t.Fatalf("want %q, got %+v", want, report.Findings)
	}
	for i, f := range report.Findings {
		parts := append(strings.SplitN(want[i], "|", 4), "", "", "")
		if f.Level != parts[0] || f.Client != parts[1] || parts[2] != "" && f.File != parts[2] || !strings.Contains(f.Says, parts[3]) {
			t.Errorf("want %q, got %+v", want[i], f)
		}
		if strings.Contains(f.Says, "hunter2") {
			t.Errorf("it repeats what the file holds: %+v", f)
		}
	}
}
