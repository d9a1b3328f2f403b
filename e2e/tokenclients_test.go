package e2e

import (
	"io"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sealgate/sealgate/e2e/sandbox"
)

// tokenPath is where the registry of an ownHostWorld has its token server.
const tokenPath = "/service/token"

// ownHostWorld is a tokenWorld whose registry has its token server at its own
// host name, as Harbor does, with a Sealgate at that name.
func ownHostWorld(t *testing.T) (*world, pushed) {
	t.Helper()
	w, image := tokenWorld(t, registryOptions{tokenPath: tokenPath})
	registry := &httputil.ReverseProxy{
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(must(url.Parse(w.registry.url))(t)) },
		Transport: w.ca.transport(false),
	}
	mux := http.NewServeMux()
	mux.Handle(tokenPath, w.tokens)
	mux.HandleFunc("/api/", func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Location", "https://"+r.Host+"/api/elsewhere")
		rw.Header().Set("X-Asked", r.Method+" "+r.RequestURI+" "+r.Header.Get("Authorization")+" "+r.Header.Get("X-Forwarded-Host"))
		rw.WriteHeader(http.StatusCreated)
		_, _ = io.WriteString(rw, "a page")
	})
	mux.Handle("/", registry)
	address := must(freeAddress())(t)
	t.Cleanup(must(serveTLS(w.ca, "origin", address, mux))(t))
	w.mustOpen(t, func(s *settings) {
		s.upstream = "https://" + address
		s.hosts = append(s.hosts, "localhost") // the realm's host, which crane has to have as a name
		s.more += "    pass-paths: [/api]\n"
	})
	return w, image
}

// somebodysFile is a docker config.json in which user is logged in.
func (w *world) somebodysFile(t *testing.T, user registryUser) string {
	t.Helper()
	dir := t.TempDir()
	mustRun(t, append(trusting(w), "DOCKER_CONFIG="+dir), "crane", "auth", "login", w.listen, "-u", user.name, "-p", user.password)
	return dir
}

func TestClientsGetTokensAtTheRegistrysOwnHost(t *testing.T) {
	w, image := ownHostWorld(t)
	signed, unsigned, public := w.tag("team/app", "signed"), w.tag("team/app", "unsigned"), w.tag("public/app", "signed")
	alices, bobs := w.somebodysFile(t, alice), w.somebodysFile(t, bob)
	nobodys := t.TempDir()
	for _, c := range []struct {
		name string
		pull func(t *testing.T, config, reference string) error
	}{
		{"crane", func(t *testing.T, config, reference string) error {
			_, err := run(append(trusting(w), "DOCKER_CONFIG="+config), "crane", "pull", reference, filepath.Join(t.TempDir(), "image"))
			return err
		}},
		{"regctl", func(t *testing.T, config, reference string) error {
			_, err := run(append(trusting(w), "DOCKER_CONFIG="+config, "REGCTL_CONFIG="+filepath.Join(t.TempDir(), "none.json")), "regctl", "image", "copy", reference, "ocidir://"+filepath.Join(t.TempDir(), "image")+":x")
			return err
		}},
		{"skopeo", func(t *testing.T, config, reference string) error {
			_, err := run(append(trusting(w), "DOCKER_CONFIG="+config), "skopeo", "copy", "--authfile", authFile(t, config), "--src-cert-dir", w.ca.dir, "docker://"+reference, "dir:"+t.TempDir())
			return err
		}},
		{"podman", func(t *testing.T, config, reference string) error {
			dir := must(os.MkdirTemp(suite.dir, "podman-"))(t)
			_, err := run(trusting(w), "podman", "--root", filepath.Join(dir, "root"), "--runroot", filepath.Join(dir, "run"), "--tmpdir", filepath.Join(dir, "tmp"),
				"--storage-driver", "vfs", "--cgroup-manager", "cgroupfs", "--events-backend", "none",
				"pull", "--quiet", "--authfile", authFile(t, config), "--cert-dir", w.ca.dir, reference)
			return err
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := c.pull(t, alices, signed); err != nil {
				t.Errorf("alice does not get what is signed: %v", err)
			}
			if err := c.pull(t, alices, unsigned); err == nil || !strings.Contains(err.Error(), "no trust data") {
				t.Errorf("alice and what is unsigned: %v", err)
			}
			if err := c.pull(t, bobs, signed); err == nil {
				t.Error("bob gets what is alice's")
			}
			if err := c.pull(t, nobodys, signed); err == nil {
				t.Error("nobody gets what is alice's")
			}
			if err := c.pull(t, nobodys, public); err != nil {
				t.Errorf("nobody does not get what is everybody's: %v", err)
			}
		})
	}
	t.Run("docker", func(t *testing.T) { dockerGetsTokens(t, w, image) })
	t.Run("containerd", func(t *testing.T) { containerdGetsTokens(t, w) })
	if reached := w.tokens.Asked(); !slices.ContainsFunc(reached, func(r sandbox.TokenRequest) bool { return r.User == "alice" && slices.Contains(r.Granted, pullTeam) }) {
		t.Errorf("the token server was asked %+v", reached)
	}
	if log := w.gate.output(); strings.Contains(log, alice.password) || strings.Contains(log, "scope=") || !strings.Contains(log, `"route":"token"`) {
		t.Errorf("the log holds more than it may, or no request for a token:\n%s", log)
	}
}

