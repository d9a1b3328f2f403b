package proxy_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sealgate/sealgate/proxy"
)

func TestATokenThatIsNotOursReachesNobody(t *testing.T) {
	p := pushing(t, nil)
	location := p.begin(t, "acme/app")
	prefix, token := location[:strings.LastIndex(location, "/")+1], location[strings.LastIndex(location, "/")+1:]
	flipped := func(at int) string {
		c := byte('A')
		if token[at] == 'A' {
			c = 'B'
		}
		return token[:at] + string(c) + token[at+1:]
	}
	other := p.reg
	other.Name = "other.example.com"
	elsewhere := gateFor(t, other) // which has a key of its own, too
	for name, path := range map[string]string{
		"a word":                 prefix + "token",
		"a single letter":        prefix + "A",
		"an upload ID":           prefix + "4e7a3c9e-5f0b-4a8e-9d55-0a6f3e0c1b2d",
		"another key's name":     prefix + flipped(2),
		"another nonce":          prefix + flipped(14),
		"other text":             prefix + flipped(60),
		"another tag":            prefix + flipped(len(token)-3),
		"cut short":              prefix + token[:len(token)-4],
		"nothing but a key":      prefix + token[:11],
		"something more":         prefix + token + "AAAA",
		"of another repository":  strings.Replace(location, "acme/app", "acme/other", 1),
		"of a repository inside": strings.Replace(location, "acme/app", "acme/app/x", 1),
	} {
		for _, method := range []string{"GET", "HEAD", "PATCH", "PUT", "DELETE"} {
			p.quiet()
			a := p.send(method, path+"?digest="+sum("x"), "x")
			if a.status != 404 || method != "HEAD" && a.code() != "BLOB_UPLOAD_UNKNOWN" {
				t.Errorf("%s, %s: got %v", name, method, a)
			}
			p.heardNothing(t)
		}
	}
	if a := elsewhere.send("PATCH", location, "x"); a.status != 404 {
		t.Errorf("at another gate: got %v", a)
	}
	p.heardNothing(t)
	if a := p.send("PATCH", location, "x"); a.status != 202 {
		t.Errorf("the token itself: got %v", a)
	}
}

func TestATokenIsNeverLogged(t *testing.T) {
	p := pushing(t, nil)
	location := p.begin(t, "acme/app")
	token := location[strings.LastIndex(location, "/")+1:]
	for _, method := range []string{"GET", "POST", "PATCH", "PUT", "DELETE"} {
		p.send(method, location, "")
	}
	p.stop()
	if log := p.log.String(); strings.Contains(log, token[:40]) || strings.Count(log, "/v2/acme/app/blobs/uploads/") != 1 {
		t.Errorf("logged %s", log)
	}
}

func TestATokenIsBoundToItsRegistry(t *testing.T) {
	p := pushing(t, nil)
	second := p.reg
	second.Name, second.Hosts = "second.example.com", []string{"second.example.com"}
	g := startGate(t, proxy.Options{Registries: []proxy.Registry{p.reg, second}})
	location := g.send("POST", "/v2/acme/app/blobs/uploads/", "").header.Get("Location")
	p.quiet()
	req, err := http.NewRequestWithContext(t.Context(), "PATCH", "https://"+g.addr+location, strings.NewReader("x"))
	if err != nil {
		t.Fatal(err)
	}
	req.Host = "second.example.com"
	resp, err := g.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if a := whole(resp); a.status != 404 {
		t.Errorf("got %v", a)
	}
	p.heardNothing(t)
}

func TestAnUploadOutlivesAReload(t *testing.T) {
	p := pushing(t, nil)
	before := proxy.New(proxy.Options{Registries: []proxy.Registry{p.reg}})
	location := serveGate(t, before).send("POST", "/v2/acme/app/blobs/uploads/", "").header.Get("Location")
	after := serveGate(t, proxy.New(proxy.Options{Registries: []proxy.Registry{p.reg}, Before: before}))
	if a := after.send("PUT", location+"?digest="+sum("x"), "x"); a.status != 201 {
		t.Errorf("got %v", a)
	}
}

