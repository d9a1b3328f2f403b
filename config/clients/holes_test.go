package clients_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/sealgate/sealgate/config/clients"
)

const gate = "gate.example.com:8443"

// wantHoles fails unless the holes are those; each is a part of what is said, with
// "fallback: " before it where the network can close it.
func wantHoles(t *testing.T, got []clients.Hole, want ...string) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("want %q, got %+v", want, got)
	}
	for i, hole := range got {
		says, falls := strings.CutPrefix(want[i], "fallback: ")
		if !strings.Contains(hole.Says, says) || hole.Fallback != falls {
			t.Errorf("want %q, got %+v", want[i], hole)
		}
	}
}

const gateHost = "[host.\"https://gate.example.com:8443\"]\n  capabilities = [\"pull\", \"resolve\"]\n"

func TestHostsTOML(t *testing.T) {
	for _, test := range []struct {
		name, text string
		want       []string
	}{
		{"closed", "server = \"https://registry-1.docker.io\"\ncapabilities = [\"pull\"]\n" + gateHost, nil},
		{"closed, with keys that do not matter", "server = \"https://registry-1.docker.io\"\ncapabilities = [\"pull\"]\n" + gateHost + "  client = [[\"a\", \"b\"]]\n  override_path = false\n  [host.\"https://gate.example.com:8443\".header]\n  authorization = \"Basic c2VjcmV0\"\n", nil},
		{"closed, the server is Sealgate", "server = \"https://gate.example.com:8443\"\n" + gateHost, nil},
		{"closed, a mirror that is asked by digest only", "server = \"https://registry-1.docker.io\"\ncapabilities = [\"pull\"]\n[host.\"https://cache.example.com\"]\ncapabilities = [\"pull\"]\n" + gateHost, nil},
		{"the server may resolve by default", "server = \"https://registry-1.docker.io\"\n" + gateHost, []string{"fallback: registry-1.docker.io is asked for tags when Sealgate refuses"}},
		{"the server may resolve", "server = \"https://registry-1.docker.io\"\ncapabilities = [\"pull\", \"resolve\"]\n" + gateHost, []string{"fallback: registry-1.docker.io"}},
		{"no server", gateHost, []string{"fallback: registry-1.docker.io is asked"}},
		{"no host table", "server = \"https://gate.example.com:8443\"\n", []string{"fallback: containerd ≤ 1.7"}},
		{"an empty file", "", []string{"fallback: containerd ≤ 1.7", "fallback: registry-1.docker.io is asked for tags"}},
		{"another mirror first", "capabilities = [\"pull\"]\n[host.\"https://mirror.example.com\"]\n" + gateHost, []string{"mirror.example.com is asked for tags before Sealgate"}},
		{"another mirror after", "capabilities = [\"pull\"]\n" + gateHost + "[host.\"https://mirror.example.com\"]\n", []string{"mirror.example.com is asked for tags, and is not Sealgate"}},
		{"another server", "server = \"https://quay.io\"\n" + gateHost, []string{"quay.io is asked for tags, and is not"}},
		{"nobody verifies", "capabilities = [\"pull\"]\n" + gateHost + "  skip_verify = true\n", []string{"skip_verify = true"}},
		{"no TLS", "capabilities = [\"pull\"]\n[host.\"http://gate.example.com:8443\"]\n", []string{"without TLS"}},
		{"nobody is asked for tags", "capabilities = [\"pull\"]\n[host.\"https://gate.example.com:8443\"]\ncapabilities = [\"pull\"]\n", nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			hosts, err := clients.ReadHosts([]byte(test.text))
			if err != nil {
				t.Fatal(err)
			}
			if len(hosts.Unknown) > 0 {
				t.Errorf("unknown: %q", hosts.Unknown)
			}
			wantHoles(t, hosts.Holes("docker.io", gate), test.want...)
		})
	}
}

func TestHostsAreAskedInTheOrderOfTheFile(t *testing.T) {
	var text string
	want := []string{"https://c", "https://a", "https://d", "https://b"}
	for _, url := range want {
		text += "[host.\"" + url + "\"]\n"
	}
	hosts, err := clients.ReadHosts([]byte(text))
	var got []string
	for _, host := range hosts.Others {
		got = append(got, host.URL)
	}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%v, %q", err, got)
	}
}

