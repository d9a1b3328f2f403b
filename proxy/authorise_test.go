package proxy_test

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sealgate/sealgate/proxy"
	"github.com/sealgate/sealgate/trustcache"
)

const emptyBlob = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

// The users of the private registry and their secrets, which no log may hold.
var (
	users = map[string]string{"alice": "alices-secret", "bob": "bobs-secret"}
	alice = basic("alice", users["alice"])
	bob   = basic("bob", users["bob"])
)

func basic(name, password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(name+":"+password))
}

// private is a private registry with a passthrough gate in front of it.
type private struct {
	*world
	trust  *pretend
	reg    proxy.Registry
	clock  *clock
	a, b   image // signed as acme/app 1.0 and 2.0
	hidden image
}

func newPrivate(t *testing.T, users map[string]string) *private {
	p := &private{world: newWorld(t, users), trust: &pretend{}, clock: newClock()}
	p.a, p.b, p.hidden = p.push("acme/app", "1.0", "one"), p.push("acme/app", "2.0", "two"), p.push("acme/app", "unsigned", "three")
	p.push("acme/plain", "unsigned", "four")
	p.trust.sign("acme/app", target("1.0", p.a), target("2.0", p.b))
	p.reg = p.front(t)
	p.reg.Trust, p.reg.Passthrough = p.trust, true
	p.quiet()
	return p
}

func (p *private) gate(t *testing.T, ttl time.Duration) *gate {
	return startGate(t, proxy.Options{Registries: []proxy.Registry{p.reg}, AuthorisationTTL: ttl, Now: p.clock.Now})
}

// aboutTags are requests whose answer depends on trust data.
func aboutTags() []string {
	return []string{
		"/v2/acme/app/manifests/1.0", "/v2/acme/app/manifests/2.0", "/v2/acme/app/manifests/unsigned", "/v2/acme/app/manifests/absent",
		"/v2/acme/plain/manifests/unsigned", "/v2/acme/nowhere/manifests/x", "/v2/acme/app/tags/list", "/v2/acme/app/tags/list?n=1&last=1.0",
		"/v2/acme/plain/tags/list", "/v2/" + registryName + "/acme/app/_trust/tuf/root.json", "/v2/" + registryName + "/acme/plain/_trust/tuf/timestamp.json",
	}
}

func TestAnAnonymousClientLearnsNothing(t *testing.T) {
	p := newPrivate(t, users)
	g := p.gate(t, time.Minute)
	check := func(t *testing.T, header ...string) {
		var first *answer
		for _, target := range aboutTags() {
			a := sameForHead(t, g, target, header...)
			isRefusal(t, a, 401, "UNAUTHORIZED", "the registry asks for authentication", http.Header{"Www-Authenticate": {`Basic realm="sandbox"`}})
			if first == nil {
				first = &a
			} else if what := a.differs(*first); what != nil {
				t.Errorf("%s is told from the others by %v", target, what)
			}
		}
	}
	t.Run("without credentials", func(t *testing.T) { check(t) })
	t.Run("with a wrong password", func(t *testing.T) { check(t, "Authorization", basic("alice", "wrong")) })
	t.Run("with a token", func(t *testing.T) { check(t, "Authorization", "Bearer x") })
	t.Run("with an empty Authorization", func(t *testing.T) { check(t, "Authorization", "") })
	t.Run("after somebody was let in", func(t *testing.T) {
		if a := g.get("/v2/acme/app/manifests/1.0", "Authorization", alice); a.status != 200 {
			t.Fatalf("got %v", a)
		}
		check(t)
		check(t, "Authorization", basic("alice", "wrong"))
	})
	for _, err := range []error{trustcache.ErrMalicious, trustcache.ErrExpired, trustcache.ErrVanished, trustcache.ErrUnreachable, trustcache.ErrUnpinned, trustcache.ErrNoTrustData} {
		t.Run("when "+err.Error(), func(t *testing.T) {
			p.trust.fail("acme/app", err)
			check(t)
		})
	}
}

