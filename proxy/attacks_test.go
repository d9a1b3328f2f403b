package proxy_test

import (
	"bytes"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/sealgate/sealgate/trustcache"
	"github.com/sealgate/sealgate/trustcache/notary"
)

// village is a world with every kind of tag in it, and the unsigned images
// whose bytes and digests nobody may see by asking for a tag.
type village struct {
	*world
	unsigned []image
}

func newVillage(t testing.TB, users map[string]string) *village {
	t.Helper()
	v := &village{world: newWorld(t, users)}
	hide := func(repository, tag string) {
		v.unsigned = append(v.unsigned, v.push(repository, tag, repository+" "+tag))
	}
	v.init("acme/app", releases, "targets/qa")
	v.sign("acme/app", "1.0", v.push("acme/app", "1.0", "one"), releases)
	v.sign("acme/app", "1.1", v.push("acme/app", "1.1", "index"), releases)
	v.sign("acme/app", "in-targets", v.push("acme/app", "in-targets", "two"))
	v.sign("acme/app", "latest", v.push("acme/app", "latest", "as signed"), releases)
	signed := v.images["acme/app:latest"]
	hide("acme/app", "latest") // moved on
	v.images["acme/app:latest"] = signed
	hide("acme/app", "qa-only")
	v.sign("acme/app", "qa-only", v.images["acme/app:qa-only"], "targets/qa")
	hide("acme/app", "unsigned")
	hide("acme/app", hex64)
	hide("acme/app", "sha256-"+hex64)
	hide("acme/app", "sha256-"+hex64+".sig")
	for _, repository := range misleading {
		v.init(repository)
		v.sign(repository, "signed", v.push(repository, "signed", "signed "+repository))
		hide(repository, "unsigned")
	}
	hide("acme/plain", "unsigned")
	hide("foo", "bar")
	v.quiet()
	return v
}

// misleading are repositories whose names look like routes.
var misleading = []string{"foo/manifests/bar", "a/tags/list", "a/blobs/uploads"}

// hides fails when an answer holds the bytes or the digest of an unsigned image.
func (v *village) hides(t testing.TB, a answer) {
	t.Helper()
	all := fmt.Sprintf("%v %s", a.header, a.body)
	for _, im := range v.unsigned {
		if bytes.Contains(a.body, im.body) || strings.Contains(all, strings.TrimPrefix(im.digest, "sha256:")) {
			t.Errorf("an unsigned image shows in the answer %v", a)
		}
	}
}

// refused fails unless the answer is a refusal with the given status and code
// ("" for any), shows nothing, and the registry was asked nothing.
func (v *village) refused(t testing.TB, a answer, status int, code string) {
	t.Helper()
	if a.status != status || code != "" && a.code() != code {
		t.Errorf("got %v, want %d %s", a, status, code)
	}
	v.hides(t, a)
	v.heardNothing(t)
}

// TestWaysAroundATagFilter stands the gate in front of one world and tries
// every trick that somebody might get an unsigned tag by.
func TestWaysAroundATagFilter(t *testing.T) {
	v := newVillage(t, nil)
	for _, tt := range []struct {
		name string
		try  func(*testing.T, *village)
	}{
		{"targets that are not canonical", targetsThatAreNotCanonical},
		{"bytes that stand in no target", bytesThatStandInNoTarget},
		{"a query changes nothing", aQueryChangesNothing},
		{"the host chooses no other upstream", theHostChoosesNoOtherUpstream},
		{"the host over HTTP 2", theHostOverHTTP2},
		{"bodies and framing are not relayed", bodiesAndFramingAreNotRelayed},
		{"upgrades are stripped", upgradesAreStripped},
		{"odd headers do not reach the registry", oddHeadersDoNotReachTheRegistry},
		{"conditions and ranges of a tag are ours", conditionsAndRangesOfATagAreOurs},
		{"repositories that look like routes", repositoriesThatLookLikeRoutes},
		{"accept without the signed type", acceptWithoutTheSignedType},
		{"invented repositories cost little", inventedRepositoriesCostLittle},
		{"nothing internal is on the public listener", nothingInternalIsOnThePublicListener},
		{"writes are refused", writesAreRefused},
		{"tags that look like digests", tagsThatLookLikeDigests},
	} {
		t.Run(tt.name, func(t *testing.T) { tt.try(t, v) })
	}
}