func TestKeysThatAClientPassesOverAreNamed(t *testing.T) {
	hosts, err := clients.ReadHosts([]byte("sever = \"x\"\n" + gateHost + "  capabilites = []\n"))
	if want := []string{"sever", `host."https://gate.example.com:8443".capabilites`}; err != nil || !slices.Equal(hosts.Unknown, want) {
		t.Errorf("want %q, got %q, %v", want, hosts.Unknown, err)
	}
	r, err := clients.ReadRegistries([]byte("[[registry]]\nprefix = \"docker.io\"\nblcked = true\n"))
	if want := []string{"registry.blcked"}; err != nil || !slices.Equal(r.Unknown, want) {
		t.Errorf("want %q, got %q, %v", want, r.Unknown, err)
	}
}

func TestFilesThatCannotBeReadAreErrors(t *testing.T) {
	for _, text := range []string{"server = ", "capabilities = \"pull\"", "[host]\nx = 1", "skip_verify = \"yes\""} {
		if _, err := clients.ReadHosts([]byte(text)); err == nil {
			t.Errorf("hosts.toml: %q was read", text)
		}
	}
	for _, text := range []string{"[[registry]", "[[registry]]\nblocked = 1", "unqualified-search-registries = 1"} {
		if _, err := clients.ReadRegistries([]byte(text)); err == nil {
			t.Errorf("registries.conf: %q was read", text)
		}
	}
	for _, text := range []string{"{", `{"registry-mirrors": "x"}`} {
		if _, err := clients.ReadDaemon([]byte(text)); err == nil {
			t.Errorf("daemon.json: %q was read", text)
		}
	}
	if _, err := clients.ReadContainerd([]byte("[plugins.cri.registry]\nconfig_path = 1")); err == nil {
		t.Error("config.toml was read")
	}
	if _, err := clients.ReadRegistries([]byte("[registries.search]\nregistries = ['docker.io']")); !errors.Is(err, clients.ErrVersion1) {
		t.Errorf("got %v", err)
	}
}

// others blocks the other names of Docker Hub.
const others = "[[registry]]\nlocation = \"registry-1.docker.io\"\nblocked = true\n[[registry]]\nlocation = \"registry.hub.docker.com\"\nblocked = true\n"

func TestDockerHubsOtherNamesAreHoles(t *testing.T) {
	r, err := clients.ReadRegistries([]byte("[[registry]]\nlocation = \"docker.io\"\nblocked = true\n[[registry]]\nlocation = \"registry-1.docker.io\"\n"))
	if err != nil {
		t.Fatal(err)
	}
	wantHoles(t, r.Holes("docker.io", gate), "fallback: registry-1.docker.io is not blocked", "fallback: nothing is said of registry.hub.docker.com, by which docker.io can be asked, too")
	wantHoles(t, r.Holes("docker.io", "registry-1.docker.io"), "fallback: nothing is said of registry.hub.docker.com")
}

func TestRegistriesConf(t *testing.T) {
	const mirror = "[[registry.mirror]]\nlocation = \"gate.example.com:8443\"\n"
	for _, test := range []struct {
		name, text string
		want       []string
	}{
		{"closed", "[[registry]]\nprefix = \"docker.io\"\nlocation = \"docker.io\"\nblocked = true\n" + mirror, nil},
		{"closed, without a prefix", "[[registry]]\nlocation = \"docker.io\"\nblocked = true\n" + mirror, nil},
		{"closed, replaced by Sealgate", "[[registry]]\nprefix = \"docker.io\"\nlocation = \"gate.example.com:8443\"\n", nil},
		{"closed, blocked altogether", "[[registry]]\nprefix = \"docker.io\"\nblocked = true\n", nil},
		{"closed, another mirror by digest", "[[registry]]\nlocation = \"docker.io\"\nblocked = true\n" + mirror + "[[registry.mirror]]\nlocation = \"cache.example.com\"\npull-from-mirror = \"digest-only\"\n", nil},
		{"nothing said", "", []string{"fallback: nothing is said of docker.io"}},
		{"another registry", "[[registry]]\nlocation = \"quay.io\"\n", []string{"fallback: nothing is said of docker.io"}},
		{"not blocked", "[[registry]]\nlocation = \"docker.io\"\n" + mirror, []string{"fallback: docker.io is not blocked"}},
		{"a part that is not blocked", "[[registry]]\nlocation = \"docker.io\"\nblocked = true\n" + mirror + "[[registry]]\nprefix = \"docker.io/team\"\nlocation = \"docker.io/team\"\n", []string{"fallback: docker.io/team is not blocked"}},
		{"another mirror first", "[[registry]]\nlocation = \"docker.io\"\nblocked = true\n[[registry.mirror]]\nlocation = \"mirror.example.com/hub\"\n" + mirror, []string{"mirror 1 is mirror.example.com, which is not Sealgate"}},
		{"replaced by another", "[[registry]]\nprefix = \"docker.io\"\nlocation = \"quay.io\"\n", []string{"quay.io is asked, and is not Sealgate"}},
		{"an insecure mirror", "[[registry]]\nlocation = \"docker.io\"\nblocked = true\n" + mirror + "insecure = true\n", []string{"insecure = true"}},
		{"another search registry", "unqualified-search-registries = [\"quay.io\", \"docker.io\"]\n[[registry]]\nlocation = \"docker.io\"\nblocked = true\n" + mirror, []string{"unqualified-search-registries has quay.io"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			r, err := clients.ReadRegistries([]byte(test.text + others))
			if err != nil {
				t.Fatal(err)
			}
			wantHoles(t, r.Holes("docker.io", gate), test.want...)
		})
	}
}