func TestAnAuthorisedClientIsServed(t *testing.T) {
	p := newPrivate(t, users)
	g := p.gate(t, time.Minute)
	as := []string{"Authorization", alice}
	for tag, want := range map[string]image{"1.0": p.a, "2.0": p.b} {
		if a := sameForHead(t, g, "/v2/acme/app/manifests/"+tag, as...); a.status != 200 || !bytes.Equal(a.body, want.body) {
			t.Errorf("%s: got %v", tag, a)
		}
	}
	for target, want := range map[string]string{
		"/v2/acme/app/manifests/unsigned":   `404 MANIFEST_UNKNOWN no trust data for tag "unsigned" in ` + gun("acme/app"),
		"/v2/acme/app/manifests/absent":     `404 MANIFEST_UNKNOWN no trust data for tag "absent" in ` + gun("acme/app"),
		"/v2/acme/plain/manifests/unsigned": "404 MANIFEST_UNKNOWN remote trust data does not exist for " + gun("acme/plain"),
	} {
		if a := sameForHead(t, g, target, as...); a.String() != want {
			t.Errorf("%s: got %v, want %s", target, a, want)
		}
	}
	if a := sameForHead(t, g, "/v2/acme/app/tags/list", as...); string(a.body) != `{"name":"acme/app","tags":["1.0","2.0"]}`+"\n" {
		t.Errorf("got %v", a)
	}
	for _, target := range []string{"/v2/acme/app/manifests/" + p.hidden.digest, "/v2/acme/app/blobs/" + p.hidden.blob, "/v2/"} {
		if a := sameForHead(t, g, target, as...); a.status != 200 {
			t.Errorf("%s: got %v", target, a)
		}
	}
	p.heardNoTag(t)
}

func TestTheChallengeOfTheVersionCheckIsTheRegistrysOwn(t *testing.T) {
	p := newPrivate(t, users)
	g := p.gate(t, time.Minute)
	a := sameForHead(t, g, "/v2/")
	if a.status != 401 || !slices.Equal(a.header["Www-Authenticate"], []string{`Basic realm="sandbox"`}) || a.header.Get("Docker-Distribution-Api-Version") != "registry/2.0" {
		t.Errorf("got %v %v", a, a.header)
	}
	challenges := []string{`Bearer realm="https://auth.example.com/token",service="r",scope="repository:a:pull"`, `Basic realm="x"`}
	p.upstream.lie(func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header()["Www-Authenticate"] = challenges
		rw.WriteHeader(401)
	})
	for _, target := range []string{"/v2/", "/v2/acme/app/manifests/1.0", "/v2/acme/app/manifests/absent", "/v2/acme/app/tags/list", "/v2/acme/app/blobs/" + p.a.blob} {
		if a := g.get(target, "Authorization", alice); a.status != 401 || !slices.Equal(a.header["Www-Authenticate"], challenges) {
			t.Errorf("%s: got %v %v", target, a, a.header)
		}
	}
}

func TestWhatIsCachedForOneNeverReachesAnother(t *testing.T) {
	p := newPrivate(t, users)
	g := p.gate(t, time.Minute)
	const signed = "/v2/acme/app/manifests/1.0"
	if a := g.get(signed, "Authorization", alice); a.status != 200 {
		t.Fatalf("got %v", a)
	}
	for _, tt := range []struct {
		name   string
		header []string
	}{
		{"without credentials", nil},
		{"with a wrong password", []string{"Authorization", basic("bob", "wrong")}},
		{"with Alice's name", []string{"Authorization", basic("alice", "")}},
		{"with Alice's credentials in capitals", []string{"Authorization", strings.ToUpper(alice)}},
		{"with what Alice has for a proxy", []string{"Proxy-Authorization", alice}},
		{"who knows the digest", []string{"If-None-Match", p.a.digest}},
		{"who asks for a part", []string{"Range", "bytes=0-10"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p.quiet()
			a := sameForHead(t, g, signed, tt.header...)
			if a.status != 401 || bytes.Contains(a.body, p.a.body[:50]) || strings.Contains(fmt.Sprint(a.header, string(a.body)), p.a.digest) {
				t.Errorf("got %v %v", a, a.header)
			}
			for _, line := range p.asked() {
				if line != "HEAD /v2/acme/app/manifests/"+p.a.digest {
					t.Errorf("the registry was asked %s", line)
				}
			}
		})
	}
	t.Run("who is refused by name", func(t *testing.T) {
		p.upstream.lie(func(rw http.ResponseWriter, r *http.Request) {
			if name, _, _ := r.BasicAuth(); name == "bob" {
				rw.WriteHeader(403)
				return
			}
			rw.WriteHeader(200)
		})
		if a := g.get(signed, "Authorization", bob); a.status != 403 || a.code() != "DENIED" {
			t.Errorf("got %v", a)
		}
		p.upstream.lie(nil)
	})
	t.Run("but one who may read gets it from memory, after a HEAD", func(t *testing.T) {
		p.quiet()
		if a := g.get(signed, "Authorization", bob); a.status != 200 || !bytes.Equal(a.body, p.a.body) {
			t.Errorf("got %v", a)
		}
		if got := p.asked(); !slices.Equal(got, []string{"HEAD /v2/acme/app/manifests/" + p.a.digest}) {
			t.Errorf("the registry was asked %v", got)
		}
	})
	t.Run("nor another repository, where the same digest is signed", func(t *testing.T) {
		p.trust.sign("acme/secret", target("1.0", p.a))
		p.quiet()
		if a := g.get("/v2/acme/secret/manifests/1.0", "Authorization", alice); a.status != 404 || a.message() != "signed digest "+p.a.digest+" is not in the registry" {
			t.Errorf("got %v", a)
		}
	})
}