func targetsThatAreNotCanonical(t *testing.T, v *village) {
	g := gateFor(t, v.front(t))
	for _, tt := range malformedTargets {
		t.Run(tt.name+" over HTTP/1.1", func(t *testing.T) {
			v.quiet()
			for _, method := range []string{http.MethodGet, http.MethodHead} {
				a := g.rawGet(method, tt.target)
				if method == http.MethodHead {
					tt.code = ""
				}
				v.refused(t, a, tt.status, tt.code)
			}
		})
		t.Run(tt.name+" over HTTP/2", func(t *testing.T) {
			v.quiet()
			a, reset := g.framesGet(tt.target)
			if reset {
				t.Fatal("the stream was broken off")
			}
			v.refused(t, a, tt.status, tt.code)
		})
	}
}

func bytesThatStandInNoTarget(t *testing.T, v *village) {
	g := gateFor(t, v.front(t))
	for name, target := range map[string]string{
		"non-ASCII":            "/v2/acme/app/manifests/unsigned\u00fc",
		"bytes of no encoding": "/v2/acme/app/manifests/unsigned\xff",
		"a bad escape":         "/v2/acme/app/manifests/unsigned%zz",
		"a tab":                "/v2/acme/app/manifests/unsigned\tx",
		"a zero byte":          "/v2/acme/app/manifests/unsigned\x00",
		"a space":              "/v2/acme/app/manifests/unsigned x",
		"a fragment":           "/v2/acme/app/manifests/unsigned#x",
	} {
		t.Run(name, func(t *testing.T) {
			v.quiet()
			for _, a := range g.raw("GET " + target + " HTTP/1.1\r\nHost: " + registryName + "\r\n\r\n") {
				if a.status != 404 && a.status != 400 {
					t.Errorf("HTTP/1.1: got %v, want a refusal", a)
				}
				v.hides(t, a)
			}
			if a, reset := g.framesGet(target); !reset && a.status != 404 && a.status != 400 {
				t.Errorf("HTTP/2: got %v, want a refusal", a)
			}
			v.heardNothing(t)
		})
	}
}

func aQueryChangesNothing(t *testing.T, v *village) {
	g := gateFor(t, v.front(t))
	queries := []string{"?", "?ns=docker.io", "?ns=evil.example&ns=registry.example.com", "?x=/manifests/unsigned", "?reference=unsigned", "?tag=unsigned&digest=" + sha256, "?n=1&last=a"}
	for _, query := range queries {
		t.Run("unsigned"+query, func(t *testing.T) {
			v.quiet()
			v.refused(t, g.rawGet("GET", "/v2/acme/app/manifests/unsigned"+query), 404, "MANIFEST_UNKNOWN")
		})
	}
	signed := v.images["acme/app:1.0"]
	for _, path := range []string{"/v2/acme/app/manifests/1.0", "/v2/acme/app/manifests/" + signed.digest, "/v2/acme/app/blobs/" + signed.blob} {
		for _, query := range queries {
			t.Run(path+query, func(t *testing.T) {
				v.quiet()
				if a := g.rawGet("GET", path+query); a.status != 200 {
					t.Errorf("got %v, want 200", a)
				}
				for _, line := range v.asked() {
					if strings.Contains(line, "?") {
						t.Errorf("the registry was asked %s", line)
					}
				}
				v.heardNoTag(t)
			})
		}
	}
}

