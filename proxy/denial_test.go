package proxy_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/sealgate/sealgate/proxy"
	"github.com/sealgate/sealgate/trustcache"
)

// newDenying is a private registry behind a gate that refuses in this form, and
// everything that can be wrong with a tag.
func newDenying(t *testing.T, d proxy.Denial) (*private, *gate) {
	t.Helper()
	p := newPrivate(t, users)
	p.trust.sign("acme/app", target("1.0", p.a), target("gone", imageOf([]byte("never pushed"))), trustcache.Target{Tag: "bare", NoDigest: true, Role: releases})
	p.trust.fail("acme/expired", fmt.Errorf("%w: %q", trustcache.ErrExpired, "its \r\nrole"))
	p.trust.fail("acme/dark", trustcache.ErrUnreachable)
	p.trust.fail("acme/unpinned", trustcache.ErrUnpinned)
	p.reg.Denial = d
	return p, startGate(t, proxy.Options{Registries: []proxy.Registry{p.reg}, AuthorisationTTL: time.Minute, ManifestTimeout: 300 * time.Millisecond})
}

// refusals are reads of tags that are refused, with the status of NotFound.
var refusals = []struct {
	name, target string
	lie          http.HandlerFunc // of the registry, nil for none
	status       int
	message      string
	decision     string
	reason       string
}{
	{"a tag that is not signed", "acme/app/manifests/unsigned", nil, 404, `no trust data for tag "unsigned" in registry.example.com/acme/app`, "deny", "unsigned"},
	{"a tag that is not there", "acme/app/manifests/absent", nil, 404, `no trust data for tag "absent" in registry.example.com/acme/app`, "deny", "unsigned"},
	{"a signed digest that is gone", "acme/app/manifests/gone", nil, 404, "is not in the registry", "deny", "not-in-registry"},
	{"an entry without a digest", "acme/app/manifests/bare", nil, 404, "has no sha256 digest", "deny", "no-digest"},
	{"a repository without trust data", "acme/plain/manifests/unsigned", nil, 404, "remote trust data does not exist for registry.example.com/acme/plain", "deny", "no-trust-data"},
	{"a repository that nothing pins", "acme/unpinned/manifests/x", nil, 404, "no pin covers", "deny", "unpinned"},
	{"trust data that has expired", "acme/expired/manifests/x", nil, 503, "expired", "error", "expired"},
	{"a trust server that is away", "acme/dark/manifests/x", nil, 503, "trust server unreachable", "error", "unreachable"},
	{"another manifest than the signed one", "acme/app/manifests/1.0", send(dockerV2, []byte("{}")), 502, "do not match the signed digest", "error", "upstream-mismatch"},
	{"a registry that is silent", "acme/app/manifests/1.0", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, 504, "did not answer in time", "error", "upstream-timeout"},
	{"a registry that forbids", "acme/app/manifests/1.0", status(403), 403, "the registry denies access", "deny", "upstream-refused"},
	{"a registry that limits", "acme/app/manifests/1.0", status(429, "Retry-After", "9"), 429, "limits the rate", "deny", "upstream-refused"},
}

func TestFormsOfADenial(t *testing.T) {
	for _, form := range []struct {
		name  string
		form  proxy.Denial
		check func(t *testing.T, get, head answer, status int, message string)
	}{
		{"not-found", proxy.NotFound, func(t *testing.T, get, head answer, status int, message string) {
			if get.status != status || head.status != status || !strings.Contains(get.message(), message) {
				t.Errorf("got %v and HEAD %v", get, head)
			}
		}},
		{"denied", proxy.Denied, func(t *testing.T, get, head answer, status int, message string) {
			if status == 404 {
				status = 403
				if get.code() != "DENIED" {
					t.Errorf("the code is %s", get.code())
				}
			}
			if get.status != status || head.status != status || !strings.Contains(get.message(), message) {
				t.Errorf("got %v and HEAD %v", get, head)
			}
		}},
		{"strict-mirror", proxy.StrictMirror, checkStrict},
	} {
		t.Run(form.name, func(t *testing.T) {
			p, g := newDenying(t, form.form)
			for _, tt := range refusals {
				t.Run(tt.name, func(t *testing.T) {
					logged := len(g.log.String())
					p.upstream.lie(tt.lie)
					get := g.rawGet("GET", "/v2/"+tt.target, "Authorization: "+alice) // net/http's client would follow
					head := g.rawGet("HEAD", "/v2/"+tt.target, "Authorization: "+alice)
					form.check(t, get, head, tt.status, tt.message)
					if want := fmt.Sprintf(`"decision":%q,"reason":%q`, tt.decision, tt.reason); strings.Count(g.log.String()[logged:], want) != 2 {
						t.Errorf("the log has not %s twice: %s", want, g.log.String()[logged:])
					}
				})
			}
		})
	}
}

