package clients_test

import (
	"encoding/json"
	"io"
	"net/netip"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/sealgate/sealgate/config/clients"
	"go.yaml.in/yaml/v3"
)

const ca = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"

// The endpoints that the tests emit for.
var (
	hub     = clients.Endpoint{Registry: "docker.io", Address: "gate.example.com:8443", CA: []byte(ca), Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.7")}}
	hubDNS  = clients.Endpoint{Registry: "docker.io", Address: "registry-1.docker.io", CA: []byte(ca), Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.7")}}
	own     = clients.Endpoint{Registry: "registry.example.com", Address: "registry.example.com:443", CA: []byte(ca)}
	other   = clients.Endpoint{Registry: "registry.example.com:5000", Address: "gate.example.com", Addresses: []netip.Addr{netip.MustParseAddr("2001:db8::7")}}
	plain   = clients.Endpoint{Registry: "docker.io", Address: "127.0.0.1:5000", Plain: true, CA: []byte(ca)}
	formats = map[string]func([]clients.Endpoint) []clients.File{
		"docker": clients.Docker, "containerd": clients.Containerd, "podman": clients.Podman, "kubernetes": clients.Kubernetes, "dns": clients.DNS,
	}
)

// paths are the files that there are, in their order.
func paths(files []clients.File) []string {
	var all []string
	for _, f := range files {
		if f.Path != "" {
			all = append(all, f.Path)
		}
	}
	return all
}

func find(t *testing.T, files []clients.File, path string) clients.File {
	t.Helper()
	for _, f := range files {
		if f.Path == path {
			return f
		}
	}
	t.Fatalf("no %s in %q", path, paths(files))
	return clients.File{}
}

func TestFilesLieWhereTheClientsLook(t *testing.T) {
	for _, test := range []struct {
		name, format string
		endpoint     clients.Endpoint
		want         []string
	}{
		{"docker, Docker Hub by a mirror", "docker", hub, []string{
			"/etc/docker/daemon.json", "/etc/docker/certs.d/gate.example.com:8443/ca.crt",
			"/etc/docker/certs.d/docker.io/hosts.toml", "/etc/docker/certs.d/docker.io/ca.crt",
			"/etc/docker/certs.d/registry-1.docker.io/hosts.toml", "/etc/docker/certs.d/index.docker.io/hosts.toml", "/etc/docker/certs.d/registry.hub.docker.com/hosts.toml", "~/.docker/tls/gate.example.com:8443/ca.crt"}},
		{"docker, Docker Hub by DNS", "docker", hubDNS, []string{"/usr/local/share/ca-certificates/sealgate.crt", "~/.docker/tls/docker.io/ca.crt"}},
		{"docker, at the registry's own name", "docker", own, []string{"/etc/docker/certs.d/registry.example.com/ca.crt", "~/.docker/tls/registry.example.com/ca.crt"}},
		{"docker, no CA", "docker", other, []string{"/etc/docker/certs.d/registry.example.com:5000/hosts.toml"}},
		{"docker, without TLS", "docker", plain, []string{"/etc/docker/daemon.json", "/etc/docker/certs.d/docker.io/hosts.toml",
			"/etc/docker/certs.d/registry-1.docker.io/hosts.toml", "/etc/docker/certs.d/index.docker.io/hosts.toml", "/etc/docker/certs.d/registry.hub.docker.com/hosts.toml"}},
		{"containerd, Docker Hub", "containerd", hub, []string{
			"/etc/containerd/certs.d/docker.io/hosts.toml", "/etc/containerd/certs.d/docker.io/ca.crt",
			"/etc/containerd/certs.d/registry-1.docker.io/hosts.toml", "/etc/containerd/certs.d/index.docker.io/hosts.toml", "/etc/containerd/certs.d/registry.hub.docker.com/hosts.toml", "/etc/containerd/config.toml"}},
		{"containerd, at the registry's own name", "containerd", own, []string{
			"/etc/containerd/certs.d/registry.example.com/hosts.toml", "/etc/containerd/certs.d/registry.example.com/ca.crt"}},
		{"podman, Docker Hub", "podman", hub, []string{"/etc/containers/registries.conf.d/50-sealgate.conf", "/etc/containers/certs.d/gate.example.com:8443/ca.crt"}},
		{"podman, at the registry's own name", "podman", own, []string{"/etc/containers/certs.d/registry.example.com/ca.crt"}},
		{"podman, Docker Hub by DNS", "podman", hubDNS, []string{"/etc/containers/certs.d/registry-1.docker.io/ca.crt"}},
		{"kubernetes", "kubernetes", hub, []string{clients.KubernetesFile}},
		{"dns", "dns", hubDNS, []string{"/etc/hosts", "/etc/unbound/unbound.conf.d/sealgate.conf", "/etc/nftables.d/sealgate.nft", "/usr/local/share/ca-certificates/sealgate.crt"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := paths(formats[test.format]([]clients.Endpoint{test.endpoint})); !slices.Equal(got, test.want) {
				t.Errorf("want %q\ngot  %q", test.want, got)
			}
		})
	}
}

// What is emitted has no hole but the one that no file can close, for each of
// the readers, and nothing in it is unknown to them.
func TestWhatIsEmittedIsReadWithoutAHole(t *testing.T) {
	for _, e := range []clients.Endpoint{hub, hubDNS, own, other, plain} {
		all := []clients.Endpoint{e}
		for _, f := range append(clients.Docker(all), clients.Containerd(all)...) {
			switch path.Base(f.Path) {
			case "hosts.toml":
				hosts, err := clients.ReadHosts([]byte(f.Contents()))
				if err != nil || len(hosts.Unknown) > 0 || len(hosts.Others) == 0 || len(hosts.Holes(path.Base(path.Dir(f.Path)), e.Address)) > 0 {
					t.Errorf("%s: %v, %+v, %v\n%s", f.Path, err, hosts, hosts.Holes(e.Registry, e.Address), f.Text)
				}
			case "daemon.json":
				daemon, err := clients.ReadDaemon([]byte(f.Contents()))
				if err != nil || !slices.Equal(daemon.Mirrors, []string{e.URL()}) || len(daemon.Holes(e.Registry, e.Address)) > 0 {
					t.Errorf("%s: %v, %+v", f.Path, err, daemon)
				}
			case "config.toml":
				c, err := clients.ReadContainerd([]byte(f.Contents()))
				if err != nil || !slices.Equal(c.Paths, []string{clients.ContainerdDir}) {
					t.Errorf("%s: %v, %+v", f.Path, err, c)
				}
			}
		}
		for _, f := range clients.Podman(all) {
			if path.Ext(f.Path) != ".conf" {
				continue
			}
			r, err := clients.ReadRegistries([]byte(f.Contents()))
			if err != nil || len(r.Unknown) > 0 || !r.Registries[0].Blocked || len(r.Holes(e.Registry, e.Address)) > 0 {
				t.Errorf("%s: %v, %+v, %v", f.Path, err, r, r.Holes(e.Registry, e.Address))
			}
		}
	}
}

func TestSeveralRegistriesShareOneFileForPodman(t *testing.T) {
	f := find(t, clients.Podman([]clients.Endpoint{hub, own, other}), clients.PodmanFile)
	r, err := clients.ReadRegistries([]byte(f.Contents()))
	if err != nil || len(r.Registries) != 2+len(clients.HubHosts) {
		t.Errorf("%v, %+v", err, r)
	}
}

func TestAllThatIsPrintedIsCommentedAndKubernetesIsYAML(t *testing.T) {
	all := []clients.Endpoint{hub, own, other}
	var text strings.Builder
	if err := clients.Print(&text, clients.Kubernetes(all)); err != nil {
		t.Fatal(err)
	}
	decoder := yaml.NewDecoder(strings.NewReader(text.String()))
	var kinds []string
	var data map[string]string
	for {
		var document struct {
			Kind string
			Data map[string]string
			Spec struct {
				Template struct {
					Spec struct {
						Containers []struct{ Command []string }
					}
				}
			}
		}
		err := decoder.Decode(&document)
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatalf("%v\n%s", err, &text)
		}
		kinds = append(kinds, document.Kind)
		if document.Data != nil {
			data = document.Data
		}
		if document.Kind == "DaemonSet" {
			script := document.Spec.Template.Spec.Containers[0].Command[2]
			for _, want := range []string{"mkdir -p /certs.d/docker.io\ncp /config/docker.io.crt", "mv /certs.d/registry.example.com_5000_/.hosts.toml"} {
				if !strings.Contains(script, want) {
					t.Errorf("no %q in\n%s", want, script)
				}
			}
		}
	}
	if want := []string{"Namespace", "ConfigMap", "DaemonSet", "NetworkPolicy"}; !slices.Equal(kinds, want) {
		t.Errorf("want %q, got %q", want, kinds)
	}
	if data["docker.io.crt"] != ca {
		t.Errorf("the CA is %q", data["docker.io.crt"])
	}
	for key, registry := range map[string]clients.Endpoint{"docker.io.toml": hub, "registry.example.com_5000.toml": other} {
		hosts, err := clients.ReadHosts([]byte(data[key]))
		if holes := hosts.Holes(registry.Registry, registry.Address); err != nil || len(holes) > 0 {
			t.Errorf("%s: %v, %v", key, err, holes)
		}
	}
}

func TestEveryPieceSaysWhatItClosesAndWhatItDoesNot(t *testing.T) {
	for name, emit := range formats {
		for _, e := range []clients.Endpoint{hub, hubDNS, own, other} {
			for _, f := range emit([]clients.Endpoint{e}) {
				says := strings.Join(f.Says, " ")
				if !strings.Contains(says, "close") && !strings.Contains(says, "nothing") && f.Path != "" {
					t.Errorf("%s: %s says %q", name, f.Path, says)
				}
			}
		}
	}
}

func TestFilesThatHaveNoCommentsHaveNone(t *testing.T) {
	f := find(t, clients.Docker([]clients.Endpoint{hub}), clients.DaemonFile)
	if !json.Valid([]byte(f.Contents())) {
		t.Errorf("no JSON:\n%s", f.Contents())
	}
	if f := find(t, clients.Podman([]clients.Endpoint{hub}), clients.PodmanFile); !strings.HasPrefix(f.Contents(), "# ") {
		t.Errorf("no comment:\n%s", f.Contents())
	}
}

func TestDNSLeadsTheRegistrysNamesToSealgate(t *testing.T) {
	files := clients.DNS([]clients.Endpoint{hub, other})
	hosts := find(t, files, "/etc/hosts")
	for _, line := range []string{"192.0.2.7 registry-1.docker.io", "192.0.2.7 index.docker.io", "2001:db8::7 registry.example.com"} {
		if !strings.Contains(hosts.Text, line+"\n") {
			t.Errorf("no %q in\n%s", line, hosts.Text)
		}
	}
	if strings.Contains(hosts.Text, "auth.docker.io") {
		t.Error("tokens are not Sealgate's to give")
	}
	rules := find(t, files, "/etc/nftables.d/sealgate.nft").Text
	for _, want := range []string{"elements = { 192.0.2.7 }", "elements = { 2001:db8::7 }", "tcp dport { 80, 443, 8443, 5000 } reject"} {
		if !strings.Contains(rules, want) {
			t.Errorf("no %q in\n%s", want, rules)
		}
	}
}
