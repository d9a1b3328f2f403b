package e2e

import (
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sealgate/sealgate/e2e/sandbox"
	"github.com/sealgate/sealgate/trustcache/trustcachetest"
	"github.com/theupdateframework/notary/tuf/data"
)

// watched is what a status page shows: a registry and a trust server in this
// process, three repositories in different states, and a gate before them that
// clients of several addresses have asked for this and that.
type watched struct {
	*gate
	registry *sandbox.Registry

	mu     sync.Mutex // held while trust data is served, and while it is changed
	worlds map[string]*trustcachetest.World
}

const watchedName = "registry.example.com"

// newWatched signs, starts and asks.
func newWatched(t *testing.T) *watched {
	t.Helper()
	w := &watched{worlds: map[string]*trustcachetest.World{}}
	w.registry = must(sandbox.StartRegistry(t.Context(), sandbox.RegistryOptions{}))(t)
	t.Cleanup(func() { _ = w.registry.Close() })
	trust := httptest.NewServer(w)
	t.Cleanup(trust.Close)
	pins := map[string]string{}
	for name, days := range map[string]int{"shop/web": 9, "shop/api": 400, "shop/ledger": 800} {
		pins[watchedName+"/"+name] = w.begin(t, name, days)
	}
	pins[watchedName+"/tools/*"] = pins[watchedName+"/shop/api"]
	w.publish(t)

	dir := must(os.MkdirTemp(suite.dir, "watched-"))(t)
	ca := must(newAuthority(dir))(t)
	listen, listenAdmin := must(freeAddress())(t), must(freeAddress())(t)
	cert, key, err := ca.pairFor("gate", watchedName, "127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	w.gate = must(openGate(filepath.Join(dir, "gate"), ca, settings{
		tls:    fmt.Sprintf("tls: {files: {cert: %s, key: %s}}", cert, key),
		listen: listen, name: watchedName, hosts: []string{listen, watchedName}, upstream: w.registry.URL(), notary: trust.URL,
		credentials: "anonymous", mode: "enforced", rootKeys: pins, refresh: time.Second, maxStale: time.Hour, authTTL: time.Minute, admin: listenAdmin,
		more: "redirects: follow\ncache: {max-size: 64MiB, ttl: 168h}",
	}))(t)
	t.Cleanup(func() { w.stop(20 * time.Second) })
	w.visit(t)
	return w
}

// begin makes a repository whose targets expire in some days, and returns its
// root key.
func (w *watched) begin(t *testing.T, name string, days int) string {
	r := trustcachetest.NewWorldFor(t, watchedName+"/"+name)
	r.Pass(time.Since(r.Now()))
	in := func(days int) time.Time { return time.Now().AddDate(0, 0, days) }
	r.Expires = map[string]time.Time{"root": in(2000), "targets": in(days), trustcachetest.Releases: in(days + 200), "targets/qa": in(600), "snapshot": in(900), "timestamp": in(12)}
	r.PublishRoot()
	r.Delegate(trustcachetest.Releases)
	r.Delegate("targets/qa")
	w.worlds[r.GUN] = r
	return r.Parties["root"].Keys[0].Canonical()
}

// sign pushes an image as a tag and signs it in roles. It is published with the
// next publication.
func (w *watched) sign(t *testing.T, name, tag string, roles ...string) {
	t.Helper()
	image := must(sandbox.Image(name + tag))(t)
	digest, size, err := w.registry.Push(t.Context(), name, tag, image)
	if err != nil {
		t.Fatal(err)
	}
	sum := must(hex.DecodeString(strings.TrimPrefix(digest, "sha256:")))(t)
	for _, role := range roles {
		w.worlds[watchedName+"/"+name].Content[role][tag] = data.FileMeta{Length: size, Hashes: data.Hashes{"sha256": sum}}
	}
}

// publish signs what every repository begins with.
func (w *watched) publish(t *testing.T) {
	for _, tag := range []string{"1.4.0", "1.4.1", "1.5.0", "latest", "stable"} {
		w.sign(t, "shop/web", tag, trustcachetest.Releases, "targets/qa")
	}
	w.sign(t, "shop/web", "1.6.0-rc1", "targets/qa")
	for _, tag := range []string{"2.0", "2.1"} {
		w.sign(t, "shop/api", tag, trustcachetest.Releases)
	}
	w.sign(t, "shop/ledger", "7", trustcachetest.Releases)
	for _, r := range w.worlds {
		r.Publish()
	}
	for tag, seed := range map[string]string{"latest": "moved on", "nightly": "never signed"} {
		if _, _, err := w.registry.Push(t.Context(), "shop/web", tag, must(sandbox.Image(seed))(t)); err != nil {
			t.Fatal(err)
		}
	}
	// Signed, and not in the registry.
	gone := trustcachetest.Digest(1)
	web := w.worlds[watchedName+"/shop/web"]
	web.Content[trustcachetest.Releases]["1.3.9"] = data.FileMeta{Length: 7, Hashes: data.Hashes{"sha256": gone[:]}}
	web.Publish()
}