// keyring is what replicas share.
type keyring struct {
	mu    sync.Mutex
	keys  []proxy.UploadKey
	err   error
	asked int
}

func (k *keyring) load(context.Context) ([]proxy.UploadKey, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.asked++
	return k.keys, k.err
}

func (k *keyring) change(f func()) {
	k.mu.Lock()
	defer k.mu.Unlock()
	f()
}

func TestReplicasOpenEachOthersTokens(t *testing.T) {
	p, now := pushing(t, nil), newClock()
	ring := &keyring{keys: []proxy.UploadKey{proxy.NewUploadKey()}}
	replica := func() *gate {
		return startGate(t, proxy.Options{Registries: []proxy.Registry{p.reg}, UploadKeys: ring.load, Now: now.Now})
	}
	a, b := replica(), replica()
	begin := func(g *gate) string {
		return g.send("POST", "/v2/acme/app/blobs/uploads/", "").header.Get("Location")
	}
	first := begin(a)
	if got := b.send("PATCH", first, "x"); got.status != 202 {
		t.Errorf("the same key: got %v", got)
	}
	// A third replica has begun at the same moment as a, with a key of its own.
	ring.change(func() { ring.keys = append([]proxy.UploadKey{proxy.NewUploadKey()}, ring.keys...) })
	third := begin(replica())
	now.advance(time.Second)
	for name, g := range map[string]*gate{"a": a, "b": b} {
		if got := g.get(third); got.status != 204 {
			t.Errorf("%s with a newer key: got %v", name, got)
		}
	}
	ring.change(func() { ring.asked = 0 })
	for range 20 {
		a.send("PATCH", "/v2/acme/app/blobs/uploads/"+strings.Repeat("A", 100), "x")
	}
	if ring.asked > 0 {
		t.Errorf("tokens that a stranger invents had the keys read %d times within a second", ring.asked)
	}
}

func TestWithoutKeysNoUploadBegins(t *testing.T) {
	p := pushing(t, nil)
	ring := &keyring{err: errors.New("the disk at /secret/path is gone")}
	g := startGate(t, proxy.Options{Registries: []proxy.Registry{p.reg}, UploadKeys: ring.load})
	a := g.send("POST", "/v2/acme/app/blobs/uploads/", "")
	if a.status != 503 || a.code() != "UNAVAILABLE" || strings.Contains(a.message(), "/secret") {
		t.Errorf("got %v", a)
	}
	if !strings.Contains(g.log.String(), "/secret/path") {
		t.Error("the log does not say why")
	}
	ring.change(func() { ring.err, ring.keys = nil, []proxy.UploadKey{proxy.NewUploadKey()} })
	if a := g.send("POST", "/v2/acme/app/blobs/uploads/", ""); a.status != 202 {
		t.Errorf("with keys: got %v", a)
	}
}

