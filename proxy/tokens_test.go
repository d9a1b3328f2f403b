package proxy_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sealgate/sealgate/e2e/sandbox"
	"github.com/sealgate/sealgate/proxy"
)

// challenging answers like a registry that sends clients to realm for a token,
// and answers everything but /v2/ with what tokens says.
func (p *pages) challenging(realm string, tokens http.HandlerFunc) {
	p.answer = func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasSuffix(r.URL.Path, "/v2/") {
			tokens(w, r)
			return
		}
		w.Header().Set("Www-Authenticate", realm)
		w.WriteHeader(http.StatusUnauthorized)
	}
}

func bearer(realm string) string { return fmt.Sprintf(`Bearer realm=%q,service="registry"`, realm) }

func aToken(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, `{"token":"t"}`)
}

// TestTheTokenServerOnTheRegistrysOwnHost: each registry has it elsewhere, and
// the path is the whole of it, whatever the registry's address has before /v2/.
func TestTheTokenServerOnTheRegistrysOwnHost(t *testing.T) {
	for product, path := range map[string]string{
		"Harbor": "/service/token", "GitLab": "/jwt/auth", "Quay": "/v2/auth", "Artifactory": "/v2/token", "MSR": "/auth/token",
		"Artifactory by path": "/artifactory/api/docker/docker-local/v2/token", "ACR": "/oauth2/token", "one with a slash at its end": "/token/", "one with a port": "/token",
	} {
		for _, below := range []string{"", "/artifactory/api/docker/local"} {
			t.Run(product+below, func(t *testing.T) {
				p := newPages(t)
				realm := "https://" + registryName + path
				if product == "one with a port" {
					realm = "https://" + registryName + ":443" + path
				}
				p.challenging(bearer(realm), aToken)
				g := p.gateTo(t, func(r *proxy.Registry) { r.URL.Path = below })
				query := "?service=registry&scope=repository%3Aa%2Fb%3Apull&scope=x"
				if a := g.get(path+query, "Authorization", "Basic dXNlcjpw", "Cookie", "a=b", "X-Original-Url", "/x"); a.status != 200 || string(a.body) != `{"token":"t"}` || a.header.Get("Cache-Control") != "no-store" {
					t.Fatalf("got %v", a)
				}
				r, _ := p.last(t)
				if r.RequestURI != path+query || r.Header.Get("Authorization") != "Basic dXNlcjpw" || r.Header.Get("Cookie") != "" || r.Header.Get("X-Original-Url") != "" {
					t.Errorf("the registry got %s with %v", r.RequestURI, r.Header)
				}
				if got := p.targets(); !slices.Equal(got, []string{"GET " + below + "/v2/", "GET " + path + query}) {
					t.Errorf("the registry was asked %q", got)
				}
				form := "grant_type=password&password=secret&scope=repository:a/b:pull"
				a := post(t, g, path, "application/x-www-form-urlencoded; charset=utf-8", form)
				r, body := p.last(t)
				if a.status != 200 || r.Method != http.MethodPost || r.RequestURI != path || body != form || r.Header.Get("Content-Type") != "application/x-www-form-urlencoded" {
					t.Errorf("got %v, and the registry %s %s with %v %q", a, r.Method, r.RequestURI, r.Header, body)
				}
				if got := p.targets(); len(got) != 1 {
					t.Errorf("the registry was asked %q", got)
				}
				for _, other := range []string{path + "x", path + "/x", "/x" + path, strings.ToUpper(path), "/v2" + path + "/x"} {
					if a := g.get(other + query); a.status != 404 {
						t.Errorf("%s: got %v", other, a)
					}
				}
				if a := g.do(http.MethodPut, path+query); a.status != 404 && a.status != 405 {
					t.Errorf("PUT: got %v", a)
				}
				if got := p.targets(); got != nil {
					t.Errorf("the registry was asked %q", got)
				}
				if log := g.log.String(); !strings.Contains(log, `"route":"token","path":"`+path+`","decision":"pass"`) || strings.Contains(log, "secret") || strings.Contains(log, "scope") || strings.Contains(log, "dXNlcjpw") {
					t.Errorf("logged %s", log)
				}
			})
		}
	}
}

