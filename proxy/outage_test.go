package proxy_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/sealgate/sealgate/proxy"
)

// TestAnOutageTellsAStrangerNothing (I8): while the registry cannot say who may
// read, nobody learns from a gate with a cache what is signed, nor what is in it.
func TestAnOutageTellsAStrangerNothing(t *testing.T) {
	for _, tt := range []struct {
		name  string
		users map[string]string
		down  func(*private)
	}{
		{"a registry that is gone", users, func(p *private) { closed(p.t, p.registry) }},
		{"a proxy before it that says so", nil, func(p *private) { p.upstream.lie(status(503)) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := newPrivate(t, tt.users)
			c := p.cached(t, proxy.Options{AuthorisationTTL: time.Minute}, func(reg *proxy.Registry) { reg.Trust, reg.Passthrough = p.trust, true })
			for _, path := range []string{"/v2/acme/app/manifests/1.0", blobPath(p.a.blob)} {
				if a := c.get(path, "Authorization", alice); a.status != 200 {
					t.Fatal(a)
				}
			}
			c.waitFor(t, p.a.blob)
			tt.down(p)
			if a := c.get("/v2/acme/app/manifests/1.0", "Authorization", alice); a.status != 200 {
				t.Errorf("who was let in a moment ago: got %v", a)
			}
			var first *answer
			for _, path := range []string{
				"/v2/acme/app/manifests/1.0", "/v2/acme/app/manifests/2.0", "/v2/acme/app/manifests/unsigned", "/v2/acme/plain/manifests/unsigned", "/v2/acme/app/tags/list",
				"/v2/acme/app/manifests/" + p.a.digest, "/v2/acme/app/manifests/" + p.b.digest, blobPath(p.a.blob), blobPath(p.b.blob),
			} {
				for _, header := range [][]string{nil, {"Authorization", basic("alice", "wrong")}} {
					a := sameForHead(t, c.gate, path, header...)
					isRefusal(t, a, 503, "UNAVAILABLE", "the registry cannot be reached: it has what is not in the cache, and says who may have what is", http.Header{"Retry-After": {"5"}})
					if first == nil {
						first = &a
					} else if what := a.differs(*first); what != nil {
						t.Errorf("%s is told from the others by %v", path, what)
					}
				}
			}
		})
	}
}
