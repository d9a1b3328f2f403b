package proxy_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sealgate/sealgate/proxy"
)

// pages is a registry's web server, which notes what it was asked.
type pages struct {
	*httptest.Server
	mu     sync.Mutex
	asked  []*http.Request
	bodies []string
	answer http.HandlerFunc // nil: 200 "a page"
}

func newPages(t *testing.T) *pages {
	t.Helper()
	p := &pages{}
	p.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		p.mu.Lock()
		p.asked, p.bodies = append(p.asked, r.Clone(context.Background())), append(p.bodies, string(body))
		answer := p.answer
		p.mu.Unlock()
		if answer != nil {
			answer(w, r)
			return
		}
		_, _ = io.WriteString(w, "a page")
	}))
	t.Cleanup(p.Close)
	return p
}

// targets are what was asked so far, and forgets it.
func (p *pages) targets() (got []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, r := range p.asked {
		got = append(got, r.Method+" "+r.RequestURI)
	}
	p.asked, p.bodies = nil, nil
	return got
}

// last is the latest request and its body.
func (p *pages) last(t *testing.T) (*http.Request, string) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.asked) == 0 {
		t.Fatal("nothing reached the registry")
	}
	return p.asked[len(p.asked)-1], p.bodies[len(p.bodies)-1]
}

// gateTo is a gate before the pages, with these prefixes open.
func (p *pages) gateTo(t *testing.T, change func(*proxy.Registry), prefixes ...string) *gate {
	t.Helper()
	reg := p.registry(t, prefixes...)
	if change != nil {
		change(&reg)
	}
	return gateFor(t, reg)
}

// registry is the registry whose pages these are.
func (p *pages) registry(t *testing.T, prefixes ...string) proxy.Registry {
	pool := p.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	return proxy.Registry{
		Name: registryName, Hosts: []string{registryName}, URL: mustURL(t, p.URL), Upstream: transport(t, pool),
		Passthrough: true, Trust: &pretend{}, PassPaths: prefixes,
	}
}

func TestPathsThatPass(t *testing.T) {
	p := newPages(t)
	g := p.gateTo(t, func(r *proxy.Registry) { r.URL.Path = "/below" }, "/api", "/harbor/", "/-")
	for _, target := range []string{
		"/api", "/api/", "/api/v2.0/projects?page=1&q=a%20b|c", "/api?", "/api/x/v2", "/harbor/", "/harbor/projects/1", "/-/health",
		"/api/v4/projects/group%2Fproject/registry",              // GitLab's name of a project
		"/api/v2.0/projects/p/repositories/a%252Fb/artifacts/v1", // Harbor's name of a repository
		"/api/a;b=c/d", "/api/...", "/api/.well-known", "/api/100%25", "/api/caf%C3%A9", "/api/a+b(c)!$&'*,=:@~",
		"/api/a/manifests/x", "/api/v2/tags",
	} {
		if a := g.rawGet("GET", target); a.status != 200 || string(a.body) != "a page" {
			t.Errorf("%s: got %v", target, a)
		}
		if got := p.targets(); !slices.Equal(got, []string{"GET " + target}) {
			t.Errorf("%s arrived as %q", target, got)
		}
		a, reset := g.framesGet(target)
		if got := p.targets(); reset || a.status != 200 || !slices.Equal(got, []string{"GET " + target}) {
			t.Errorf("%s over HTTP/2: got %v, and it arrived as %q", target, a, got)
		}
	}
	for _, method := range []string{"HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"} {
		a := g.do(method, "/api/x")
		if got := p.targets(); a.status != 200 || !slices.Equal(got, []string{method + " /api/x"}) {
			t.Errorf("%s: got %v, and %q", method, a, got)
		}
	}
	if log := g.log.String(); !strings.Contains(log, `"route":"pass-path","prefix":"/api","decision":"pass"`) || strings.Contains(log, "projects") {
		t.Errorf("logged %s", log)
	}
}

