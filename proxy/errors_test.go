package proxy_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/sealgate/sealgate/proxy"
	"github.com/sealgate/sealgate/trustcache"
)

// sameForHead fails unless HEAD is GET without its body, over both protocols,
// and returns what GET got.
func sameForHead(t *testing.T, g *gate, target string, header ...string) answer {
	t.Helper()
	get := g.get(target, header...)
	over := map[string]answer{"HTTP/2": g.do(http.MethodHead, target, header...)}
	var lines []string
	for i := 0; i < len(header); i += 2 {
		lines = append(lines, header[i]+": "+header[i+1])
	}
	over["HTTP/1.1"] = g.rawGet(http.MethodHead, target, lines...)
	for protocol, head := range over {
		if head.status != get.status || len(head.body) != 0 {
			t.Errorf("HEAD over %s: got %v, and GET %v", protocol, head, get)
		}
		if what := differentHeaders(head.header, get.header); what != nil {
			t.Errorf("HEAD over %s has other headers than GET: %v", protocol, what)
		}
		if get.status != http.StatusNotModified && get.header.Get("Content-Length") != strconv.Itoa(len(get.body)) {
			t.Errorf("Content-Length is %q for %d bytes", get.header.Get("Content-Length"), len(get.body))
		}
	}
	return get
}

// isRefusal fails unless a is one of ours: one error with code and message,
// and exactly the headers that a refusal has, with those in more.
func isRefusal(t *testing.T, a answer, status int, code, message string, more http.Header) {
	t.Helper()
	if a.status != status || a.code() != code || a.message() != message {
		t.Errorf("got %v, want %d %s %s", a, status, code, message)
	}
	var shape map[string][]map[string]string
	if err := json.Unmarshal(a.body, &shape); err != nil || len(shape) != 1 || len(shape["errors"]) != 1 || len(shape["errors"][0]) != 2 {
		t.Errorf("the body is %s: want errors, one of them, with code and message", a.body)
	}
	want := http.Header{
		"Content-Type":                    {"application/json"},
		"Content-Length":                  {strconv.Itoa(len(a.body))},
		"Docker-Distribution-Api-Version": {"registry/2.0"},
		"X-Content-Type-Options":          {"nosniff"},
	}
	for name, values := range more {
		want[name] = values
	}
	if what := differentHeaders(a.header, want); what != nil {
		t.Errorf("the headers differ from what a refusal has: %v", what)
	}
	if a.header.Get("X-Request-Id") == "" {
		t.Error("no X-Request-Id")
	}
}

