package proxy_test

import (
	"context"
	"net/http"
	"net/netip"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sealgate/sealgate/proxy"
)

// limited is a gate before one signed and one unsigned tag, and the client that a
// request is of stands in its User-Agent.
func limited(t *testing.T, clock *clock, limits proxy.ClientLimits, change ...func(*proxy.Options)) (*world, *gate) {
	t.Helper()
	w, trust := newWorld(t, nil), &pretend{}
	image := w.push("acme/app", "1.0", "one")
	w.push("acme/app", "unsigned", "two")
	trust.sign("acme/app", target("1.0", image))
	reg := w.front(t)
	reg.Trust = trust
	opts := proxy.Options{
		Registries: []proxy.Registry{reg}, Now: clock.Now, ClientLimits: limits,
		Client: func(r *http.Request) proxy.Client {
			counted, _ := netip.ParsePrefix(r.UserAgent())
			return proxy.Client{Address: "192.0.2.1", Counted: counted}
		},
	}
	for _, f := range change {
		f(&opts)
	}
	return w, startGate(t, opts)
}

const one, other = "192.0.2.1/32", "2001:db8:0:1::/64"

// TestTheRateOfOneClientIsLimited, and what it is told depends on nothing that it
// asks for: neither on trust nor on the registry.
func TestTheRateOfOneClientIsLimited(t *testing.T) {
	clock := newClock()
	w, g := limited(t, clock, proxy.ClientLimits{PerSecond: 2, Burst: 3})
	for range 3 {
		if a := g.get("/v2/", "User-Agent", one); a.status != 200 {
			t.Fatalf("within the burst: got %v", a)
		}
	}
	w.quiet()
	for _, path := range []string{
		"/v2/", "/v2/acme/app/manifests/1.0", "/v2/acme/app/manifests/unsigned", "/v2/acme/nothing/manifests/1.0", "/v2/acme/app/tags/list",
		"/v2/acme/app/manifests/" + sha256, "/v2/acme/app/blobs/" + sha256, "/nothing", "/token?service=x",
	} {
		isRefusal(t, g.get(path, "User-Agent", one), http.StatusTooManyRequests, "TOOMANYREQUESTS",
			"this client sends more than the 2 requests a second that sealgate serves one: try again in 1 s", http.Header{"Retry-After": {"1"}})
	}
	w.heardNothing(t)
	if want := `"decision":"refuse","reason":"too-many-requests","status":429`; !strings.Contains(g.log.String(), want) {
		t.Errorf("the log has no %s: %s", want, g.log)
	}
	for _, who := range []string{other, "whom nobody counts"} {
		if a := g.get("/v2/acme/app/manifests/1.0", "User-Agent", who); a.status != 200 {
			t.Errorf("%s: got %v", who, a)
		}
	}
	clock.advance(time.Second)
	for range 2 { // what was refused has not made it wait longer
		if a := g.get("/v2/acme/app/manifests/1.0", "User-Agent", one); a.status != 200 {
			t.Errorf("a second later: got %v", a)
		}
	}
	if a := g.get("/v2/acme/app/manifests/1.0", "User-Agent", one); a.status != 429 {
		t.Errorf("more than in a second: got %v", a)
	}
}

// TestARateIsKeptOverAReload, but for what has changed in it.
func TestARateIsKeptOverAReload(t *testing.T) {
	clock, limits := newClock(), proxy.ClientLimits{PerSecond: 1, Burst: 2}
	var opts proxy.Options
	limited(t, clock, limits, func(o *proxy.Options) { opts = *o })
	before := proxy.New(opts)
	ask := func(h http.Handler) int {
		return serveGate(t, h).get("/v2/", "User-Agent", one).status
	}
	if first, second, third := ask(before), ask(before), ask(before); first != 200 || second != 200 || third != 429 {
		t.Fatalf("before: %d, %d, %d", first, second, third)
	}
	opts.Before = before
	if got := ask(proxy.New(opts)); got != 429 {
		t.Errorf("a reload made it begin anew: %d", got)
	}
	opts.ClientLimits = proxy.ClientLimits{}
	if got := ask(proxy.New(opts)); got != 200 {
		t.Errorf("without a limit: %d", got)
	}
	opts.ClientLimits = proxy.ClientLimits{PerSecond: 5, Burst: 5}
	h := proxy.New(opts)
	ask(h) // from then on it has more
	clock.advance(time.Second)
	for range 5 {
		if got := ask(h); got != 200 {
			t.Errorf("with another limit: %d", got)
		}
	}
}