// ServeHTTP is the trust server.
func (w *watched) ServeHTTP(out http.ResponseWriter, r *http.Request) {
	gun, file, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/v2/"), "/_trust/tuf/")
	w.mu.Lock()
	defer w.mu.Unlock()
	world := w.worlds[gun]
	if world == nil {
		out.WriteHeader(http.StatusNotFound)
		_, _ = io.WriteString(out, trustcachetest.MetadataNotFound)
		return
	}
	asked, err := http.NewRequestWithContext(r.Context(), http.MethodGet, "https://notary.test/v2/"+gun+"/_trust/tuf/"+file, nil)
	if err != nil {
		out.WriteHeader(http.StatusBadRequest)
		return
	}
	asked.Header = r.Header
	resp, err := world.RoundTrip(asked)
	if err != nil {
		out.WriteHeader(http.StatusBadGateway)
		return
	}
	defer resp.Body.Close()
	out.WriteHeader(resp.StatusCode)
	_, _ = io.Copy(out, resp.Body)
}

// change changes what is signed in a repository.
func (w *watched) change(name string, how func(*trustcachetest.World)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	how(w.worlds[watchedName+"/"+name])
}

// pull asks for a tag from a loopback address.
func (w *watched) pull(t *testing.T, from, name, tag string) int {
	t.Helper()
	tr := w.ca.transport(false)
	tr.DisableKeepAlives = true
	tr.DialContext = (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}).DialContext
	req := must(http.NewRequestWithContext(t.Context(), http.MethodGet, w.url+"/v2/"+name+"/manifests/"+tag, nil))(t)
	resp := must((&http.Client{Transport: tr, Timeout: 30 * time.Second}).Do(req))(t)
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode
}

// visit is what clients ask for before anybody looks at the page: signed tags and
// hidden ones. Then something is signed, something is withdrawn, and the server of
// one repository goes back to what it had before.
func (w *watched) visit(t *testing.T) {
	t.Helper()
	for _, ask := range []struct {
		from, name, tag string
		status          int
	}{
		{"127.0.0.11", "shop/web", "1.5.0", 200}, {"127.0.0.12", "shop/web", "latest", 200}, {"127.0.0.13", "shop/api", "2.1", 200},
		{"127.0.0.14", "shop/ledger", "7", 200},
		{"127.0.0.12", "shop/web", "nightly", 404}, {"127.0.0.15", "shop/web", "nightly", 404}, {"127.0.0.12", "shop/web", "nightly", 404},
		{"127.0.0.16", "shop/web", "1.6.0-rc1", 404}, {"127.0.0.16", "shop/web", "1.3.9", 404},
		{"127.0.0.17", "tools/debug", "latest", 404},
	} {
		if got := w.pull(t, ask.from, ask.name, ask.tag); got != ask.status {
			t.Fatalf("%s:%s: %d, want %d\n%s", ask.name, ask.tag, got, ask.status, w.tail())
		}
	}
	before := map[string][]byte{}
	w.sign(t, "shop/ledger", "8", trustcachetest.Releases)
	w.change("shop/ledger", func(r *trustcachetest.World) {
		before["timestamp.json"] = r.Raw["timestamp"]
		r.Publish()
	})
	w.sign(t, "shop/api", "2.2", trustcachetest.Releases)
	w.change("shop/api", func(r *trustcachetest.World) {
		delete(r.Content[trustcachetest.Releases], "2.0")
		r.Publish()
	})
	w.untilSeen(t, "shop/api", "2.1", "/changes", "<b>:2.2</b>")
	w.untilSeen(t, "shop/ledger", "7", "/changes", "<b>:8</b>")
	w.change("shop/ledger", func(r *trustcachetest.World) { r.Serve = before })
	w.untilSeen(t, "shop/ledger", "7", "/", "rolled-back")
}

// untilSeen asks for a tag until a page has a text.
func (w *watched) untilSeen(t *testing.T, name, tag, path, text string) {
	t.Helper()
	eventually(t, 15*time.Second, func() error {
		w.pull(t, "127.0.0.13", name, tag)
		if page := w.mustWatch(t, path); !strings.Contains(page.body, text) {
			return fmt.Errorf("%s has no %q:\n%s", path, text, page.body)
		}
		return nil
	})
}