// TestWhatATagGets walks through the table of DESIGN.
func TestWhatATagGets(t *testing.T) {
	w, trust := newWorld(t, nil), &pretend{}
	good := w.push("acme/app", "1.0", "one")
	w.push("acme/app", "unsigned", "two")
	const name = registryName + "/acme/app"
	expired := fmt.Errorf("%w: timestamp of %s expired at 2026-01-02T03:04:05Z", trustcache.ErrExpired, name)
	soon := http.Header{"Retry-After": {"5"}}
	schema1 := imageOf([]byte(`{"schemaVersion":1,"fsLayers":[]}`))
	gone := imageOf([]byte("never pushed"))
	tests := []struct {
		name    string
		signed  trustcache.Target
		trust   error
		lie     http.HandlerFunc
		status  int
		code    string
		message string
		header  http.Header
	}{
		{"a tag that is not signed", target("2.0", good), nil, nil, 404, "MANIFEST_UNKNOWN", `no trust data for tag "1.0" in ` + name, nil},
		{"a repository without trust data", trustcache.Target{}, fmt.Errorf("%w: x", trustcache.ErrNoTrustData), nil, 404, "MANIFEST_UNKNOWN", "remote trust data does not exist for " + name, nil},
		{"no pin, and first use off", trustcache.Target{}, fmt.Errorf("%w: x", trustcache.ErrUnpinned), nil, 404, "MANIFEST_UNKNOWN", "no pin covers " + name + ": ask its publisher for the root key ID and add it to trust-pinning.root-keys", nil},
		{"a signed digest that is not in the registry", target("1.0", gone), nil, nil, 404, "MANIFEST_UNKNOWN", "signed digest " + gone.digest + " is not in the registry", nil},
		{"no sha256 in the signed entry", trustcache.Target{Tag: "1.0", NoDigest: true, Role: releases}, nil, nil, 404, "MANIFEST_UNKNOWN", `the signed entry for tag "1.0" in ` + name + " has no sha256 digest", nil},
		{"schema 1", target("1.0", schema1), nil, send("application/vnd.docker.distribution.manifest.v1+json", schema1.body), 404, "MANIFEST_UNKNOWN", "signed digest " + schema1.digest + " is an image manifest of schema 1, which is not served", nil},
		{"forged trust data", trustcache.Target{}, fmt.Errorf("%w: root of %s: wrong key", trustcache.ErrMalicious, name), nil, 503, "UNAVAILABLE", "potential malicious behavior: root of " + name + ": wrong key", soon},
		{"expired trust data", trustcache.Target{}, expired, nil, 503, "UNAVAILABLE", "trust data expired: timestamp of " + name + " expired at 2026-01-02T03:04:05Z", soon},
		{"trust data that disappeared", trustcache.Target{}, fmt.Errorf("%w: %s", trustcache.ErrVanished, name), nil, 503, "UNAVAILABLE", "trust data disappeared: " + name, soon},
		{"a trust server that cannot be reached", trustcache.Target{}, fmt.Errorf("%w: %s: connection refused", trustcache.ErrUnreachable, name), nil, 503, "UNAVAILABLE", "trust server unreachable: " + name + ": connection refused", soon},
		{"an error that nobody foresaw", trustcache.Target{}, fmt.Errorf("secret address 10.1.2.3"), nil, 503, "UNAVAILABLE", "trust data of " + name + " cannot be judged", soon},
		{"a deadline that passed", trustcache.Target{}, context.DeadlineExceeded, nil, 503, "UNAVAILABLE", "trust data of " + name + " cannot be judged", soon},
		{"bytes that do not match", target("1.0", good), nil, send(dockerV2, []byte("{}")), 502, "UNKNOWN", "the registry's bytes do not match the signed digest " + good.digest, nil},
		{"status 500 of the registry", target("1.0", good), nil, status(500), 502, "UNKNOWN", "the registry behind sealgate answered with status 500", nil},
		{"status 503 of the registry", target("1.0", good), nil, status(503, "Retry-After", "7"), 503, "UNAVAILABLE", "the registry behind sealgate is unavailable", http.Header{"Retry-After": {"7"}}},
		{"a registry that never answers", target("1.0", good), nil, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, 504, "UNKNOWN", "the registry behind sealgate did not answer in time", nil},
	}
	reg := w.front(t)
	reg.Trust = trust
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			g := startGate(t, proxy.Options{Registries: []proxy.Registry{reg}, ManifestTimeout: timeoutFor(tt.status)})
			trust.sign("acme/app", tt.signed)
			trust.fail("acme/app", tt.trust)
			w.upstream.lie(tt.lie)
			w.quiet()
			a := sameForHead(t, g, "/v2/acme/app/manifests/1.0")
			isRefusal(t, a, tt.status, tt.code, tt.message, tt.header)
			w.heardNoTag(t)
			if tt.trust != nil {
				w.heardNothing(t)
			}
		})
	}
	t.Run("a signed tag", func(t *testing.T) {
		g := gateFor(t, reg)
		trust.sign("acme/app", target("1.0", good))
		trust.fail("acme/app", nil)
		w.upstream.lie(nil)
		a := sameForHead(t, g, "/v2/acme/app/manifests/1.0")
		want := http.Header{
			"Content-Type": {dockerV2}, "Content-Length": {strconv.Itoa(len(good.body))}, "Docker-Content-Digest": {good.digest}, "Etag": {`"` + good.digest + `"`},
			"Docker-Distribution-Api-Version": {"registry/2.0"}, "X-Content-Type-Options": {"nosniff"},
		}
		if what := differentHeaders(a.header, want); what != nil || a.status != 200 || string(a.body) != string(good.body) {
			t.Errorf("got %v with other headers: %v", a, what)
		}
		a = sameForHead(t, g, "/v2/acme/app/manifests/1.0", "If-None-Match", `"`+good.digest+`"`)
		if a.status != 304 || len(a.body) != 0 || a.header.Get("Etag") != `"`+good.digest+`"` || a.header.Get("Docker-Content-Digest") != good.digest {
			t.Errorf("for one who has it: got %v %v", a, a.header)
		}
	})
}

