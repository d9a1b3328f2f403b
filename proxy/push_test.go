package proxy_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/sealgate/sealgate/e2e/sandbox"
	"github.com/sealgate/sealgate/proxy"
	"github.com/sealgate/sealgate/trustcache"
)

// pushWorld is a registry with a gate in front that lets clients push.
type pushWorld struct {
	*world
	*gate
	reg   proxy.Registry
	trust *pretend
}

func pushing(t *testing.T, users map[string]string, change ...func(*proxy.Registry)) *pushWorld {
	t.Helper()
	p := &pushWorld{world: newWorld(t, users), trust: &pretend{}}
	p.reg = p.front(t)
	p.reg.Hosts = []string{"*"}
	p.reg.Trust, p.reg.Passthrough, p.reg.Push = p.trust, true, true
	for _, f := range change {
		f(&p.reg)
	}
	p.gate = gateFor(t, p.reg)
	return p
}

// send makes a request with a body over HTTP/2; chunked leaves its length out.
func (g *gate) send(method, target, body string, header ...string) answer {
	g.t.Helper()
	path, query, _ := strings.Cut(target, "?")
	req, err := http.NewRequestWithContext(g.t.Context(), method, "https://"+g.addr, strings.NewReader(body))
	if err != nil {
		g.t.Fatal(err)
	}
	req.URL.Opaque, req.URL.RawQuery, req.Host = path, query, registryName
	for i := 0; i < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	if req.Header.Get("Transfer-Encoding") == "chunked" {
		req.Header.Del("Transfer-Encoding")
		req.ContentLength = -1
	}
	resp, err := g.http.Do(req)
	if err != nil {
		g.t.Fatalf("%s %s: %v", method, target, err)
	}
	return whole(resp)
}

// begin starts an upload and returns where it goes on.
func (p *pushWorld) begin(t *testing.T, repository string) string {
	t.Helper()
	a := p.send("POST", "/v2/"+repository+"/blobs/uploads/", "")
	location := a.header.Get("Location")
	if a.status != 202 || !strings.HasPrefix(location, "/v2/"+repository+"/blobs/uploads/") || strings.Contains(location, "?") {
		t.Fatalf("got %v with Location %q", a, location)
	}
	return location
}

func TestAPushedTagIsInvisibleUntilItIsSigned(t *testing.T) {
	p := pushing(t, nil)
	im, err := sandbox.Image("one")
	if err != nil {
		t.Fatal(err)
	}
	digest, size, err := sandbox.Push(t.Context(), "https://"+p.addr, p.pool, "acme/app", "1.0", im)
	if err != nil {
		t.Fatal(err)
	}
	p.heardNoReadOfATag(t)
	p.wantDenied(t, p.get("/v2/acme/app/manifests/1.0"))
	if a := p.get("/v2/acme/app/manifests/" + digest); a.status != 200 {
		t.Errorf("by digest: got %v", a)
	}
	p.trust.sign("acme/app", target("1.0", image{digest: digest, size: size}))
	if a := p.get("/v2/acme/app/manifests/1.0"); a.status != 200 || a.header.Get("Docker-Content-Digest") != digest {
		t.Errorf("signed: got %v", a)
	}
}

// heardNoReadOfATag fails when the registry was asked to read a tag.
func (p *pushWorld) heardNoReadOfATag(t *testing.T) {
	t.Helper()
	router := distributionRouter()
	for _, r := range p.registry.Requests() {
		for _, read := range readings(router, r.Target) {
			if (r.Method == "GET" || r.Method == "HEAD") && (read.tag() || read.tagsOrCatalog()) {
				t.Errorf("the registry was asked %s %s", r.Method, r.Target)
			}
		}
	}
}

func (p *pushWorld) wantDenied(t *testing.T, a answer) {
	t.Helper()
	if a.status != 404 || a.code() != "MANIFEST_UNKNOWN" {
		t.Errorf("got %v, want 404 MANIFEST_UNKNOWN", a)
	}
}