func TestAnAuthorisationIsRemembered(t *testing.T) {
	p := newPrivate(t, users)
	const signed, list, absent = "/v2/acme/app/manifests/1.0", "/v2/acme/app/tags/list", "/v2/acme/app/manifests/absent"
	probe := []string{"HEAD /v2/acme/app/manifests/" + p.a.digest}
	ask := func(t *testing.T, g *gate, target, authorization string, status int, want []string) {
		t.Helper()
		p.quiet()
		if a := g.get(target, "Authorization", authorization); a.status != status {
			t.Errorf("%s: got %v, want %d", target, a, status)
		}
		if got := p.asked(); !slices.Equal(got, want) {
			t.Errorf("%s: the registry was asked %v, want %v", target, got, want)
		}
	}
	t.Run("for its time and not longer", func(t *testing.T) {
		g := p.gate(t, 30*time.Second)
		ask(t, g, signed, alice, 200, []string{"GET /v2/acme/app/manifests/" + p.a.digest})
		p.clock.advance(30*time.Second - 1)
		ask(t, g, signed, alice, 200, nil)
		ask(t, g, list, alice, 200, nil)
		ask(t, g, absent, alice, 404, nil)
		p.clock.advance(1)
		ask(t, g, signed, alice, 200, probe)
		p.clock.advance(30 * time.Second)
		ask(t, g, absent, alice, 404, probe)
		ask(t, g, list, alice, 200, nil)
	})
	t.Run("using it does not lengthen it", func(t *testing.T) {
		g := p.gate(t, 30*time.Second)
		ask(t, g, list, alice, 200, probe)
		for range 29 {
			p.clock.advance(time.Second)
			ask(t, g, list, alice, 200, nil)
		}
		p.clock.advance(time.Second)
		ask(t, g, list, alice, 200, probe)
	})
	t.Run("and ends where the registry has changed its mind", func(t *testing.T) {
		g := p.gate(t, 30*time.Second)
		ask(t, g, list, alice, 200, probe)
		p.upstream.lie(status(403))
		ask(t, g, list, alice, 200, nil)
		p.clock.advance(30 * time.Second)
		ask(t, g, list, alice, 403, probe)
		ask(t, g, list, alice, 403, probe)
		p.upstream.lie(nil)
	})
	t.Run("not at all where the time is zero", func(t *testing.T) {
		g := p.gate(t, 0)
		ask(t, g, signed, alice, 200, []string{"GET /v2/acme/app/manifests/" + p.a.digest})
		ask(t, g, signed, alice, 200, probe)
		ask(t, g, list, alice, 200, probe)
		ask(t, g, absent, alice, 404, probe)
		ask(t, g, absent, alice, 404, probe)
	})
	t.Run("for these credentials only", func(t *testing.T) {
		g := p.gate(t, time.Minute)
		ask(t, g, list, alice, 200, probe)
		ask(t, g, list, bob, 200, probe)
		ask(t, g, list, bob, 200, nil)
		ask(t, g, list, "", 401, probe)
	})
	t.Run("for this repository only", func(t *testing.T) {
		g := p.gate(t, time.Minute)
		ask(t, g, list, alice, 200, probe)
		ask(t, g, "/v2/acme/plain/tags/list", alice, 200, []string{"HEAD /v2/acme/plain/blobs/" + emptyBlob})
		ask(t, g, "/v2/acme/ap/tags/list", alice, 200, []string{"HEAD /v2/acme/ap/blobs/" + emptyBlob})
	})
	t.Run("from a read that was passed through", func(t *testing.T) {
		for _, target := range []string{"/v2/acme/app/manifests/" + p.hidden.digest, "/v2/acme/app/blobs/" + p.hidden.blob} {
			g := p.gate(t, time.Minute)
			ask(t, g, target, alice, 200, []string{"GET " + target})
			ask(t, g, list, alice, 200, nil)
		}
	})
	t.Run("but not from a 404, the version check or referrers", func(t *testing.T) {
		g := p.gate(t, time.Minute)
		for _, target := range []string{"/v2/", "/v2/acme/app/blobs/" + sha256, "/v2/acme/app/manifests/" + sha256, "/v2/acme/app/referrers/" + p.a.digest} {
			g.get(target, "Authorization", alice)
		}
		ask(t, g, list, alice, 200, probe)
	})
	t.Run("a denial is not proof for the next", func(t *testing.T) {
		g := p.gate(t, time.Minute)
		empty := []string{"HEAD /v2/acme/plain/blobs/" + emptyBlob}
		ask(t, g, "/v2/acme/plain/manifests/x", alice, 404, empty)
		ask(t, g, "/v2/acme/plain/manifests/x", alice, 404, empty)
	})
}