func theHostChoosesNoOtherUpstream(t *testing.T, v *village) {
	g := gateFor(t, v.front(t))
	const unsigned, signed = "/v2/acme/app/manifests/unsigned", "/v2/acme/app/manifests/1.0"
	line := func(text string) string { return text + "\r\n\r\n" }
	tests := []struct {
		name, request string
		status        int
		code          string
	}{
		{"an unknown host", line("GET " + signed + " HTTP/1.1\r\nHost: evil.example"), 421, "UNSUPPORTED"},
		{"the registry's own address", line("GET " + signed + " HTTP/1.1\r\nHost: " + v.registry.Addr()), 421, "UNSUPPORTED"},
		{"a host that begins alike", line("GET " + signed + " HTTP/1.1\r\nHost: registry.example.com.evil.example"), 421, "UNSUPPORTED"},
		{"a host that ends alike", line("GET " + signed + " HTTP/1.1\r\nHost: xregistry.example.com"), 421, "UNSUPPORTED"},
		{"a dot at the host's end", line("GET " + signed + " HTTP/1.1\r\nHost: registry.example.com."), 421, "UNSUPPORTED"},
		{"two hosts", line("GET " + signed + " HTTP/1.1\r\nHost: " + registryName + "\r\nHost: evil.example"), 400, ""},
		{"the same host twice", line("GET " + signed + " HTTP/1.1\r\nHost: " + registryName + "\r\nHost: " + registryName), 400, ""},
		{"two hosts in one line", line("GET " + signed + " HTTP/1.1\r\nHost: " + registryName + ", evil.example"), 400, ""},
		{"no host", line("GET " + signed + " HTTP/1.1"), 400, ""},
		{"no host in HTTP/1.0", line("GET " + signed + " HTTP/1.0"), 400, "UNSUPPORTED"},
		{"an empty host", line("GET " + signed + " HTTP/1.1\r\nHost:"), 400, "UNSUPPORTED"},
		{"a host with a path", line("GET " + signed + " HTTP/1.1\r\nHost: " + registryName + "/v2"), 400, ""},
		{"a host with user information", line("GET " + signed + " HTTP/1.1\r\nHost: x@" + registryName), 400, ""},
		{"a host with a port that is none", line("GET " + signed + " HTTP/1.1\r\nHost: " + registryName + ":x"), 400, ""},
		{"absolute form with another authority", line("GET https://evil.example" + signed + " HTTP/1.1\r\nHost: " + registryName), 400, "UNSUPPORTED"},
		{"absolute form with the registry's address", line("GET http://" + v.registry.Addr() + signed + " HTTP/1.1\r\nHost: " + registryName), 400, "UNSUPPORTED"},
		{"absolute form with user information", line("GET https://" + registryName + "@evil.example" + signed + " HTTP/1.1\r\nHost: " + registryName), 400, ""},
		{"absolute form with another scheme", line("GET ftp://" + registryName + signed + " HTTP/1.1\r\nHost: " + registryName), 400, ""},
		{"absolute form without a path", line("GET https://" + registryName + " HTTP/1.1\r\nHost: " + registryName), 400, ""},
		{"absolute form of an unsigned tag", line("GET https://" + registryName + unsigned + " HTTP/1.1\r\nHost: " + registryName), 404, "MANIFEST_UNKNOWN"},
		{"absolute form that is not canonical", line("GET https://" + registryName + "/v2//acme/app/manifests/unsigned HTTP/1.1\r\nHost: " + registryName), 404, "UNSUPPORTED"},
		{"a star", line("GET * HTTP/1.1\r\nHost: " + registryName), 405, "UNSUPPORTED"},
		{"options of a star", line("OPTIONS * HTTP/1.1\r\nHost: " + registryName), 405, "UNSUPPORTED"},
		{"connect", line("CONNECT " + registryName + ":443 HTTP/1.1\r\nHost: " + registryName), 405, "UNSUPPORTED"},
		{"connect to the registry", line("CONNECT " + v.registry.Addr() + " HTTP/1.1\r\nHost: " + v.registry.Addr()), 405, "UNSUPPORTED"},
		{"connect with a path", line("CONNECT " + unsigned + " HTTP/1.1\r\nHost: " + registryName), 405, "UNSUPPORTED"},
		{"trace", line("TRACE " + unsigned + " HTTP/1.1\r\nHost: " + registryName), 405, "UNSUPPORTED"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			v.quiet()
			answers := g.raw(tt.request)
			if len(answers) == 0 {
				t.Fatal("no answer")
			}
			v.refused(t, answers[0], tt.status, tt.code)
		})
	}
	t.Run("absolute form with this authority is served", func(t *testing.T) {
		a := g.raw(line("GET https://" + registryName + signed + " HTTP/1.1\r\nHost: " + registryName))[0]
		if a.status != 200 || !bytes.Equal(a.body, v.images["acme/app:1.0"].body) {
			t.Errorf("got %v, want the signed manifest", a)
		}
		v.heardNoTag(t)
	})
	t.Run("the host's case and port do not matter", func(t *testing.T) {
		for _, host := range []string{"REGISTRY.example.com", registryName + ":443", registryName + ":8443"} {
			if a := g.rawGet("GET", signed, "Host: "+host); a.status != 200 {
				t.Errorf("Host %s: got %v", host, a)
			}
		}
	})
}

