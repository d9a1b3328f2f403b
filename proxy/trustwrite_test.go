package proxy_test

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/sealgate/sealgate/e2e/sandbox"
	"github.com/sealgate/sealgate/proxy"
)

// publishing is a gate through which trust data is published, over the real
// verifier, and a publisher who knows no other address.
func publishing(t *testing.T, change ...func(*proxy.Registry)) *pushWorld {
	t.Helper()
	p := pushing(t, nil, append([]func(*proxy.Registry){func(reg *proxy.Registry) { reg.TrustWrites = true }}, change...)...)
	cache := p.world.trust(t)
	p.reg.Trust, p.reg.Refresh = cache, cache.Refresh
	p.gate = gateFor(t, p.reg)
	var err error
	if p.publisher, err = sandbox.NewPublisher("https://"+p.addr, p.pool, ""); err != nil {
		t.Fatal(err)
	}
	return p
}

func TestAPullRightAfterASignatureSeesIt(t *testing.T) {
	p := publishing(t)
	one, two := p.push("acme/app", "1.0", "one"), p.push("acme/app", "2.0", "two")
	p.wantDenied(t, p.get("/v2/acme/app/manifests/1.0")) // and it is remembered for two seconds
	p.init("acme/app", releases, "targets/alice", "targets/releases/nested")
	p.sign("acme/app", "1.0", one, releases)
	if a := p.get("/v2/acme/app/manifests/1.0"); a.status != 200 {
		t.Errorf("the first signature: got %v", a)
	}
	p.sign("acme/app", "1.0", two, releases) // moved: a snapshot that has the tag is not asked for again
	if a := p.get("/v2/acme/app/manifests/1.0"); a.status != 200 || a.header.Get("Docker-Content-Digest") != two.digest {
		t.Errorf("a moved tag: got %v", a)
	}
	p.sign("acme/app", "2.0", two, "targets/releases/nested")
	if p.notary.File(gun("acme/app"), "targets/releases/nested") == nil {
		t.Error("a nested delegation was not published")
	}
}

func TestWhatIsAcceptedStandsWhateverComesOfTheRefresh(t *testing.T) {
	var asked []string
	p := publishing(t)
	p.reg.Refresh = func(ctx context.Context, gun string) error {
		if _, bounded := ctx.Deadline(); !bounded {
			t.Error("a refresh without an end")
		}
		asked = append(asked, gun)
		return errors.New("no")
	}
	p.gate = gateFor(t, p.reg)
	if a := p.send("POST", trustPath+"snapshot.key", ""); a.status != 200 || !strings.Contains(string(a.body), "keyval") {
		t.Errorf("got %v", a)
	}
	if a := p.get(trustPath + "snapshot.key"); a.status != 200 {
		t.Errorf("reading a key: got %v", a)
	}
	if a := p.send("POST", trustPath, "no form", "Content-Type", "multipart/form-data; boundary=x"); a.status < 400 || a.status >= 500 {
		t.Errorf("no form: got %v", a)
	}
	if a := p.do("DELETE", trustPath); a.status != 200 {
		t.Errorf("deleting: got %v", a)
	}
	if want := []string{gun("acme/app"), gun("acme/app")}; !slices.Equal(asked, want) {
		t.Errorf("refreshed %q, want what was accepted, %q", asked, want)
	}
}

func TestWhatReachesTheTrustServerOfAWrite(t *testing.T) {
	p := publishing(t)
	p.notarySpy.lie(status(200, "Set-Cookie", "a=b", "Location", "/x"))
	a := p.send("POST", trustPath+"?x=y", "--b--", "Content-Type", `multipart/form-data; boundary="b"; charset=x`, "Authorization", alice,
		"X-Forwarded-Host", "evil.example", "Cookie", "a=b", "Content-Range", "0-1", "User-Agent", "tester")
	if a.status != 200 || a.header.Get("Set-Cookie") != "" || a.header.Get("Location") != "" {
		t.Fatalf("got %v %v", a, a.header)
	}
	got := p.notarySpy.list()[0]
	want := http.Header{"Authorization": {alice}, "Content-Type": {"multipart/form-data; boundary=b"}, "Content-Length": {"5"}, "User-Agent": {"tester"}}
	if what := differentHeaders(got.Header, want); what != nil || got.Target != trustPath || got.Method != "POST" {
		t.Errorf("the trust server heard %s %s %q", got.Method, got.Target, what)
	}
}

