package proxy_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sealgate/sealgate/proxy"
	"github.com/sealgate/sealgate/trustcache"
)

// lines parses the log: every line is one JSON object.
func lines(t *testing.T, g *gate) (all []map[string]any) {
	t.Helper()
	for line := range strings.Lines(g.log.String()) {
		var entry map[string]any
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			t.Fatalf("the log holds %q: %v", line, err)
		}
		if entry["message"] == "request" {
			all = append(all, entry)
		}
	}
	return all
}

func TestOneAccessLineForEveryRequest(t *testing.T) {
	p := newPrivate(t, users)
	p.trust.fail("acme/dark", fmt.Errorf("%w: forged", trustcache.ErrMalicious))
	always := []string{"bytes", "client", "decision", "duration_ms", "level", "message", "method", "registry", "request_id", "route", "status"}
	for _, tt := range []struct {
		name, target string
		header       []string
		want         map[string]any
	}{
		{"a signed tag", "/v2/acme/app/manifests/1.0", []string{"Authorization", alice}, map[string]any{
			"route": "manifest-by-tag", "repository": "acme/app", "tag": "1.0", "decision": "allow", "reason": "signed", "signed_digest": p.a.digest, "signers": []any{releases}, "status": 200.0, "bytes": float64(p.a.size)}},
		{"an unsigned tag", "/v2/acme/app/manifests/unsigned", []string{"Authorization", alice}, map[string]any{
			"route": "manifest-by-tag", "repository": "acme/app", "tag": "unsigned", "decision": "deny", "reason": "unsigned", "status": 404.0}},
		{"a stranger", "/v2/acme/app/manifests/1.0", nil, map[string]any{
			"route": "manifest-by-tag", "repository": "acme/app", "tag": "1.0", "decision": "deny", "reason": "upstream-refused", "signed_digest": p.a.digest, "signers": []any{releases}, "status": 401.0}},
		{"no trust data", "/v2/acme/plain/manifests/x", []string{"Authorization", alice}, map[string]any{
			"route": "manifest-by-tag", "repository": "acme/plain", "tag": "x", "decision": "deny", "reason": "no-trust-data", "status": 404.0}},
		{"not knowing", "/v2/acme/dark/manifests/x", []string{"Authorization", alice}, map[string]any{
			"route": "manifest-by-tag", "repository": "acme/dark", "tag": "x", "decision": "error", "reason": "malicious", "status": 503.0}},
		{"a list", "/v2/acme/app/tags/list?n=1", []string{"Authorization", alice}, map[string]any{
			"route": "tags", "repository": "acme/app", "decision": "allow", "reason": "signed", "status": 200.0}},
		{"an empty list", "/v2/acme/plain/tags/list", []string{"Authorization", alice}, map[string]any{
			"route": "tags", "repository": "acme/plain", "decision": "allow", "reason": "no-trust-data", "status": 200.0}},
		{"by digest", "/v2/acme/app/manifests/" + p.hidden.digest, []string{"Authorization", alice}, map[string]any{
			"route": "manifest-by-digest", "repository": "acme/app", "digest": p.hidden.digest, "decision": "pass", "status": 200.0}},
		{"a blob", "/v2/acme/app/blobs/" + p.a.blob, []string{"Authorization", alice}, map[string]any{
			"route": "blob", "repository": "acme/app", "digest": p.a.blob, "decision": "pass", "status": 200.0}},
		{"the version check", "/v2/", nil, map[string]any{"route": "base", "decision": "pass", "status": 401.0}},
		{"no route", "/v2/acme/app/manifests//1.0?token=" + lie, nil, map[string]any{"route": "refused", "host": registryName, "path": "/v2/acme/app/manifests//1.0", "decision": "refuse", "reason": "no-route", "status": 404.0}},
		{"an unknown host", "/v2/", []string{"Host", "evil.example"}, map[string]any{"route": "refused", "host": "evil.example", "path": "/v2/", "registry": "", "decision": "refuse", "reason": "unknown-host", "status": 421.0}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, method := range []string{http.MethodGet, http.MethodHead} {
				g := p.gate(t, time.Minute)
				var header []string
				for i := 0; i < len(tt.header); i += 2 {
					header = append(header, tt.header[i]+": "+tt.header[i+1])
				}
				a := g.rawGet(method, tt.target, header...)
				g.stop() // waits for the line
				all := lines(t, g)
				if len(all) != 2 || all[0]["request_id"] != a.header.Get("X-Request-Id") {
					t.Fatalf("%d lines for two requests, the first of %v", len(all), a.header.Get("X-Request-Id"))
				}
				got := all[0]
				for name, want := range tt.want {
					if fmt.Sprint(got[name]) != fmt.Sprint(want) && !(name == "bytes" && method == http.MethodHead) {
						t.Errorf("%s: %s is %v, want %v", method, name, got[name], want)
					}
				}
				names := slices.Sorted(maps.Keys(got))
				want := append(slices.Collect(maps.Keys(tt.want)), always...)
				slices.Sort(want)
				if !slices.Equal(names, slices.Compact(want)) {
					t.Errorf("%s: the fields are %v, want %v", method, names, want)
				}
				if got["client"] != "127.0.0.1" || got["method"] != method || got["duration_ms"] == nil {
					t.Errorf("got %v", got)
				}
			}
		})
	}
}