func theHostOverHTTP2(t *testing.T, v *village) {
	g := gateFor(t, v.front(t))
	const signed = "/v2/acme/app/manifests/1.0"
	tests := map[string]struct {
		fields []string
		status int // 0: the stream is broken off
	}{
		"an unknown authority":               {[]string{":method", "GET", ":scheme", "https", ":path", signed, ":authority", "evil.example"}, 421},
		"no authority":                       {[]string{":method", "GET", ":scheme", "https", ":path", signed}, 400},
		"a host beside another authority":    {[]string{":method", "GET", ":scheme", "https", ":path", signed, ":authority", registryName, "host", "evil.example"}, 400},
		"another authority beside the host":  {[]string{":method", "GET", ":scheme", "https", ":path", signed, ":authority", "evil.example", "host", registryName}, 400},
		"two hosts beside the authority":     {[]string{":method", "GET", ":scheme", "https", ":path", signed, ":authority", registryName, "host", registryName, "host", registryName}, 400},
		"two hosts and no authority":         {[]string{":method", "GET", ":scheme", "https", ":path", signed, "host", registryName, "host", "evil.example"}, 400},
		"two authorities":                    {[]string{":method", "GET", ":scheme", "https", ":path", signed, ":authority", registryName, ":authority", "evil.example"}, 0},
		"the same host beside the authority": {[]string{":method", "GET", ":scheme", "https", ":path", signed, ":authority", registryName, "host", registryName}, 200},
		"a host alone":                       {[]string{":method", "GET", ":scheme", "https", ":path", signed, "host", registryName}, 200},
		"a star":                             {[]string{":method", "OPTIONS", ":scheme", "https", ":path", "*", ":authority", registryName}, 405},
		"trace":                              {[]string{":method", "TRACE", ":scheme", "https", ":path", signed, ":authority", registryName}, 405},
		"connect":                            {[]string{":method", "CONNECT", ":authority", registryName + ":443"}, 405},
		"a path in absolute form":            {[]string{":method", "GET", ":scheme", "https", ":path", "https://evil.example" + signed, ":authority", registryName}, 0},
		"an upgrade by extended connect":     {[]string{":method", "CONNECT", ":protocol", "websocket", ":scheme", "https", ":path", signed, ":authority", registryName}, 0},
		"an upgrade header":                  {[]string{":method", "GET", ":scheme", "https", ":path", "/v2/acme/app/manifests/unsigned", ":authority", registryName, "upgrade", "h2c"}, 0},
		"a scheme of http":                   {[]string{":method", "GET", ":scheme", "http", ":path", "/v2/acme/app/manifests/unsigned", ":authority", registryName}, 404},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			v.quiet()
			a, reset := g.frames(tt.fields...)
			if a.status != tt.status && !(tt.status == 0 && (reset || a.status == 400)) {
				t.Errorf("got %v, reset %v; want %d", a, reset, tt.status)
			}
			if v.hides(t, a); tt.status != 200 {
				v.heardNothing(t)
			}
		})
	}
}

