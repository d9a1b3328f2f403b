package proxy_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sealgate/sealgate/proxy"
	"github.com/sealgate/sealgate/proxy/upstream"
)

// logIn makes the gate read with a secret of its own.
func (p *private) logIn(t *testing.T, secret upstream.Secrets, realms ...string) {
	t.Helper()
	over := transport(t, p.ca.Pool())
	made := func(s upstream.Secrets) http.RoundTripper {
		l := upstream.NewLogin(upstream.LoginOptions{Server: p.reg.URL, Secrets: s, Realms: realms, Home: over})
		t.Cleanup(l.Close)
		return l.Over(over)
	}
	p.reg.Passthrough = false
	p.reg.Upstream, p.reg.Anonymous = made(secret), made(nil)
}

// knownAs is somebody's secret.
func knownAs(name, password string) upstream.Secrets {
	return func(context.Context, bool) (upstream.Secret, error) {
		return upstream.Secret{Username: name, Password: password}, nil
	}
}

func TestAGateWithCredentialsOfItsOwn(t *testing.T) {
	p := newPrivate(t, users)
	p.logIn(t, knownAs("alice", users["alice"]))
	g := p.gate(t, time.Minute)
	for _, header := range [][]string{nil, {"Authorization", bob}, {"Authorization", basic("alice", "guessed")}, {"Authorization", "Bearer x", "Cookie", "a=b"}} {
		p.quiet()
		if a := g.get("/v2/", header...); a.status != 200 {
			t.Errorf("/v2/: got %v", a)
		}
		if a := sameForHead(t, g, "/v2/acme/app/manifests/1.0", header...); a.status != 200 || string(a.body) != string(p.a.body) {
			t.Errorf("a signed tag: got %v", a)
		}
		if a := g.get("/v2/acme/app/manifests/unsigned", header...); a.status != 404 || a.code() != "MANIFEST_UNKNOWN" {
			t.Errorf("an unsigned tag: got %v", a)
		}
		if a := g.get("/v2/acme/app/tags/list", header...); a.status != 200 || !strings.Contains(string(a.body), `["1.0","2.0"]`) {
			t.Errorf("the list: got %v", a)
		}
		for _, target := range []string{"/v2/acme/app/manifests/" + p.b.digest, "/v2/acme/app/blobs/" + p.b.blob} {
			if a := g.get(target, header...); a.status != 200 || a.header["Www-Authenticate"] != nil {
				t.Errorf("%s: got %v %v", target, a, a.header)
			}
		}
		for _, got := range p.upstream.list() {
			if values := got.Header["Authorization"]; !slices.Equal(values, []string{alice}) || got.Header["Cookie"] != nil {
				t.Errorf("%s %s arrived with %q", got.Method, got.Target, values)
			}
		}
	}
	p.heardNoTag(t)
}