func TestTrustWritesThatReachNobody(t *testing.T) {
	p := publishing(t)
	for _, tt := range []struct {
		name, method, path, body string
		header                   []string
		status                   int
		code                     string
	}{
		{"another registry's repository", "POST", "/v2/other.example.com/acme/app/_trust/tuf/", "x", nil, 404, "METADATA_NOT_FOUND"},
		{"another registry's key", "POST", "/v2/other.example.com/acme/app/_trust/tuf/timestamp.key", "", nil, 404, "METADATA_NOT_FOUND"},
		{"a registry that begins alike", "DELETE", "/v2/registry.example.com.evil/acme/app/_trust/tuf/", "", nil, 404, "METADATA_NOT_FOUND"},
		{"no form", "POST", trustPath, "x", nil, 400, "UNSUPPORTED"},
		{"another type", "POST", trustPath, "x", []string{"Content-Type", "application/json"}, 400, "UNSUPPORTED"},
		{"a form without a boundary", "POST", trustPath, "x", []string{"Content-Type", "multipart/form-data"}, 400, "UNSUPPORTED"},
		{"an endless boundary", "POST", trustPath, "x", []string{"Content-Type", "multipart/form-data; boundary=" + strings.Repeat("b", 71)}, 400, "UNSUPPORTED"},
		{"two readings of the boundary", "POST", trustPath, "x", []string{"Content-Type", "multipart/form-data; boundary=a; boundary=b"}, 400, "UNSUPPORTED"},
		{"a body with a key's rotation", "POST", trustPath + "timestamp.key", "x", nil, 413, "SIZE_INVALID"},
		{"one role alone", "POST", trustPath + "root.json", "x", nil, 405, "UNSUPPORTED"},
		{"a key that is deleted", "DELETE", trustPath + "timestamp.key", "", nil, 405, "UNSUPPORTED"},
		{"the root's key", "POST", trustPath + "root.key", "", nil, 404, "UNSUPPORTED"},
		{"the change feed", "GET", "/v2/" + gun("acme/app") + "/_trust/changefeed", "", nil, 404, "UNSUPPORTED"},
		{"health", "GET", "/_notary_server/health", "", nil, 404, "UNSUPPORTED"},
		{"all trust data, read", "GET", trustPath, "", nil, 405, "UNSUPPORTED"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p.quiet()
			if a := p.send(tt.method, tt.path, tt.body, tt.header...); a.status != tt.status || a.code() != tt.code {
				t.Errorf("got %v", a)
			}
			if heard := p.notary.Requests(); len(heard) > 0 {
				t.Errorf("the trust server was asked %v", heard)
			}
		})
	}
}

func TestAPublicationIsBounded(t *testing.T) {
	p := publishing(t)
	body := strings.Repeat("x", 33<<20)
	for _, chunked := range []bool{false, true} {
		p.quiet()
		header := []string{"Content-Type", "multipart/form-data; boundary=b"}
		if chunked {
			header = append(header, "Transfer-Encoding", "chunked")
		}
		if a := p.send("POST", trustPath, body, header...); a.status != 413 || a.code() != "SIZE_INVALID" {
			t.Errorf("chunked %t: got %v", chunked, a)
		}
		for _, heard := range p.notarySpy.list() {
			if heard.Body > 32<<20 {
				t.Errorf("chunked %t: the trust server got %d bytes", chunked, heard.Body)
			}
		}
	}
}

func TestPublishingAloneDoesNotOpenTheRegistry(t *testing.T) {
	p := publishing(t, func(reg *proxy.Registry) { reg.Push = false })
	p.quiet()
	for _, path := range []string{"/v2/acme/app/blobs/uploads/", "/v2/acme/app/blobs/uploads/x"} {
		if a := p.send("POST", path, ""); a.status != 405 {
			t.Errorf("POST %s: got %v", path, a)
		}
		if a := p.get(path); a.status != 404 {
			t.Errorf("GET %s: got %v", path, a)
		}
	}
	for _, path := range []string{"/v2/acme/app/manifests/1.0", "/v2/acme/app/blobs/" + sha256} {
		if a := p.send("DELETE", path, ""); a.status != 405 || a.header.Get("Allow") != "GET, HEAD" {
			t.Errorf("DELETE %s: got %v", path, a)
		}
	}
	p.heardNothing(t)
}
