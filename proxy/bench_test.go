package proxy_test

import (
	"context"
	cryptosha256 "crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/sealgate/sealgate/proxy"
	"github.com/sealgate/sealgate/trustcache"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

const benchTag = "v1.50.50-linux"

// signed10000 is a source of one repository with 10,000 signed tags, each for
// im.
type signed10000 struct{ im image }

func (s signed10000) Fetch(_ context.Context, gun string, _ *trustcache.Snapshot) (*trustcache.Snapshot, error) {
	c := trustcache.Contents{GUN: gun, Expires: time.Now().Add(time.Hour)}
	for i := range 10_000 {
		c.Targets = append(c.Targets, target(fmt.Sprintf("v1.%d.%d-linux", i/100, i%100), s.im))
	}
	return trustcache.NewSnapshot(c), nil
}

// warmCache is the real trust cache with all of that in it.
func warmCache(b *testing.B, im image) *trustcache.Cache {
	b.Helper()
	c := trustcache.New(trustcache.Options{Source: signed10000{im}, Refresh: time.Hour})
	b.Cleanup(c.Close)
	if _, err := c.Repository(b.Context(), gun("acme/app")); err != nil {
		b.Fatal(err)
	}
	return c
}

// resolve is what a read of a tag asks of trust.
func resolve(ctx context.Context, b *testing.B, c *trustcache.Cache, gun string) {
	view, err := c.Tag(ctx, gun, benchTag)
	if d := proxy.Decide(gun, benchTag, view, err); d.Denial != nil {
		b.Error(d.Denial)
	}
}

func BenchmarkResolve(b *testing.B) {
	c := warmCache(b, imageOf([]byte("x")))
	ctx, name := b.Context(), gun("acme/app")
	b.ReportAllocs()
	for b.Loop() {
		resolve(ctx, b, c, name)
	}
}

func BenchmarkResolveParallel(b *testing.B) {
	c := warmCache(b, imageOf([]byte("x")))
	ctx, name := b.Context(), gun("acme/app")
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			resolve(ctx, b, c, name)
		}
	})
}

func BenchmarkParse(b *testing.B) {
	for name, target := range map[string]string{
		"manifest by tag":    "/v2/acme/team/app/manifests/" + benchTag,
		"manifest by digest": fmt.Sprintf("/v2/acme/team/app/manifests/sha256:%x", cryptosha256.Sum256(nil)),
		"tag list":           "/v2/acme/team/app/tags/list?n=100&last=" + benchTag,
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := proxy.Parse(target); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// discard is a client that costs nothing.
type discard struct {
	header http.Header
	status int
}

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) WriteHeader(status int)      { d.status = status }
func (d *discard) Write(p []byte) (int, error) { return len(p), nil }

// benchRequest asks the whole handler for a target, again and again, with a
// registry that has one manifest under every digest and never refuses.
func benchRequest(b *testing.B, target string, tracer trace.Tracer) {
	body := fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":"%s","layers":[],"config":{}}`, dockerManifest)
	h := proxy.New(proxy.Options{
		AuthorisationTTL: time.Hour,
		Log:              zerolog.New(io.Discard),
		Tracer:           tracer,
		Registries: []proxy.Registry{{
			Name: registryName, Hosts: []string{registryName},
			URL:         &url.URL{Scheme: "https", Host: "registry.test"},
			Upstream:    constant{body},
			Passthrough: true,
			Trust:       warmCache(b, imageOf(body)),
		}},
	})
	r := httptest.NewRequest(http.MethodGet, target, nil)
	r.Host = registryName
	serve := func() {
		w := &discard{header: http.Header{}}
		h.ServeHTTP(w, r)
		if w.status != 0 && w.status != http.StatusOK {
			b.Fatalf("%s: %d", target, w.status)
		}
	}
	serve() // fetches and admits
	b.ReportAllocs()
	for b.Loop() {
		serve()
	}
}

const dockerManifest = "application/vnd.docker.distribution.manifest.v2+json"

// constant answers every request with the manifest.
type constant struct{ body []byte }

func (a constant) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	w.Header().Set("Content-Type", dockerManifest)
	w.Write(a.body)
	return w.Result(), nil
}

func BenchmarkTagRead(b *testing.B) {
	benchRequest(b, "/v2/acme/app/manifests/"+benchTag, nil)
}

// BenchmarkTagReadTraced is BenchmarkTagRead with every request recorded, and with
// none.
func BenchmarkTagReadTraced(b *testing.B) {
	for name, sampler := range map[string]sdk.Sampler{"recorded": sdk.AlwaysSample(), "left out": sdk.NeverSample()} {
		b.Run(name, func(b *testing.B) {
			provider := sdk.NewTracerProvider(sdk.WithSampler(sampler), sdk.WithSpanProcessor(sdk.NewSimpleSpanProcessor(nil)))
			benchRequest(b, "/v2/acme/app/manifests/"+benchTag, provider.Tracer("bench"))
		})
	}
}

func BenchmarkTagsPage(b *testing.B) {
	benchRequest(b, "/v2/acme/app/tags/list?n=1000&last=v1.50.50-linux", nil)
}
