package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/sealgate/sealgate/config"
	"github.com/sealgate/sealgate/e2e/sandbox"
	"github.com/sealgate/sealgate/proxy"
	"github.com/sealgate/sealgate/proxy/content"
	"github.com/sealgate/sealgate/trustcache"
)

// warmWorld is the story's registry and trust server, and the configuration of a
// Sealgate that keeps content.
type warmWorld struct {
	*sandbox.Story
	t    *testing.T
	ca   *sandbox.CA
	path string
}

// newWarmWorld has the keys of its registry, and storage, from more.
func newWarmWorld(t *testing.T, more ...string) *warmWorld {
	t.Helper()
	t.Setenv("DOCKER_CONFIG", t.TempDir()) // nobody's credentials
	ca, err := sandbox.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	story, err := sandbox.NewStory(t.Context(), ca, "registry.example.com")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { story.Close() })
	cache, storage := "cache: {max-size: 1, ttl: 1ns}", "filesystem: {rootdirectory: .}"
	if len(more) > 0 {
		cache = more[0]
	}
	if len(more) > 1 {
		storage = more[1]
	}
	path := file(t, "proxy.yaml", fmt.Sprintf(`
listen: 127.0.0.1:0
tls: {plain-http: {}}
storage: {%s}
state-dir: .
registries:
  - name: registry.example.com
    upstream: %s
    upstream-ca-file: ca.pem
    redirects: follow
    notary: {url: %q, ca-file: ca.pem}
    %s
content-trust: {mode: enforced, trust-pinning: {root-keys: {"registry.example.com/demo/*": [%s]}}}
`, storage, story.Registry.URL(), story.Trust.URL(), cache, story.RootKey))
	if err := os.WriteFile(filepath.Join(filepath.Dir(path), "ca.pem"), ca.PEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	return &warmWorld{story, t, ca, path}
}

// run runs a command of cache, which has to end so and to say each of says.
func (w *warmWorld) run(code int, arguments string, says ...string) (stdout string) {
	w.t.Helper()
	words := strings.Fields(arguments)
	args := append([]string{"cache", words[0], "--config", w.path}, words[1:]...)
	got, stdout, stderr := call(w.t, args...)
	if got != code {
		w.t.Errorf("%s: exit %d, want %d", arguments, got, code)
	}
	for _, text := range says {
		if !strings.Contains(stdout+stderr, text) {
			w.t.Errorf("%s: does not say %q", arguments, text)
		}
	}
	if w.t.Failed() {
		w.t.Log(stdout, stderr)
	}
	return stdout
}

func (w *warmWorld) store() *content.Store {
	w.t.Helper()
	cfg, err := config.Load(w.path)
	if err != nil {
		w.t.Fatal(err)
	}
	store, err := openCache(w.t.Context(), cfg, cfg.Registries[0])
	if err != nil {
		w.t.Fatal(err)
	}
	return store
}