// checkStrict: HEAD says that there is something, but not what, and GET leads
// nowhere and says why.
func checkStrict(t *testing.T, get, head answer, _ int, message string) {
	t.Helper()
	if head.status != 200 || !strings.Contains(head.header.Get("Content-Type"), "manifest") {
		t.Errorf("HEAD: got %d %v", head.status, head.header)
	}
	for _, name := range []string{"Docker-Content-Digest", "Content-Length", "Etag", "Www-Authenticate"} {
		if head.header[name] != nil {
			t.Errorf("HEAD: there is a %s", name)
		}
	}
	location := get.header.Get("Location")
	if get.status != 302 || !strings.Contains(location, "no such process") || !strings.Contains(location, strings.ReplaceAll(message, `"`, "'")) || strings.Contains(location, `"`) {
		t.Errorf("GET: got %v, %s", get, location)
	}
	if u, err := url.Parse(location); err == nil {
		t.Errorf("the location is an address: %v", u)
	}
}

// TestADenialsFormIsOfTagsAlone: everything else is answered as ever.
func TestADenialsFormIsOfTagsAlone(t *testing.T) {
	for _, form := range []proxy.Denial{proxy.Denied, proxy.StrictMirror} {
		p, g := newDenying(t, form)
		for target, want := range map[string]int{
			"acme/app/manifests/1.0":              200,
			"acme/app/manifests/" + p.a.digest:    200,
			"acme/app/manifests/" + sha256:        404,
			"acme/app/blobs/" + sha256:            404,
			"acme/app/tags/list":                  200,
			"acme/dark/tags/list":                 503,
			"acme/app/manifests/sha256:short":     400,
			"acme/app//manifests/unsigned":        404,
			registryName + "/x/_trust/tuf/root.x": 404,
		} {
			if a := g.get("/v2/"+target, "Authorization", alice); a.status != want || a.header["Location"] != nil {
				t.Errorf("%s: got %v, want %d", target, a, want)
			}
		}
		if a := g.get("/v2/acme/app/manifests/unsigned"); a.status != 401 || a.header.Get("Www-Authenticate") != `Basic realm="sandbox"` {
			t.Errorf("a stranger got %v %v: nobody could log in", a, a.header)
		}
		if a := g.do("PUT", "/v2/acme/app/manifests/unsigned", "Authorization", alice); a.status != 405 {
			t.Errorf("a write got %v", a)
		}
	}
	for name, policy := range map[string]proxy.Policy{"exempt": {Exempt: []string{"*sent"}}, "permissive": {Mode: proxy.Permissive}, "disabled": {Mode: proxy.Disabled}} {
		p := newPrivate(t, users)
		p.reg.Denial, p.reg.Policy = proxy.StrictMirror, always(policy)
		if a := p.gate(t, time.Minute).get("/v2/acme/app/manifests/absent", "Authorization", alice); a.status != 404 {
			t.Errorf("%s: got %v", name, a)
		}
	}
}

// TestAStrictMirrorStopsAtAPanicToo: that it is not known why a tag cannot be
// served is no reason to let the client go on to the next server.
func TestAStrictMirrorStopsAtAPanicToo(t *testing.T) {
	p := newPrivate(t, nil)
	p.reg.Denial = proxy.StrictMirror
	p.trust.panic = "a bug"
	g := p.gate(t, time.Minute)
	checkStrict(t, g.rawGet("GET", "/v2/acme/app/manifests/1.0"), g.rawGet("HEAD", "/v2/acme/app/manifests/1.0"), 500, "internal error")
}

// TestWhatAStrictMirrorShows is one line of printable text, however the message
// came about.
func TestWhatAStrictMirrorShows(t *testing.T) {
	p := newPrivate(t, nil)
	p.reg.Denial = proxy.StrictMirror
	p.trust.fail("acme/app", fmt.Errorf("%w: %s", trustcache.ErrMalicious, "a\r\nSet-Cookie: b=c\x00\u2028\xff\"\\ é @x:1/?#%zz "+strings.Repeat("x", 10_000)))
	p.trust.fail("acme/other", errors.New("hunter2"))
	g := p.gate(t, time.Minute)
	a := g.rawGet("GET", "/v2/acme/app/manifests/1.0")
	location := a.header.Get("Location")
	if len(location) > 600 || strings.ContainsFunc(location, func(r rune) bool { return r < ' ' || r > '~' || r == '"' || r == '\\' }) || a.header["Set-Cookie"] != nil {
		t.Errorf("got %d bytes %q", len(location), location)
	}
	checkStrict(t, a, g.rawGet("HEAD", "/v2/acme/app/manifests/1.0"), 503, "potential malicious behavior")
	if a := g.rawGet("GET", "/v2/acme/other/manifests/1.0"); strings.Contains(fmt.Sprint(a.header), "hunter2") {
		t.Errorf("a cause is shown: %v", a.header)
	}
}