func TestUploadsInEveryWay(t *testing.T) {
	const body = "the bytes of a blob"
	digest := sum(body)
	for _, tt := range []struct {
		name   string
		upload func(t *testing.T, p *pushWorld) answer
	}{
		{"in one PUT", func(t *testing.T, p *pushWorld) answer {
			return p.send("PUT", p.begin(t, "acme/app")+"?digest="+url.QueryEscape(digest), body, "Content-Type", "application/octet-stream")
		}},
		{"streamed, its length unknown", func(t *testing.T, p *pushWorld) answer {
			a := p.send("PATCH", p.begin(t, "acme/app"), body, "Transfer-Encoding", "chunked")
			if a.status != 202 || a.header.Get("Range") != "0-18" || a.header.Get("Docker-Upload-Uuid") == "" {
				t.Errorf("the stream: got %v %v", a, a.header)
			}
			return p.send("PUT", a.header.Get("Location")+"?digest="+digest, "")
		}},
		{"in chunks", func(t *testing.T, p *pushWorld) answer {
			first := p.send("PATCH", p.begin(t, "acme/app"), body[:5], "Content-Range", "0-4")
			status := p.get(first.header.Get("Location"))
			if status.status != 204 || status.header.Get("Range") != "0-4" {
				t.Errorf("its status: got %v %v", status, status.header)
			}
			wrong := p.send("PATCH", first.header.Get("Location"), body[9:], "Content-Range", "9-18")
			if wrong.status != 416 {
				t.Errorf("out of order: got %v", wrong)
			}
			second := p.send("PATCH", status.header.Get("Location"), body[5:10], "Content-Range", "5-9")
			return p.send("PUT", second.header.Get("Location")+"?digest="+digest, body[10:], "Content-Range", "10-18")
		}},
		{"mounted from another repository", func(t *testing.T, p *pushWorld) answer {
			p.send("PUT", p.begin(t, "acme/other")+"?digest="+digest, body)
			return p.send("POST", "/v2/acme/app/blobs/uploads/?mount="+url.QueryEscape(digest)+"&from=acme%2Fother", "")
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := pushing(t, nil)
			if a := tt.upload(t, p); a.status != 201 || a.header.Get("Location") != "/v2/acme/app/blobs/"+digest || a.header.Get("Docker-Content-Digest") != digest {
				t.Errorf("got %v %v", a, a.header)
			}
			if a := p.get("/v2/acme/app/blobs/" + digest); string(a.body) != body {
				t.Errorf("read back: got %v", a)
			}
		})
	}
}

func TestADigestThatDoesNotMatchIsTheRegistrysToRefuse(t *testing.T) {
	p := pushing(t, nil)
	a := p.send("PUT", p.begin(t, "acme/app")+"?digest="+sum("other"), "bytes")
	if a.status != 400 || a.code() != "DIGEST_INVALID" {
		t.Errorf("got %v", a)
	}
}

func TestAnUploadThatIsGivenUpIsGone(t *testing.T) {
	p := pushing(t, nil)
	location := p.begin(t, "acme/app")
	if a := p.do("DELETE", location); a.status != 204 || a.header.Get("Location") != "" {
		t.Errorf("got %v %v", a, a.header)
	}
	if a := p.get(location); a.status != 404 || a.code() != "BLOB_UPLOAD_UNKNOWN" {
		t.Errorf("its status: got %v", a)
	}
}

func TestManifestsAreWrittenAndDeleted(t *testing.T) {
	p := pushing(t, nil)
	im := p.push("acme/app", "first", "one")
	const kind = "application/vnd.docker.distribution.manifest.v2+json"
	for reference, want := range map[string]string{"1.0": im.digest, im.digest: im.digest} {
		a := p.send("PUT", "/v2/acme/app/manifests/"+reference, string(im.body), "Content-Type", kind)
		if a.status != 201 || a.header.Get("Docker-Content-Digest") != want || a.header.Get("Location") != "/v2/acme/app/manifests/"+want {
			t.Errorf("%s: got %v %v", reference, a, a.header)
		}
	}
	p.trust.sign("acme/app", target("1.0", im))
	if a := p.get("/v2/acme/app/manifests/1.0"); a.status != 200 {
		t.Fatalf("got %v", a)
	}
	if a := p.do("DELETE", "/v2/acme/app/manifests/1.0"); a.status != 202 {
		t.Errorf("deleting the tag: got %v", a)
	}
	if a := p.get("/v2/acme/app/manifests/1.0"); a.status != 200 {
		t.Errorf("what is signed is served by its digest: got %v", a)
	}
	if a := p.do("DELETE", "/v2/acme/app/manifests/"+im.digest); a.status != 202 {
		t.Errorf("deleting the manifest: got %v", a)
	}
	if a := p.get("/v2/acme/app/manifests/1.0"); a.status != 404 || !strings.Contains(a.message(), "is not in the registry") {
		t.Errorf("a deleted manifest is still served: %v", a)
	}
	if a := p.do("DELETE", "/v2/acme/app/blobs/"+im.blob); a.status != 202 {
		t.Errorf("deleting a blob: got %v", a)
	}
}

