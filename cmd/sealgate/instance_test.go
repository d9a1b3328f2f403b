package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/sealgate/sealgate/config"
	"github.com/sealgate/sealgate/e2e/sandbox"
	"go.uber.org/goleak"
)

const storyName = "127.0.0.1:18443"

// newStoryInstance is a gate without a listener in front of the demo's servers;
// load is its configuration with some texts replaced by others, in pairs.
func newStoryInstance(t *testing.T) (inst *instance, load func(change ...string) *config.Config) {
	t.Helper()
	leaked := goleak.IgnoreCurrent()
	t.Cleanup(func() { goleak.VerifyNone(t, leaked, goleak.IgnoreTopFunction(sandbox.LeakedGoroutine)) })
	ca, err := sandbox.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	story, err := sandbox.NewStory(t.Context(), ca, storyName)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := story.Close(); err != nil {
			t.Error(err)
		}
	})
	dir := t.TempDir()
	base, err := demoYAML(dir, ca, story)
	if err != nil {
		t.Fatal(err)
	}
	load = func(change ...string) *config.Config {
		t.Helper()
		cfg, err := config.Parse("proxy.yaml", []byte(strings.NewReplacer(change...).Replace(base)), dir)
		if err != nil {
			t.Fatal(err)
		}
		return cfg
	}
	if inst, err = newInstance(load(), zerolog.Nop()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(inst.close)
	return inst, load
}

func reload(inst *instance, next *config.Config) error {
	inst.reloads.Lock()
	defer inst.reloads.Unlock()
	return inst.reloadLocked(next)
}

func get(h http.Handler, path string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, path, nil)
	r.Host, r.RequestURI = storyName, path
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

const signedTag = "/v2/demo/app/manifests/1.0"

// TestReloadsBesideRequests is for the race detector, and for what is left
// when it is over: nothing.
func TestReloadsBesideRequests(t *testing.T) {
	inst, load := newStoryInstance(t)
	configurations := []*config.Config{load(), load("refresh: 1s", "refresh: 1h"), load("mode: enforced", "mode: enforced\n  max-stale: 1h")}
	bad := load()
	bad.Registries[0].UpstreamCAFile = filepath.Join(t.TempDir(), "missing.pem")
	stop, answered := make(chan struct{}), make(chan struct{})
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for {
				select {
				case <-stop:
					return
				case answered <- struct{}{}:
				}
				if w := get(inst, signedTag); w.Code != http.StatusOK {
					t.Errorf("got %d %s", w.Code, w.Body)
					return
				}
				inst.Trust() // what a scrape asks
			}
		})
	}
	for n := range 60 {
		for range 8 {
			<-answered
		}
		if n%3 == 2 {
			before := inst.current.Load()
			if err := reload(inst, bad); err == nil || inst.current.Load() != before {
				t.Errorf("a file that is missing: %v", err)
			}
			continue
		}
		if err := reload(inst, configurations[n%len(configurations)]); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	all.Wait()
}

func TestARequestKeepsThePartsThatItBeganWith(t *testing.T) {
	inst, load := newStoryInstance(t)
	before := inst.acquire() // as a request does
	if err := reload(inst, load("mode: enforced", "mode: disabled")); err != nil {
		t.Fatal(err)
	}
	if w := get(before.handler, "/v2/demo/app/manifests/nightly"); w.Code != http.StatusNotFound {
		t.Errorf("the request that began before: %d %s", w.Code, w.Body)
	}
	if w := get(inst, "/v2/demo/app/manifests/nightly"); w.Code != http.StatusOK {
		t.Errorf("the next one: %d %s", w.Code, w.Body)
	}
	before.inUse.RUnlock()
	inst.retired.Wait()
	if before.inUse.TryRLock() {
		t.Error("parts that were closed can be used")
	}
}

// TestAReloadTakesOverWhatIsKnown: what is known goes over to the new parts, as far
// as the new pins vouch for it.
func TestAReloadTakesOverWhatIsKnown(t *testing.T) {
	inst, load := newStoryInstance(t)
	if w := get(inst, signedTag); w.Code != http.StatusOK {
		t.Fatal(w.Code, w.Body)
	}
	if err := reload(inst, load("refresh: 1s", "refresh: 1h")); err != nil {
		t.Fatal(err)
	}
	if known := inst.Trust()[0].Stats; known.Known != 1 || known.Misses != 1 {
		t.Errorf("after a reload: %+v", known)
	}
	if w := get(inst, signedTag); w.Code != http.StatusOK {
		t.Error(w.Code, w.Body)
	}
	if known := inst.Trust()[0].Stats; known.Hits != 1 || known.Misses != 1 {
		t.Errorf("the counters do not go on: %+v", known)
	}
	pinned := load()
	for pattern := range pinned.ContentTrust.TrustPinning.RootKeys {
		pinned.ContentTrust.TrustPinning.RootKeys[pattern] = []string{strings.Repeat("ab", 32)}
	}
	if err := reload(inst, pinned); err != nil {
		t.Fatal(err)
	}
	if known := inst.Trust()[0].Stats; known.Known != 0 {
		t.Errorf("a snapshot survives the pin that vouched for it: %+v", known)
	}
	if w := get(inst, signedTag); w.Code != http.StatusServiceUnavailable {
		t.Errorf("got %d %s", w.Code, w.Body)
	}
}