func TestARepositoryThatAnybodyMayRead(t *testing.T) {
	p := newPrivate(t, nil)
	g := p.gate(t, time.Minute)
	if a := g.get("/v2/acme/app/manifests/1.0"); a.status != 200 {
		t.Fatalf("got %v", a)
	}
	p.quiet()
	if a := g.get("/v2/acme/app/manifests/1.0", "Authorization", alice); a.status != 200 {
		t.Errorf("got %v", a)
	}
	if got := p.asked(); len(got) != 0 {
		t.Errorf("what none may read with nothing, all may read; yet the registry was asked %v", got)
	}
}

func TestWhatTheRegistryRefusesIsRelayed(t *testing.T) {
	p := newPrivate(t, nil)
	for _, tt := range []struct {
		name    string
		lie     http.HandlerFunc
		status  int
		code    string
		message string
		header  http.Header
	}{
		{"401", status(401, "WWW-Authenticate", `Bearer realm="https://auth.example.com"`, "Set-Cookie", "a=b"), 401, "UNAUTHORIZED", "the registry asks for authentication", http.Header{"Www-Authenticate": {`Bearer realm="https://auth.example.com"`}}},
		{"403", status(403, "Server", "x"), 403, "DENIED", "the registry denies access to this repository", nil},
		{"403 with a challenge", status(403, "WWW-Authenticate", `Bearer error="insufficient_scope"`), 403, "DENIED", "the registry denies access to this repository", http.Header{"Www-Authenticate": {`Bearer error="insufficient_scope"`}}},
		{"429", status(429, "Retry-After", "30"), 429, "TOOMANYREQUESTS", "the registry limits the rate of requests", http.Header{"Retry-After": {"30"}}},
		{"503", status(503, "Retry-After", "7"), 503, "UNAVAILABLE", "the registry behind sealgate is unavailable", http.Header{"Retry-After": {"7"}}},
		{"500", status(500), 502, "UNKNOWN", "the registry behind sealgate answered with status 500", nil},
		{"504", status(504), 504, "UNKNOWN", "the registry behind sealgate answered with status 504", nil},
		{"a redirect elsewhere that is no 307", status(302, "Location", "https://login.example.com/"), 502, "UNKNOWN", "", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p.upstream.lie(tt.lie)
			g := p.gate(t, time.Minute)
			for _, target := range aboutTags() {
				a := sameForHead(t, g, target, "Authorization", alice)
				if tt.message == "" {
					tt.message = a.message()
				}
				if isTag := strings.HasSuffix(target, "/1.0") || strings.HasSuffix(target, "/2.0"); tt.name[0] == 'a' && isTag {
					tt.message = a.message() // followed for a manifest, refused for a probe
				} else if tt.name[0] == 'a' {
					tt.message = "the registry behind sealgate answered with status 302"
				}
				isRefusal(t, a, tt.status, tt.code, tt.message, tt.header)
			}
			p.upstream.lie(nil)
			if a := g.get("/v2/acme/app/manifests/1.0", "Authorization", alice); a.status != 200 {
				t.Errorf("afterwards: got %v", a)
			}
		})
	}
}