func post(t *testing.T, g *gate, target, contentType, body string) answer {
	t.Helper()
	path, query, _ := strings.Cut(target, "?")
	req := &http.Request{Method: http.MethodPost, URL: &url.URL{Scheme: "https", Host: g.addr, Path: path, RawQuery: query}, Host: registryName,
		Header: http.Header{"Content-Type": {contentType}}, Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body))}
	resp, err := g.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	return whole(resp)
}

// TestRealmsThatAreNotOurs: only where the registry's own challenge puts it on a
// host of this registry, at a path that is nothing else, is there a token server.
func TestRealmsThatAreNotOurs(t *testing.T) {
	for name, challenge := range map[string]string{
		"another host":            bearer("https://auth.example.com/token"),
		"a host that ends alike":  bearer("https://x" + registryName + "/token"),
		"a user":                  bearer("https://" + registryName + "@auth.example.com/token"),
		"a user of ours":          bearer("https://u@" + registryName + "/token"),
		"another scheme":          bearer("ftp://" + registryName + "/token"),
		"a fragment":              bearer("https://" + registryName + "/token#x"),
		"no path":                 bearer("https://" + registryName),
		"the root":                bearer("https://" + registryName + "/"),
		"the API":                 bearer("https://" + registryName + "/v2/"),
		"the API without a slash": bearer("https://" + registryName + "/v2"),
		"a manifest":              bearer("https://" + registryName + "/v2/acme/app/manifests/unsigned"),
		"a list of tags":          bearer("https://" + registryName + "/v2/acme/app/tags/list"),
		"the catalog":             bearer("https://" + registryName + "/v2/_catalog"),
		"an upload":               bearer("https://" + registryName + "/v2/acme/app/blobs/uploads/"),
		"trust metadata":          bearer("https://" + registryName + "/v2/x/_trust/tuf/root.json"),
		"dots":                    bearer("https://" + registryName + "/token/../v2/acme/app/manifests/unsigned"),
		"escapes":                 bearer("https://" + registryName + "/%74oken"),
		"an empty component":      bearer("https://" + registryName + "//token"),
		"Basic":                   `Basic realm="https://` + registryName + `/token"`,
		"no realm":                `Bearer service="registry"`,
		"no address":              bearer("/token"),
		"nothing":                 "",
	} {
		t.Run(name, func(t *testing.T) {
			p := newPages(t)
			p.challenging(challenge, aToken)
			g := p.gateTo(t, func(r *proxy.Registry) { r.Hosts = []string{registryName, "*"} })
			for _, target := range []string{
				"/token?service=registry", "/?service=x", "/v2?service=x", "/v2/_catalog?service=x", "/v2/acme/app/blobs/uploads/?service=x", "/%74oken?service=x",
				"//token?service=x", "/token/../v2/acme/app/manifests/unsigned?service=x",
			} {
				if a := g.rawGet(http.MethodGet, target); a.status != 404 {
					t.Errorf("%s: got %v", target, a)
				}
			}
			for _, target := range []string{"/v2/acme/app/manifests/unsigned?service=x", "/v2/acme/app/tags/list?service=x"} {
				if a := g.get(target); a.status != 401 && a.status != 404 && a.status != 200 {
					t.Errorf("%s: got %v", target, a)
				}
			}
			for _, asked := range p.targets() {
				if asked != "GET /v2/" && !strings.Contains(asked, "/blobs/sha256:e3b0c4") {
					t.Errorf("the registry was asked %s", asked)
				}
			}
		})
	}
}

func TestWithOurOwnCredentialsThereIsNoTokenServer(t *testing.T) {
	p := newPages(t)
	p.challenging(bearer("https://"+registryName+"/token"), aToken)
	g := p.gateTo(t, func(r *proxy.Registry) { r.Passthrough = false })
	if a := g.get("/token?service=registry"); a.status != 404 || p.targets() != nil {
		t.Errorf("got %v", a)
	}
}