func TestWhatAWriteIsServedWith(t *testing.T) {
	p := pushing(t, nil)
	for _, tt := range []struct{ path, allow string }{
		{"/v2/", "GET, HEAD"},
		{"/v2/acme/app/tags/list", "GET, HEAD"},
		{"/v2/acme/app/referrers/" + sha256, "GET, HEAD"},
		{"/v2/acme/app/blobs/" + sha256, "GET, HEAD, DELETE"},
		{"/v2/acme/app/manifests/1.0", "GET, HEAD, PUT, DELETE"},
		{"/v2/acme/app/manifests/" + sha256, "GET, HEAD, PUT, DELETE"},
		{"/v2/acme/app/blobs/uploads/", "POST"},
		{"/v2/acme/app/blobs/uploads/token", "GET, HEAD, PATCH, PUT, DELETE"},
		{"/v2/" + registryName + "/acme/app/_trust/tuf/root.json", "GET, HEAD"},
	} {
		served := strings.Split(tt.allow, ", ")
		for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"} {
			p.quiet()
			if slices.Contains(served, method) {
				continue
			}
			a := p.do(method, tt.path)
			if a.status != 405 || a.header.Get("Allow") != tt.allow || method != "HEAD" && a.code() != "UNSUPPORTED" {
				t.Errorf("%s %s: got %v with Allow %q", method, tt.path, a, a.header.Get("Allow"))
			}
			p.heardNothing(t)
		}
	}
	for _, path := range []string{"/v2/_catalog", "/v2/acme/app/blobs/uploads//", "/v2/acme/app/blobs/uploads/a%2Fb", "/elsewhere", "/v2/" + registryName + "/acme/app/_trust/tuf/"} {
		if a := p.do("POST", path); a.status != 404 && !strings.HasSuffix(path, "/_trust/tuf/") || a.status == 200 {
			t.Errorf("POST %s: got %v", path, a)
		}
		p.heardNothing(t)
	}
}

func TestTheDefaultWritesNothingUpstream(t *testing.T) {
	for _, passthrough := range []bool{false, true} {
		w := newWorld(t, nil)
		im := w.push("acme/app", "1.0", "one")
		reg := w.front(t)
		reg.Passthrough = passthrough
		g := gateFor(t, reg)
		w.quiet()
		for _, method := range []string{"POST", "PUT", "PATCH", "DELETE", "PROPFIND"} {
			for _, path := range []string{
				"/v2/acme/app/manifests/1.0", "/v2/acme/app/manifests/" + im.digest, "/v2/acme/app/blobs/" + im.blob,
				"/v2/acme/app/blobs/uploads/", "/v2/acme/app/blobs/uploads/?digest=" + im.blob, "/v2/acme/app/blobs/uploads/?mount=" + im.blob + "&from=acme/other",
				"/v2/acme/app/blobs/uploads/token?digest=" + im.blob, "/v2/" + gun("acme/app") + "/_trust/tuf/", "/v2/" + gun("acme/app") + "/_trust/tuf/snapshot.key",
			} {
				if a := g.do(method, path); a.status != 405 || a.code() != "UNSUPPORTED" || a.header.Get("Allow") != "GET, HEAD" {
					t.Errorf("%s %s: got %v", method, path, a)
				}
			}
		}
		for _, path := range []string{"/v2/acme/app/blobs/uploads/", "/v2/acme/app/blobs/uploads/token", "/v2/" + gun("acme/app") + "/_trust/tuf/snapshot.key", "/v2/" + gun("acme/app") + "/_trust/tuf/"} {
			if a := g.get(path); a.status != 404 {
				t.Errorf("GET %s: got %v", path, a)
			}
		}
		w.heardNothing(t)
		if heard := w.notary.Requests(); len(heard) > 0 {
			t.Errorf("the trust server was asked %v", heard)
		}
	}
}