// pins are the tags that are pinned, each of which has to be there whole.
func (w *warmWorld) pins() (tags string) {
	w.t.Helper()
	store := w.store()
	pins, err := store.Pins(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	for _, p := range pins {
		tags += " " + p.Tag
		for _, d := range p.Digests {
			if has, err := store.Has(w.t.Context(), p.Repository, d); err != nil || !has {
				w.t.Errorf("%s of %s: there %v, %v", d, p.Tag, has, err)
			}
		}
	}
	return strings.TrimSpace(tags)
}

// fetched counts the requests for manifests and blobs since the last time.
func (w *warmWorld) fetched() (manifests, blobs int) {
	for _, r := range w.Registry.Requests() {
		switch {
		case strings.Contains(r.Target, "/manifests/sha256:"):
			manifests++
		case strings.Contains(r.Target, "/blobs/sha256:"):
			blobs++
		default:
			w.t.Errorf("the registry was asked %s %s", r.Method, r.Target)
		}
	}
	w.Registry.ResetRequests()
	return manifests, blobs
}

func TestWarmingFetchesWhatIsSignedAndPinsIt(t *testing.T) {
	w := newWarmWorld(t)
	w.Registry.ResetRequests()
	w.run(0, "warm demo/app:1.1 registry.example.com/demo/app:1.0", "demo/app:1.1 sha256:", "pinned, 3 manifests and 3 blobs", "demo/app:1.0 sha256:", "pinned, 1 manifest and 2 blobs")
	if manifests, blobs := w.fetched(); manifests != 4 || blobs != 5 {
		t.Errorf("the registry was asked for %d manifests and %d blobs", manifests, blobs)
	}
	if tags := w.pins(); tags != "1.0 1.1" {
		t.Errorf("pinned are %q", tags)
	}

	w.run(0, "warm demo/app:1.*", "of which 0 B were fetched")
	if manifests, blobs := w.fetched(); manifests+blobs != 0 {
		t.Errorf("the registry was asked again, for %d manifests and %d blobs", manifests, blobs)
	}
	if got := w.run(0, "pins"); got != "IMAGE                              MANIFESTS AND BLOBS\nregistry.example.com/demo/app:1.0  3\nregistry.example.com/demo/app:1.1  6\n" {
		t.Errorf("got %q", got)
	}
}

func TestWhatWarmingLearntStandsWithoutNotary(t *testing.T) {
	w := newWarmWorld(t)
	w.run(0, "warm demo/app:1.0")
	if err := w.Trust.Close(); err != nil {
		t.Fatal(err)
	}
	if code, stdout, stderr := call(t, "inspect", "--config", w.path, "demo/app:1.0"); code != 0 || !strings.Contains(stdout, "VISIBLE") {
		t.Errorf("exit %d\n%s%s", code, stdout, stderr)
	}
}

func TestWhatIsPinnedLeavesOnlyWhenItIsLetGo(t *testing.T) {
	w := newWarmWorld(t)
	w.run(0, "warm demo/app:1.*")
	later := func() *content.Store { // when all of it is too old and too large
		cfg, err := config.Load(w.path)
		if err != nil {
			t.Fatal(err)
		}
		d, err := openDriver(cfg.Storage)
		if err != nil {
			t.Fatal(err)
		}
		opts := contentOptions(d, cfg.Registries[0])
		opts.Now = func() time.Time { return time.Now().Add(24 * time.Hour) }
		store, err := content.NewStore(t.Context(), opts)
		if err != nil {
			t.Fatal(err)
		}
		return store
	}
	if swept, err := later().Sweep(t.Context()); err != nil || swept.Expired+swept.Evicted > 0 {
		t.Fatalf("swept %+v, %v", swept, err)
	}
	if tags := w.pins(); tags != "1.0 1.1" {
		t.Errorf("pinned are %q", tags)
	}
	w.run(0, "unpin demo/app:1.1", "registry.example.com/demo/app:1.1: no longer pinned")
	w.run(exitFailed, "unpin demo/app:1.1", "not pinned")
	swept, err := later().Sweep(t.Context())
	if err != nil || swept.Expired != 6 {
		t.Errorf("swept %+v, %v", swept, err)
	}
	if tags := w.pins(); tags != "1.0" {
		t.Errorf("pinned are %q", tags)
	}
	w.run(0, "unpin demo/app:*", "1.0: no longer pinned")
	if got := w.run(0, "pins"); got != "IMAGE  MANIFESTS AND BLOBS\n" {
		t.Errorf("got %q", got)
	}
}

func TestWarmingTakesThePlatformsThatAreAskedFor(t *testing.T) {
	w := newWarmWorld(t)
	w.run(exitFailed, "warm --platform windows/amd64 demo/app:1.1", `it has ["linux/amd64" "linux/arm64"]`)
	if tags := w.pins(); tags != "" {
		t.Errorf("pinned are %q", tags)
	}
	w.run(0, "warm --platform linux/arm64,linux/s390x demo/app:1.1", "2 manifests and 2 blobs", "there is none for linux/s390x")
	w.pins()
	w.run(exitUsage, "warm --platform arm64 demo/app:1.1", "is not a platform")
}

func TestWarmingGoesOnPastWhatItCannotHave(t *testing.T) {
	w := newWarmWorld(t)
	w.run(exitFailed, "warm demo/app:nightly demo/never-signed:* demo/app:9.* demo/app:1.0",
		`demo/app:nightly: no trust data for tag "nightly"`,
		"demo/never-signed:*: remote trust data does not exist",
		`no signed tag of registry.example.com/demo/app is matched by "9.*"`,
		"demo/app:1.0 sha256:")
	if tags := w.pins(); tags != "1.0" {
		t.Errorf("pinned are %q", tags)
	}

	// A blob is gone at the registry: it is named, and what is there is of use.
	store := w.store()
	pins, err := store.Pins(t.Context())
	if err != nil || len(pins) != 1 {
		t.Fatalf("got %v, %v", pins, err)
	}
	var blob digest.Digest
	for _, d := range pins[0].Digests {
		if _, err := store.Blob(t.Context(), "demo/app", d); err == nil {
			blob = d
		}
	}
	if err := store.Drop(t.Context(), "demo/app", blob); err != nil {
		t.Fatal(err)
	}
	w.deleteBlob("demo/app", blob)
	w.run(exitFailed, "warm demo/app:1.0", "demo/app:1.0: "+blob.String(), "the registry does not have it")
}

// deleteBlob deletes at the registry.
func (w *warmWorld) deleteBlob(repository string, d digest.Digest) {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), http.MethodDelete, w.Registry.URL()+"/v2/"+repository+"/blobs/"+d.String(), nil)
	if err != nil {
		w.t.Fatal(err)
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: w.ca.Pool()}}}
	resp, err := client.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusAccepted {
		w.t.Fatalf("delete: status %d", resp.StatusCode)
	}
}