func TestAGateThatCannotLogIn(t *testing.T) {
	const cannot = "sealgate cannot log in to the registry behind it: "
	bearer := func(realm string) http.HandlerFunc {
		return status(401, "WWW-Authenticate", fmt.Sprintf(`Bearer realm=%q,service="r",scope="repository:acme/app:pull"`, realm))
	}
	tokens := func(p *private, answer http.HandlerFunc) http.HandlerFunc {
		return func(rw http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/token" {
				answer(rw, r)
				return
			}
			bearer(p.registry.URL()+"/token")(rw, r)
		}
	}
	for _, tt := range []struct {
		name    string
		users   map[string]string
		secret  upstream.Secrets
		lie     func(*private) http.HandlerFunc
		status  int
		code    string
		message string
		header  http.Header
	}{
		{"a wrong password", users, knownAs("alice", "wrong"), nil, 502, "UNKNOWN",
			"the registry behind sealgate refuses the credentials that sealgate has for it, or wants some where it has none", nil},
		{"no credentials", users, nil, nil, 502, "UNKNOWN",
			"the registry behind sealgate refuses the credentials that sealgate has for it, or wants some where it has none", nil},
		{"a password that cannot be read", users, func(context.Context, bool) (upstream.Secret, error) {
			return upstream.Secret{}, errors.New("/run/secret is gone")
		}, nil, 502, "UNKNOWN",
			cannot + "the credentials of sealgate's own cannot be read", nil},
		{"a realm that is not allowed", nil, knownAs("alice", "x"), func(*private) http.HandlerFunc { return bearer("https://evil.example/token") }, 502, "UNKNOWN",
			cannot + "its token server is not among those that realms allows", nil},
		{"a token server that refuses", nil, knownAs("alice", "x"), func(p *private) http.HandlerFunc { return tokens(p, status(401)) }, 502, "UNKNOWN",
			cannot + "its token server refused the credentials that sealgate has", nil},
		{"a token server that is busy", nil, knownAs("alice", "x"), func(p *private) http.HandlerFunc { return tokens(p, status(429, "Retry-After", "17")) }, 429, "TOOMANYREQUESTS",
			cannot + "its token server limits the rate of requests", http.Header{"Retry-After": {"17"}}},
		{"a token that is refused", nil, knownAs("alice", "x"), func(p *private) http.HandlerFunc {
			return tokens(p, send("application/json", []byte(`{"token": "x"}`)))
		}, 502, "UNKNOWN", "the registry behind sealgate refuses the credentials that sealgate has for it, or wants some where it has none", nil},
		{"403", nil, knownAs("alice", "x"), func(*private) http.HandlerFunc {
			return status(403, "WWW-Authenticate", `Bearer error="insufficient_scope"`)
		}, 403, "DENIED", "the registry denies access to this repository", nil},
		{"429", nil, knownAs("alice", "x"), func(*private) http.HandlerFunc { return status(429, "Retry-After", "30") }, 429, "TOOMANYREQUESTS",
			"the registry limits the rate of requests", http.Header{"Retry-After": {"30"}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := newPrivate(t, tt.users)
			p.logIn(t, tt.secret)
			if tt.lie != nil {
				p.upstream.lie(tt.lie(p))
			}
			g := p.gate(t, time.Minute)
			isRefusal(t, sameForHead(t, g, "/v2/acme/app/manifests/1.0", "Authorization", bob), tt.status, tt.code, tt.message, tt.header)
			a := g.get("/v2/acme/app/blobs/"+p.a.blob, "Authorization", bob)
			if a.status != tt.status || a.header["Www-Authenticate"] != nil || a.header.Get("Retry-After") != tt.header.Get("Retry-After") {
				t.Errorf("a blob: got %v %v", a, a.header)
			}
			if a := g.get("/v2/"); a.status != 200 {
				t.Errorf("/v2/: got %v", a)
			}
			for _, secret := range []string{"wrong", alice, "evil.example/token"} {
				if strings.Contains(g.log.String(), secret) {
					t.Errorf("%q is in the log:\n%s", secret, g.log)
				}
			}
			if tt.name == "a realm that is not allowed" && !strings.Contains(g.log.String(), `\"evil.example\": where that is right, add it to realms`) {
				t.Errorf("the log does not say what to do:\n%s", g.log)
			}
		})
	}
}

// What credentials of ours can read is not what everybody may know of.
func TestTrustMetadataIsNotExposedWithCredentialsOfOurOwn(t *testing.T) {
	for _, tt := range []struct {
		name  string
		users map[string]string
		want  int
	}{
		{"a private registry", users, 404},
		{"an open registry", nil, 200},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e, _ := newExposed(t, tt.users, proxy.ExposeAuto, false)
			e.logIn(t, knownAs("alice", users["alice"]))
			g := e.gate(t, time.Minute)
			if a := g.get("/v2/acme/app/manifests/1.0"); a.status != 200 {
				t.Fatalf("got %v", a)
			}
			e.quiet()
			a := g.get(trustPath+"root.json", "Authorization", alice)
			if a.status != tt.want || a.header["Www-Authenticate"] != nil {
				t.Errorf("got %v, want %d", a, tt.want)
			}
			for _, got := range slices.Concat(e.upstream.list(), e.notarySpy.list()) {
				if got.Header["Authorization"] != nil {
					t.Errorf("%s %s arrived with %q", got.Method, got.Target, got.Header["Authorization"])
				}
			}
		})
	}
}

// to redirects everything to another server.
func to(cdn *world) http.HandlerFunc {
	return func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Docker-Content-Digest", "sha256:of-the-redirect")
		http.Redirect(rw, r, cdn.registry.URL()+r.URL.Path+"?sig=%2F", http.StatusTemporaryRedirect)
	}
}

// redirected is a registry that redirects everything to another server.
func redirected(t *testing.T) (w, cdn *world, reg proxy.Registry, im image) {
	t.Helper()
	w, reg, im, _ = open(t)
	cdn = newWorld(t, nil)
	cdn.push("acme/app", "any", "one") // the same bytes
	w.upstream.lie(to(cdn))
	pool := w.ca.Pool()
	pool.AppendCertsFromPEM(cdn.ca.PEM())
	reg.Passthrough, reg.Follow, reg.Redirected, reg.RedirectHosts = true, true, transport(t, pool), []string{cdn.registry.Addr()}
	cdn.quiet()
	return w, cdn, reg, im
}

