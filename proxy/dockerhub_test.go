package proxy_test

import (
	"bytes"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/sealgate/sealgate/proxy"
)

// hub is a gate before a registry that plays Docker Hub, with
// library/alpine:3.20 signed and pushed, and library/alpine:edge pushed.
func newHub(t *testing.T, change func(*proxy.Registry)) (*world, *gate, image) {
	t.Helper()
	w, trust := newWorld(t, nil), &pretend{}
	im := w.push("library/alpine", "3.20", "alpine")
	w.push("library/alpine", "edge", "edge")
	w.push("team/app", "1", "team")
	trust.signGUN("docker.io/library/alpine", target("3.20", im))
	reg := w.front(t)
	reg.Name, reg.Hosts, reg.Trust, reg.Passthrough = "docker.io", []string{registryName}, trust, true
	if change != nil {
		change(&reg)
	}
	w.quiet()
	return w, gateFor(t, reg), im
}

func TestShortNamesOfDockerHub(t *testing.T) {
	w, g, im := newHub(t, nil)
	for _, name := range []string{"alpine", "library/alpine"} {
		for target, want := range map[string][]byte{
			"/manifests/3.20":         im.body,
			"/manifests/" + im.digest: im.body,
			"/blobs/" + im.blob:       nil,
			"/referrers/" + im.digest: nil,
			"/tags/list":              []byte(`{"name":"library/alpine","tags":["3.20"]}`),
			"/tags/list?n=1&last=3":   []byte(`{"name":"library/alpine","tags":["3.20"]}`),
		} {
			a := g.get("/v2/" + name + target)
			if a.status != 200 && !strings.HasPrefix(target, "/referrers") || want != nil && !bytes.Equal(bytes.TrimSpace(a.body), want) {
				t.Errorf("%s%s: got %v", name, target, a)
			}
		}
		if a := g.get("/v2/" + name + "/manifests/edge"); a.status != 404 || a.message() != `no trust data for tag "edge" in docker.io/library/alpine` {
			t.Errorf("%s: got %v", name, a)
		}
	}
	for _, asked := range w.asked() {
		if !strings.Contains(asked, "/v2/library/alpine/") {
			t.Errorf("the registry was asked %s", asked)
		}
	}
	w.heardNoTag(t)
	// The longest name that has room for "library/", and one more.
	if a := g.get("/v2/" + strings.Repeat("a", 247) + "/manifests/1"); a.status != 404 || a.code() != "MANIFEST_UNKNOWN" {
		t.Errorf("got %v", a)
	}
	if a := g.get("/v2/" + strings.Repeat("a", 248) + "/manifests/1"); a.status != 404 || a.code() != "UNSUPPORTED" {
		t.Errorf("got %v", a)
	}
}

func TestShortNamesArePassedOnInFull(t *testing.T) {
	w, g, _ := newHub(t, func(r *proxy.Registry) { r.Policy = always(proxy.Policy{Mode: proxy.Disabled}) })
	for _, target := range []string{"alpine/manifests/edge", "alpine/tags/list"} {
		if a := g.get("/v2/" + target); a.status != 200 {
			t.Errorf("%s: got %v", target, a)
		}
	}
	if got, want := w.asked(), []string{"GET /v2/library/alpine/manifests/edge", "GET /v2/library/alpine/tags/list"}; !slices.Equal(got, want) {
		t.Errorf("the registry was asked %q, want %q", got, want)
	}
}

// TestOnlyDockerHubHasShortNames: elsewhere, and where Docker Hub is merely the
// upstream or part of a name, they are names like any other.
func TestOnlyDockerHubHasShortNames(t *testing.T) {
	for _, name := range []string{registryName, "index.docker.io", "docker.io:443", "mydocker.io"} {
		w, g, _ := newHub(t, func(r *proxy.Registry) {
			r.Name, r.Policy = name, always(proxy.Policy{Mode: proxy.Disabled})
		})
		if a := g.get("/v2/alpine/manifests/3.20"); a.status != 404 {
			t.Errorf("%s: got %v", name, a)
		}
		if got := w.asked(); !slices.Equal(got, []string{"GET /v2/alpine/manifests/3.20"}) {
			t.Errorf("%s: the registry was asked %q", name, got)
		}
	}
}

// TestTrustMetadataOfDockerHub is asked for by the full name, as Docker's
// clients do.
func TestTrustMetadataOfDockerHub(t *testing.T) {
	w, g, _ := newHub(t, func(r *proxy.Registry) { r.Expose, r.TrustWrites = proxy.ExposeAlways, true })
	w.notarySpy.lie(func(rw http.ResponseWriter, r *http.Request) { _, _ = rw.Write([]byte("root")) })
	if a := g.get("/v2/docker.io/library/alpine/_trust/tuf/root.json"); a.status != 200 || string(a.body) != "root" {
		t.Errorf("got %v", a)
	}
	if got := w.notarySpy.list(); len(got) != 1 || got[0].Target != "/v2/docker.io/library/alpine/_trust/tuf/root.json" {
		t.Errorf("the trust server was asked %v", got)
	}
	for _, target := range []string{"/v2/docker.io/alpine/_trust/tuf/root.json", "/v2/library/alpine/_trust/tuf/root.json"} {
		if a := g.get(target); a.status != 404 || a.code() != "METADATA_NOT_FOUND" && a.code() != "UNSUPPORTED" {
			t.Errorf("%s: got %v", target, a)
		}
	}
	if a := g.do("DELETE", "/v2/docker.io/alpine/_trust/tuf/"); a.status != 404 {
		t.Errorf("a write got %v", a)
	}
	if got := w.notarySpy.list(); len(got) != 1 {
		t.Errorf("the trust server was asked %v", got)
	}
}