func TestTagsThatAreTheRegistrysOwnAreNotWarmed(t *testing.T) {
	w := newWarmWorld(t)
	text, err := os.ReadFile(w.path)
	if err != nil {
		t.Fatal(err)
	}
	for policy, says := range map[string]string{
		"exempt-tags: [\"1.*\"]": "a policy exempts this tag",
		"mode: permissive":       "mode is permissive for this repository",
		"mode: disabled":         "mode is disabled for this repository",
	} {
		changed := strings.TrimSuffix(strings.TrimSpace(string(text)), "}") + `, policies: [{match: "registry.example.com/demo/*", ` + policy + `}]}`
		if err := os.WriteFile(w.path, []byte(changed), 0o600); err != nil {
			t.Fatal(err)
		}
		w.run(exitFailed, "warm demo/app:1.0", "demo/app:1.0: "+says)
		if tags := w.pins(); tags != "" {
			t.Errorf("pinned are %q", tags)
		}
	}
}

func TestWhatAPullWouldMissIsSaid(t *testing.T) {
	one := selection{gun: "registry.example.com/app", repository: "app", tag: "1"}
	snapshot := trustcache.NewSnapshot(trustcache.Contents{Targets: []trustcache.Target{{Tag: "1"}}})
	tag := one.decided("1", trustcache.View{Snapshot: snapshot, Stale: errors.New("it is away")}, nil)
	var said strings.Builder
	notes(&said, tag, &proxy.Collected{Absent: []content.Platform{{OS: "linux", Architecture: "s390x"}}, Foreign: make([]content.Descriptor, 2)})
	for _, text := range []string{"when Notary was last heard: it is away\n", "there is none for linux/s390x\n", "2 layers left out"} {
		if !strings.Contains(said.String(), "registry.example.com/app:1: note: ") || !strings.Contains(said.String(), text) {
			t.Errorf("%q does not say %q", said.String(), text)
		}
	}
	said.Reset()
	if notes(&said, selectedTag{selection: one}, &proxy.Collected{}); said.Len() > 0 {
		t.Errorf("said %q of nothing", said.String())
	}
}

