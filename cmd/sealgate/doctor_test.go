package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
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

func TestDoctorEmitsTheAddressAtWhichClientsReachSealgate(t *testing.T) {
	for _, tc := range []struct {
		name, config string
		args         []string
		says, not    string
	}{
		{"the registry's own name needs a CA at most", goodConfig, []string{"--emit", "docker"}, "registry.example.com: Sealgate stands at the registry's own name", "daemon.json"},
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

// tree writes files below a new directory and opens it.
func tree(t *testing.T, files map[string]string) *os.Root {
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
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	return root
}

const (
	closedHosts = "server = \"https://registry-1.docker.io\"\ncapabilities = [\"pull\"]\n[host.\"https://gate.example.com:8443\"]\ncapabilities = [\"pull\", \"resolve\"]\n"
	openHosts   = "server = \"https://registry-1.docker.io\"\n[host.\"https://gate.example.com:8443\"]\ncapabilities = [\"pull\", \"resolve\"]\n"
	closedConf  = "[[registry]]\nlocation = \"docker.io\"\nblocked = true\n[[registry.mirror]]\nlocation = \"gate.example.com:8443\"\n"
	openConf    = "[[registry]]\nlocation = \"docker.io\"\n[[registry.mirror]]\nlocation = \"gate.example.com:8443\"\n"
	configPath  = "[plugins.\"io.containerd.grpc.v1.cri\".registry]\nconfig_path = \"/etc/containerd/certs.d\"\n"
	snapshotter = `{"features": {"containerd-snapshotter": true}}`
)

func TestDoctorNamesEachHoleOfAHostWithItsFile(t *testing.T) {
	for _, tc := range []struct {
		name     string
		files    map[string]string
		fallback origin
		want     []string // level, client, file and a part of what is said
	}{
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

// shop is a registry with one repository, which refuses everything but these tags
// (tag → digest) in Sealgate's words or, under another name, its own.
func shop(t *testing.T, refusal string, tags map[string]string) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		tag := r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]
		switch digest := tags[tag]; {
		case strings.HasSuffix(r.URL.Path, "/tags/list"):
			var list []string
			for tag := range tags {
				list = append(list, tag)
			}
			_ = json.NewEncoder(w).Encode(map[string]any{"tags": list})
		case digest != "":
			w.Header().Set("Docker-Content-Digest", digest)
		default:
			w.WriteHeader(http.StatusNotFound)
			_, _ = io.WriteString(w, refusal)
		}
	}))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