// TestAGuessAtATokenServerCostsTheRegistryNothing: only what looks like a request
// for a token makes us ask where the token server is, and that once.
func TestAGuessAtATokenServerCostsTheRegistryNothing(t *testing.T) {
	p := newPages(t)
	p.challenging(bearer("https://"+registryName+"/token"), aToken)
	g := p.gateTo(t, nil)
	for _, target := range []string{"/token", "/wp-login.php?a=b", "/v2/token", "/favicon.ico"} {
		if a := g.get(target); a.status != 404 {
			t.Errorf("%s: got %v", target, a)
		}
	}
	if got := p.targets(); got != nil {
		t.Errorf("the registry was asked %q", got)
	}
	for range 3 {
		if a := g.get("/elsewhere?service=x"); a.status != 404 {
			t.Errorf("got %v", a)
		}
	}
	if got := p.targets(); !slices.Equal(got, []string{"GET /v2/"}) {
		t.Errorf("the registry was asked %q", got)
	}
	if a := g.get("/token"); a.status != 200 { // now it is known
		t.Errorf("got %v", a)
	}
}

func TestAClientsOwnChallengeTellsWhereTheTokenServerIs(t *testing.T) {
	p := newPages(t)
	p.challenging(bearer("https://"+registryName+"/token"), aToken)
	g := p.gateTo(t, nil)
	if a := g.get("/v2/"); a.status != 401 || a.header.Get("Www-Authenticate") == "" {
		t.Fatalf("got %v", a)
	}
	if a := g.get("/token"); a.status != 200 {
		t.Errorf("got %v", a)
	}
	if got := p.targets(); !slices.Equal(got, []string{"GET /v2/", "GET /token"}) {
		t.Errorf("the registry was asked %q", got)
	}
}

// TestABrowserTakesNoTokenServerAway: Artifactory and Nexus challenge browsers
// otherwise than docker.
func TestABrowserTakesNoTokenServerAway(t *testing.T) {
	p := newPages(t)
	p.answer = func(w http.ResponseWriter, r *http.Request) {
		switch agent := r.Header.Get("User-Agent"); {
		case !strings.HasSuffix(r.URL.Path, "/v2/"):
			aToken(w, r)
			return
		case agent == "open":
			return
		case agent == "browser":
			w.Header().Set("Www-Authenticate", `Basic realm="pages"`)
		default:
			w.Header().Set("Www-Authenticate", bearer("https://"+registryName+"/token"))
		}
		w.WriteHeader(http.StatusUnauthorized)
	}
	g := p.gateTo(t, nil)
	for _, first := range []string{"docker", "browser", "open"} {
		g.get("/v2/", "User-Agent", first)
		if a := g.get("/token?service=x"); a.status != 200 {
			t.Errorf("after %s: got %v", first, a)
		}
	}
}

// TestWhereTheTokenServerIsDoesNotHoldForEver: it is asked again when it is
// nearly old, without a client that waits, and before it is believed when it is.
func TestWhereTheTokenServerIsDoesNotHoldForEver(t *testing.T) {
	p := newPages(t)
	p.challenging(bearer("https://"+registryName+"/token"), aToken)
	clock := newClock()
	pool := p.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	g := startGate(t, proxy.Options{Now: clock.Now, AuthorisationTTL: time.Minute, Registries: []proxy.Registry{{
		Name: registryName, Hosts: []string{registryName}, URL: mustURL(t, p.URL), Upstream: transport(t, pool), Passthrough: true, Trust: &pretend{},
	}}})
	ask := func(want int) {
		t.Helper()
		if a := g.get("/token?service=x"); a.status != want {
			t.Errorf("got %v, want %d", a, want)
		}
	}
	ask(200)
	clock.advance(3 * time.Minute)
	ask(200)
	if got := p.targets(); len(got) != 3 {
		t.Errorf("the registry was asked %q", got)
	}
	clock.advance(6 * time.Minute)
	p.challenging(bearer("https://"+registryName+"/moved"), aToken)
	ask(404)
	if a := g.get("/moved"); a.status != 200 {
		t.Errorf("got %v", a)
	}
}