func TestWhereUploadsMayGo(t *testing.T) {
	elsewhere := newWorld(t, nil) // where the registry sends uploads
	const allowed = "UPLOADS"     // stands for its address
	for _, tt := range []struct {
		name, location string
		status         int
		asked          string // of the PUT; "" where it goes nowhere
		other          bool   // it goes to the other host
	}{
		{"on the registry", "REGISTRY/v2/acme/app/blobs/uploads/1?_state=a%2Fb", 202, "/v2/acme/app/blobs/uploads/1?_state=a%2Fb&digest=", false},
		{"a path", "/v2/acme/app/blobs/uploads/1", 202, "/v2/acme/app/blobs/uploads/1?digest=", false},
		{"beside the request", "1?x=y", 202, "/v2/acme/app/blobs/uploads/1?x=y&digest=", false},
		{"a query alone", "?_state=z", 202, "/v2/acme/app/blobs/uploads/?_state=z&digest=", false},
		{"outside v2", "/opaque/%2F/x;y", 202, "/opaque/%2F/x;y?digest=", false},
		{"on the host that the client named", "https://" + registryName + "/v2/acme/app/blobs/uploads/1", 202, "/v2/acme/app/blobs/uploads/1?digest=", false},
		{"by plain http on the host that the client named", "http://" + registryName + "/v2/acme/app/blobs/uploads/1", 202, "/v2/acme/app/blobs/uploads/1?digest=", false},
		{"on a host that is allowed", allowed + "/bucket?sig=a%2Bb", 202, "/bucket?sig=a%2Bb&digest=", true},
		{"a fragment is dropped", "/x#y", 202, "/x?digest=", false},
		{"on another host", "https://evil.example/x", 502, "", false},
		{"on the inside of the network", "https://169.254.169.254/latest", 502, "", false},
		{"on loopback", "https://127.0.0.1:1/x", 502, "", false},
		{"with a user", "https://u:p@" + registryName + "/x", 502, "", false},
		{"by plain http elsewhere", "http://uploads.example/x", 502, "", false},
		{"another scheme", "ftp://uploads.example/x", 502, "", false},
		{"no address", "https://NOT AN ADDRESS/", 502, "", false},
		{"a space in the query", "/x?a b", 502, "", false},
		{"too long", "/" + strings.Repeat("x", 5000), 502, "", false},
		{"in a repository that is called like a manifest", "/v2/acme/manifests/tags/list/blobs/uploads/1", 202, "/v2/acme/manifests/tags/list/blobs/uploads/1?digest=", false},
		{"at a tag", "/v2/acme/app/manifests/unsigned", 502, "", false},
		{"at a tag of the registry, named by the client's name for it", "https://" + registryName + "/v2/acme/app/manifests/unsigned", 502, "", false},
		{"at a tag of a host that is allowed", allowed + "/v2/acme/app/manifests/unsigned", 502, "", false},
		{"at a tag, escaped", "/v2/acme/app/%6danifests/%75nsigned", 502, "", false},
		{"at a tag, escaped twice", "/v2/acme/app%252Fmanifests%252Funsigned", 502, "", false},
		{"at a tag, with parameters", "/v2;a/acme/app/manifests;b/unsigned;c", 502, "", false},
		{"at a tag, by detours", "/v2//acme/app/manifests/./x/..;/unsigned/", 502, "", false},
		{"at a tag, in capitals", "/V2/acme/app/MANIFESTS/unsigned", 502, "", false},
		{"at the list of tags", "/v2/acme/app/tags/list?n=9", 502, "", false},
		{"at the catalog", "/v2/_catalog", 502, "", false},
		{"escaped without end", "/x%" + strings.Repeat("25", 20) + "2f", 502, "", false},
		{"none", "", 202, "", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := pushing(t, nil)
			p.reg.RedirectHosts = []string{elsewhere.registry.Addr(), "uploads.example"}
			p.reg.Writes = both{elsewhere.registry.Addr(), transport(t, elsewhere.ca.Pool()), transport(t, p.ca.Pool())}
			p.gate = gateFor(t, p.reg)
			location := strings.Replace(tt.location, allowed, elsewhere.registry.URL(), 1)
			location = strings.Replace(location, "REGISTRY", p.registry.URL(), 1)
			p.upstream.lie(status(202, "Location", location))
			a := p.send("POST", "/v2/acme/app/blobs/uploads/", "")
			got := a.header.Get("Location")
			if a.status != tt.status || tt.asked != "" && !strings.HasPrefix(got, "/v2/acme/app/blobs/uploads/") || tt.asked == "" && got != "" {
				t.Fatalf("got %v with Location %q", a, got)
			}
			if tt.asked == "" {
				return
			}
			p.quiet()
			elsewhere.quiet()
			at := p.upstream
			if tt.other {
				at = elsewhere.upstream
			}
			at.lie(status(201))
			p.send("PUT", got+"?digest="+sha256, "x", "Authorization", alice)
			heard := at.list()
			if len(heard) != 1 || heard[0].Target != tt.asked+"sha256%3A"+hex64 {
				t.Fatalf("heard %+v", heard)
			}
			for _, name := range []string{"Authorization", "X-Forwarded-Host"} {
				if sent := heard[0].Header.Get(name) != ""; sent == tt.other {
					t.Errorf("%s was sent: %t", name, sent)
				}
			}
		})
	}
}

