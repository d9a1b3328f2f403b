package proxy_test

import (
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
)

// TestTrailersOfAnUpstreamStayBehind: they come after the headers were judged.
func TestTrailersOfAnUpstreamStayBehind(t *testing.T) {
	w := newWorld(t, nil)
	im := w.push("acme/app", "1.0", "one")
	reg := w.front(t)
	reg.Trust = &pretend{}
	g := gateFor(t, reg)
	w.upstream.lie(func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Trailer", "X-Internal-Host")
		io.WriteString(rw, "body")
		rw.Header().Set("X-Internal-Host", "10.1.2.3")
		rw.Header().Set(http.TrailerPrefix+"Set-Cookie", "a=b")
	})
	req, err := http.NewRequest(http.MethodGet, "https://"+g.addr+"/v2/acme/app/blobs/"+im.blob, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = registryName
	resp, err := g.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || string(body) != "body" || len(resp.Trailer) != 0 || resp.Header.Get("Trailer") != "" {
		t.Errorf("got %q, %v, trailers %v", body, err, resp.Trailer)
	}
}

// roads tells by which transport requests went.
type roads struct {
	http.RoundTripper
	mu   sync.Mutex
	took []string
}

func (r *roads) RoundTrip(req *http.Request) (*http.Response, error) {
	r.mu.Lock()
	r.took = append(r.took, req.Method+" "+req.URL.Path)
	r.mu.Unlock()
	return r.RoundTripper.RoundTrip(req)
}

// TestReadersOfBodiesTakeNoConnectionsFromProbes: a client may read as slowly
// as it likes, and hold its connection to the registry for as long.
func TestReadersOfBodiesTakeNoConnectionsFromProbes(t *testing.T) {
	w, trust := newWorld(t, nil), &pretend{}
	im := w.push("acme/app", "1.0", "one")
	trust.sign("acme/app", target("1.0", im))
	reg := w.front(t)
	reg.Trust, reg.Passthrough = trust, true
	asking, bodies := &roads{RoundTripper: reg.Upstream}, &roads{RoundTripper: reg.Upstream}
	reg.Upstream, reg.Bodies = asking, bodies
	g := gateFor(t, reg)
	for _, path := range []string{"manifests/unsigned", "manifests/1.0", "tags/list", "blobs/" + im.blob, "manifests/" + im.digest} {
		g.get("/v2/acme/app/" + path)
	}
	if len(asking.took) == 0 || strings.Contains(strings.Join(asking.took, " "), "blobs/"+im.blob) {
		t.Errorf("for probes and manifests of tags: %v", asking.took)
	}
	if got := strings.Join(bodies.took, " "); got != "GET /v2/acme/app/blobs/"+im.blob+" GET /v2/acme/app/manifests/"+im.digest {
		t.Errorf("for bodies: %v", got)
	}
}

// TestAnAnonymousGateShowsNoTrustDataOfAPrivateRepository: the Notary server
// tells anybody, the registry does not.
func TestAnAnonymousGateShowsNoTrustDataOfAPrivateRepository(t *testing.T) {
	w := newWorld(t, map[string]string{"alice": "secret"})
	w.init("acme/app")
	w.sign("acme/app", "1.0", w.push("acme/app", "1.0", "one"))
	g := gateFor(t, w.front(t))
	a := g.get("/v2/" + gun("acme/app") + "/_trust/tuf/targets.json")
	if a.status != 404 || a.header["Www-Authenticate"] != nil || strings.Contains(string(a.body), "1.0") {
		t.Errorf("got %v", a)
	}
}

// TestRefusedRequestsAreLoggedWithWhatTheyAskedFor, cut short and without the
// query.
func TestRefusedRequestsAreLoggedWithWhatTheyAskedFor(t *testing.T) {
	w := newWorld(t, nil)
	reg := w.front(t)
	reg.Trust = &pretend{}
	g := gateFor(t, reg)
	g.get("/v2/app//manifests/x?token=secret")
	g.log.wait(t, `"path":"/v2/app//manifests/x"`)
	g.get("/" + strings.Repeat("x", 5000))
	g.log.wait(t, `"path":"/`+strings.Repeat("x", 199)+`"`)
	if strings.Contains(g.log.String(), "secret") || strings.Contains(g.log.String(), strings.Repeat("x", 201)) {
		t.Error("the log holds a query or an endless path")
	}
}