func TestHowARegistryIsProbed(t *testing.T) {
	p := newPrivate(t, users)
	first := "HEAD /v2/acme/app/manifests/" + p.a.digest
	gone := imageOf([]byte("never pushed"))
	p.trust.sign("acme/half", target("a", gone), target("b", p.a))
	if p.push("acme/half", "b", "one").digest != p.a.digest {
		t.Fatal("the same seed made another image")
	}
	p.trust.sign("acme/none", target("a", gone), target("b", gone))
	many := make([]trustcache.Target, 20)
	for i := range many {
		many[i] = target(fmt.Sprintf("t%02d", i), imageOf(fmt.Append(nil, "never pushed ", i)))
	}
	p.trust.sign("acme/many", many...)
	p.trust.sign("acme/nothing")
	probes := func(repository string, targets ...trustcache.Target) (lines []string) {
		for _, tg := range targets {
			lines = append(lines, "HEAD /v2/"+repository+"/manifests/"+tg.Digest.String())
		}
		return lines
	}
	for _, tt := range []struct {
		name, target string
		status       int
		body         string // of a list
		want         []string
	}{
		{"a signed tag: its one fetch", "/v2/acme/app/manifests/2.0", 200, "", []string{"GET /v2/acme/app/manifests/" + p.b.digest}},
		{"an unsigned tag: the signed tag that sorts first", "/v2/acme/app/manifests/zzz", 404, "", []string{first}},
		{"a list: the signed tag that sorts first", "/v2/acme/app/tags/list", 200, `["1.0","2.0"]`, []string{first}},
		{"no trust data: the empty blob", "/v2/acme/plain/manifests/unsigned", 404, "", []string{"HEAD /v2/acme/plain/blobs/" + emptyBlob}},
		{"an empty list: the empty blob", "/v2/acme/plain/tags/list", 200, `[]`, []string{"HEAD /v2/acme/plain/blobs/" + emptyBlob}},
		{"nothing signed: the empty blob", "/v2/acme/nothing/tags/list", 200, `[]`, []string{"HEAD /v2/acme/nothing/blobs/" + emptyBlob}},
		{"a list whose first digest is gone: the next", "/v2/acme/half/tags/list", 200, `["a","b"]`, probes("acme/half", target("a", gone), target("b", p.a))},
		{"a list of which nothing is there looks empty", "/v2/acme/none/tags/list", 200, `[]`, probes("acme/none", target("a", gone))},
		{"no endless search for one that is there", "/v2/acme/many/tags/list", 200, `[]`, probes("acme/many", many[:5]...)},
		{"an unsigned tag where the first digest is gone", "/v2/acme/none/manifests/zzz", 404, "", probes("acme/none", target("a", gone))},
		{"trust metadata: first with no credentials, then with the client's", "/v2/" + registryName + "/acme/app/_trust/tuf/root.json", 404, "", []string{first, first}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, method := range []string{http.MethodGet, http.MethodHead} {
				g := p.gate(t, time.Minute)
				p.quiet()
				a := g.do(method, tt.target, "Authorization", alice)
				if a.status != tt.status || method == http.MethodGet && !strings.Contains(string(a.body), tt.body) {
					t.Errorf("got %v", a)
				}
				if got := p.asked(); !slices.Equal(got, tt.want) {
					t.Errorf("%s: the registry was asked %v, want %v", method, got, tt.want)
				}
			}
		})
	}
}

func TestAProbeThatIsRedirectedAdmits(t *testing.T) {
	p := newPrivate(t, nil)
	p.upstream.lie(status(307, "Location", "https://cdn.example.com/x"))
	g := p.gate(t, time.Minute)
	if a := g.get("/v2/acme/app/tags/list"); a.status != 200 || !strings.Contains(string(a.body), "1.0") {
		t.Errorf("got %v", a)
	}
}