// both sends to one host by one transport, and to all others by the second.
type both struct {
	host        string
	there, rest http.RoundTripper
}

func (b both) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Host == b.host {
		return b.there.RoundTrip(r)
	}
	return b.rest.RoundTrip(r)
}

func TestAHostThatIsNoMoreAllowedIsNotUploadedTo(t *testing.T) {
	p := pushing(t, nil, func(reg *proxy.Registry) { reg.RedirectHosts = []string{"uploads.example"} })
	p.upstream.lie(status(202, "Location", "https://uploads.example/x"))
	ring := &keyring{keys: []proxy.UploadKey{proxy.NewUploadKey()}}
	at := func(hosts ...string) *gate {
		reg := p.reg
		reg.RedirectHosts = hosts
		return startGate(t, proxy.Options{Registries: []proxy.Registry{reg}, UploadKeys: ring.load})
	}
	location := at("uploads.example").send("POST", "/v2/acme/app/blobs/uploads/", "").header.Get("Location")
	if a := at().send("PATCH", location, "x"); a.status != 404 {
		t.Errorf("got %v", a)
	}
}

func TestAClientThatHangsUpLeavesNoHalfBlob(t *testing.T) {
	for _, length := range []string{"Content-Length: 1000", "Transfer-Encoding: chunked"} {
		p := pushing(t, nil)
		arrived, gone := make(chan struct{}), make(chan error, 1)
		p.reg.Writes = hook(func(r *http.Request) (*http.Response, error) {
			close(arrived)
			_, err := io.Copy(io.Discard, r.Body)
			gone <- err
			return nil, errors.New("no answer")
		})
		g := startGate(t, proxy.Options{Registries: []proxy.Registry{p.reg}})
		const location = "/v2/acme/app/blobs/uploads/" // any write will do
		conn := g.dial("http/1.1")
		fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: %s\r\n%s\r\n\r\n5\r\nhello\r\n", location, registryName, length)
		<-arrived
		_ = conn.Close()
		if err := <-gone; err == nil {
			t.Errorf("%s: the registry saw the whole of a body that was cut", length)
		}
		g.log.wait(t, `"reason":"client-gone"`)
	}
}

// hook is a transport made of a function.
type hook func(*http.Request) (*http.Response, error)

func (h hook) RoundTrip(r *http.Request) (*http.Response, error) { return h(r) }

func TestARefusalIsSeenBeforeTheBodyIsSent(t *testing.T) {
	p := pushing(t, users)
	conn := p.dial("http/1.1")
	defer conn.Close()
	fmt.Fprintf(conn, "PUT /v2/acme/app/manifests/1.0 HTTP/1.1\r\nHost: %s\r\nContent-Length: 1000000000\r\nExpect: 100-continue\r\n\r\n", registryName)
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil || resp.StatusCode != 401 {
		t.Fatalf("got %v, %v, want 401 with no byte of the body", resp, err)
	}
}

func TestExpectContinueIsAnswered(t *testing.T) {
	p := pushing(t, nil)
	location := p.begin(t, "acme/app")
	conn := p.dial("http/1.1")
	defer conn.Close()
	fmt.Fprintf(conn, "PUT %s?digest=%s HTTP/1.1\r\nHost: %s\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\n", location, sum("x"), registryName)
	reader := bufio.NewReader(conn)
	if resp, err := http.ReadResponse(reader, nil); err != nil || resp.StatusCode != 100 {
		t.Fatalf("got %v, %v, want 100", resp, err)
	}
	_, _ = io.WriteString(conn, "x")
	if resp, err := http.ReadResponse(reader, nil); err != nil || resp.StatusCode != 201 {
		t.Fatalf("got %v, %v, want 201", resp, err)
	}
}