func TestBoundsOfRequestsForTokens(t *testing.T) {
	p := newPages(t)
	p.challenging(bearer("https://"+registryName+"/token"), aToken)
	g := p.gateTo(t, nil)
	if a := g.get("/token?service=x"); a.status != 200 {
		t.Fatalf("got %v", a)
	}
	p.targets()
	const form = "application/x-www-form-urlencoded"
	for name, a := range map[string]answer{
		"415 no form":            post(t, g, "/token", "application/json", "{}"),
		"415 no type":            post(t, g, "/token", "", "a=b"),
		"413 a large form":       post(t, g, "/token", form, strings.Repeat("x", 64<<10+1)),
		"400 a long query":       g.get("/token?service=" + strings.Repeat("x", 8<<10)),
		"400 a quote":            g.rawGet("GET", `/token?service="x"`),
		"400 a bad escape":       g.rawGet("GET", "/token?service=%zz"),
		"400 a raw byte":         g.rawGet("GET", "/token?service=\xff"),
		"400 in a form's target": post(t, g, "/token?a|b", form, "a=b"),
	} {
		if fmt.Sprint(a.status) != name[:3] || a.code() != "UNSUPPORTED" {
			t.Errorf("%s: got %v", name, a)
		}
	}
	if got := p.targets(); got != nil {
		t.Errorf("the registry was asked %q", got)
	}
	if a := post(t, g, "/token", form, strings.Repeat("x", 64<<10)); a.status != 200 {
		t.Errorf("a form of 64 KiB: got %v", a)
	}
	if a := g.get("/token?" + strings.Repeat("x", 8<<10)); a.status != 200 {
		t.Errorf("a query of 8 KiB: got %v", a)
	}
}

func TestAnswersToRequestsForTokens(t *testing.T) {
	p := newPages(t)
	p.challenging(bearer("https://"+registryName+"/token"), func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Www-Authenticate", `Basic realm="x"`)
		h.Set("Set-Cookie", "a=b")
		h.Set("Location", "https://evil.example/")
		h.Set("Cache-Control", "public")
		h.Set("Retry-After", "7")
		switch what := r.URL.Query().Get("service"); what {
		case "huge":
			_, _ = w.Write(make([]byte, 64<<10+1))
		case "large":
			_, _ = w.Write(make([]byte, 64<<10))
		case "cut":
			h.Set("Content-Length", "10")
			_, _ = w.Write([]byte("x"))
		default:
			var status int
			_, _ = fmt.Sscan(what, &status)
			w.WriteHeader(status)
			_, _ = io.WriteString(w, `{"details":"incorrect username or password"}`)
		}
	})
	g := p.gateTo(t, nil)
	for what, want := range map[string]int{"200": 200, "401": 401, "403": 403, "404": 404, "429": 429, "302": 502, "307": 502, "500": 502, "503": 503, "huge": 502, "large": 200, "cut": 502} {
		a := g.get("/token?service=" + what)
		if a.status != want || a.header.Get("Set-Cookie") != "" || a.header.Get("Location") != "" {
			t.Errorf("%s: got %v with %v", what, a, a.header)
		}
		if want < 500 && (a.header.Get("Cache-Control") != "no-store" || a.header.Get("Retry-After") != "7" || a.header.Get("Www-Authenticate") != `Basic realm="x"`) {
			t.Errorf("%s: got the headers %v", what, a.header)
		}
	}
}

func TestARegistryThatDoesNotSayWhereItsTokenServerIs(t *testing.T) {
	p := newPages(t)
	p.answer = func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) }
	g := p.gateTo(t, nil)
	for range 3 {
		if a := g.get("/token?service=x"); a.status != 503 {
			t.Errorf("got %v", a)
		}
	}
	if got := p.targets(); len(got) != 1 {
		t.Errorf("the registry was asked %q", got)
	}
}

// TestTokensWithARealTokenService: the sandbox's service, asked by way of the gate.
func TestTokensWithARealTokenService(t *testing.T) {
	service, err := sandbox.NewTokens(sandbox.TokenOptions{Service: "registry", Issuer: "x", Users: map[string]sandbox.TokenUser{"alice": {Password: "wonderland"}}})
	if err != nil {
		t.Fatal(err)
	}
	p := newPages(t)
	p.challenging(bearer("https://"+registryName+"/service/token"), service.ServeHTTP)
	g := p.gateTo(t, nil)
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	for password, want := range map[string]int{"wonderland": 200, "guessed": 401} {
		r.SetBasicAuth("alice", password)
		if a := g.get("/service/token?service=registry&account=alice", "Authorization", r.Header.Get("Authorization")); a.status != want {
			t.Errorf("%s: got %v", password, a)
		}
	}
	if asked := service.Asked(); len(asked) != 2 {
		t.Errorf("the service was asked %v", asked)
	}
}