func bodiesAndFramingAreNotRelayed(t *testing.T, v *village) {
	g := gateFor(t, v.front(t))
	blob := "/v2/acme/app/blobs/" + v.images["acme/app:1.0"].blob
	smuggled := "GET /v2/acme/app/manifests/unsigned HTTP/1.1\r\nHost: " + registryName + "\r\n\r\n"
	head := func(target string, headers ...string) string {
		return "GET " + target + " HTTP/1.1\r\nHost: " + registryName + "\r\n" + strings.Join(headers, "\r\n") + "\r\n\r\n"
	}
	for name, request := range map[string]string{
		"a body with a length":                      head(blob, "Content-Length: 5") + "hello",
		"a chunked body":                            head(blob, "Transfer-Encoding: chunked") + "5\r\nhello\r\n0\r\n\r\n",
		"a request hidden behind a length":          head(blob, "Content-Length: "+strconv.Itoa(len(smuggled))) + smuggled,
		"length and chunks, a request behind":       head(blob, "Content-Length: 4", "Transfer-Encoding: chunked") + "0\r\n\r\n" + smuggled,
		"chunks and length, a request inside":       head(blob, "Transfer-Encoding: chunked", "Content-Length: "+strconv.Itoa(5+len(smuggled))) + "0\r\n\r\n" + smuggled,
		"two lengths that differ":                   head(blob, "Content-Length: 0", "Content-Length: "+strconv.Itoa(len(smuggled))) + smuggled,
		"two lengths alike":                         head(blob, "Content-Length: 5", "Content-Length: 5") + "hello",
		"two transfer encodings":                    head(blob, "Transfer-Encoding: chunked", "Transfer-Encoding: identity") + "0\r\n\r\n" + smuggled,
		"a transfer encoding that is written oddly": head(blob, "Transfer-Encoding: xchunked", "Content-Length: 4") + "0\r\n\r\n" + smuggled,
		"a space before the colon":                  head(blob, "Transfer-Encoding : chunked", "Content-Length: 4") + "0\r\n\r\n" + smuggled,
		"a trailer":                                 head(blob, "Transfer-Encoding: chunked", "Trailer: X-T") + "0\r\nX-T: y\r\n\r\n",
		"an expectation":                            head(blob, "Expect: 100-continue", "Content-Length: 5") + "hello",
		"an expectation of a tag":                   head("/v2/acme/app/manifests/1.0", "Expect: 100-continue", "Content-Length: 5") + "hello",
		"another expectation":                       head(blob, "Expect: magic"),
	} {
		t.Run(name, func(t *testing.T) {
			v.quiet()
			answers := g.raw(request)
			if len(answers) == 0 {
				t.Fatal("no answer")
			}
			for _, a := range answers {
				if v.hides(t, a); !slices.Contains([]int{200, 400, 404, 417, 501}, a.status) {
					t.Errorf("got %v", a)
				}
			}
			v.heardNoTag(t)
			for _, got := range v.upstream.list() {
				if got.Body != 0 || got.Chunked || got.Trailer || got.Header.Get("Content-Length")+got.Header.Get("Expect")+got.Header.Get("Trailer")+got.Header.Get("Te") != "" {
					t.Errorf("the registry got %+v", got)
				}
			}
		})
	}
}