func TestThePagesOfARegistryPassWhereTheyAreOpened(t *testing.T) {
	w, image := ownHostWorld(t)
	a := w.do(t, request{method: http.MethodPut, path: "/api/v2.0/a%2Fb?x=y", user: &alice})
	if a.status != http.StatusCreated || a.body != "a page" || a.header.Get("Location") != "/api/elsewhere" ||
		a.header.Get("X-Asked") != "PUT /api/v2.0/a%2Fb?x=y Basic YWxpY2U6d29uZGVybGFuZA== "+w.listen {
		t.Errorf("got %v", a)
	}
	for _, path := range []string{"/", "/apis", "/api/%2e%2e/v2/", "/harbor/"} {
		if a := w.get(t, path); a.status != http.StatusNotFound {
			t.Errorf("%s: got %v", path, a)
		}
	}
	wantServed(t, w.do(t, request{path: "/v2/team/app/manifests/signed", header: w.bearer(t, "alice", time.Hour, pullTeam)}), image)
}

// authFile is the config.json of a directory; an empty one where there is none.
func authFile(t *testing.T, dir string) string {
	t.Helper()
	file := filepath.Join(dir, "config.json")
	if _, err := os.Stat(file); err == nil {
		return file
	}
	file = filepath.Join(t.TempDir(), "auth.json")
	if err := os.WriteFile(file, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func dockerGetsTokens(t *testing.T, w *world, image pushed) {
	d := mustDockerd(t)
	docker := client{name: "docker", pull: dockerPull}
	if _, err := docker.pull(t, w, w.tag("team/app", "signed")); err == nil {
		t.Error("pulled without having logged in")
	}
	if _, err := d.docker("login", "--username", alice.name, "--password", "guessed", w.listen); err == nil {
		t.Error("logged in with a wrong password")
	}
	mustRun(t, d.env(), "docker", "login", "--username", alice.name, "--password", alice.password, w.listen)
	defer func() { _, _ = d.docker("logout", w.listen) }()
	wantPulled(t, docker, w, w.tag("team/app", "signed"), image)
	wantDenied(t, docker, w, w.tag("team/app", "unsigned"), noTrustData(w, "team/app", "unsigned"))
}

func containerdGetsTokens(t *testing.T, w *world) {
	d := mustDockerd(t)
	hosts := must(ctrHosts(t, w))(t)
	fetch := func(reference string, options ...string) error {
		argv := slices.Concat([]string{"ctr", "--address", d.containerd, "--namespace", "e2e", "content", "fetch", "--hosts-dir", hosts}, options, []string{reference})
		_, err := run(trusting(w), argv...)
		defer func() {
			_, _ = run(nil, "ctr", "--address", d.containerd, "--namespace", "e2e", "images", "rm", "--sync", reference)
		}()
		return err
	}
	as := func(user registryUser) []string { return []string{"--user", user.name + ":" + user.password} }
	if err := fetch(w.tag("team/app", "signed"), as(alice)...); err != nil {
		t.Errorf("alice does not get what is signed: %v", err)
	}
	if err := fetch(w.tag("team/app", "unsigned"), as(alice)...); err == nil || !strings.Contains(err.Error(), "not found") {
		t.Errorf("alice and what is unsigned: %v", err)
	}
	if err := fetch(w.tag("team/app", "signed"), as(bob)...); err == nil {
		t.Error("bob gets what is alice's")
	}
	if err := fetch(w.tag("public/app", "signed")); err != nil {
		t.Errorf("nobody does not get what is everybody's: %v", err)
	}
}
