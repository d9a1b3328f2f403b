package main

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/sealgate/sealgate/config"
)

// cachedYAML is what makes a configuration of the story one with a cache.
func cachedYAML(cache string) []string {
	return []string{"state-dir: .\n", "storage: {filesystem: {rootdirectory: .}}\n", "    notary:", "    redirects: follow\n    credentials: anonymous\n    cache: " + cache + "\n    notary:"}
}

// layerOf is the path of the first layer of the signed image.
func layerOf(t *testing.T, inst *instance) string {
	t.Helper()
	var m struct{ Layers []struct{ Digest string } }
	if w := get(inst, signedTag); w.Code != http.StatusOK || json.Unmarshal(w.Body.Bytes(), &m) != nil || len(m.Layers) == 0 {
		t.Fatal(w.Code, w.Body)
	}
	return "/v2/demo/app/blobs/" + m.Layers[0].Digest
}

// fetched waits until nothing is on its way into a cache.
func fetched(inst *instance) {
	for inst.Flights().Flights > 0 {
		time.Sleep(time.Millisecond)
	}
}

// TestCachesOverReloads: one whose settings stay goes on as it is, one whose settings
// change keeps its content, and one that is taken away serves nothing.
func TestCachesOverReloads(t *testing.T) {
	inst, load := newStoryInstance(t)
	if len(inst.Caches()) != 0 {
		t.Fatalf("without a cache: %+v", inst.Caches())
	}
	inst.close()
	cfg := load(cachedYAML("{max-size: 1GiB, ttl: 1h}")...)
	inst, err := newInstance(cfg, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(inst.close)
	layer := layerOf(t, inst)
	from := func() string {
		before := requestsFrom(t, inst)
		if w := get(inst, layer); w.Code != http.StatusOK {
			t.Fatal(w.Code, w.Body)
		}
		for from, n := range requestsFrom(t, inst) {
			if n > before[from] {
				return from
			}
		}
		return ""
	}
	if got := from(); got != "flight" {
		t.Errorf("the first read came from %q", got)
	}
	fetched(inst)
	first := inst.current.Load().registries[0].cache
	for _, step := range []struct {
		name, cache string
		same        bool
		from        string
	}{
		{"the same settings", "{ttl: 1h, max-size: 1GiB}", true, "store"},
		{"another ttl", "{max-size: 1GiB, ttl: 2h}", false, "store"},
		{"another bound", "{max-size: 2GiB, ttl: 2h}", false, "store"},
	} {
		if err := reload(inst, load(cachedYAML(step.cache)...)); err != nil {
			t.Fatal(err)
		}
		if now := inst.current.Load().registries[0].cache; (now == first) != step.same || now.stop == nil {
			t.Errorf("%s: the same cache: %v, swept: %v", step.name, now == first, now.stop != nil)
		}
		if got := from(); got != step.from {
			t.Errorf("%s: read from %q", step.name, got)
		}
	}
	if first.stop != nil {
		t.Error("a cache that is used no longer is swept on")
	}
	without := append(cachedYAML("{}"), "never", "never")
	without[3] = strings.Replace(without[3], "cache: {}", "", 1)
	if err := reload(inst, load(without...)); err != nil {
		t.Fatal(err)
	}
	if got := from(); got != "" || len(inst.Caches()) != 0 {
		t.Errorf("without a cache: read from %q, %+v", got, inst.Caches())
	}
}

// requestsFrom counts what was served, by where it came from.
func requestsFrom(t *testing.T, inst *instance) map[string]float64 {
	t.Helper()
	families, err := inst.series.Gather()
	if err != nil {
		t.Fatal(err)
	}
	counts := map[string]float64{}
	for _, f := range families {
		if f.GetName() != "sealgate_cache_requests_total" {
			continue
		}
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if l.GetName() == "from" {
					counts[l.GetValue()] += m.GetCounter().GetValue()
				}
			}
		}
	}
	return counts
}

// TestASpoolThatCannotBeMade: it is said at the start, not at the first pull.
func TestASpoolThatCannotBeMade(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "spool"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := config.Parse("proxy.yaml", []byte(strings.Replace(plainYAML("http://127.0.0.1:1\n    redirects: follow\n    cache: {}", "1s"), "storage:", "state-dir: .\nstorage:", 1)), dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := newInstance(cfg, zerolog.Nop()); err == nil || !strings.Contains(err.Error(), "state-dir: ") {
		t.Errorf("got %v", err)
	}
}
