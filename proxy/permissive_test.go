package proxy_test

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"
	"github.com/sealgate/sealgate/proxy"
	"github.com/sealgate/sealgate/trustcache"
)

// newPermissive is a private registry in mode permissive: 1.0 is signed as it
// is, 2.0 was pushed anew since it was signed, "gone" is signed and was never
// pushed, "unsigned" is what it says.
func newPermissive(t *testing.T) *private {
	t.Helper()
	p := newPrivate(t, users)
	p.reg.Mode = proxy.Permissive
	gone := p.a
	gone.digest = "sha256:" + strings.Repeat("0", 64)
	p.trust.sign("acme/app", target("1.0", p.a), target("2.0", p.hidden), target("gone", gone))
	p.trust.fail("acme/dark", fmt.Errorf("%w: forged", trustcache.ErrMalicious))
	p.push("acme/dark", "x", "five")
	return p
}

func TestModePermissiveServesTheRegistrysTagsAndSaysWhatWouldBecomeOfThem(t *testing.T) {
	p := newPermissive(t)
	for _, tt := range []struct {
		name, repository, tag, authorization string
		status                               int
		warning                              string // in the header, "" for no header
		would, reason                        any    // in the log
	}{
		{"signed as it is", "acme/app", "1.0", alice, 200, "", "allow", "signed"},
		{"pushed anew since it was signed", "acme/app", "2.0", alice, 200, "would be the signed " + p.hidden.digest, "change", "signed"},
		{"unsigned", "acme/app", "unsigned", alice, 200, "would be denied: unsigned", "deny", "unsigned"},
		{"no trust data", "acme/plain", "unsigned", alice, 200, "would be denied: no-trust-data", "deny", "no-trust-data"},
		{"not knowing", "acme/dark", "x", alice, 200, "would be denied: malicious", "deny", "malicious"},
		{"signed and not in the registry under its tag", "acme/app", "gone", alice, 404, "", "change", "signed"},
		{"neither signed nor there", "acme/app", "absent", alice, 404, "", nil, "unsigned"},
		{"a stranger and an unsigned tag", "acme/app", "unsigned", "", 401, "", nil, "unsigned"},
		{"a stranger and a changed tag", "acme/app", "2.0", "", 401, "", nil, "signed"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g := p.gate(t, time.Minute)
			p.quiet()
			path := "/v2/" + tt.repository + "/manifests/" + tt.tag
			header := []string{"Accept", dockerV2 + ", " + ociManifest}
			if tt.authorization != "" {
				header = append(header, "Authorization", tt.authorization)
			}
			a := g.get(path, header...)
			if a.status != tt.status {
				t.Errorf("got %v", a)
			}
			if a.status == 200 && !bytes.Equal(a.body, p.images[tt.repository+":"+tt.tag].body) {
				t.Errorf("it is not what the registry has: %v", a)
			}
			if warning := a.header.Get("Warning"); (warning == "") != (tt.warning == "") || !strings.Contains(warning, tt.warning) {
				t.Errorf("the warning is %q, want %q", warning, tt.warning)
			}
			if got := p.asked(); len(got) != 1 || got[0] != "GET "+path {
				t.Errorf("the registry was asked %v", got)
			}
			g.stop()
			line := lines(t, g)[0]
			if line["decision"] != "pass" || line["would"] != tt.would || line["reason"] != tt.reason {
				t.Errorf("logged as %v", line)
			}
			if tt.status == 200 && line["upstream_digest"] != p.images[tt.repository+":"+tt.tag].digest {
				t.Errorf("the digest of the registry is not in the log: %v", line)
			}
		})
	}
}

// TestModePermissiveAndWhatDidNotChange: a registry that answers 304 without a
// digest has what the client has, if the client says what that is.
func TestModePermissiveAndWhatDidNotChange(t *testing.T) {
	p := newPermissive(t)
	p.upstream.lie(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusNotModified) })
	for _, tt := range []struct {
		had  []string // values of If-None-Match
		want any
	}{
		{[]string{p.a.digest}, "allow"},
		{[]string{`W/"` + p.a.digest + `"`}, "allow"},
		{[]string{p.b.digest}, "change"},
		{[]string{p.a.digest + ", " + p.b.digest}, nil},
		{[]string{p.a.digest, p.b.digest}, nil},
		{[]string{"*"}, nil},
		{nil, nil},
	} {
		g := p.gate(t, time.Minute)
		header := []string{"Authorization", alice}
		for _, had := range tt.had {
			header = append(header, "If-None-Match", had)
		}
		a := g.get("/v2/acme/app/manifests/1.0", header...)
		g.stop()
		if line := lines(t, g)[0]; a.status != 304 || line["would"] != tt.want {
			t.Errorf("%q: %d, logged as %v", tt.had, a.status, line)
		}
	}
}

func TestModePermissiveListsWhatTheRegistryLists(t *testing.T) {
	p := newPermissive(t)
	g := p.gate(t, time.Minute)
	a := g.get("/v2/acme/app/tags/list", "Authorization", alice)
	if a.status != 200 || !strings.Contains(string(a.body), `"1.0","2.0","unsigned"`) || !strings.Contains(a.header.Get("Warning"), "signed or not") {
		t.Errorf("got %v with %v", a, a.header)
	}
	if a := g.get("/v2/acme/app/tags/list"); a.status != 401 || a.header.Get("Warning") != "" {
		t.Errorf("a stranger: got %v with %v", a, a.header)
	}
}

// slow never answers before its caller gives up.
type slow struct{ proxy.Trust }

func (slow) Tag(ctx context.Context, _, _ string) (trustcache.View, error) {
	<-ctx.Done()
	return trustcache.View{}, ctx.Err()
}

// TestModePermissiveWaitsTwoSecondsForTrust: what decides nothing must not
// hold up a pull for as long as a trust server is silent.
func TestModePermissiveWaitsTwoSecondsForTrust(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got proxy.Outcome
		h := proxy.New(proxy.Options{
			Log:     zerolog.Nop(),
			Observe: func(o proxy.Outcome) { got = o },
			Registries: []proxy.Registry{{
				Name: registryName, Hosts: []string{registryName}, Mode: proxy.Permissive,
				URL: mustURL(t, "https://registry.test"), Upstream: always{[]byte("{}")}, Trust: slow{},
			}},
		})
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "/v2/acme/app/manifests/1.0", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.RequestURI, r.Host = "/v2/acme/app/manifests/1.0", registryName
		for _, wait := range []time.Duration{2 * time.Second, 0, 2 * time.Second, 0} {
			begin := time.Now()
			h.ServeHTTP(&discard{header: http.Header{}}, r)
			if took := time.Since(begin); took != wait || got.Reason != "unreachable" || !got.WouldDeny || got.Status != 200 {
				t.Errorf("after %s: %+v", took, got)
			}
			time.Sleep(6 * time.Second)
		}
	})
}