func TestTheRequestsOfOneClientAtOnceAreLimited(t *testing.T) {
	w, g := limited(t, newClock(), proxy.ClientLimits{AtOnce: 2})
	arrived, finish := make(chan struct{}), make(chan struct{})
	w.upstream.lie(func(rw http.ResponseWriter, r *http.Request) {
		arrived <- struct{}{}
		<-finish
		http.NotFound(rw, r)
	})
	blob := "/v2/acme/app/blobs/" + sha256
	var busy sync.WaitGroup
	for range 2 {
		busy.Go(func() { g.get(blob, "User-Agent", one) })
		<-arrived
	}
	isRefusal(t, g.get("/v2/acme/app/tags/list", "User-Agent", one), http.StatusTooManyRequests, "TOOMANYREQUESTS",
		"2 requests of this client are under way, as many as sealgate serves one at once: try again in 1 s", http.Header{"Retry-After": {"1"}})
	if a := g.get("/v2/acme/app/tags/list", "User-Agent", other); a.status != 200 {
		t.Errorf("another client got %v", a)
	}
	close(finish)
	busy.Wait()
	w.upstream.lie(nil)
	g.log.wait(t, `"reason":"too-many-at-once"`)
	if a := g.get("/v2/acme/app/tags/list", "User-Agent", one); a.status != 200 {
		t.Errorf("when they were over: got %v", a)
	}
}

// TestARequestThatEndsBadlyIsOver: a client that goes away, a registry that cuts
// and a defect of ours use up nothing for good.
func TestARequestThatEndsBadlyIsOver(t *testing.T) {
	trust := &pretend{panic: "a bug"}
	w, g := limited(t, newClock(), proxy.ClientLimits{AtOnce: 1}, func(o *proxy.Options) { o.Registries[0].Trust = trust })
	if a := g.get("/v2/acme/app/manifests/1.0", "User-Agent", one); a.status != 500 {
		t.Fatalf("got %v", a)
	}
	arrived := make(chan struct{})
	w.upstream.lie(func(_ http.ResponseWriter, r *http.Request) { close(arrived); <-r.Context().Done() })
	ctx, hangUp := context.WithCancel(context.Background())
	req, err := http.NewRequestWithContext(ctx, "GET", "https://"+g.addr+"/v2/acme/app/blobs/"+sha256, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host, req.Header["User-Agent"] = registryName, []string{one}
	var gone sync.WaitGroup
	gone.Go(func() { _, _ = g.http.Do(req) })
	<-arrived
	hangUp()
	gone.Wait()
	g.log.wait(t, `"reason":"client-gone"`)
	w.upstream.lie(func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Length", "9")
		rw.Write([]byte("cut"))
	})
	if a, err := g.try("GET", "/v2/acme/app/blobs/"+sha256, "User-Agent", one); err == nil && a.cut == nil {
		t.Fatalf("got %v", a)
	}
	w.upstream.lie(nil)
	if a := g.get("/v2/", "User-Agent", one); a.status != 200 {
		t.Errorf("got %v", a)
	}
}

// TestALimitedClientOfAStrictMirrorStaysThere: at a 429 for a tag it would go on
// to Docker Hub.
func TestALimitedClientOfAStrictMirrorStaysThere(t *testing.T) {
	w, g := limited(t, newClock(), proxy.ClientLimits{PerSecond: 1, Burst: 1}, func(o *proxy.Options) {
		o.Registries[0].Denial = proxy.StrictMirror
		o.Registries[0].Policy = always(proxy.Policy{Exempt: []string{"dev"}})
	})
	g.get("/v2/", "User-Agent", one)
	w.quiet()
	get, head := g.rawGet("GET", "/v2/acme/app/manifests/1.0", "User-Agent: "+one), g.rawGet("HEAD", "/v2/acme/app/manifests/1.0", "User-Agent: "+one)
	checkStrict(t, get, head, 429, "this client sends more than the 1 requests a second")
	unsigned := g.rawGet("GET", "/v2/acme/app/manifests/unsigned", "User-Agent: "+one)
	for _, a := range []*answer{&get, &unsigned} {
		a.header.Del("X-Request-Id")
		a.header.Del("Date")
	}
	if !reflect.DeepEqual(get, unsigned) {
		t.Errorf("got %v and of another tag %v", get, unsigned)
	}
	for _, path := range []string{"/v2/acme/app/manifests/dev", "/v2/acme/app/manifests/" + sha256, "/v2/acme/app/tags/list", "/v2/acme/app//manifests/1.0"} {
		if a := g.get(path, "User-Agent", one); a.status != 429 {
			t.Errorf("%s: got %v", path, a)
		}
	}
	w.heardNothing(t)
}