func TestNoCredentialIsEverLogged(t *testing.T) {
	p := newPrivate(t, users)
	p.reg.Expose = 0
	g := p.gate(t, time.Minute)
	const secret = "s3cr3t-token"
	secrets := []string{secret, alice[6:], users["alice"], "Basic ", "Bearer "}
	header := []string{"Authorization", "Bearer " + secret, "Proxy-Authorization", "Basic " + secret, "Cookie", secret, "X-Registry-Auth", secret, "Referer", "https://x/?" + secret, "User-Agent", secret}
	targets := append(aboutTags(), "/v2/", "/v2/acme/app/blobs/"+p.a.blob, "/v2/acme/app/referrers/"+p.a.digest+"?artifactType="+secret, "/v2/acme/app/tags/list?n=x"+secret, "/nothing?token="+secret, "/v2/acme/app/manifests/x?token="+secret)
	ask := func() {
		for _, target := range targets {
			g.get(target, header...)
			g.get(target, "Authorization", alice)
			g.do("PUT", target, header...)
		}
		g.rawGet("GET", "https://u:"+secret+"@"+registryName+"/v2/acme/app/manifests/1.0")
		g.rawGet("GET", "https://u:"+secret+"@"+registryName)
	}
	ask()
	p.upstream.lie(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	ask()
	p.upstream.lie(status(307, "Location", "https://u:"+secret+"@evil.example/?sig="+secret))
	ask()
	p.trust.panic = "boom"
	ask()
	g.stop()
	log := g.log.String()
	if len(lines(t, g)) < 4*3*len(targets) {
		t.Fatal("the requests are not in the log")
	}
	for _, s := range secrets {
		if i := strings.Index(log, s); i >= 0 {
			t.Errorf("%q is in the log: %s", s, log[max(0, i-300):min(len(log), i+100)])
		}
	}
}

func TestAStaleAnswerIsLoggedAsSuch(t *testing.T) {
	p := newPrivate(t, nil)
	p.trust.stale("acme/app", fmt.Errorf("%w: timeout", trustcache.ErrUnreachable))
	p.trust.views[gun("acme/app")] = trustcache.View{Snapshot: p.trust.views[gun("acme/app")].Snapshot, Stale: fmt.Errorf("%w: timeout", trustcache.ErrUnreachable)}
	g := p.gate(t, time.Minute)
	g.get("/v2/acme/app/manifests/1.0")
	g.stop()
	if got := lines(t, g)[0]; got["stale"] != "trust server unreachable: timeout" {
		t.Errorf("got %v", got)
	}
}

func TestASignedLengthThatDiffersIsLogged(t *testing.T) {
	p := newPrivate(t, nil)
	other := target("1.0", p.a)
	other.Length = 7
	p.trust.sign("acme/app", other)
	g := p.gate(t, time.Minute)
	if a := g.get("/v2/acme/app/manifests/1.0"); a.status != 200 {
		t.Errorf("got %v: the digest decides", a)
	}
	g.stop()
	if got := lines(t, g)[0]; got["signed_length_differs"] != 7.0 {
		t.Errorf("got %v", got)
	}
}

// Whoever asks later which bytes were served unsigned, or pushed, has the line
// alone.
func TestWhatTheRegistryHasForATagIsLoggedWhereTrustDidNotDecide(t *testing.T) {
	p := pushing(t, nil)
	im := p.push("acme/app", "dev-1", "one")
	for _, tt := range []struct {
		name, method, tag, body string
		policy                  proxy.Policy
		want                    any
	}{
		{"an exempt tag", "GET", "dev-1", "", proxy.Policy{Exempt: []string{"dev-*"}}, im.digest},
		{"its HEAD", "HEAD", "dev-1", "", proxy.Policy{Exempt: []string{"dev-*"}}, im.digest},
		{"mode disabled", "GET", "dev-1", "", proxy.Policy{Mode: proxy.Disabled}, im.digest},
		{"a tag that is not there", "GET", "dev-2", "", proxy.Policy{Mode: proxy.Disabled}, nil},
		{"a push", "PUT", "dev-3", string(im.body), proxy.Policy{}, im.digest},
		{"a push that is refused", "PUT", "dev-4", "{}", proxy.Policy{}, nil},
		{"an unsigned tag", "GET", "dev-1", "", proxy.Policy{}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			reg := p.reg
			reg.Policy = always(tt.policy)
			g := gateFor(t, reg)
			g.send(tt.method, "/v2/acme/app/manifests/"+tt.tag, tt.body, "Content-Type", dockerManifest)
			g.stop()
			if got := lines(t, g); len(got) != 1 || got[0]["upstream_digest"] != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}
