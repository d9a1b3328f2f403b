package e2e

import (
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	otlp "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// traceCollector is a server of OTLP over HTTP that keeps what it gets.
type traceCollector struct {
	*httptest.Server
	mu       sync.Mutex
	spans    []*otlp.Span
	services []string // service.name of each
	keys     []string // the header Api-Key of each request
}

func newTraceCollector(t *testing.T) *traceCollector {
	t.Helper()
	c := &traceCollector{}
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := c.take(r); err != nil {
			t.Error(err)
		}
		w.Header().Set("Content-Type", "application/x-protobuf")
	}))
	t.Cleanup(c.Close)
	return c
}

func (c *traceCollector) take(r *http.Request) error {
	if r.Method != http.MethodPost || r.URL.Path != "/v1/traces" || r.Header.Get("Content-Type") != "application/x-protobuf" || r.Header.Get("Content-Encoding") != "gzip" {
		return fmt.Errorf("%s %s %v is not OTLP as it was asked for", r.Method, r.URL, r.Header)
	}
	unzipped, err := gzip.NewReader(r.Body)
	if err != nil {
		return err
	}
	body, err := io.ReadAll(unzipped)
	if err != nil {
		return err
	}
	var request collector.ExportTraceServiceRequest
	if err := proto.Unmarshal(body, &request); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.keys = append(c.keys, r.Header.Get("Api-Key"))
	for _, of := range request.GetResourceSpans() {
		for _, scope := range of.GetScopeSpans() {
			for _, span := range scope.GetSpans() {
				c.spans = append(c.spans, span)
				c.services = append(c.services, valueOf(of.GetResource().GetAttributes(), "service.name"))
			}
		}
	}
	return nil
}

func valueOf(attributes []*common.KeyValue, key string) string {
	for _, a := range attributes {
		if a.GetKey() == key {
			return a.GetValue().GetStringValue()
		}
	}
	return ""
}

// paths are those of the spans of a trace from its root, each once, sorted.
func (c *traceCollector) paths(trace string) (paths []string) {
	byID := map[string]*otlp.Span{}
	for _, s := range c.spans {
		byID[string(s.GetSpanId())] = s
	}
	for _, s := range c.spans {
		if fmt.Sprintf("%x", s.GetTraceId()) != trace {
			continue
		}
		path := s.GetName()
		for parent := byID[string(s.GetParentSpanId())]; parent != nil; parent = byID[string(parent.GetParentSpanId())] {
			path = parent.GetName() + "/" + path
		}
		paths = append(paths, path)
	}
	slices.Sort(paths)
	return slices.Compact(paths)
}

// TestTracesReachACollector: all of them, those of a request's refresh among them,
// when Sealgate stops at the latest.
func TestTracesReachACollector(t *testing.T) {
	t.Parallel()
	traces := newTraceCollector(t)
	w, image, _, _ := outageWorld(t, func(s *settings) {
		withAdmin(t, s)
		s.env = []string{
			"OTEL_TRACES_EXPORTER=otlp", "OTEL_EXPORTER_OTLP_ENDPOINT=" + traces.URL, "OTEL_EXPORTER_OTLP_COMPRESSION=gzip",
			"OTEL_EXPORTER_OTLP_HEADERS=api-key=secret%20key", "OTEL_SERVICE_NAME=gate-of-the-suite",
			"OTEL_BSP_SCHEDULE_DELAY=600000", // not before it stops
		}
	})
	wantServed(t, w.manifest(t, "team/app", "signed"), image)
	if code := w.stop(20 * time.Second); code != 0 {
		t.Errorf("exit code %d", code)
	}
	log := w.output()
	_, after, _ := strings.Cut(log, `"tag":"signed"`)
	before := log[:len(log)-len(after)]
	_, trace, found := strings.Cut(before[strings.LastIndex(before, "\n")+1:], `"trace_id":"`)
	if !found || len(trace) < 32 {
		t.Fatalf("no trace in the access line\n%s", w.tail())
	}
	traces.mu.Lock()
	defer traces.mu.Unlock()
	const refresh = "manifest-by-tag/trust lookup/trust refresh"
	want := []string{
		"manifest-by-tag",
		"manifest-by-tag/registry request",
		"manifest-by-tag/trust lookup",
		refresh,
		refresh + "/notary file",
		refresh + "/notary file/notary request",
	}
	if got := traces.paths(trace[:32]); !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if i := slices.IndexFunc(traces.services, func(name string) bool { return name != "gate-of-the-suite" }); i >= 0 || len(traces.keys) == 0 || traces.keys[0] != "secret key" {
		t.Errorf("of the services %q, with the keys %q", traces.services, traces.keys)
	}
	if strings.Contains(log, "secret") {
		t.Errorf("a secret is in the log\n%s", log)
	}
}
