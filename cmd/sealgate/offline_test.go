package main

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/sealgate/sealgate/config"
	"github.com/sealgate/sealgate/e2e/sandbox"
	"github.com/sealgate/sealgate/trustcache/state"
)

// newSite returns a configuration file of an offline registry, to whose storage
// the trust data of the demo's signed repository was carried.
func newSite(t *testing.T, grace string) (path string) {
	t.Helper()
	ca, err := sandbox.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	story, err := sandbox.NewStory(t.Context(), ca, storyName)
	if err != nil {
		t.Fatal(err)
	}
	defer story.Close()
	site := func(registry string) string {
		return fmt.Sprintf(`
listen: 127.0.0.1:0
tls: {plain-http: {}}
storage: {filesystem: {rootdirectory: state}}
registries: [%s]
content-trust: {mode: enforced, trust-pinning: {root-keys: {"%s/*": [%s]}}}
`, registry, storyName, story.RootKey)
	}
	path = file(t, "proxy.yaml", site(fmt.Sprintf("{name: %q, offline: {grace: %s}}", storyName, grace)))
	connected := filepath.Join(filepath.Dir(path), "connected.yaml")
	mustWrite(t, connected, site(fmt.Sprintf("{name: %q, upstream: %q, upstream-ca-file: ca.pem, credentials: anonymous, notary: {url: %q, ca-file: ca.pem}}", storyName, story.Registry.URL(), story.Trust.URL())))
	mustWrite(t, filepath.Join(filepath.Dir(path), "ca.pem"), string(ca.PEM()))
	cfg, err := loadConfig(connected)
	if err != nil {
		t.Fatal(err)
	}
	inst, err := newInstance(cfg, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	defer inst.close()
	if w := get(inst, signedTag); w.Code != 200 {
		t.Fatalf("the connected side answers %d %s", w.Code, w.Body)
	}
	return path
}

// later moves the time of the site's machine.
func later(t *testing.T, path string, by time.Duration) {
	t.Helper()
	clock, err := state.OpenClock(filepath.Join(filepath.Dir(path), "state", clockFile), func() time.Time { return time.Now().Add(by) }, func(time.Duration) {})
	if err == nil {
		err = clock.Save()
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestInspectOfAnOfflineRegistry(t *testing.T) {
	path := newSite(t, "480h")
	inspect := func(code int, image string, says ...string) {
		t.Helper()
		got, stdout, stderr := call(t, "inspect", "--config", path, storyName+"/"+image)
		for _, text := range says {
			if got != code || !strings.Contains(stdout, text) {
				t.Errorf("%s: exit %d without %q: %s%s", image, got, text, stdout, stderr)
			}
		}
	}
	inspect(0, "demo/app:1.0", "VISIBLE", "offline, with a grace of 480h0m0s\n", "cache    not this manifest: clients get 404 until a bundle brings it\n")
	inspect(0, "demo/app", "  loaded: 20", "lowest versions accepted", "stands until")
	inspect(exitFailed, "demo/app:nightly", "HIDDEN", "no trust data for tag")
	inspect(exitFailed, "demo/never-signed:1", "HIDDEN", "no bundle with it has been loaded")
	later(t, path, 20*24*time.Hour)
	inspect(0, "demo/app:1.0", "VISIBLE", "offline, with a grace of 480h0m0s: timestamp expired at ")
	code, stdout, _ := call(t, "inspect", "--config", path, "--json", storyName+"/demo/app:1.0")
	var report inspectReport
	if err := json.Unmarshal([]byte(stdout), &report); err != nil || code != 0 || report.Offline == nil || report.Offline.Grace != "480h0m0s" || report.Offline.Role != "timestamp" || report.Offline.Since.IsZero() {
		t.Errorf("exit %d, %v: %s", code, err, stdout)
	}
	later(t, path, 40*24*time.Hour)
	inspect(exitUnknown, "demo/app:1.0", "UNKNOWN", "more than the grace of 480h0m0s ago: load a newer bundle")
}

// TestAnOfflineRegistryIsServedWithoutServers: what was carried decides, and
// the commands that would ask somebody say that there is nobody.
func TestAnOfflineRegistryIsServedWithoutServers(t *testing.T) {
	path := newSite(t, "0s")
	cfg, err := loadConfig(path)
	if err != nil {
		t.Fatal(err)
	}
	log := &publicServer{} // refreshes log while this reads
	inst, err := newInstance(cfg, zerolog.New(log))
	if err != nil {
		t.Fatal(err)
	}
	defer inst.close()
	inst.announce()
	if !strings.Contains(log.log(), `"offline":true,"grace":"0s","message":"standing in front of"`) {
		t.Errorf("logs %s", log.log())
	}
	for target, want := range map[string]struct {
		status int
		says   string
	}{
		"/v2/":                       {http.StatusOK, "{}"},
		"/v2/demo/app/tags/list":     {http.StatusOK, `"1.0"`},
		signedTag:                    {http.StatusNotFound, "is in no bundle that has been loaded here"},
		"/v2/demo/app/manifests/x":   {http.StatusNotFound, "no trust data for tag"},
		"/v2/demo/other/manifests/x": {http.StatusNotFound, "no bundle with it has been loaded"},
		"/v2/" + storyName + "/demo/app/_trust/tuf/timestamp.json": {http.StatusOK, `"Timestamp"`},
	} {
		if w := get(inst, target); w.Code != want.status || !strings.Contains(w.Body.String(), want.says) {
			t.Errorf("%s: got %d %s", target, w.Code, w.Body)
		}
	}
	if err := inst.ready(t.Context()); err != nil {
		t.Errorf("not ready: %v", err)
	}
	if uses := inst.Trust(); len(uses) != 1 || !uses[0].Offline {
		t.Errorf("metrics have %+v", uses)
	}
	if code, _, stderr := call(t, "approve", "--config", path, storyName+"/demo/app:1.0"); code != exitUsage || !strings.Contains(stderr, "is offline in the configuration") {
		t.Errorf("approve: exit %d: %s", code, stderr)
	}
	if code, _, stderr := call(t, "check", "--config", path); code != 0 {
		t.Errorf("check: exit %d: %s", code, stderr)
	}
	if code, stdout, stderr := call(t, "check", "--online", "--config", path); code != 0 || !strings.Contains(stdout, "registries[0].offline") || !strings.Contains(stdout, "nobody to ask") {
		t.Errorf("check --online: exit %d: %s%s", code, stdout, stderr)
	}
	if code, _, stderr := call(t, "bundle", "save", "--config", path, "-o", filepath.Join(t.TempDir(), "x.tar"), storyName+"/demo/app:1.0"); code != exitUsage {
		t.Errorf("bundle save: exit %d: %s", code, stderr)
	}
	if err := inst.forget(storyName + "/demo/app"); err != nil {
		t.Fatal(err)
	}
	if w := get(inst, signedTag); w.Code != 404 || !strings.Contains(w.Body.String(), "no bundle with it has been loaded") {
		t.Errorf("forgotten: got %d %s", w.Code, w.Body)
	}
}

// TestTheAgeIsSaidByTheHighestTimeSeen: a machine whose clock went back warns of
// what had expired before.
func TestTheAgeIsSaidByTheHighestTimeSeen(t *testing.T) {
	path := newSite(t, "480h")
	later(t, path, 20*24*time.Hour)
	cfg, err := loadConfig(path)
	if err != nil {
		t.Fatal(err)
	}
	inst, err := newInstance(cfg, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	defer inst.close()
	w := get(inst, "/v2/demo/app/tags/list")
	if warning := w.Header().Get("Warning"); w.Code != http.StatusOK || !strings.HasPrefix(warning, `112 sealgate "offline: timestamp expired at `) {
		t.Errorf("got %d with the warning %q", w.Code, warning)
	}
}

// TestAReloadTakesARegistryOffline and back: what was verified stands on.
func TestAReloadTakesARegistryOffline(t *testing.T) {
	path := newSite(t, "24h")
	offline, err := loadConfig(path)
	if err != nil {
		t.Fatal(err)
	}
	connected, err := loadConfig(filepath.Join(filepath.Dir(path), "connected.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	inst, err := newInstance(offline, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	defer inst.close()
	list := func() string { return get(inst, "/v2/demo/app/tags/list").Body.String() }
	before := list()
	for _, next := range []*config.Config{connected, offline} {
		if err := reload(inst, next); err != nil {
			t.Fatal(err)
		}
		if got := list(); got != before || !strings.Contains(got, "1.0") {
			t.Errorf("lists %s, before %s", got, before)
		}
	}
}

func mustWrite(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestWhatABundleBroughtIsServed: saved where the servers are, loaded where they
// are not, and served there by tag and by digest.
func TestWhatABundleBroughtIsServed(t *testing.T) {
	ca, err := sandbox.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	story, err := sandbox.NewStory(t.Context(), ca, storyName)
	if err != nil {
		t.Fatal(err)
	}
	closeStory := sync.OnceFunc(func() { story.Close() })
	defer closeStory()
	dir := t.TempDir()
	mustWrite(t, filepath.Join(dir, "ca.pem"), string(ca.PEM()))
	config := func(name, registry string) (path string) {
		path = filepath.Join(dir, name)
		mustWrite(t, path, fmt.Sprintf(`
listen: 127.0.0.1:0
tls: {plain-http: {}}
storage: {filesystem: {rootdirectory: %s.state}}
registries: [%s]
content-trust: {mode: enforced, trust-pinning: {root-keys: {"%s/*": [%s]}}}
`, name, registry, storyName, story.RootKey))
		return path
	}
	here := config("here.yaml", fmt.Sprintf("{name: %q, upstream: %q, upstream-ca-file: ca.pem, credentials: anonymous, notary: {url: %q, ca-file: ca.pem}}", storyName, story.Registry.URL(), story.Trust.URL()))
	there := config("there.yaml", fmt.Sprintf("{name: %q, offline: {grace: 24h}}", storyName))
	bundle := filepath.Join(dir, "site.tar")
	if code, stdout, stderr := call(t, "bundle", "save", "--config", here, "-o", bundle, storyName+"/demo/app:1.0"); code != 0 {
		t.Fatalf("save: exit %d: %s%s", code, stdout, stderr)
	}
	closeStory()
	cfg, err := loadConfig(there)
	if err != nil {
		t.Fatal(err)
	}
	inst, err := newInstance(cfg, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	defer inst.close()
	if w := get(inst, signedTag); w.Code != 404 {
		t.Errorf("before: got %d %s", w.Code, w.Body)
	}
	damaged := filepath.Join(dir, "damaged.tar")
	mustWrite(t, damaged, "no archive")
	if code, _, stderr := call(t, "bundle", "load", "--config", there, damaged); code != exitFailed || !strings.Contains(stderr, damaged+": not a bundle that can be used") {
		t.Errorf("load of a damaged one: exit %d: %s", code, stderr)
	}
	if code, _, stderr := call(t, "bundle", "save", "--config", here, "-o", here, storyName+"/demo/app:1.0"); code != exitUsage || !strings.Contains(stderr, here+" is no directory") {
		t.Errorf("save over another file: exit %d: %s", code, stderr)
	}
	if code, stdout, stderr := call(t, "bundle", "load", "--config", there, bundle); code != 0 {
		t.Fatalf("load: exit %d: %s%s", code, stdout, stderr)
	}
	if code, stdout, stderr := call(t, "cache", "pins", "--config", there); code != 0 || !strings.Contains(stdout, storyName+"/demo/app:1.0  3\n") {
		t.Errorf("pins: exit %d: %s%s", code, stdout, stderr)
	}
	for _, r := range inst.current.Load().registries {
		if err := r.trust.Refresh(t.Context(), storyName+"/demo/app"); err != nil {
			t.Fatal(err)
		}
	}
	w := get(inst, signedTag)
	if w.Code != 200 {
		t.Fatalf("got %d %s", w.Code, w.Body)
	}
	var manifest struct{ Config struct{ Digest string } }
	if err := json.Unmarshal(w.Body.Bytes(), &manifest); err != nil {
		t.Fatal(err)
	}
	if w := get(inst, "/v2/demo/app/blobs/"+manifest.Config.Digest); w.Code != 200 || fmt.Sprintf("sha256:%x", sha256.Sum256(w.Body.Bytes())) != manifest.Config.Digest {
		t.Errorf("config: got %d %s", w.Code, w.Body)
	}
	for _, name := range []string{"root.json", "1.root.json", "timestamp.json", "snapshot.json", "targets.json", "targets/releases.json"} {
		if w := get(inst, "/v2/"+storyName+"/demo/app/_trust/tuf/"+name); w.Code != 200 {
			t.Errorf("%s: got %d %s", name, w.Code, w.Body)
		}
	}
}
