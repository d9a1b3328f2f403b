package proxy_test

import (
	"bytes"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sealgate/sealgate/proxy"
	"github.com/sealgate/sealgate/trustcache"
	"github.com/sealgate/sealgate/trustcache/notary"
)

// TestAThousandPullsOfOneColdTag: one refresh of trust, one manifest fetched.
func TestAThousandPullsOfOneColdTag(t *testing.T) {
	w := newWorld(t, nil)
	w.init("acme/app", releases)
	im := w.push("acme/app", "1.0", "one")
	w.sign("acme/app", "1.0", im, releases)
	for _, setup := range []struct {
		name        string
		passthrough bool
		ttl         time.Duration
	}{{"anonymous", false, time.Minute}, {"anonymous, every request authorised", false, 0}, {"passthrough", true, time.Minute}} {
		t.Run(setup.name, func(t *testing.T) {
			var refreshes atomic.Int32
			reg := w.front(t)
			reg.Passthrough = setup.passthrough
			reg.Trust = w.trust(t, func(o *trustcache.Options, _ *notary.Options) {
				o.OnRefresh = func(trustcache.Refresh) { refreshes.Add(1) }
			})
			g := startGate(t, proxy.Options{Registries: []proxy.Registry{reg}, AuthorisationTTL: setup.ttl})
			clients := make([]*http.Client, 4) // a server takes 250 requests on one connection
			for i := range clients {
				clients[i] = g.client()
				if _, err := g.by(clients[i], "GET", "/connect"); err != nil {
					t.Fatal(err)
				}
			}
			w.quiet()
			start := make(chan struct{})
			var all sync.WaitGroup
			for i := range 1000 {
				all.Go(func() {
					<-start
					a, err := g.by(clients[i%len(clients)], "GET", "/v2/acme/app/manifests/1.0", "Authorization", alice)
					if err != nil || a.status != 200 || !bytes.Equal(a.body, im.body) {
						t.Errorf("got %v, %v", a, err)
					}
				})
			}
			close(start)
			all.Wait()
			if got := w.asked(); !slices.Equal(got, []string{"GET /v2/acme/app/manifests/" + im.digest}) {
				t.Errorf("the registry was asked %d times: %v", len(got), slices.Compact(slices.Sorted(slices.Values(got))))
			}
			if n := refreshes.Load(); n != 1 {
				t.Errorf("trust was refreshed %d times", n)
			}
			if n := len(w.notary.Requests()); n > 10 {
				t.Errorf("the trust server was asked %d times", n)
			}
		})
	}
}

// TestCallersOfOneFetchHaveTheSameCredentials: what Alice's fetch brings is
// not Bob's.
func TestCallersOfOneFetchHaveTheSameCredentials(t *testing.T) {
	p := newPrivate(t, users)
	g := p.gate(t, time.Minute)
	as := []string{alice, bob, "", basic("bob", "wrong")}
	var all sync.WaitGroup
	for i := range 200 {
		all.Go(func() {
			authorization := as[i%len(as)]
			a, err := g.try("GET", "/v2/acme/app/manifests/1.0", "Authorization", authorization)
			want := 401
			if i%len(as) < 2 {
				want = 200
			}
			if err != nil || a.status != want || want == 401 && bytes.Contains(a.body, p.a.body[:40]) {
				t.Errorf("with %q: got %v, %v", authorization, a, err)
			}
		})
	}
	all.Wait()
	fetches := 0
	for _, got := range p.upstream.list() { // those that authentication let in
		if got.Method == "GET" {
			fetches++
		}
		if !strings.HasSuffix(got.Target, p.a.digest) {
			t.Errorf("the registry was asked %s %s", got.Method, got.Target)
		}
	}
	if fetches > 2 {
		t.Errorf("%d fetches for two users", fetches)
	}
}

// TestAThousandPullsAtTheEndOfTheTTL: a registry is asked once, not by all who
// come at that moment.
func TestAThousandPullsAtTheEndOfTheTTL(t *testing.T) {
	p := newPrivate(t, users)
	g := p.gate(t, time.Minute)
	const path = "/v2/acme/app/manifests/1.0"
	if a := g.get(path, "Authorization", alice); a.status != 200 {
		t.Fatal(a)
	}
	p.clock.advance(time.Minute)
	p.quiet()
	clients := make([]*http.Client, 8)
	for i := range clients {
		clients[i] = g.client()
		if _, err := g.by(clients[i], "GET", "/connect"); err != nil {
			t.Fatal(err)
		}
	}
	var arrived atomic.Int32
	release := make(chan struct{})
	p.upstream.lie(func(w http.ResponseWriter, _ *http.Request) { // answers when all have come
		arrived.Add(1)
		<-release
		w.WriteHeader(200)
	})
	var all sync.WaitGroup
	for i := range 1000 {
		all.Go(func() {
			if a, err := g.by(clients[i%len(clients)], "GET", path, "Authorization", alice); err != nil || a.status != 200 {
				t.Errorf("got %v, %v", a, err)
			}
		})
	}
	time.AfterFunc(100*time.Millisecond, func() { close(release) })
	all.Wait()
	if n := arrived.Load(); n != 1 {
		t.Errorf("the registry was asked %d times", n)
	}
}