func TestNothingIsWarmedWhereNoServerWouldSeeIt(t *testing.T) {
	w := newWarmWorld(t, "")
	w.run(exitUsage, "warm demo/app:1.0", "registry.example.com has no cache in the configuration")
	w.run(exitUsage, "unpin demo/app:1.0", "has no cache")
	w.run(exitUsage, "pins", "no registry has a cache")
	w.run(exitUsage, "warm", "at least one REPO:TAG is expected")
	w.run(exitUsage, "warm demo/app", "a tag is expected")
	code, _, stderr := call(t, "cache")
	if code != exitUsage || !strings.Contains(stderr, "cache warm") {
		t.Errorf("exit %d: %s", code, stderr)
	}
}

func TestACacheInMemoryIsNobodyElsesToFill(t *testing.T) {
	w := newWarmWorld(t, "cache: {}", "inmemory: {}")
	w.run(exitUsage, "warm demo/app:1.0", "storage is inmemory")
}

func TestInspectSaysWhatTheCacheHas(t *testing.T) {
	w := newWarmWorld(t)
	inspected := func(says string) {
		t.Helper()
		code, stdout, stderr := call(t, "inspect", "--config", w.path, "demo/app:1.1")
		if code != 0 || !strings.Contains(stdout, "  cache    "+says+"\n") {
			t.Errorf("exit %d, want %q\n%s%s", code, says, stdout, stderr)
		}
	}
	inspected("not this manifest")
	w.run(0, "warm demo/app:1.1")
	inspected("the manifest is in it, 6 parts pinned")
	store := w.store()
	pins, err := store.Pins(t.Context())
	if err != nil || len(pins) != 1 {
		t.Fatalf("got %v, %v", pins, err)
	}
	for _, d := range pins[0].Digests {
		if _, err := store.Blob(t.Context(), "demo/app", d); err == nil {
			if err := store.Drop(t.Context(), "demo/app", d); err != nil {
				t.Fatal(err)
			}
			break
		}
	}
	inspected("the manifest is in it, 6 parts pinned, 1 of them missing: warm it again")
	if err := store.Pin(t.Context(), "demo/app", "1.1", []digest.Digest{digest.FromString("another")}); err != nil {
		t.Fatal(err)
	}
	inspected("the manifest is in it, 1 part pinned, of what was signed before: warm it again")
	w.run(0, "unpin demo/app:1.1")
	inspected("the manifest is in it")
}

// firstLine calls back when something is written.
type firstLine func()

// Write implements io.Writer.
func (f firstLine) Write(p []byte) (int, error) {
	f()
	return len(p), nil
}

func TestWarmingThatIsInterruptedGoesOn(t *testing.T) {
	w := newWarmWorld(t)
	cfg, err := config.Load(w.path)
	if err != nil {
		t.Fatal(err)
	}
	selections, err := parseSelections(cfg, []string{"demo/app:1.*"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	run := &warming{stdout: firstLine(cancel), stderr: io.Discard, cfg: cfg, sources: map[int]*signedSource{}}
	defer run.close()
	if err := run.run(ctx, selections); err == nil || !strings.Contains(err.Error(), "interrupted: run it again") {
		t.Errorf("got %v", err)
	}
	if tags := w.pins(); tags != "1.0" {
		t.Errorf("pinned are %q", tags)
	}
	w.run(0, "warm demo/app:1.*", "demo/app:1.0", "of which 0 B were fetched", "demo/app:1.1")
	if tags := w.pins(); tags != "1.0 1.1" {
		t.Errorf("pinned are %q", tags)
	}
}
