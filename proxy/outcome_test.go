package proxy_test

import (
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sealgate/sealgate/proxy"
)

func TestEveryRequestHasOneOutcome(t *testing.T) {
	p := newPrivate(t, users)
	long := target("long", p.a)
	long.Length++
	p.trust.sign("acme/app", target("1.0", p.a), long)
	panicking := p.reg
	panicking.Name, panicking.Hosts, panicking.Trust = "panicking.example.com", []string{"panicking.example.com"}, &pretend{panic: "x"}
	permissive := p.reg
	permissive.Name, permissive.Hosts, permissive.Mode = "permissive.example.com", []string{"permissive.example.com"}, proxy.Permissive
	for _, tt := range []struct {
		name, target, host string
		want               proxy.Outcome
	}{
		{"a signed tag", "/v2/acme/app/manifests/1.0", registryName, proxy.Outcome{Registry: registryName, Route: proxy.ManifestByTag, Decision: "allow", Reason: "signed", Status: 200, Bytes: p.a.size}},
		{"a signed length that differs", "/v2/acme/app/manifests/long", registryName, proxy.Outcome{Registry: registryName, Route: proxy.ManifestByTag, Decision: "allow", Reason: "signed", Status: 200, Bytes: p.a.size, LengthDiffers: true}},
		{"an unsigned tag", "/v2/acme/app/manifests/unsigned", registryName, proxy.Outcome{Registry: registryName, Route: proxy.ManifestByTag, Decision: "deny", Reason: "unsigned", Status: 404}},
		{"a blob", "/v2/acme/app/blobs/" + p.a.blob, registryName, proxy.Outcome{Registry: registryName, Route: proxy.Blob, Decision: "pass", Status: 200}},
		{"no route", "/v2/acme/app//1.0", registryName, proxy.Outcome{Registry: registryName, Decision: "refuse", Reason: "no-route", Status: 404}},
		{"an unknown host", "/v2/", "evil.example", proxy.Outcome{Decision: "refuse", Reason: "unknown-host", Status: 421}},
		{"a panic", "/v2/acme/app/manifests/1.0", panicking.Name, proxy.Outcome{Registry: panicking.Name, Route: proxy.ManifestByTag, Decision: "error", Reason: "internal", Status: 500, Panicked: true}},
		{"would be denied", "/v2/acme/app/manifests/unsigned", permissive.Name, proxy.Outcome{Registry: permissive.Name, Route: proxy.ManifestByTag, Decision: "pass", Reason: "no-trust-data", Status: 200, WouldDeny: true}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var mu sync.Mutex
			var got []proxy.Outcome
			g := startGate(t, proxy.Options{
				Registries: []proxy.Registry{p.reg, permissive, panicking}, AuthorisationTTL: time.Minute,
				Observe: func(o proxy.Outcome) { mu.Lock(); defer mu.Unlock(); got = append(got, o) },
			})
			g.rawGet(http.MethodGet, tt.target, "Host: "+tt.host, "Authorization: "+alice, "Accept: "+dockerV2+", "+ociManifest)
			g.stop()
			if len(got) != 2 { // rawGet ends the connection with a request of its own
				t.Fatalf("%d outcomes", len(got))
			}
			o := got[0]
			if o.Duration <= 0 {
				t.Errorf("it took %s", o.Duration)
			}
			o.Duration = 0
			if tt.want.Bytes == 0 {
				o.Bytes = 0
			}
			if o != tt.want {
				t.Errorf("got  %+v\nwant %+v", o, tt.want)
			}
		})
	}
}

// TestAHandlerTakesOverFromTheOneBefore: a reload costs no client a question.
func TestAHandlerTakesOverFromTheOneBefore(t *testing.T) {
	p := newPrivate(t, users)
	before := proxy.New(proxy.Options{Registries: []proxy.Registry{p.reg}, AuthorisationTTL: time.Minute, Now: p.clock.Now})
	first := serveGate(t, before)
	const path = "/v2/acme/app/manifests/1.0"
	if a := first.get(path, "Authorization", alice); a.status != 200 {
		t.Fatal(a)
	}
	after := func(change func(*proxy.Registry), ttl time.Duration) *gate {
		reg := p.reg
		change(&reg)
		p.quiet()
		return serveGate(t, proxy.New(proxy.Options{Registries: []proxy.Registry{reg}, AuthorisationTTL: ttl, Now: p.clock.Now, Before: before}))
	}
	for _, tt := range []struct {
		name   string
		change func(*proxy.Registry)
		ttl    time.Duration
		want   []string
	}{
		{"as it is", func(*proxy.Registry) {}, time.Minute, nil},
		{"a ttl that is over", func(*proxy.Registry) {}, 0, []string{"HEAD /v2/acme/app/manifests/" + p.a.digest}},
		{"another address of the registry", func(r *proxy.Registry) {
			r.URL = mustURL(t, strings.Replace(r.URL.String(), "127.0.0.1", "localhost", 1))
		}, time.Minute, []string{"GET /v2/acme/app/manifests/" + p.a.digest}}, // which may not have it
	} {
		t.Run(tt.name, func(t *testing.T) {
			g := after(tt.change, tt.ttl)
			if a := g.get(path, "Authorization", alice); a.status != 200 {
				t.Errorf("got %v", a)
			}
			if got := p.asked(); strings.Join(got, ",") != strings.Join(tt.want, ",") {
				t.Errorf("the registry was asked %v, want %v", got, tt.want)
			}
			if a := g.get(path, "Authorization", basic("mallory", "x")); a.status != 401 {
				t.Errorf("a stranger: got %v", a)
			}
		})
	}
	if got := before.ManifestStats(); got.Entries != 2 || got.Hits < 3 || got.Bytes < p.a.size {
		t.Errorf("the manifests in memory: %+v", got)
	}
}