func TestStaleTrustIsSaidInAHeader(t *testing.T) {
	w, trust := newWorld(t, nil), &pretend{}
	good := w.push("acme/app", "1.0", "one")
	trust.sign("acme/app", target("1.0", good))
	trust.stale("acme/app", fmt.Errorf("%w: a \"quoted\\\r\nSet-Cookie: x", trustcache.ErrUnreachable))
	reg := w.front(t)
	reg.Trust = trust
	g := gateFor(t, reg)
	const want = `110 sealgate "trust data is stale: trust server unreachable"`
	for target, status := range map[string]int{"/v2/acme/app/manifests/1.0": 200, "/v2/acme/app/manifests/unsigned": 404, "/v2/acme/app/tags/list": 200} {
		if a := sameForHead(t, g, target); a.status != status || !slices.Equal(a.header["Warning"], []string{want}) {
			t.Errorf("%s: got %v with Warning %q", target, a, a.header["Warning"])
		}
	}
	if a := g.get("/v2/acme/app/manifests/" + good.digest); a.header["Warning"] != nil {
		t.Errorf("by digest: got Warning %q", a.header["Warning"])
	}
}

func TestRefusalsBeforeATag(t *testing.T) {
	w := newWorld(t, nil)
	reg := w.front(t)
	reg.Trust = &pretend{}
	g := gateFor(t, reg)
	const (
		canonical = "sealgate serves only the canonical paths of the registry API: manifests, blobs, referrers and tags/list of a repository"
		readOnly  = "this registry is read only: GET and HEAD are served"
		oneHost   = "exactly one host name is needed, and a target in absolute form must name a registry of this server"
	)
	allow := http.Header{"Allow": {"GET, HEAD"}}
	tests := []struct {
		name, method, target string
		header               []string
		status               int
		code, message        string
		more                 http.Header
	}{
		{"an unknown host", "GET", "/v2/", []string{"Host: evil.example"}, 421, "UNSUPPORTED", "no registry is configured for this host name", nil},
		{"absolute form elsewhere", "GET", "https://evil.example/v2/", nil, 400, "UNSUPPORTED", oneHost, nil},
		{"connect", "CONNECT", "evil.example:443", nil, 405, "UNSUPPORTED", readOnly, allow},
		{"trace", "TRACE", "/v2/", nil, 405, "UNSUPPORTED", readOnly, allow},
		{"a star", "OPTIONS", "*", nil, 405, "UNSUPPORTED", readOnly, allow},
		{"a push", "PUT", "/v2/acme/app/manifests/1.0", []string{"Content-Length: 0"}, 405, "UNSUPPORTED", readOnly, allow},
		{"the catalog", "GET", "/v2/_catalog", nil, 404, "UNSUPPORTED", canonical, nil},
		{"an unknown path", "GET", "/index.html", nil, 404, "UNSUPPORTED", canonical, nil},
		{"a malformed digest", "GET", "/v2/acme/app/blobs/sha256:XYZ", nil, 400, "DIGEST_INVALID", `"sha256:XYZ" is not a digest: sha256: and 64 (or sha512: and 128) lower-case hexadecimal digits are expected`, nil},
		{"a malformed n", "GET", "/v2/acme/app/tags/list?n=-1", nil, 400, "PAGINATION_NUMBER_INVALID", `n="-1" in the query: one number n and one tag last are expected`, nil},
		{"a malformed last", "GET", "/v2/acme/app/tags/list?last=..", nil, 400, "TAG_INVALID", `last=".." in the query: one number n and one tag last are expected`, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := g.rawGet(tt.method, tt.target, tt.header...)
			isRefusal(t, a, tt.status, tt.code, tt.message, tt.more)
			if tt.method == "GET" {
				head := g.rawGet("HEAD", tt.target, tt.header...)
				if what := differentHeaders(a.header, head.header); what != nil || head.status != a.status || len(head.body) != 0 {
					t.Errorf("HEAD differs: %v %v", head, what)
				}
			}
		})
	}
	w.heardNothing(t)
}