func upgradesAreStripped(t *testing.T, v *village) {
	g := gateFor(t, v.front(t))
	blob := "/v2/acme/app/blobs/" + v.images["acme/app:1.0"].blob
	for _, upgrade := range []string{"h2c", "websocket", "TLS/1.3", "\u00e9"} {
		for target, status := range map[string]int{blob: 200, "/v2/acme/app/manifests/1.0": 200, "/v2/acme/app/manifests/unsigned": 404} {
			t.Run(upgrade+" "+target[:20], func(t *testing.T) {
				v.quiet()
				a := g.rawGet("GET", target, "Connection: Upgrade, HTTP2-Settings", "Upgrade: "+upgrade, "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version: 13")
				if a.status != status {
					t.Errorf("got %v, want %d", a, status)
				}
				v.hides(t, a)
				v.heardNoTag(t)
				for _, got := range v.upstream.list() {
					if got.Header.Get("Upgrade")+got.Header.Get("Connection")+got.Header.Get("Http2-Settings")+got.Header.Get("Sec-Websocket-Key") != "" {
						t.Errorf("the registry got %v", got.Header)
					}
				}
			})
		}
	}
}

// oddHeaders name another target, another method, another client or a hop.
var oddHeaders = []string{
	"Connection", "Authorization", "X-HTTP-Method-Override", "PUT", "X-Method-Override", "DELETE", "X-Original-URL", "/v2/acme/app/manifests/unsigned",
	"X-Rewrite-URL", "/v2/acme/app/manifests/unsigned", "X-Forwarded-Host", "evil.example", "X-Forwarded-For", "10.0.0.1", "X-Forwarded-Proto", "http",
	"X-Forwarded-Prefix", "/x", "X-Forwarded-Uri", "/v2/acme/app/manifests/unsigned", "Forwarded", "host=evil.example", "X-Real-Ip", "10.0.0.1",
	"X-Host", "evil.example", "Cookie", "session=1", "Proxy-Authorization", "Basic eDp5", "Accept-Encoding", "gzip", "Te", "trailers", "Via", "1.1 x",
	"Docker-Content-Digest", sha256, "Cache-Control", "no-cache", "Pragma", "no-cache", "Origin", "https://evil.example", "Referer", "https://evil.example/",
	"Max-Forwards", "0", "Destination", "/v2/acme/app/manifests/unsigned", "Content-Type", "text/plain", "X-Custom", "1",
}

func oddHeadersDoNotReachTheRegistry(t *testing.T, v *village) {
	g := gateFor(t, v.front(t))
	var lines []string
	for i := 0; i < len(oddHeaders); i += 2 {
		lines = append(lines, oddHeaders[i]+": "+oddHeaders[i+1])
	}
	t.Run("an unsigned tag stays hidden", func(t *testing.T) {
		v.quiet()
		v.refused(t, g.rawGet("GET", "/v2/acme/app/manifests/unsigned", lines...), 404, "MANIFEST_UNKNOWN")
	})
	t.Run("a signed tag stays what it is", func(t *testing.T) {
		v.quiet()
		a := g.rawGet("GET", "/v2/acme/app/manifests/1.0", lines...)
		if a.status != 200 || !bytes.Equal(a.body, v.images["acme/app:1.0"].body) {
			t.Errorf("got %v", a)
		}
		for _, got := range v.upstream.list() {
			if got.Method != http.MethodGet || len(got.Header) != 2 || got.Header.Get("User-Agent") != "sealgate" || got.Header.Get("Accept") == "" {
				t.Errorf("the registry got %+v", got)
			}
		}
	})
}