// doctorOf runs the command against a shop that is Sealgate and another that has
// the registry's name.
func doctorOf(t *testing.T, gate, origin *httptest.Server, more ...string) (int, diagnosis, string) {
	t.Helper()
	ca := file(t, "ca.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: gate.Certificate().Raw})))
	root := t.TempDir()
	args := append([]string{"doctor", "--proxy", gate.URL, "--registry", strings.TrimPrefix(origin.URL, "https://"), "--canary", "team/app:unsigned", "--ca-file", ca, "--root", root, "--json"}, more...)
	code, stdout, stderr := call(t, args...)
	var report diagnosis
	if err := json.Unmarshal([]byte(stdout), &report); err != nil {
		t.Fatalf("exit %d, %v\n%s%s", code, err, stdout, stderr)
	}
	return code, report, stderr
}

func TestDoctorProvesAHoleWithTheCanary(t *testing.T) {
	gate := shop(t, "no trust data", nil)
	t.Run("the registry's name leads to Sealgate", func(t *testing.T) {
		code, report, _ := doctorOf(t, gate, gate)
		wantFindings(t, &report, "ok|network||refuses the canary", "ok|network||leads to Sealgate")
		if code != 0 {
			t.Errorf("exit %d", code)
		}
	})
	t.Run("the registry serves it", func(t *testing.T) {
		code, report, _ := doctorOf(t, gate, shop(t, "", map[string]string{"unsigned": "sha256:aa"}))
		wantFindings(t, &report, "ok|network||refuses the canary", "hole|network||serves the canary")
		if code != exitFailed {
			t.Errorf("exit %d", code)
		}
	})
	t.Run("the registry answers", func(t *testing.T) {
		code, report, _ := doctorOf(t, gate, shop(t, "manifest unknown", nil))
		wantFindings(t, &report, "ok|network||refuses the canary", "hole|network||answers this host", "note|network||the canary is not there")
		if code != exitFailed {
			t.Errorf("exit %d", code)
		}
	})
	t.Run("what is behind Sealgate serves it", func(t *testing.T) {
		behind := shop(t, "", map[string]string{"unsigned": "sha256:aa"})
		code, report, _ := doctorOf(t, gate, gate, "--origin", behind.URL)
		wantFindings(t, &report, "ok|network|", "ok|network||leads to Sealgate", "hole|network||serves the canary")
		if code != exitFailed {
			t.Errorf("exit %d", code)
		}
	})
	t.Run("Sealgate serves it", func(t *testing.T) {
		open := shop(t, "", map[string]string{"unsigned": "sha256:aa"})
		code, report, _ := doctorOf(t, open, open)
		wantFindings(t, &report, "hole|network||Sealgate itself serves the canary")
		if code != exitFailed {
			t.Errorf("exit %d", code)
		}
	})
	t.Run("Sealgate is not to be reached", func(t *testing.T) {
		gone := shop(t, "", nil)
		gone.Close()
		code, report, _ := doctorOf(t, gone, gone)
		wantFindings(t, &report, "unknown|network||whether Sealgate", "ok|network||cannot be reached")
		if code != exitUnknown {
			t.Errorf("exit %d", code)
		}
	})
}

func TestDoctorFetchesATokenThatAnybodyCanHave(t *testing.T) {
	var realm string
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/token" && r.URL.Query().Get("scope") == "repository:team/app:pull" && r.URL.Query().Get("service") == "s":
			_, _ = io.WriteString(w, `{"access_token": "t"}`)
		case r.Header.Get("Authorization") == "Bearer t":
			w.Header().Set("Docker-Content-Digest", "sha256:aa")
		default:
			w.Header().Set("WWW-Authenticate", `Bearer realm="`+realm+`",service="s",scope="repository:team/app:pull"`)
			w.WriteHeader(http.StatusUnauthorized)
		}
	}))
	defer s.Close()
	base, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	realm = s.URL + "/token"
	ask := prober{s.Client().Transport}
	if o := ask.tag(context.Background(), base, "team/app", "1"); o.digest != "sha256:aa" {
		t.Errorf("got %s", o)
	}
	for _, hostile := range []string{"http://127.0.0.1:1/token", "https://a:b@127.0.0.1:1/", "", "file:///etc/passwd"} {
		realm = hostile
		if o := ask.tag(context.Background(), base, "team/app", "1"); !o.undecided() || o.status != http.StatusUnauthorized {
			t.Errorf("%q: got %s", hostile, o)
		}
	}
}

func TestARefusalThatLeansOnAccidentsOfClientsIsARefusal(t *testing.T) {
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodHead {
			w.Header().Set("Content-Type", "application/vnd.oci.image.index.v1+json")
			return
		}
		w.Header()["Location"] = []string{"https://TAG IS NOT SIGNED (x; no such process)/"}
		w.WriteHeader(http.StatusFound)
	}))
	defer s.Close()
	base, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	if o := (prober{s.Client().Transport}).tag(context.Background(), base, "team/app", "1"); o.served() || o.undecided() || o.status != http.StatusFound {
		t.Errorf("got %s", o)
	}
}

// says answers a command by what stands for it in the map, with "!" before what is
// an error.
func says(answers map[string]string) command {
	return func(_ context.Context, argv ...string) (string, error) {
		out, ok := answers[strings.Join(argv, " ")]
		if failure, is := strings.CutPrefix(out, "!"); is {
			return "", errors.New(failure)
		}
		if !ok {
			return "", &exec.Error{Name: argv[0], Err: exec.ErrNotFound}
		}
		return out, nil
	}
}