func TestForgetIsForOneRepositoryOfOneRegistry(t *testing.T) {
	inst, _ := newStoryInstance(t)
	get(inst, signedTag)
	for gun, want := range map[string]string{
		storyName + "/demo/other": "nothing is remembered",
		"elsewhere/demo/app":      "not a repository of a configured registry",
		storyName + "/demo/app":   "",
		storyName:                 "not a repository of a configured registry",
	} {
		err := inst.forget(gun)
		if got := fmt.Sprint(err); (err == nil) != (want == "") || err != nil && !strings.Contains(got, want) {
			t.Errorf("%s: %v, want %q", gun, err, want)
		}
	}
	if known := inst.Trust()[0].Stats.Known; known != 0 {
		t.Errorf("%d repositories are known", known)
	}
}

func TestReadiness(t *testing.T) {
	inst, _ := newStoryInstance(t)
	if err := inst.ready(t.Context()); err != nil {
		t.Error(err)
	}
	stopping, stop := context.WithCancel(t.Context())
	stop()
	if err := inst.ready(stopping); err == nil {
		t.Error("it is ready while it stops")
	}
}

// plainYAML is a gate that stands in front of upstream and asks nobody at the
// start.
func plainYAML(upstream, drain string) string {
	return `listen: 127.0.0.1:0
tls: {plain-http: {}}
storage: {inmemory: {}}
drain-timeout: ` + drain + `
registries:
  - name: registry.example.com
    upstream: ` + upstream + `
content-trust: {mode: disabled}
`
}

func newPlainInstance(t *testing.T, upstream string) (*instance, *config.Config) {
	t.Helper()
	cfg, err := config.Parse("proxy.yaml", []byte(plainYAML(upstream, "1s")), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	inst, err := newInstance(cfg, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	return inst, cfg
}

// TestTheNewestFileWins, though an older one was slow to read.
func TestTheNewestFileWins(t *testing.T) {
	inst, _ := newPlainInstance(t, "http://127.0.0.1:1")
	defer inst.close()
	path := filepath.Join(t.TempDir(), "proxy.yaml")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	reload := func() {
		if err := inst.reloadFrom(path); err != nil {
			t.Error(err)
		}
	}
	all.Go(reload)
	slow, err := os.OpenFile(path, os.O_WRONLY, 0) // once it reads
	if err != nil {
		t.Fatal(err)
	}
	next := path + ".next"
	if err := errors.Join(os.WriteFile(next, []byte(plainYAML("http://127.0.0.1:1", "3s")), 0o600), os.Rename(next, path)); err != nil {
		t.Fatal(err)
	}
	all.Go(reload)
	if _, err := slow.WriteString(plainYAML("http://127.0.0.1:1", "2s")); err != nil {
		t.Error(err)
	}
	if err := slow.Close(); err != nil {
		t.Error(err)
	}
	all.Wait()
	if got := inst.current.Load().cfg.DrainTimeout; got != 3*time.Second {
		t.Errorf("drain-timeout is %s", got)
	}
}

func TestNothingIsReloadedAfterTheEnd(t *testing.T) {
	inst, cfg := newPlainInstance(t, "http://127.0.0.1:1")
	var all sync.WaitGroup
	all.Go(func() {
		for range 20 {
			if err := reload(inst, cfg); err != nil && !errors.Is(err, errStopping) {
				t.Error(err)
			}
		}
	})
	all.Go(inst.close)
	all.Wait()
	if err := reload(inst, cfg); !errors.Is(err, errStopping) {
		t.Errorf("after the end: %v", err)
	}
}

func TestARefusedReloadLeavesNoSeries(t *testing.T) {
	inst, cfg := newPlainInstance(t, "http://127.0.0.1:1")
	defer inst.close()
	bad := *cfg
	bad.Registries = slices.Clone(cfg.Registries)
	bad.Registries[0].Name = "refused.example.com"
	bad.Registries = append(bad.Registries, cfg.Registries[0])
	bad.Registries[1].UpstreamCAFile = filepath.Join(t.TempDir(), "missing.pem")
	if err := reload(inst, &bad); err == nil {
		t.Fatal("a file that is missing was taken")
	}
	families, err := inst.series.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if strings.Contains(family.String(), "refused.example.com") {
			t.Errorf("%s has a series of a registry that is not there", family.GetName())
		}
	}
}

// TestAStopThatCutsOffEndsAlsoWhatWasReplaced: a request whose body was not
// read is not told that its connection is gone.
func TestAStopThatCutsOffEndsAlsoWhatWasReplaced(t *testing.T) {
	asked, quit := make(chan struct{}), make(chan struct{})
	upstream := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		close(asked)
		<-quit
	}))
	defer upstream.Close()
	defer close(quit)
	inst, cfg := newPlainInstance(t, upstream.URL)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- runServer(ctx, listener, inst) }()
	conn, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "GET /v2/a/blobs/sha256:%064d HTTP/1.1\r\nHost: registry.example.com\r\nContent-Length: 5\r\n\r\n", 0)
	<-asked
	if err := reload(inst, cfg); err != nil {
		t.Fatal(err)
	}
	stop()
	if err := <-ended; err == nil || !strings.Contains(err.Error(), "cut off") {
		t.Errorf("the server: %v", err)
	}
	inst.close() // does not wait for the upstream
}
