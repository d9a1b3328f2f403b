package proxy_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sealgate/sealgate/proxy"
	"github.com/sealgate/sealgate/proxy/upstream"
	"github.com/sealgate/sealgate/trustcache"
	"github.com/sealgate/sealgate/trustcache/notary"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
)

// traces are the spans that a gate makes, in the order in which they end.
type traces struct {
	ended   tracetest.SpanStubs
	arrives chan sdk.ReadOnlySpan
	sdk.SpanProcessor
	provider *sdk.TracerProvider
}

func newTraces(t testing.TB, opts ...sdk.TracerProviderOption) *traces {
	s := &traces{arrives: make(chan sdk.ReadOnlySpan, 1000), SpanProcessor: tracetest.NewSpanRecorder()}
	s.provider = sdk.NewTracerProvider(append(opts, sdk.WithSpanProcessor(s))...)
	return s
}

// OnEnd implements trace.SpanProcessor of the SDK.
func (s *traces) OnEnd(span sdk.ReadOnlySpan) { s.arrives <- span }

func (s *traces) tracer() trace.Tracer { return s.provider.Tracer("test") }

// wait returns all spans that have ended when these have, each as often as it is
// named.
func (s *traces) wait(t testing.TB, names ...string) tracetest.SpanStubs {
	t.Helper()
	late := time.After(20 * time.Second)
	for {
		var missing []string
		have := map[string]int{}
		for _, span := range s.ended {
			have[span.Name]++
		}
		for _, name := range names {
			if have[name]--; have[name] < 0 {
				missing = append(missing, name)
			}
		}
		if missing == nil {
			return s.ended
		}
		select {
		case span := <-s.arrives:
			s.ended = append(s.ended, tracetest.SpanStubFromReadOnlySpan(span))
		case <-late:
			t.Fatalf("no span %q has ended, but %q", missing, tree(s.ended))
		}
	}
}

// spanOf is the one span of a name.
func spanOf(t *testing.T, spans tracetest.SpanStubs, name string) tracetest.SpanStub {
	t.Helper()
	i := slices.IndexFunc(spans, func(s tracetest.SpanStub) bool { return s.Name == name })
	if i < 0 {
		t.Fatalf("there is no span %q but %q", name, tree(spans))
	}
	return spans[i]
}

// tree are the paths of spans from their roots, sorted.
func tree(spans tracetest.SpanStubs) (paths []string) {
	byID := map[trace.SpanID]tracetest.SpanStub{}
	for _, s := range spans {
		byID[s.SpanContext.SpanID()] = s
	}
	for _, s := range spans {
		path := s.Name
		for s.Parent.IsValid() {
			parent, found := byID[s.Parent.SpanID()]
			if !found {
				path = "?/" + path
				break
			}
			s, path = parent, parent.Name+"/"+path
		}
		paths = append(paths, path)
	}
	slices.Sort(paths)
	return paths
}

// attribute is that of a span, as text; "" where it has none.
func attributeOf(s tracetest.SpanStub, key string) string {
	for _, a := range s.Attributes {
		if string(a.Key) == key {
			return a.Value.String()
		}
	}
	return ""
}

// traced is front with spans for what is asked of the servers.
func (w *world) traced(t testing.TB) func(*proxy.Registry) {
	return func(reg *proxy.Registry) {
		reg.Upstream = &upstream.Traced{Next: reg.Upstream, Registry: reg.Name, Server: "registry"}
		reg.Trust = w.trust(t, func(_ *trustcache.Options, source *notary.Options) {
			source.Transport = &upstream.Traced{Next: source.Transport, Registry: reg.Name, Server: "notary"}
		})
	}
}