func TestManyUploadsOnOneConnection(t *testing.T) {
	p := pushing(t, nil)
	conn := p.dial("http/1.1")
	defer conn.Close()
	reader := bufio.NewReader(conn)
	for range 20 {
		fmt.Fprintf(conn, "PATCH %s HTTP/1.1\r\nHost: %s\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", p.begin(t, "acme/app"), registryName)
		resp, err := http.ReadResponse(reader, nil)
		if err != nil || resp.StatusCode != 202 {
			t.Fatalf("got %v, %v", resp, err)
		}
		resp.Body.Close()
	}
}

func TestAnUploadMayTakeLongerThanTheServersTimeouts(t *testing.T) {
	p := pushing(t, nil)
	outlivesTimeouts(t, proxy.Options{Registries: []proxy.Registry{p.reg}}, func(t *testing.T, url string, client *http.Client) string {
		resp, err := client.Post(url+"/v2/acme/app/blobs/uploads/", "", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return url + resp.Header.Get("Location") + "?digest=" + sum("xxxxxx")
	})
}

// outlivesTimeouts puts six times "x", slowly, to the place that begin returns,
// and wants 201, over a server whose timeouts are shorter than that.
func outlivesTimeouts(t *testing.T, opts proxy.Options, begin func(t *testing.T, url string, client *http.Client) string) {
	t.Helper()
	for _, protocol := range []string{"HTTP/1.1", "HTTP/2.0"} {
		t.Run(protocol, func(t *testing.T) {
			server := httptest.NewUnstartedServer(proxy.New(opts))
			server.EnableHTTP2 = protocol == "HTTP/2.0"
			server.Config.ReadTimeout, server.Config.WriteTimeout = 200*time.Millisecond, 200*time.Millisecond
			server.StartTLS()
			defer server.Close()
			client := server.Client()
			to := begin(t, server.URL, client)
			body, slow := io.Pipe()
			go func() {
				for range 6 {
					time.Sleep(100 * time.Millisecond) // real deadlines need real time
					_, _ = slow.Write([]byte("x"))
				}
				_ = slow.Close()
			}()
			req, err := http.NewRequestWithContext(t.Context(), "PUT", to, body)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := client.Do(req)
			if err != nil || resp.StatusCode != 201 || resp.Proto != protocol {
				t.Fatalf("got %v, %v", resp, err)
			}
			resp.Body.Close()
		})
	}
}

// FuzzUploadLocations: wherever a registry sends an upload, asking how far it has
// come is never the read of a tag, of a list or of the catalog.
func FuzzUploadLocations(f *testing.F) {
	for _, location := range append(attackTargets(), "/v2/acme/app/blobs/uploads/1?_state=x", "1", "?x=/manifests/y", "../../manifests/x", "//acme/v2/app/manifests/x", "/v2/app/manifests/x%3f/a/b") {
		f.Add(location)
	}
	router := distributionRouter()
	var location, asked string
	up := hook(func(r *http.Request) (*http.Response, error) {
		asked = r.URL.RequestURI()
		return &http.Response{StatusCode: 202, Header: http.Header{"Location": {location}}, Body: http.NoBody, Request: r}, nil
	})
	handler := proxy.New(proxy.Options{Registries: []proxy.Registry{{
		Name: registryName, Hosts: []string{registryName}, URL: &url.URL{Scheme: "https", Host: "up.example"}, Upstream: up, Passthrough: true, Push: true, Trust: &pretend{},
	}}})
	ask := func(t *testing.T, method, target string) http.Header {
		r := httptest.NewRequestWithContext(t.Context(), method, "https://"+registryName+target, nil)
		r.RequestURI = target
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		return w.Header()
	}
	f.Fuzz(func(t *testing.T, at string) {
		location = at
		token := ask(t, "POST", "/v2/acme/app/blobs/uploads/").Get("Location")
		if token == "" {
			return
		}
		ask(t, "GET", token)
		for _, read := range readings(router, asked) {
			if read.tag() || read.tagsOrCatalog() {
				t.Fatalf("%q has the registry asked for %q, which it reads as %+v", at, asked, read)
			}
		}
	})
}