func conditionsAndRangesOfATagAreOurs(t *testing.T, v *village) {
	g := gateFor(t, v.front(t))
	hidden := v.unsigned[0].digest // of "latest" as it moved on
	for _, value := range []string{hidden, `"` + hidden + `"`, `W/"` + hidden + `"`, "*", `"x", "` + hidden + `"`} {
		t.Run("a hidden tag is never 304 for "+value[:1], func(t *testing.T) {
			v.quiet()
			for _, tag := range []string{"unsigned", "qa-only", "no-such-tag"} {
				v.refused(t, g.get("/v2/acme/app/manifests/"+tag, "If-None-Match", value), 404, "MANIFEST_UNKNOWN")
			}
		})
	}
	t.Run("a drifted tag answers for what was signed", func(t *testing.T) {
		signed := v.images["acme/app:latest"]
		if a := g.get("/v2/acme/app/manifests/latest", "If-None-Match", hidden); a.status != 200 || !bytes.Equal(a.body, signed.body) {
			t.Errorf("got %v, want the signed manifest", a)
		}
		if a := g.get("/v2/acme/app/manifests/latest", "If-None-Match", signed.digest); a.status != 304 || len(a.body) != 0 {
			t.Errorf("got %v, want 304", a)
		}
	})
	t.Run("a range of a tag gets the whole manifest", func(t *testing.T) {
		a := g.get("/v2/acme/app/manifests/1.0", "Range", "bytes=0-9", "If-Range", `"x"`)
		if a.status != 200 || !bytes.Equal(a.body, v.images["acme/app:1.0"].body) {
			t.Errorf("got %v", a)
		}
	})
	t.Run("a range of a hidden tag is hidden", func(t *testing.T) {
		v.quiet()
		v.refused(t, g.get("/v2/acme/app/manifests/unsigned", "Range", "bytes=0-9"), 404, "MANIFEST_UNKNOWN")
	})
	t.Run("no other condition lets a tag through", func(t *testing.T) {
		v.quiet()
		for _, header := range []string{"If-Match", "If-Modified-Since", "If-Unmodified-Since"} {
			v.refused(t, g.get("/v2/acme/app/manifests/unsigned", header, "Thu, 01 Jan 1970 00:00:00 GMT"), 404, "MANIFEST_UNKNOWN")
		}
	})
}

func tagsThatLookLikeDigests(t *testing.T, v *village) {
	g := gateFor(t, v.front(t))
	for _, tag := range []string{hex64, "sha256-" + hex64, "sha256-" + hex64 + ".sig", "unsigned", "qa-only", "no-such-tag"} {
		t.Run("unsigned "+tag, func(t *testing.T) {
			v.quiet()
			for _, method := range []string{http.MethodGet, http.MethodHead} {
				a := g.do(method, "/v2/acme/app/manifests/"+tag)
				if a.status != 404 || method == http.MethodGet && a.message() != `no trust data for tag "`+tag+`" in `+gun("acme/app") {
					t.Errorf("%s: got %v", method, a)
				}
				v.hides(t, a)
			}
			v.heardNothing(t)
		})
	}
	t.Run("signed, they are served", func(t *testing.T) {
		v.sign("acme/app", hex64, v.images["acme/app:"+hex64])
		g := gateFor(t, v.front(t))
		if a := g.get("/v2/acme/app/manifests/" + hex64); a.status != 200 || a.header.Get("Docker-Content-Digest") != v.images["acme/app:"+hex64].digest {
			t.Errorf("got %v", a)
		}
		v.heardNoTag(t)
	})
}

func repositoriesThatLookLikeRoutes(t *testing.T, v *village) {
	g := gateFor(t, v.front(t))
	for _, repository := range misleading {
		t.Run(repository, func(t *testing.T) {
			v.quiet()
			if a := g.get("/v2/" + repository + "/manifests/unsigned"); a.status != 404 || a.code() != "MANIFEST_UNKNOWN" {
				t.Errorf("unsigned: got %v", a)
			}
			v.heardNothing(t)
			if a := g.get("/v2/" + repository + "/manifests/signed"); a.status != 200 || !bytes.Equal(a.body, v.images[repository+":signed"].body) {
				t.Errorf("signed: got %v", a)
			}
			if a := g.get("/v2/" + repository + "/tags/list"); string(a.body) != `{"name":"`+repository+`","tags":["signed"]}`+"\n" {
				t.Errorf("list: got %v", a)
			}
			v.heardNoTag(t)
		})
	}
	t.Run("the shorter name is another repository", func(t *testing.T) {
		v.quiet()
		v.refused(t, g.get("/v2/foo/manifests/bar"), 404, "MANIFEST_UNKNOWN")
		if a := g.get("/v2/a/tags/list"); string(a.body) != `{"name":"a","tags":[]}`+"\n" {
			t.Errorf("got %v", a)
		}
		v.refused(t, g.get("/v2/a/blobs/uploads/"), 404, "")
		v.refused(t, g.get("/v2/acme/plain/manifests/unsigned"), 404, "MANIFEST_UNKNOWN")
	})
}