func TestWhatReachesTheRegistryOfAWrite(t *testing.T) {
	p := pushing(t, nil, func(reg *proxy.Registry) { reg.Hosts = []string{registryName} })
	const kind = "application/vnd.docker.distribution.manifest.v2+json"
	im := p.push("acme/app", "first", "one")
	p.quiet()
	a := p.send("PUT", "/v2/acme/app/manifests/1.0?ns=docker.io", string(im.body), "Content-Type", kind, "Authorization", alice,
		"X-Forwarded-Host", "evil.example", "X-Forwarded-Proto", "http", "Forwarded", "host=evil.example", "X-Forwarded-For", "10.0.0.1",
		"X-Http-Method-Override", "DELETE", "X-Original-Url", "/v2/", "Cookie", "a=b", "If-Match", `"x"`, "Range", "bytes=0-1", "User-Agent", "tester")
	if a.status != 201 {
		t.Fatalf("got %v", a)
	}
	got := p.upstream.list()
	if len(got) != 1 || got[0].Target != "/v2/acme/app/manifests/1.0" || got[0].Body != len(im.body) || got[0].Chunked {
		t.Fatalf("the registry heard %+v", got)
	}
	want := http.Header{
		"Authorization": {alice}, "Content-Type": {kind}, "Content-Length": {fmt.Sprint(len(im.body))}, "If-Match": {`"x"`}, "User-Agent": {"tester"},
		"X-Forwarded-Host": {registryName}, "X-Forwarded-Proto": {"https"}, "Accept-Encoding": nil,
	}
	if what := differentHeaders(got[0].Header, want); what != nil {
		t.Errorf("the registry heard %q", what)
	}
}

func TestAnswersToWrites(t *testing.T) {
	long := strings.Repeat("x", 100<<10)
	words := `{"errors":[{"code":"TOOBIG","message":"the quota of acme is used up"}]}`
	for _, tt := range []struct {
		name   string
		answer http.HandlerFunc
		status int
		body   string // "" where it is ours
		header map[string]string
	}{
		{"a challenge is the client's", respond(401, words, "Www-Authenticate", `Bearer realm="https://auth.example.com/token",service="r",scope="repository:acme/app:pull,push"`), 401, words,
			map[string]string{"Www-Authenticate": `Bearer realm="https://auth.example.com/token",service="r",scope="repository:acme/app:pull,push"`}},
		{"denied, with its own words", respond(403, words), 403, words, nil},
		{"too large, with its own words", respond(413, words), 413, words, nil},
		{"a range out of order", respond(416, "", "Range", "0-9"), 416, "", map[string]string{"Range": "0-9"}},
		{"too many requests", respond(429, words, "Retry-After", "7"), 429, words, map[string]string{"Retry-After": "7"}},
		{"a page of a proxy on the way", respond(400, "<script>", "Content-Type", "text/html"), 400, "<script>", map[string]string{"X-Content-Type-Options": "nosniff"}},
		{"out of order", respond(500, words), 502, "", nil},
		{"unavailable", respond(503, words, "Retry-After", "7"), 503, "", map[string]string{"Retry-After": "7"}},
		{"late", respond(504, words), 504, "", nil},
		{"a redirect is not followed", respond(307, "", "Location", "https://evil.example/"), 502, "", map[string]string{"Location": ""}},
		{"endless words", respond(400, long), 502, "", nil},
		{"headers that are not listed", respond(400, words, "Set-Cookie", "a=b", "Link", "</x>; rel=next", "Location", "/x"), 400, words, map[string]string{"Set-Cookie": "", "Link": "", "Location": ""}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := pushing(t, nil)
			p.upstream.lie(tt.answer)
			p.quiet()
			a := p.send("POST", "/v2/acme/app/blobs/uploads/", "")
			if a.status != tt.status || tt.body != "" && string(a.body) != tt.body || strings.Contains(string(a.body), long) {
				t.Errorf("got %v", a)
			}
			for name, value := range tt.header {
				if got := a.header.Get(name); got != value {
					t.Errorf("%s is %q, want %q", name, got, value)
				}
			}
			if n := len(p.registry.Requests()); n != 1 {
				t.Errorf("the registry was asked %d times", n)
			}
		})
	}
}