// TestOneRequestIsOneTrace: with the refresh that it causes, and what it fetches.
func TestOneRequestIsOneTrace(t *testing.T) {
	w := newWorld(t, nil)
	image := w.push("acme/app", "1.0", "one")
	w.init("acme/app")
	w.sign("acme/app", "1.0", image)
	spans := newTraces(t)
	g := w.cached(t, proxy.Options{AuthorisationTTL: time.Minute, Tracer: spans.tracer()}, w.traced(t))

	if a := g.get("/v2/acme/app/manifests/1.0"); a.status != 200 {
		t.Fatal(a)
	}
	got := spans.wait(t, "manifest-by-tag", "trust refresh", "trust lookup")
	root := spanOf(t, got, "manifest-by-tag")
	want := []string{
		"manifest-by-tag",
		"manifest-by-tag/cache read",
		"manifest-by-tag/registry request",
		"manifest-by-tag/trust lookup",
		"manifest-by-tag/trust lookup/trust refresh",
	}
	for range 4 { // root, timestamp, snapshot, targets
		want = append(want, "manifest-by-tag/trust lookup/trust refresh/notary file", "manifest-by-tag/trust lookup/trust refresh/notary file/notary request")
	}
	slices.Sort(want)
	if !slices.Equal(tree(got), want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(tree(got), "\n"), strings.Join(want, "\n"))
	}
	for _, s := range got {
		if s.SpanContext.TraceID() != root.SpanContext.TraceID() {
			t.Errorf("%s is in another trace", s.Name)
		}
	}
	for key, value := range map[string]string{
		"http.request.method": "GET", "http.response.status_code": "200", "sealgate.registry": registryName, "sealgate.repository": "acme/app",
		"sealgate.tag": "1.0", "sealgate.decision": "allow", "sealgate.reason": "signed", "sealgate.signed_digest": image.digest,
	} {
		if got := attributeOf(root, key); got != value {
			t.Errorf("%s is %q, not %q", key, got, value)
		}
	}
	lookup, refresh := spanOf(t, got, "trust lookup"), spanOf(t, got, "trust refresh")
	if len(lookup.Links) != 1 || lookup.Links[0].SpanContext.SpanID() != refresh.SpanContext.SpanID() {
		t.Errorf("who waits is not linked to what it waits for: %v", lookup.Links)
	}
	g.log.wait(t, `"trace_id":"`+root.SpanContext.TraceID().String()+`"`)

	spans.ended = nil
	if a := g.get(blobPath(image.blob)); a.status != 200 {
		t.Fatal(a)
	}
	g.settle() // the blob is in the cache
	got = spans.wait(t, "blob", "blob fetch", "cache write")
	for _, path := range []string{"blob/cache read", "blob/blob fetch", "blob/blob fetch/registry request", "blob/cache write"} {
		if !slices.Contains(tree(got), path) {
			t.Errorf("%s is not in\n%s", path, strings.Join(tree(got), "\n"))
		}
	}
}