// TestWaysOutOfAPrefix: whatever decodes, folds or cuts a path, none leads out of
// the prefix or into the registry API.
func TestWaysOutOfAPrefix(t *testing.T) {
	p := newPages(t)
	g := p.gateTo(t, func(r *proxy.Registry) { r.URL.Path = "/artifactory" }, "/api", "/artifactory/api", "/repository/")
	deep := "%2e%2e"
	for range 12 {
		deep = strings.ReplaceAll(deep, "%", "%25")
	}
	for _, target := range []string{
		"/", "/apis", "/api2/x", "/API/x", "/%61pi/x", "//api/x", "/harbor", "/v2", "/repository", "/x/api",
		"/api/../v2/acme/app/manifests/unsigned", "/api/./x", "/api//x", "/api/x/..", "/api/..", "/api/.", "/api//",
		"/api/%2e%2e/v2/a", "/api/%2E%2e/v2/a", "/api/.%2e/v2/a", "/api%2f..%2fv2", "/api/x%2f..%2f..%2fv2%2fa", "/api/%2f", "/api/x%2f%2fy", "/api/x%2f/y",
		"/api/%252e%252e/v2/a", "/api/%25252e%25252e/v2/a", "/api/x%252f..%252fv2", "/api/%25%32%65%25%32%65/v2", "/api/%zz%2e%2e", "/api/%25zz/%252e%252e/v2", "/api/" + deep + "/v2",
		`/api/..\v2\a`, "/api/..%5cv2", "/api/x%5c..%5cv2", "/api/%255c", "/api/x%00", "/api/x%2500", "/api/x%0a", "/api/x%7f", "/api/x%0d%0aX:%20y",
		"/api/..;/v2/a", "/api/..;x=y/v2", "/api/.;/x", "/api/;/x", "/api/;a", "/api/%2e%2e%3b/v2", "/api/%2e%2e;x/v2",
		"/api/%c0%ae%c0%ae/v2", "/api/%c0%af", "/api/%e0%80%ae", "/api/%ff", "/api/x%25c0%25ae",
		"/api/x#y", "/api/x%", "/api/x%2", "/api/\"x\"", "/api/<x>", "/api/{x}", "/api/x|y", "/api/x^y", "/api/`x`", "/api/caf\xc3\xa9",
		"/artifactory/api/docker/local/v2/acme/app/manifests/unsigned", "/repository/docker/v2/acme/app/manifests/unsigned",
		"/repository/docker/V2/acme/app/MANIFESTS/unsigned", "/repository/docker/v2%2facme/app%2fmanifests/unsigned", "/repository/docker/%76%32/a/%256danifests/x",
		"/repository/docker/v2;a=b/acme/app/manifests/unsigned", "/repository/docker/v2/acme/app/manifests;a=b/unsigned", "/repository/docker/v2;/a/manifests;/x",
		"/repository/docker/v2%3ba/acme/app/manifests/unsigned", "/repository/docker/v2/a/manifests%253b/x", "/artifactory/api/docker/local;x/v2;y/acme/app/manifests;z/unsigned",
		"/api?x#y",
	} {
		for _, method := range []string{"GET", "PUT"} {
			a := g.rawGet(method, target)
			if a.status != 404 && a.status != 405 && a.status != 400 {
				t.Errorf("%s %s: got %v", method, target, a)
			}
		}
		if got := p.targets(); got != nil {
			t.Errorf("%s reached the registry: %q", target, got)
		}
	}
	if log := g.log.String(); strings.Contains(log, "unsigned") {
		t.Error("the log holds what is below a prefix")
	}
	for _, target := range []string{"/api/x y", "/api/x?a b", "/api/../v2/a", "/api/%2e%2e/x"} { // HTTP/2 has no line that a blank would end
		if a, reset := g.framesGet(target); !reset && a.status != 404 && a.status != 400 || p.targets() != nil {
			t.Errorf("%s over HTTP/2: got %v", target, a)
		}
	}
}

