package main

import (
	"encoding/json"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"

	clientfiles "github.com/sealgate/sealgate/config/clients"
)

// hubConfig is a proxy.yaml for Docker Hub with this list of hosts.
func hubConfig(hosts string) string {
	return `
listen: 127.0.0.1:8443
tls: {self-signed: {}}
state-dir: state
registries:
  - name: docker.io
    hosts: [` + hosts + `]
    upstream: https://origin.example.com
    notary: {url: "https://notary.example.com"}
content-trust: {mode: enforced, trust-on-first-use: true}
`
}

func TestDoctorEmitsTheAddressAtWhichClientsReachSealgate(t *testing.T) {
	for _, tc := range []struct {
		name, config string
		args         []string
		says, not    string
	}{
		{"the registry's own name needs a CA at most", goodConfig, []string{"--emit", "docker"}, "registry.example.com: Sealgate stands at the registry's own name", "daemon.json"},
		{"the registry's own name, at another port than that of listen", hubConfig("registry-1.docker.io"), []string{"--emit", "containerd"}, "clients come to port 443 of registry-1.docker.io, and proxy.yaml has Sealgate listen on 8443", ""},
		{"the registry's own name, at the port of listen", strings.Replace(hubConfig("registry-1.docker.io"), ":8443", ":443", 1), []string{"--emit", "containerd"}, "docker.io: Sealgate stands", "clients come to port"},
		{"a host of its own, at the port of listen", hubConfig("gate.example.com"), []string{"--emit", "docker"}, `"https://gate.example.com:8443"`, ""},
		{"a host with its port", hubConfig(`"gate.example.com:5000"`), []string{"--emit", "podman"}, `location = "gate.example.com:5000"`, ""},
		{"an address of the network before a loopback one", hubConfig("localhost, 127.0.0.1, gate.example.com"), []string{"--emit", "containerd"}, `[host."https://gate.example.com:8443"]`, "127.0.0.1"},
		{"a loopback address where there is no other", hubConfig("docker.io, localhost"), []string{"--emit", "containerd"}, `[host."https://localhost:8443"]`, ""},
		{"a name of the certificate where any Host will do", hubConfig(`"*"`), []string{"--emit", "containerd"}, `[host."https://localhost:8443"]`, ""},
		{"the port 443 is not said", strings.Replace(hubConfig("gate.example.com"), ":8443", ":443", 1), []string{"--emit", "docker"}, `"https://gate.example.com"`, ""},
		{"an address that is given", hubConfig("gate.example.com"), []string{"--emit", "docker", "--address", "gate.example.com:9443"}, `"https://gate.example.com:9443"`, "8443"},
		{"Docker Hub's own name", hubConfig("registry-1.docker.io"), []string{"--emit", "docker"}, "docker.io: Sealgate stands at the registry's own name", "registry-mirrors"},
		{"without TLS", goodConfig + "", []string{"--emit", "podman"}, "registry.example.com: Sealgate stands at", ""},
		{"dns leads Docker Hub's name to it", hubConfig("gate.example.com, registry-1.docker.io"), []string{"--emit", "dns", "--ip", "192.0.2.7"}, "192.0.2.7 registry-1.docker.io", "proxy.yaml has to have"},
		{"dns says what proxy.yaml lacks", hubConfig("gate.example.com"), []string{"--emit", "dns", "--ip", "192.0.2.7"}, "proxy.yaml has to have registry-1.docker.io", ""},
		{"the CA is not there yet", hubConfig("gate.example.com"), []string{"--emit", "docker"}, "is made when sealgate serve first starts", "BEGIN CERTIFICATE"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			args := append([]string{"doctor", "--config", file(t, "proxy.yaml", tc.config)}, tc.args...)
			code, stdout, stderr := call(t, args...)
			if code != 0 || !strings.Contains(stdout, tc.says) || tc.not != "" && strings.Contains(stdout, tc.not) {
				t.Errorf("exit %d, want %q and not %q\n%s%s", code, tc.says, tc.not, stdout, stderr)
			}
		})
	}
}

func TestDoctorDoesNotEmitAnAddressThatWouldNotWork(t *testing.T) {
	for _, tc := range []struct {
		name, config string
		args         []string
		says         string
	}{
		{"none is known", hubConfig("docker.io"), []string{"--emit", "docker"}, "give --address host:port"},
		{"the port is the system's to choose", strings.Replace(hubConfig("gate.example.com"), ":8443", ":0", 1), []string{"--emit", "docker"}, "give --address"},
		{"Sealgate does not answer to it", hubConfig("gate.example.com"), []string{"--emit", "docker", "--address", "other.example.com:8443"}, "Sealgate has no answer for that Host"},
		{"its IP address is not that of Docker Hub", hubConfig("registry-1.docker.io"), []string{"--emit", "dns"}, "give --ip"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			args := append([]string{"doctor", "--config", file(t, "proxy.yaml", tc.config)}, tc.args...)
			if code, stdout, stderr := call(t, args...); code != exitUsage || !strings.Contains(stderr, tc.says) {
				t.Errorf("exit %d, want %q\n%s%s", code, tc.says, stdout, stderr)
			}
		})
	}
}

func TestDoctorWritesFilesAsOnTheHostWithTheCAAndNoKey(t *testing.T) {
	path := file(t, "proxy.yaml", hubConfig("gate.example.com"))
	ca, certPath, err := loadCA(filepath.Join(filepath.Dir(path), "state"))
	if err != nil {
		t.Fatal(err)
	}
	both := append(read(t, certPath), read(t, filepath.Join(filepath.Dir(certPath), caKeyFile))...)
	if err := os.WriteFile(certPath, both, 0o600); err != nil { // somebody's mistake
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), "out")
	code, stdout, stderr := call(t, "doctor", "--config", path, "--emit", "docker", "--out", out)
	if code != 0 || !strings.Contains(stdout, "It closes nothing") {
		t.Fatalf("exit %d\n%s%s", code, stdout, stderr)
	}
	want := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.Certificate[0]})
	for _, name := range []string{"etc/docker/certs.d/docker.io/ca.crt", "etc/docker/certs.d/gate.example.com:8443/ca.crt", "home/.docker/tls/gate.example.com:8443/ca.crt"} {
		if got := read(t, filepath.Join(out, name)); string(got) != string(want) {
			t.Errorf("%s holds\n%s", name, got)
		}
	}
	if !json.Valid(read(t, filepath.Join(out, "etc/docker/daemon.json"))) {
		t.Error("daemon.json is no JSON")
	}
	hosts, err := clientfiles.ReadHosts(read(t, filepath.Join(out, "etc/docker/certs.d/docker.io/hosts.toml")))
	if holes := hosts.Holes("docker.io", "gate.example.com:8443"); err != nil || len(holes) > 0 {
		t.Errorf("%v, %v", err, holes)
	}
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