func TestDoctorListsLocalImagesThatAreNotSigned(t *testing.T) {
	gate := shop(t, "no trust data", map[string]string{"1": "sha256:aa", "2": "sha256:bb"})
	base, err := url.Parse(gate.URL)
	if err != nil {
		t.Fatal(err)
	}
	const docker = "docker image ls --digests --no-trunc --format {{.Repository}}\t{{.Tag}}\t{{.Digest}}"
	for _, tc := range []struct {
		name    string
		answers map[string]string
		want    []string
	}{
		{"no client is installed", nil, nil},
		{"docker, all signed", map[string]string{docker: "app\t1\tsha256:aa\nquay.io/x\t1\tsha256:cc\n<none>\t<none>\t<none>\nbuilt\t1\t<none>\n"},
			[]string{"ok|docker"}},
		{"docker, drifted, unsigned and without a tag", map[string]string{docker: "team/app\t1\tsha256:cc\nteam/app\t3\tsha256:dd\nteam/app\t<none>\tsha256:ee\nteam/app\t<none>\tsha256:bb\n"},
			[]string{"hole|docker||docker.io/team/app:1 here is sha256:cc: not signed (any more), signed is sha256:aa", "hole|docker||docker.io/team/app:3 is here", "hole|docker||docker.io/team/app@sha256:ee is here without a tag"}},
		{"podman, one of several digests", map[string]string{"podman images --format json": `[{"Names": ["docker.io/team/app:1"], "RepoDigests": ["docker.io/team/app@sha256:aa", "docker.io/team/app@sha256:ff"]}, {"Names": null, "RepoDigests": ["docker.io/team/app@sha256:ee"]}]`},
			[]string{"hole|podman||docker.io/team/app@sha256:ee"}},
		{"containerd, in each namespace", map[string]string{"ctr namespaces ls --quiet": "default\nk8s.io\n", "ctr --namespace default images ls": "REF TYPE DIGEST\ndocker.io/team/app:1 application/x sha256:aa 1 MiB\n", "ctr --namespace k8s.io images ls": "docker.io/team/app:2 application/x sha256:aa 1 MiB\nsha256:aa application/x sha256:aa\n"},
			[]string{"hole|containerd||docker.io/team/app:2 here is sha256:aa"}},
		{"a client that does not answer", map[string]string{docker: "!no daemon"}, []string{"note|docker||no daemon"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			report := &diagnosis{}
			imageCheck{prober{gate.Client().Transport}, base, "docker.io", report, map[string][]string{}}.all(t.Context(), says(tc.answers))
			wantFindings(t, report, tc.want...)
		})
	}
}

func TestDoctorRemovesTheCanaryThatAClientPulled(t *testing.T) {
	const image = "docker.io/team/app:unsigned"
	for _, tc := range []struct {
		name, client string
		answers      map[string]string
		want         []string
		removed      bool
	}{
		{"it is refused", "docker", map[string]string{"docker image inspect " + image: "!none", "docker pull --quiet " + image: "!not found"}, []string{"ok|docker||not found"}, false},
		{"it is pulled", "podman", map[string]string{"podman image exists " + image: "!none", "podman pull --quiet " + image: "", "podman rmi " + image: ""}, []string{"hole|podman||pulled the canary"}, true},
		{"it cannot be removed", "podman", map[string]string{"podman image exists " + image: "!none", "podman pull --quiet " + image: "", "podman rmi " + image: "!in use"}, []string{"hole|podman", "note|podman||in use"}, true},
		{"it was there before", "docker", map[string]string{"docker image inspect " + image: "[]"}, []string{"unknown|docker||is here already"}, false},
		{"it leaves nothing", "skopeo", map[string]string{"skopeo inspect --raw docker://" + image: "{}"}, []string{"hole|skopeo"}, false},
		{"the client is not installed", "docker", nil, []string{"unknown|docker||is not installed"}, false},
		{"no such client", "rkt", nil, []string{"unknown|rkt"}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			report := &diagnosis{}
			var ran []string
			run := func(ctx context.Context, argv ...string) (string, error) {
				ran = append(ran, strings.Join(argv, " "))
				return says(tc.answers)(ctx, argv...)
			}
			pullCanary(t.Context(), run, report, tc.client, image)
			wantFindings(t, report, tc.want...)
			if got := slices.ContainsFunc(ran, func(s string) bool { return strings.Contains(s, " rmi ") }); got != tc.removed {
				t.Errorf("it ran %q", ran)
			}
		})
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

func TestDoctorsTransportVerifies(t *testing.T) {
	transport, err := believing("")
	if err != nil || transport.TLSClientConfig.InsecureSkipVerify || transport.TLSClientConfig.MinVersion < tls.VersionTLS12 {
		t.Errorf("%v, %+v", err, transport)
	}
}