func TestRedirectsAreFollowedForClients(t *testing.T) {
	w, cdn, reg, im := redirected(t)
	g := gateFor(t, reg)
	whole := g.get("/v2/acme/app/blobs/"+im.blob, "Authorization", alice, "Cookie", "a=b")
	if whole.status != 200 || whole.header.Get("Location") != "" || whole.header.Get("Content-Length") != fmt.Sprint(len(whole.body)) || imageOf(whole.body).digest != im.blob {
		t.Fatalf("got %v %v", whole, whole.header)
	}
	arrived := cdn.upstream.list()
	if len(arrived) != 1 || arrived[0].Header["Authorization"] != nil || arrived[0].Header["Cookie"] != nil || !strings.HasSuffix(arrived[0].Target, "?sig=%2F") {
		t.Errorf("the other host got %+v", arrived)
	}
	if got := w.upstream.list(); len(got) != 1 || got[0].Header.Get("Authorization") != alice {
		t.Errorf("the registry got %+v", got)
	}
	sameForHead(t, g, "/v2/acme/app/blobs/"+im.blob)
	part := g.get("/v2/acme/app/blobs/"+im.blob, "Range", "bytes=2-5")
	if part.status != 206 || string(part.body) != string(whole.body[2:6]) || part.header.Get("Content-Range") == "" {
		t.Errorf("a range: got %v %v", part, part.header)
	}
	again := g.get("/v2/acme/app/blobs/"+im.blob, "Range", "bytes=2-5", "If-Range", `"another"`)
	if again.status != 200 || len(again.body) != len(whole.body) {
		t.Errorf("a range of what it no longer is: got %v", again)
	}
	if a := g.get("/v2/acme/app/manifests/" + im.digest); a.status != 200 || string(a.body) != string(im.body) {
		t.Errorf("a manifest by digest: got %v", a)
	}
}

func TestRedirectsThatAreNotFollowedForClients(t *testing.T) {
	w, cdn, reg, im := redirected(t)
	guard := errors.New("refused by the transport")
	for _, tt := range []struct {
		name  string
		lie   http.HandlerFunc // of the registry
		other http.HandlerFunc // of the other host
		hosts []string
		via   http.RoundTripper
		asked int // how often the other host was
	}{
		{name: "to a host that is not listed", hosts: []string{"cdn.example.com"}},
		{name: "to no host at all"},
		{name: "to an address that is not allowed", hosts: []string{"127.0.0.1"}, via: failing{fmt.Errorf("%w: %w", upstream.ErrRedirect, guard)}},
		{name: "to plain http", hosts: []string{"127.0.0.1"}, lie: status(307, "Location", "http://"+cdn.registry.Addr()+"/")},
		{name: "to itself", hosts: []string{"127.0.0.1"}, lie: status(307, "Location", w.registry.URL()+"/v2/acme/app/manifests/unsigned")},
		{name: "to nowhere", hosts: []string{"127.0.0.1"}, lie: status(http.StatusTemporaryRedirect, "Location", "https://NOT AN ADDRESS/")},
		{name: "to one that wants credentials", hosts: []string{"127.0.0.1"}, other: status(401, "WWW-Authenticate", `Basic realm="x"`), asked: 1},
		{name: "in circles", hosts: []string{"127.0.0.1"}, other: func(rw http.ResponseWriter, r *http.Request) {
			http.Redirect(rw, r, "/again", http.StatusTemporaryRedirect)
		}, asked: 3},
	} {
		t.Run(tt.name, func(t *testing.T) {
			reg := reg
			reg.RedirectHosts = tt.hosts
			if tt.via != nil {
				reg.Redirected = tt.via
			}
			if w.upstream.lie(to(cdn)); tt.lie != nil {
				w.upstream.lie(tt.lie)
			}
			cdn.upstream.lie(tt.other)
			w.quiet()
			cdn.quiet()
			a := gateFor(t, reg).get("/v2/acme/app/blobs/"+im.blob, "Authorization", alice)
			isRefusal(t, a, 502, "UNKNOWN", "the registry behind sealgate redirected to a host that is not allowed", nil)
			if got := len(cdn.registry.Requests()); got != tt.asked || len(w.registry.Requests()) != 1 {
				t.Errorf("the other host was asked %d times, the registry %v", got, w.asked())
			}
		})
	}
}

type failing struct{ err error }

func (f failing) RoundTrip(*http.Request) (*http.Response, error) { return nil, f.err }

// A registry that reads with credentials of ours redirects without them.
func TestCredentialsOfOurOwnStayWithTheRegistry(t *testing.T) {
	p := newPrivate(t, users)
	cdn := newWorld(t, nil)
	cdn.push("acme/app", "any", "one")
	p.logIn(t, knownAs("alice", users["alice"]))
	pool := p.ca.Pool()
	pool.AppendCertsFromPEM(cdn.ca.PEM())
	p.reg.Follow, p.reg.Redirected, p.reg.RedirectHosts = true, transport(t, pool), []string{cdn.registry.Addr()}
	p.upstream.lie(to(cdn))
	g := p.gate(t, time.Minute)
	cdn.quiet()
	for _, target := range []string{"/v2/acme/app/manifests/1.0", "/v2/acme/app/blobs/" + p.a.blob} {
		if a := g.get(target); a.status != 200 {
			t.Errorf("%s: got %v", target, a)
		}
	}
	for _, got := range cdn.upstream.list() {
		if got.Header["Authorization"] != nil {
			t.Errorf("%s %s arrived with credentials", got.Method, got.Target)
		}
	}
}