func acceptWithoutTheSignedType(t *testing.T, v *village) {
	g := gateFor(t, v.front(t))
	for _, accept := range []string{"", "application/vnd.docker.distribution.manifest.v1+prettyjws", "application/vnd.docker.distribution.manifest.v2+json", "text/html", "*/*;q=0"} {
		for _, tag := range []string{"1.0", "1.1"} {
			t.Run(tag+" for "+accept, func(t *testing.T) {
				v.quiet()
				var header []string
				if accept != "" {
					header = []string{"Accept", accept}
				}
				want := v.images["acme/app:"+tag]
				a := g.get("/v2/acme/app/manifests/"+tag, header...)
				if a.status != 200 || !bytes.Equal(a.body, want.body) || a.header.Get("Docker-Content-Digest") != want.digest {
					t.Errorf("got %v, want the signed manifest", a)
				}
				v.heardNoTag(t)
			})
		}
	}
}

func inventedRepositoriesCostLittle(t *testing.T, v *village) {
	reg := v.front(t)
	reg.Trust = v.trust(t, func(o *trustcache.Options, _ *notary.Options) { o.MaxUnknown = 32 })
	g := gateFor(t, reg)
	if a := g.get("/v2/acme/app/manifests/1.0"); a.status != 200 {
		t.Fatalf("got %v", a)
	}
	v.quiet()
	for i := range 300 {
		if a := g.get(fmt.Sprintf("/v2/invented/r%d/manifests/latest", i)); a.status != 404 || a.code() != "MANIFEST_UNKNOWN" {
			t.Fatalf("got %v", a)
		}
	}
	v.heardNothing(t)
	before := len(v.notary.Requests())
	if a := g.get("/v2/acme/app/manifests/1.0"); a.status != 200 {
		t.Errorf("got %v", a)
	}
	if v.heardNothing(t); len(v.notary.Requests()) != before {
		t.Error("the snapshot of a real repository was pushed out")
	}
}

func nothingInternalIsOnThePublicListener(t *testing.T, v *village) {
	g := gateFor(t, v.front(t))
	for _, path := range []string{"/", "/metrics", "/healthz", "/readyz", "/status", "/debug/pprof/", "/debug/pprof/cmdline", "/debug/vars", "/admin", "/api/v1/forget", "/v2", "/v1/", "/_notary_server/health"} {
		v.quiet()
		v.refused(t, g.get(path), 404, "UNSUPPORTED")
	}
}

func writesAreRefused(t *testing.T, v *village) {
	g := gateFor(t, v.front(t))
	for _, method := range []string{"PUT", "POST", "PATCH", "DELETE", "OPTIONS", "MOVE", "get", "Get"} {
		for target, status := range map[string]int{
			"/v2/": 405, "/v2/acme/app/manifests/unsigned": 405, "/v2/acme/app/manifests/" + sha256: 405, "/v2/acme/app/blobs/uploads/": 405,
			"/v2/acme/app/blobs/uploads/?mount=" + sha256 + "&from=acme/plain": 405, "/v2/acme/app/tags/list": 405,
			"/v2/" + registryName + "/acme/app/_trust/tuf/": 405, "/elsewhere": 404,
		} {
			t.Run(method+" "+target, func(t *testing.T) {
				v.quiet()
				a := g.rawGet(method, target, "Content-Length: 0")
				if v.refused(t, a, status, "UNSUPPORTED"); status == 405 && a.header.Get("Allow") != "GET, HEAD" {
					t.Errorf("Allow is %q", a.header.Get("Allow"))
				}
				if len(v.notary.Requests()) != 0 {
					t.Error("the trust server was asked")
				}
			})
		}
	}
}