func TestHeadersOfPathsThatPass(t *testing.T) {
	p := newPages(t)
	g := p.gateTo(t, func(r *proxy.Registry) { r.Passthrough = false }, "/api")
	p.answer = func(w http.ResponseWriter, _ *http.Request) {
		h := w.Header()
		h["Set-Cookie"] = []string{"a=b; Path=/", "c=d"}
		h["Www-Authenticate"] = []string{`Basic realm="pages"`}
		for _, name := range []string{"X-Total-Count", "Content-Security-Policy", "Etag"} {
			h.Set(name, "7")
		}
		h.Set("Connection", "X-Hop")
		h.Set("X-Hop", "1")
		h.Set("Keep-Alive", "timeout=5")
		h.Set("Alt-Svc", `h3=":443"`)
		h.Set("X-Request-Id", "theirs")
		w.WriteHeader(http.StatusUnauthorized)
	}
	a := g.rawGet("POST", "/api/login?next=/x",
		"Authorization: Basic abc", "Cookie: session=1", "Content-Type: application/json", "X-Csrf-Token: t", "If-Match: x", "Origin: https://a.example",
		"Connection: X-Private, Upgrade", "X-Private: 1", "Upgrade: websocket", "Te: gzip", "Proxy-Authorization: Basic xyz",
		"X-Forwarded-For: 10.0.0.1", "X-Forwarded-Host: evil.example", "X-Forwarded-Proto: http", "X-Forwarded-Prefix: /v2", "Forwarded: host=evil.example",
		"X-Original-URL: /v2/acme/app/manifests/unsigned", "X-Rewrite-URL: /v2/", "X-Real-Ip: 10.0.0.1", "X_Forwarded_For: 10.0.0.1", "x_original_url: /v2/", "Content-Length: 0")
	if a.status != http.StatusUnauthorized {
		t.Fatalf("got %v", a)
	}
	got, _ := p.last(t)
	for name, want := range map[string]string{
		"Authorization": "Basic abc", "Cookie": "session=1", "Content-Type": "application/json", "X-Csrf-Token": "t", "If-Match": "x", "Origin": "https://a.example",
		"X-Forwarded-Host": registryName, "X-Forwarded-Proto": "https", "X-Forwarded-For": "127.0.0.1",
		"X-Private": "", "Upgrade": "", "Connection": "", "Te": "", "Proxy-Authorization": "", "X-Forwarded-Prefix": "", "Forwarded": "",
		"X-Original-Url": "", "X-Rewrite-Url": "", "X-Real-Ip": "", "X_Forwarded_For": "", "X_original_url": "",
	} {
		if v := strings.Join(got.Header.Values(name), "|"); v != want {
			t.Errorf("the registry got %s: %q, want %q", name, v, want)
		}
	}
	if got.Host != strings.TrimPrefix(p.URL, "https://") {
		t.Errorf("the registry got the Host %q", got.Host)
	}
	for name, want := range map[string]string{
		"Set-Cookie": "a=b; Path=/|c=d", "Www-Authenticate": `Basic realm="pages"`, "X-Total-Count": "7", "Content-Security-Policy": "7", "Etag": "7",
		"X-Hop": "", "Keep-Alive": "", "Alt-Svc": "",
	} {
		if v := strings.Join(a.header.Values(name), "|"); v != want {
			t.Errorf("the client got %s: %q, want %q", name, v, want)
		}
	}
	if ids := a.header.Values("X-Request-Id"); len(ids) != 1 || ids[0] == "theirs" {
		t.Errorf("the client got the request IDs %q", ids)
	}
}

func TestTrailersOfPathsThatPassStayBehind(t *testing.T) {
	p := newPages(t)
	g := p.gateTo(t, nil, "/api")
	req := &http.Request{Method: http.MethodPost, URL: &url.URL{Scheme: "https", Host: g.addr, Path: "/api/x"}, Host: registryName, Header: http.Header{},
		Body: io.NopCloser(strings.NewReader("x")), ContentLength: -1, Trailer: http.Header{"X-Original-Url": {"/v2/acme/app/manifests/unsigned"}}}
	resp, err := g.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if a := whole(resp); a.status != 200 {
		t.Fatalf("got %v", a)
	}
	if got, body := p.last(t); body != "x" || len(got.Trailer) > 0 || got.Header["Trailer"] != nil {
		t.Errorf("the registry got %q and the trailers %v", body, got.Trailer)
	}
}

func TestLocationsOfPathsThatPass(t *testing.T) {
	p := newPages(t)
	g := p.gateTo(t, nil, "/api")
	for location, want := range map[string]string{
		p.URL + "/api/x?y=z#f":          "/api/x?y=z#f",
		p.URL:                           "/",
		p.URL + "/a%2Fb":                "/a%2Fb",
		p.URL + "//evil.example/":       p.URL + "//evil.example/",
		"/api/y":                        "/api/y",
		"y?z":                           "y?z",
		"https://elsewhere.example/api": "https://elsewhere.example/api",
	} {
		p.answer = func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", location)
			w.WriteHeader(http.StatusFound)
		}
		if a := g.get("/api/x"); a.status != http.StatusFound || a.header.Get("Location") != want {
			t.Errorf("%s: got %v with %q, want %q", location, a, a.header.Get("Location"), want)
		}
	}
}

