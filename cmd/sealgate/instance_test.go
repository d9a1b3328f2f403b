package main

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"

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
			if err := inst.reload(bad); err == nil || inst.current.Load() != before {
				t.Errorf("a file that is missing: %v", err)
			}
			continue
		}
		if err := inst.reload(configurations[n%len(configurations)]); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	all.Wait()
}

func TestARequestKeepsThePartsThatItBeganWith(t *testing.T) {
	inst, load := newStoryInstance(t)
	before := inst.parts() // as a request does
	if err := inst.reload(load("mode: enforced", "mode: disabled")); err != nil {
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
	if err := inst.reload(load("refresh: 1s", "refresh: 1h")); err != nil {
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
	if err := inst.reload(pinned); err != nil {
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