// TestAClientDoesNotSayWhatIsTraced: the trace that it claims to be part of is a
// link, and goes no further.
func TestAClientDoesNotSayWhatIsTraced(t *testing.T) {
	const theirs = "0af7651916cd43dd8448eb211c80319c"
	header := []string{"Traceparent", "00-" + theirs + "-b7ad6b7169203331-01", "Tracestate", "evil=1", "Baggage", "evil=1"}
	for _, tt := range []struct {
		name    string
		sampler sdk.Sampler
		spans   bool
	}{
		{"sampled", sdk.ParentBased(sdk.AlwaysSample()), true},
		{"not sampled", sdk.ParentBased(sdk.NeverSample()), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, nil)
			w.init("acme/app")
			w.sign("acme/app", "1.0", w.push("acme/app", "1.0", "words"))
			spans := newTraces(t, sdk.WithSampler(tt.sampler))
			reg := w.front(t)
			w.traced(t)(&reg)
			g := startGate(t, proxy.Options{Registries: []proxy.Registry{reg}, Tracer: spans.tracer()})
			w.quiet()
			if a := g.get("/v2/acme/app/manifests/1.0", header...); a.status != 200 {
				t.Fatal(a)
			}
			g.stop()
			g.log.wait(t, `"trace_id":"`)
			if strings.Contains(g.log.String(), theirs) {
				t.Errorf("the client's trace is in the log:\n%s", g.log)
			}
			for _, a := range append(w.upstream.list(), w.notarySpy.list()...) {
				for _, name := range []string{"Traceparent", "Tracestate", "Baggage"} {
					if a.Header[name] != nil {
						t.Errorf("%s %s has the header %s: %q", a.Method, a.Target, name, a.Header[name])
					}
				}
			}
			if !tt.spans {
				if len(spans.arrives) > 0 {
					t.Errorf("%s is recorded", (<-spans.arrives).Name())
				}
				return
			}
			root := spanOf(t, spans.wait(t, "manifest-by-tag"), "manifest-by-tag")
			if root.Parent.IsValid() || root.SpanContext.TraceID().String() == theirs {
				t.Errorf("a client has chosen the trace: %v", root.SpanContext)
			}
			if len(root.Links) != 1 || root.Links[0].SpanContext.TraceID().String() != theirs || root.Links[0].SpanContext.TraceState().Len() > 0 {
				t.Errorf("the links are %v", root.Links)
			}
		})
	}
}

// TestNoSecretIsInATrace: nor what was refused before it was a route.
func TestNoSecretIsInATrace(t *testing.T) {
	p := newPrivate(t, users)
	spans := newTraces(t)
	p.reg.Push = true
	p.reg.Upstream = &upstream.Traced{Next: p.reg.Upstream, Registry: registryName, Server: "registry"}
	g := startGate(t, proxy.Options{Registries: []proxy.Registry{p.reg}, Tracer: spans.tracer()})
	alice := basic("alice", users["alice"])
	upload := g.do(http.MethodPost, "/v2/acme/app/blobs/uploads/", "Authorization", alice)
	location := upload.header.Get("Location")
	token := location[strings.LastIndex(location, "/")+1:]
	if upload.status != 202 || len(token) < 20 {
		t.Fatal(upload)
	}
	g.do(http.MethodGet, location, "Authorization", alice)
	g.get("/v2/acme/app/manifests/1.0", "Authorization", alice)
	g.get("/v2/acme/app/tags/list?n=1&last=query-of-a-client", "Authorization", alice)
	g.get("/v2/acme/app/nothing?token=query-of-a-client")
	for _, s := range spans.wait(t, "uploads", "upload", "manifest-by-tag", "tags", "refused") {
		text := fmt.Sprintf("%+v", s)
		for _, secret := range []string{users["alice"], strings.TrimPrefix(alice, "Basic "), token, "query-of-a-client", "/v2/"} {
			if strings.Contains(text, secret) {
				t.Errorf("%q is in the span %s", secret, text)
			}
		}
	}
}

// TestWhatFailsIsAnError of its span, with a fixed word.
func TestWhatFailsIsAnError(t *testing.T) {
	w := newWorld(t, nil)
	spans := newTraces(t)
	reg := w.front(t)
	w.traced(t)(&reg)
	g := startGate(t, proxy.Options{Registries: []proxy.Registry{reg}, Tracer: spans.tracer()})
	w.notarySpy.lie(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) })
	if a := g.get("/v2/acme/app/manifests/1.0"); a.status != 503 {
		t.Fatal(a)
	}
	got := spans.wait(t, "manifest-by-tag", "trust refresh")
	for name, want := range map[string]string{
		"manifest-by-tag": "unreachable",
		"trust lookup":    trustcache.ErrUnreachable.Error(),
		"trust refresh":   trustcache.ErrUnreachable.Error(),
		"notary file":     trustcache.ErrUnreachable.Error(),
		"notary request":  "",
	} {
		if s := spanOf(t, got, name); s.Status.Code.String() != "Error" || s.Status.Description != want {
			t.Errorf("%s has the status %+v", name, s.Status)
		}
	}
}