func TestARegistryThatHidesFromStrangers(t *testing.T) {
	p := newPrivate(t, nil)
	p.upstream.lie(status(404))
	g := p.gate(t, time.Minute)
	for _, target := range aboutTags() {
		a := g.get(target)
		switch {
		case strings.Contains(target, "/tags/list"):
			if a.status != 200 || !strings.Contains(string(a.body), `"tags":[]`) {
				t.Errorf("%s: got %v, want an empty list", target, a)
			}
		case a.status != 404 || a.header["Www-Authenticate"] != nil:
			t.Errorf("%s: got %v, want 404", target, a)
		}
		if bytes.Contains(a.body, p.a.body[:50]) || a.header["Docker-Content-Digest"] != nil {
			t.Errorf("%s: content shows in %v", target, a)
		}
	}
}

func TestCredentialsArePassedOnAsTheyCame(t *testing.T) {
	p := newPrivate(t, nil)
	g := p.gate(t, 0)
	for _, target := range append(aboutTags(), "/v2/", "/v2/acme/app/manifests/"+p.a.digest, "/v2/acme/app/blobs/"+p.a.blob, "/v2/acme/app/referrers/"+p.a.digest) {
		p.quiet()
		a := g.rawGet("GET", target, "Authorization: Bearer one", "Authorization: Bearer two", "Connection: Authorization")
		trusted := strings.Contains(target, "_trust")
		if a.status >= 500 {
			t.Errorf("%s: got %v", target, a)
		}
		for _, got := range p.upstream.list() {
			if values := got.Header["Authorization"]; !slices.Equal(values, []string{"Bearer one"}) && !(trusted && values == nil) {
				t.Errorf("%s: the registry got Authorization %q", target, values)
			}
		}
	}
}

func TestAnAnonymousGateKeepsCredentialsAndChallengesApart(t *testing.T) {
	p := newPrivate(t, nil)
	p.reg.Passthrough = false
	everything := append(aboutTags(), "/v2/", "/v2/acme/app/manifests/"+p.a.digest, "/v2/acme/app/blobs/"+p.a.blob, "/v2/acme/app/referrers/"+p.a.digest)
	t.Run("the client's credentials stay here", func(t *testing.T) {
		g := p.gate(t, time.Minute)
		p.quiet()
		for _, target := range everything {
			g.get(target, "Authorization", alice, "Proxy-Authorization", alice, "Cookie", "a="+alice)
		}
		for _, got := range append(p.upstream.list(), p.notarySpy.list()...) {
			if got.Header["Authorization"] != nil || got.Header["Proxy-Authorization"] != nil || got.Header["Cookie"] != nil {
				t.Errorf("%s %s arrived with %v", got.Method, got.Target, got.Header)
			}
		}
	})
	for _, refused := range []int{401, 403, 407} {
		t.Run(fmt.Sprintf("a registry that answers %d leads to no challenge", refused), func(t *testing.T) {
			g := p.gate(t, time.Minute)
			challenge := func(rw http.ResponseWriter, _ *http.Request) {
				rw.Header().Set("WWW-Authenticate", `Basic realm="x"`)
				rw.Header().Set("Proxy-Authenticate", `Basic realm="x"`)
				rw.WriteHeader(refused)
			}
			p.upstream.lie(challenge)
			p.notarySpy.lie(challenge)
			defer p.notarySpy.lie(nil)
			for _, target := range everything {
				for _, method := range []string{http.MethodGet, http.MethodHead} {
					a := g.do(method, target)
					if a.status == 401 || a.header["Www-Authenticate"] != nil || a.header["Proxy-Authenticate"] != nil {
						t.Errorf("%s %s: got %v %v", method, target, a, a.header)
					}
				}
			}
			if a := g.get("/v2/acme/app/manifests/1.0"); a.status != 502 && a.status != 403 {
				t.Errorf("a signed tag: got %v", a)
			}
		})
	}
	t.Run("what was verified is served to everybody", func(t *testing.T) {
		p.upstream.lie(nil)
		g := p.gate(t, 0)
		for i := range 3 {
			p.quiet()
			if a := g.get("/v2/acme/app/manifests/1.0"); a.status != 200 {
				t.Errorf("got %v", a)
			}
			if got := p.asked(); i > 0 && len(got) > 0 {
				t.Errorf("the registry was asked %v", got)
			}
		}
	})
}