// TestBodiesOfPathsThatPass flow both ways at once, without an end in sight.
func TestBodiesOfPathsThatPass(t *testing.T) {
	p := newPages(t)
	g := p.gateTo(t, nil, "/api")
	p.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rc := http.NewResponseController(w)
		_ = rc.EnableFullDuplex()
		buf := make([]byte, 1)
		for {
			n, err := r.Body.Read(buf)
			if _, _ = w.Write(bytes.ToUpper(buf[:n])); rc.Flush() != nil || err != nil {
				return
			}
		}
	})
	reader, writer := io.Pipe()
	req := &http.Request{Method: http.MethodPut, URL: &url.URL{Scheme: "https", Host: g.addr, Path: "/api/upload"}, Host: registryName, Body: reader, ContentLength: -1, Header: http.Header{}}
	go func() { _, _ = writer.Write([]byte("a")) }()
	resp, err := g.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	for i, c := range []byte("abcdef") {
		if i > 0 {
			_, _ = writer.Write([]byte{c})
		}
		one := make([]byte, 1)
		if _, err := io.ReadFull(resp.Body, one); err != nil || one[0] != c-'a'+'A' {
			t.Fatalf("after %q: got %q, %v", c, one, err)
		}
	}
	_ = writer.Close()
	if rest, err := io.ReadAll(resp.Body); err != nil || len(rest) != 0 {
		t.Errorf("at the end: got %q, %v", rest, err)
	}
}

func TestALargeBodyOfAPathThatPasses(t *testing.T) {
	p := newPages(t)
	g := p.gateTo(t, nil, "/api")
	body := strings.Repeat("0123456789abcdef", 1<<16)
	req := &http.Request{Method: http.MethodPost, URL: &url.URL{Scheme: "https", Host: g.addr, Path: "/api/upload"}, Host: registryName,
		Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)), Header: http.Header{}}
	resp, err := g.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if a := whole(resp); a.status != 200 {
		t.Fatalf("got %v", a)
	}
	if got, sent := p.last(t); sent != body || got.ContentLength != int64(len(body)) {
		t.Errorf("%d bytes arrived of %d, announced as %d", len(sent), len(body), got.ContentLength)
	}
}

// TestAPathThatPassesMayTakeLongerThanTheServersTimeouts: also where the answer
// has no body that would move a deadline.
func TestAPathThatPassesMayTakeLongerThanTheServersTimeouts(t *testing.T) {
	p := newPages(t)
	p.answer = func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusCreated) }
	reg := p.registry(t, "/api")
	reg.Hosts = []string{"*"}
	outlivesTimeouts(t, proxy.Options{Registries: []proxy.Registry{reg}}, func(_ *testing.T, url string, _ *http.Client) string { return url + "/api/upload" })
	if _, sent := p.last(t); sent != "xxxxxx" {
		t.Errorf("the registry got %q", sent)
	}
}

func TestAPathThatPassesToNobody(t *testing.T) {
	p := newPages(t)
	g := p.gateTo(t, nil, "/api")
	p.Close()
	if a := g.get("/api/x"); a.status != http.StatusBadGateway || a.code() != "UNKNOWN" {
		t.Errorf("got %v", a)
	}
	if log := g.log.String(); !strings.Contains(log, "upstream-unreachable") {
		t.Errorf("logged %s", log)
	}
}

// TestOursIsNotShownOnPathsThatPass: what identifies Sealgate to the registry
// never goes along with what a client asks for.
func TestOursIsNotShownOnPathsThatPass(t *testing.T) {
	p := newPages(t)
	g := p.gateTo(t, func(r *proxy.Registry) {
		r.Pass = r.Upstream
		r.Upstream = identified{r.Upstream}
		r.Passthrough = false
	}, "/api")
	if a := g.get("/api/x"); a.status != 200 {
		t.Fatalf("got %v", a)
	}
	if got, _ := p.last(t); got.Header.Get("Authorization") != "" {
		t.Errorf("the registry got %q", got.Header.Get("Authorization"))
	}
	if a := g.get("/api/x", "Authorization", "Basic theirs"); a.status != 200 {
		t.Fatalf("got %v", a)
	}
	if got, _ := p.last(t); got.Header.Get("Authorization") != "Basic theirs" {
		t.Errorf("the registry got %q", got.Header.Get("Authorization"))
	}
}