func TestALaterFileReplacesWhatAnEarlierOneSaysOfAPrefix(t *testing.T) {
	read := func(text string) clients.Registries {
		r, err := clients.ReadRegistries([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	first := read("unqualified-search-registries = [\"docker.io\"]\n[[registry]]\nlocation = \"docker.io\"\nblocked = true\n" + others)
	wantHoles(t, read("").Over(first).Holes("docker.io", gate))
	wantHoles(t, read("[[registry]]\nlocation = \"docker.io\"\n").Over(first).Holes("docker.io", gate), "fallback: docker.io is not blocked")
}

func TestDaemonJSON(t *testing.T) {
	for _, test := range []struct {
		name, registry, text string
		want                 []string
	}{
		{"empty", "docker.io", "", nil},
		{"a mirror with a slash", "docker.io", `{"registry-mirrors": ["https://gate.example.com:8443/"], "log-level": "info"}`, nil},
		{"another mirror", "docker.io", `{"registry-mirrors": ["https://gate.example.com:8443", "https://mirror.example.com"]}`, []string{"mirror.example.com, which is not Sealgate"}},
		{"a mirror of another registry", "registry.example.com", `{"registry-mirrors": ["https://mirror.example.com"]}`, nil},
		{"an insecure gate", "docker.io", `{"insecure-registries": ["gate.example.com:8443"]}`, []string{"insecure-registries has gate.example.com:8443"}},
		{"an insecure registry", "registry.example.com", `{"insecure-registries": ["registry.example.com"]}`, []string{"insecure-registries has registry.example.com"}},
		{"an insecure network", "registry.example.com", `{"insecure-registries": ["10.0.0.0/8", "127.0.0.0/8"]}`, []string{"insecure-registries has 10.0.0.0/8"}},
		{"another insecure registry", "registry.example.com", `{"insecure-registries": ["lab.example.com"]}`, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			daemon, err := clients.ReadDaemon([]byte(test.text))
			if err != nil {
				t.Fatal(err)
			}
			wantHoles(t, daemon.Holes(test.registry, gate), test.want...)
		})
	}
	wantHoles(t, clients.StoreHoles("docker.io"), "fallback: registry-1.docker.io")
	wantHoles(t, clients.StoreHoles("registry.example.com"))
}

func TestContainerdConfig(t *testing.T) {
	c, err := clients.ReadContainerd([]byte(`version = 2
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "registry.k8s.io/pause:3.6"
  [plugins."io.containerd.grpc.v1.cri".registry]
    [plugins."io.containerd.grpc.v1.cri".registry.mirrors."docker.io"]
      endpoint = ["https://gate.example.com:8443"]
    [plugins."io.containerd.grpc.v1.cri".registry.configs."gate.example.com:8443".tls]
      insecure_skip_verify = true
    [plugins."io.containerd.grpc.v1.cri".registry.configs."gate.example.com:8443".auth]
      password = "secret"
[plugins."io.containerd.cri.v1.images".registry]
  config_path = "/etc/containerd/certs.d:/etc/docker/certs.d"
`))
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"/etc/containerd/certs.d", "/etc/docker/certs.d"}; !slices.Equal(c.Paths, want) {
		t.Errorf("paths: %q", c.Paths)
	}
	wantHoles(t, c.Holes("docker.io", gate), "fallback: mirrors in this file always fall back", "insecure_skip_verify")
	wantHoles(t, c.Holes("registry.example.com", "other.example.com"))
}

func TestErrorsSayNothingOfWhatTheFilesHold(t *testing.T) {
	for _, text := range []string{"password = hunter2", "server = \"hunter2", "capabilities = \"hunter2\"", "[host.\"x\"]\ncapabilities = [\"a\", hunter2]"} {
		_, err := clients.ReadHosts([]byte(text))
		if err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: %v", text, err)
		}
	}
}