func TestAnEndlessDigestIsNotEchoed(t *testing.T) {
	w := newWorld(t, nil)
	g := gateFor(t, w.front(t))
	a := g.get("/v2/acme/app/blobs/" + strings.Repeat("a", 32<<10))
	if a.status != 400 || len(a.body) > 1<<10 {
		t.Errorf("got %d with %d bytes", a.status, len(a.body))
	}
}

func TestAPanicEndsOneRequestOnly(t *testing.T) {
	w := newWorld(t, nil)
	trust := &pretend{panic: "boom " + lie}
	reg := w.front(t)
	reg.Trust = trust
	g := gateFor(t, reg)
	for _, target := range []string{"/v2/acme/app/manifests/1.0", "/v2/acme/app/tags/list"} {
		isRefusal(t, sameForHead(t, g, target), 500, "UNKNOWN", "internal error: see the log of sealgate", nil)
	}
	if log := g.log.String(); !strings.Contains(log, "panic while serving") || !strings.Contains(log, "boom") {
		t.Errorf("the log does not tell: %s", log)
	}
	trust.mu.Lock()
	trust.panic = nil
	trust.mu.Unlock()
	if a := g.get("/v2/acme/app/manifests/1.0"); a.status != 404 {
		t.Errorf("afterwards: got %v", a)
	}
}

func TestAPanicOfTheTransportEndsOneRequestOnly(t *testing.T) {
	w, trust := newWorld(t, nil), &pretend{}
	good := w.push("acme/app", "1.0", "one")
	trust.sign("acme/app", target("1.0", good))
	reg := w.front(t)
	honest := reg.Upstream
	reg.Trust = trust
	broken := true
	reg.Upstream = roundTrip(func(r *http.Request) (*http.Response, error) {
		if broken {
			panic(errors.New("boom"))
		}
		return honest.RoundTrip(r)
	})
	g := gateFor(t, reg)
	for _, target := range []string{"/v2/acme/app/manifests/1.0", "/v2/acme/app/blobs/" + good.blob} {
		isRefusal(t, g.get(target), 500, "UNKNOWN", "internal error: see the log of sealgate", nil)
	}
	if log := g.log.String(); strings.Count(log, `"panic":"boom"`) != 2 {
		t.Errorf("the log does not tell: %s", log)
	}
	broken = false
	if a := g.get("/v2/acme/app/manifests/1.0"); a.status != 200 {
		t.Errorf("afterwards: got %v", a)
	}
}

// roundTrip is an upstream made of a function.
type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestTheVersionCheckOfAnAnonymousGate(t *testing.T) {
	w := newWorld(t, map[string]string{"u": "p"})
	g := gateFor(t, w.front(t))
	a := sameForHead(t, g, "/v2/")
	if a.status != 200 || string(a.body) != "{}" || a.header.Get("Docker-Distribution-Api-Version") != "registry/2.0" || a.header["Www-Authenticate"] != nil {
		t.Errorf("got %v %v", a, a.header)
	}
	w.heardNothing(t)
}

func TestAClientThatGoesAwayFailsNobodyElse(t *testing.T) {
	w, trust := newWorld(t, nil), &pretend{}
	good := w.push("acme/app", "1.0", "one")
	trust.sign("acme/app", target("1.0", good))
	reg := w.front(t)
	reg.Trust = trust
	g := gateFor(t, reg)
	arrived, release := make(chan struct{}, 10), make(chan struct{})
	w.upstream.lie(func(rw http.ResponseWriter, _ *http.Request) {
		arrived <- struct{}{}
		<-release
		send(dockerV2, good.body)(rw, nil)
	})
	w.quiet()
	conn := g.dial("http/1.1")
	if _, err := fmt.Fprintf(conn, "GET /v2/acme/app/manifests/1.0 HTTP/1.1\r\nHost: %s\r\n\r\n", registryName); err != nil {
		t.Fatal(err)
	}
	<-arrived
	got := make(chan answer)
	go func() {
		a, _ := g.try(http.MethodGet, "/v2/acme/app/manifests/1.0")
		got <- a
	}()
	_ = conn.Close()
	g.log.wait(t, "client-gone")
	close(release)
	if a := <-got; a.status != 200 {
		t.Errorf("got %v", a)
	}
}