// identified is a transport with credentials of ours.
type identified struct{ http.RoundTripper }

func (i identified) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Basic ours")
	return i.RoundTripper.RoundTrip(r)
}

// parameters are those of a component of a path.
var parameters = regexp.MustCompile(";[^/]*")

// FuzzPassPaths: whatever passes is, however often it is decoded, below the
// prefix and outside the registry API.
func FuzzPassPaths(f *testing.F) {
	for _, seed := range []string{"/api/a%2Fb", "/api/../v2/x", "/api/%252e%252e/v2", "/api/..;/v2", "/api/%c0%ae", "/api/x?y", "/api/r;x/v2;y/a/manifests%3bz/t"} {
		f.Add(seed)
	}
	up := &named{name: "up"}
	handler := proxy.New(proxy.Options{Registries: []proxy.Registry{{
		Name: registryName, Hosts: []string{registryName}, URL: &url.URL{Scheme: "https", Host: "up.example"}, Upstream: up, PassPaths: []string{"/api"}, Passthrough: true, Trust: &pretend{},
	}}})
	f.Fuzz(func(t *testing.T, target string) {
		u, err := url.ParseRequestURI(target)
		if err != nil || !strings.HasPrefix(target, "/") || strings.HasPrefix(target, "/v2/") {
			return
		}
		r := (&http.Request{Method: http.MethodPut, URL: u, RequestURI: target, Host: registryName, Header: http.Header{}, Body: http.NoBody}).WithContext(t.Context())
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		got := up.targets()
		if len(got) == 0 {
			return
		}
		if len(got) != 1 || got[0] != target {
			t.Fatalf("%q arrived as %q", target, got)
		}
		reading, _, _ := strings.Cut(target, "?")
		for range 20 {
			if cut := parameters.ReplaceAllString(strings.ToLower(reading), ""); strings.Contains(cut, "/v2/") && strings.Contains(cut+"/", "/manifests/") && strings.Index(cut, "/v2/") < strings.LastIndex(cut+"/", "/manifests/") {
				t.Fatalf("%q reads as %q, a manifest", target, cut)
			}
			if folded := path.Clean(strings.ReplaceAll(reading, "\\", "/")); folded != "/api" && !strings.HasPrefix(folded, "/api/") {
				t.Fatalf("%q leads to %q", target, folded)
			}
			if strings.Contains(reading, "//") || strings.ContainsAny(reading, "\\\x00\r\n") {
				t.Fatalf("%q reads as %q", target, reading)
			}
			if reading, err = url.PathUnescape(reading); err != nil {
				return
			}
		}
	})
}

func TestAClientOfAPathThatPassesHangsUp(t *testing.T) {
	p := newPages(t)
	g := p.gateTo(t, nil, "/api")
	started := make(chan struct{})
	p.answer = func(w http.ResponseWriter, r *http.Request) {
		close(started)
		<-r.Context().Done()
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	gone := make(chan error, 1)
	go func() {
		req, _ := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+g.addr+"/api/x", nil)
		req.Host = registryName
		resp, err := g.http.Do(req)
		if err == nil {
			resp.Body.Close()
		}
		gone <- err
	}()
	<-started
	cancel() // the client hangs up, and so does the registry's request
	if err := <-gone; err == nil {
		t.Error("got an answer")
	}
	g.log.wait(t, "client-gone")
}

func TestAClientThatSendsHalfOfWhatItSaidIsGone(t *testing.T) {
	p := newPages(t)
	g := p.gateTo(t, nil, "/api")
	conn := g.dial("http/1.1")
	if _, err := io.WriteString(conn, "POST /api/x HTTP/1.1\r\nHost: "+registryName+"\r\nContent-Length: 100\r\n\r\nhalf"); err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
	g.log.wait(t, `"reason":"client-gone"`)
	if a := g.get("/api/x"); a.status != 200 {
		t.Errorf("the next one got %v", a)
	}
}