// respond answers everything with the same.
func respond(status int, body string, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

func TestAWriteThatFailsIsNotRepeated(t *testing.T) {
	p := pushing(t, nil)
	p.upstream.lie(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	p.quiet()
	for _, method := range []string{"PUT", "DELETE"} {
		p.quiet()
		if a := p.send(method, "/v2/acme/app/manifests/1.0", "{}"); a.status != 502 {
			t.Errorf("%s: got %v", method, a)
		}
		if n := len(p.registry.Requests()); n != 1 {
			t.Errorf("%s: the registry was asked %d times", method, n)
		}
	}
}

func TestAPrivateRegistryIsPushedToWithTheClientsCredentials(t *testing.T) {
	p := pushing(t, users)
	if a := p.send("POST", "/v2/acme/app/blobs/uploads/", ""); a.status != 401 || a.header.Get("Www-Authenticate") == "" {
		t.Errorf("a stranger: got %v", a)
	}
	a := p.send("POST", "/v2/acme/app/blobs/uploads/", "", "Authorization", alice)
	if a.status != 202 {
		t.Fatalf("alice: got %v", a)
	}
	location := a.header.Get("Location")
	if a := p.send("PUT", location+"?digest="+sum("x"), "x"); a.status != 401 {
		t.Errorf("a token is no credential: got %v", a)
	}
	if a := p.send("PUT", location+"?digest="+sum("x"), "x", "Authorization", alice); a.status != 201 {
		t.Errorf("alice: got %v", a)
	}
	for _, line := range []string{"wonderland", alice, strings.TrimPrefix(location, "/v2/acme/app/blobs/uploads/")} {
		if strings.Contains(p.log.String(), line) {
			t.Errorf("the log has %q", line)
		}
	}
}

func TestDeletingDropsOnlyThatRepositorysManifest(t *testing.T) {
	p := pushing(t, nil)
	im := p.push("acme/app", "1.0", "one")
	p.push("acme/other", "1.0", "one")
	for _, repository := range []string{"acme/app", "acme/other"} {
		p.trust.sign(repository, trustcache.Target(target("1.0", im)))
		p.get("/v2/" + repository + "/manifests/1.0")
	}
	p.do("DELETE", "/v2/acme/app/manifests/"+im.digest)
	if a := p.get("/v2/acme/other/manifests/1.0"); !bytes.Equal(a.body, im.body) {
		t.Errorf("the other repository: got %v", a)
	}
}

func TestShortNamesOfDockerHubArePushedTo(t *testing.T) {
	w, g, im := newHub(t, func(reg *proxy.Registry) { reg.Push = true })
	g.send("POST", "/v2/other/blobs/uploads/?mount="+im.blob+"&from=alpine", "")
	if want := []string{"POST /v2/library/other/blobs/uploads/?mount=" + im.blob + "&from=library/alpine"}; !slices.Equal(w.asked(), want) {
		t.Errorf("the registry was asked %q, want %q", w.asked(), want)
	}
	location := g.send("POST", "/v2/other/blobs/uploads/", "").header.Get("Location")
	for _, name := range []string{"library/other", "other"} {
		if a := g.get(strings.Replace(location, "library/other", name, 1)); a.status != 204 {
			t.Errorf("%s: got %v", name, a)
		}
	}
}

func TestHowAClientCameIsSaidToTheRegistry(t *testing.T) {
	p := pushing(t, nil, func(reg *proxy.Registry) { reg.PassPaths = []string{"/pages"} })
	for _, tt := range []struct {
		behind bool
		proto  string
	}{{false, "http"}, {true, "https"}} {
		server := httptest.NewServer(proxy.New(proxy.Options{Registries: []proxy.Registry{p.reg}, BehindTLSProxy: tt.behind}))
		for _, target := range []string{"/v2/acme/app/blobs/uploads/", "/pages/x"} {
			p.quiet()
			resp, err := http.Post(server.URL+target, "", nil)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			header := p.upstream.list()[0].Header
			if got, host := header.Get("X-Forwarded-Proto"), header.Get("X-Forwarded-Host"); got != tt.proto || "http://"+host != server.URL {
				t.Errorf("%s, behind a TLS proxy %t: the registry heard %s and %s", target, tt.behind, got, host)
			}
		}
		server.Close()
		http.DefaultClient.CloseIdleConnections()
	}
}
