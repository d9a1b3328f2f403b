package proxy_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/sealgate/sealgate/proxy"
)

// open is an open registry with an anonymous gate in front of it.
func open(t *testing.T) (*world, proxy.Registry, image, image) {
	t.Helper()
	w, trust := newWorld(t, nil), &pretend{}
	im, index := w.push("acme/app", "unsigned", "one"), w.push("acme/app", "2.0", "index")
	reg := w.front(t)
	reg.Trust = trust
	w.quiet()
	return w, reg, im, index
}

func TestByDigestAlwaysWorks(t *testing.T) {
	w, reg, im, index := open(t)
	g := gateFor(t, reg)
	for _, want := range []image{im, index} {
		a := sameForHead(t, g, "/v2/acme/app/manifests/"+want.digest)
		if a.status != 200 || !bytes.Equal(a.body, want.body) || a.header.Get("Docker-Content-Digest") != want.digest {
			t.Errorf("got %v %v", a, a.header)
		}
		escaped := g.rawGet("GET", "/v2/acme/app/manifests/sha256%3A"+strings.TrimPrefix(want.digest, "sha256:")+"?ns=docker.io")
		if !bytes.Equal(escaped.body, want.body) {
			t.Errorf("with the colon escaped: got %v", escaped)
		}
	}
	for _, line := range w.asked() {
		if strings.ContainsAny(line, "%?") {
			t.Errorf("the registry was asked %s", line)
		}
	}
}

func TestBlobsAndRangesPassThrough(t *testing.T) {
	w, reg, im, _ := open(t)
	g := gateFor(t, reg)
	path := "/v2/acme/app/blobs/" + im.blob
	direct := func(header ...string) answer {
		tr := transport(t, w.ca.Pool())
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.registry.URL()+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(header); i += 2 {
			req.Header.Add(header[i], header[i+1])
		}
		resp, err := tr.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		return whole(resp)
	}
	for _, tt := range []struct {
		name   string
		header []string
		status int
	}{
		{"whole", nil, 200},
		{"a range", []string{"Range", "bytes=2-9"}, 206},
		{"to the end", []string{"Range", "bytes=10-"}, 206},
		{"from the end", []string{"Range", "bytes=-5"}, 206},
		{"beyond the end", []string{"Range", "bytes=99999999-"}, 416},
		{"several ranges", []string{"Range", "bytes=0-1,4-5"}, 206},
		{"one who has it", []string{"If-None-Match", `"` + im.blob + `"`}, 304},
		{"the rest of what one has", []string{"Range", "bytes=5-", "If-Range", `"` + im.blob + `"`}, 206},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a, want := g.get(path, tt.header...), direct(tt.header...)
			if tt.name == "several ranges" {
				if a.status != 206 || len(a.body) != len(want.body) { // the boundary is random
					t.Errorf("got %v", a)
				}
				return
			}
			if want.header.Del("X-Content-Type-Options"); a.status != tt.status || a.differs(want) != nil {
				t.Errorf("got %v, which differs from the registry's own answer in %v", a, a.differs(want))
			}
		})
	}
	sameForHead(t, g, path)
}

func TestRedirectsOfBlobsAreTheClients(t *testing.T) {
	w, reg, im, _ := open(t)
	for _, tt := range []struct{ name, location, want string }{
		{"elsewhere: as it is", "https://cdn.example.com/x?sig=%2F", "https://cdn.example.com/x?sig=%2F"},
		{"to the registry: to this host", w.registry.URL() + "/v2/acme/app/blobs/x?y", "/v2/acme/app/blobs/x?y"},
		{"to a path: stays one", "/v2/acme/app/blobs/x", "/v2/acme/app/blobs/x"},
		{"to nowhere: left out", "https://NOT AN ADDRESS/", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, passthrough := range []bool{true, false} {
				reg.Passthrough = passthrough
				g := gateFor(t, reg)
				w.upstream.lie(status(307, "Location", tt.location))
				w.quiet()
				a := g.get("/v2/acme/app/blobs/"+im.blob, "Authorization", alice)
				if a.status != 307 || a.header.Get("Location") != tt.want {
					t.Errorf("got %v with Location %q", a, a.header.Get("Location"))
				}
				if len(w.registry.Requests()) != 1 {
					t.Errorf("the registry was asked %v", w.asked())
				}
			}
		})
	}
}

func TestHeadersThatReachTheRegistry(t *testing.T) {
	w, reg, im, _ := open(t)
	listed := []string{
		"Accept", "a/b, c/d;q=0.1", "Accept", "e/f", "If-Match", `"a"`, "If-Modified-Since", "Thu, 01 Jan 1970 00:00:00 GMT", "If-None-Match", `"b"`, "If-Range", `"c"`,
		"If-Unmodified-Since", "Thu, 01 Jan 2037 00:00:00 GMT", "Range", "bytes=0-1", "User-Agent", "docker/29.7.2",
	}
	for _, passthrough := range []bool{true, false} {
		reg.Passthrough = passthrough
		g := gateFor(t, reg)
		w.upstream.lie(status(200))
		for _, path := range []string{"/v2/acme/app/blobs/" + im.blob, "/v2/acme/app/manifests/" + im.digest, "/v2/acme/app/referrers/" + im.digest} {
			w.quiet()
			var lines []string
			for i := 0; i < len(listed); i += 2 {
				lines = append(lines, listed[i]+": "+listed[i+1])
			}
			for i := 0; i < len(oddHeaders); i += 2 {
				lines = append(lines, oddHeaders[i]+": "+oddHeaders[i+1])
			}
			g.rawGet("GET", path, append(lines, "Authorization: "+alice)...)
			want := http.Header{}
			for i := 0; i < len(listed); i += 2 {
				want.Add(listed[i], listed[i+1])
			}
			if passthrough {
				want.Set("Authorization", alice)
			}
			got := w.upstream.list()
			if len(got) != 1 || differentHeaders(got[0].Header, want) != nil || got[0].Target != path {
				t.Errorf("the registry got %+v, want %v", got, want)
			}
			if host := w.registry.Requests()[0].Host; host != w.registry.Addr() {
				t.Errorf("the registry was called %q", host)
			}
		}
		w.quiet()
		g.rawGet("GET", "/v2/acme/app/blobs/"+im.blob)
		if got := w.upstream.list(); len(got) != 1 || differentHeaders(got[0].Header, http.Header{"User-Agent": {"sealgate"}}) != nil {
			t.Errorf("from a client that says nothing the registry got %+v", got)
		}
	}
}

func TestHeadersThatReachAClient(t *testing.T) {
	w, reg, im, _ := open(t)
	g := gateFor(t, reg)
	sent := http.Header{
		"Accept-Ranges": {"bytes"}, "Cache-Control": {"max-age=1"}, "Content-Type": {"a/b"}, "Docker-Content-Digest": {im.blob}, "Docker-Distribution-Api-Version": {"registry/2.0"},
		"Etag": {`"x"`}, "Expires": {"0"}, "Last-Modified": {"Thu, 01 Jan 1970 00:00:00 GMT"}, "Oci-Subject": {sha256}, "Ratelimit-Limit": {"100;w=21600"},
		"Ratelimit-Remaining": {"99;w=21600"}, "Retry-After": {"1"}, "Vary": {"Accept", "Range"}, "Content-Length": {"2"},
	}
	w.upstream.lie(func(rw http.ResponseWriter, r *http.Request) {
		for name, values := range sent {
			rw.Header()[name] = values
		}
		for _, name := range []string{"Set-Cookie", "Server", "Strict-Transport-Security", "Alt-Svc", "Via", "X-Powered-By", "X-Request-Id", "Warning", "Clear-Site-Data", "Proxy-Authenticate", "Refresh", "Keep-Alive", "Www-Authenticate"} {
			rw.Header().Set(name, lie)
		}
		rw.Header().Set("Trailer", "X-Trailer")
		_, _ = io.WriteString(rw, "ok")
		rw.Header().Set("X-Trailer", lie)
	})
	for _, path := range []string{"/v2/acme/app/blobs/" + im.blob, "/v2/acme/app/manifests/" + im.digest, "/v2/acme/app/referrers/" + im.digest} {
		a := g.get(path)
		if what := differentHeaders(a.header, sent); what != nil || strings.Contains(fmt.Sprint(a.header), lie) {
			t.Errorf("%s: the client's headers differ: %v", path, what)
		}
	}
}

func TestReferrersPassThrough(t *testing.T) {
	w, reg, im, _ := open(t)
	reg.Passthrough = true
	g := gateFor(t, reg)
	path := "/v2/acme/app/referrers/" + im.digest
	const body = `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}`
	link := ""
	w.upstream.lie(func(rw http.ResponseWriter, r *http.Request) {
		if link != "" {
			rw.Header().Set("Link", link)
		}
		send(ociIndex, []byte(body), "OCI-Filters-Applied", "artifactType")(rw, r)
	})
	for _, tt := range []struct{ name, query, upstreamQuery, link, want string }{
		{"as they are", "", "", "", ""},
		{"filtered", "?artifactType=application%2Fvnd.x%2Bjson", "?artifactType=application%2Fvnd.x%2Bjson", "", ""},
		{"without ns", "?ns=docker.io&artifactType=a", "?artifactType=a", "", ""},
		{"with a next page", "", "", "<" + path + `?n=2>; rel="next"`, "<" + path + `?n=2>; rel="next"`},
		{"with an absolute next page", "", "", "<" + w.registry.URL() + path + `?n=2>; rel="next"`, "<" + path + `?n=2>; rel="next"`},
		{"without a next page elsewhere", "", "", `<https://evil.example` + path + `?n=2>; rel="next"`, ""},
		{"without a next page that is a tag", "", "", `</v2/acme/app/manifests/unsigned>; rel="next"`, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			link = tt.link
			w.quiet()
			a := sameForHead(t, g, path+tt.query)
			if a.status != 200 || string(a.body) != body || a.header.Get("Oci-Filters-Applied") != "artifactType" || a.header.Get("Link") != tt.want {
				t.Errorf("got %v %v", a, a.header)
			}
			if got := w.asked(); got[0] != "GET "+path+tt.upstreamQuery {
				t.Errorf("the registry was asked %v", got)
			}
		})
	}
}

func TestAnUpstreamWithAPath(t *testing.T) {
	w, reg, im, _ := open(t)
	w.upstream.lie(func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Location", "/mirror/v2/acme/app/blobs/x")
		rw.WriteHeader(307)
	})
	reg.URL = mustURL(t, w.registry.URL()+"/mirror")
	reg.Passthrough = true
	g := gateFor(t, reg)
	for _, path := range []string{"/v2/", "/v2/acme/app/blobs/" + im.blob, "/v2/acme/app/manifests/" + im.digest} {
		w.quiet()
		if a := g.get(path); a.header.Get("Location") != "/v2/acme/app/blobs/x" {
			t.Errorf("%s: got %v %v", path, a, a.header)
		}
		if got := w.asked(); !slices.Equal(got, []string{"GET /mirror" + path}) {
			t.Errorf("the registry was asked %v", got)
		}
	}
	w.upstream.lie(status(307, "Location", "/storage/x"))
	if a := g.get("/v2/acme/app/blobs/" + im.blob); a.header.Get("Location") != w.registry.URL()+"/storage/x" {
		t.Errorf("to what only the registry serves: got Location %q", a.header["Location"])
	}
}

func TestABlobThatIsCutShortIsCutForTheClient(t *testing.T) {
	w, reg, im, _ := open(t)
	g := gateFor(t, reg)
	path := "/v2/acme/app/blobs/" + im.blob
	half := bytes.Repeat([]byte("x"), 100<<10)
	for name, declared := range map[string]string{"of a declared length": fmt.Sprint(2 * len(half)), "of no declared length": ""} {
		t.Run(name, func(t *testing.T) {
			w.upstream.lie(func(rw http.ResponseWriter, r *http.Request) {
				if declared != "" {
					rw.Header().Set("Content-Length", declared)
				}
				_, _ = rw.Write(half)
				_ = http.NewResponseController(rw).Flush()
				panic(http.ErrAbortHandler)
			})
			if a := g.get(path); a.status != 200 || a.cut == nil || len(a.body) > len(half) {
				t.Errorf("HTTP/2: got %d bytes, cut: %v", len(a.body), a.cut)
			}
			conn := g.dial("http/1.1")
			defer conn.Close()
			fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", path, registryName)
			got, err := io.ReadAll(conn)
			if declared == "" && bytes.HasSuffix(got, []byte("0\r\n\r\n")) || declared != "" && len(got) > len(half)+1<<10 {
				t.Errorf("HTTP/1.1: %d bytes ended as if all were well (%v)", len(got), err)
			}
		})
	}
	if log := g.log.String(); strings.Count(log, `"reason":"aborted"`) != 4 || strings.Contains(log, "panic while serving") {
		t.Errorf("the log says %s", log)
	}
}

func TestModeDisabledPassesTheRegistrysTags(t *testing.T) {
	_, reg, im, index := open(t)
	reg.Policy, reg.Trust = always(proxy.Policy{Mode: proxy.Disabled}), nil
	g := gateFor(t, reg)
	for tag, want := range map[string]image{"unsigned": im, "2.0": index} {
		header := []string{"Accept", dockerV2 + ", " + ociIndex}
		if a := sameForHead(t, g, "/v2/acme/app/manifests/"+tag, header...); a.status != 200 || !bytes.Equal(a.body, want.body) || a.header.Get("Docker-Content-Digest") != want.digest {
			t.Errorf("%s: got %v", tag, a)
		}
	}
	if a := g.get("/v2/acme/app/manifests/absent"); a.status != 404 || a.code() != "MANIFEST_UNKNOWN" || strings.Contains(a.message(), "trust") {
		t.Errorf("got %v", a)
	}
	a := g.get("/v2/acme/app/tags/list")
	if a.status != 200 || !strings.Contains(string(a.body), `"2.0","unsigned"`) {
		t.Errorf("got %v", a)
	}
	a = g.get("/v2/acme/app/tags/list?n=1&ns=docker.io")
	if link := a.header.Get("Link"); a.status != 200 || link != `</v2/acme/app/tags/list?last=2.0&n=1>; rel="next"` {
		t.Errorf("got %v with Link %q", a, link)
	}
	if a = g.get("/v2/acme/app/tags/list?last=2.0&n=1"); !strings.Contains(string(a.body), `["unsigned"]`) {
		t.Errorf("got %v", a)
	}
	for _, it := range malformedTargets {
		if a := g.rawGet("GET", it.target); a.status != it.status {
			t.Errorf("%s: got %v: the grammar is the same in every mode", it.target, a)
		}
	}
	if a := g.do("PUT", "/v2/acme/app/manifests/x"); a.status != 405 {
		t.Errorf("a push: got %v", a)
	}
}

func TestABrokenBlobUpstream(t *testing.T) {
	w, reg, im, _ := open(t)
	g := gateFor(t, reg)
	for _, path := range []string{"/v2/acme/app/blobs/" + im.blob, "/v2/acme/app/manifests/" + im.digest} {
		w.upstream.lie(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
		isRefusal(t, g.get(path), 502, "UNKNOWN", "the registry behind sealgate cannot be reached", nil)
		w.upstream.lie(status(500))
		if a := g.get(path); a.status < 500 {
			t.Errorf("got %v", a)
		}
	}
}

func TestRegistriesAreChosenByHost(t *testing.T) {
	w, reg, im, _ := open(t)
	byPort, all := reg, reg
	reg.Hosts = []string{registryName, "[::1]", "10.0.0.1"}
	byPort.Name, byPort.Hosts = "port.example.com", []string{"Registry.example.com:5000"}
	all.Name, all.Hosts = "all.example.com", []string{"*"}
	strict := startGate(t, proxy.Options{Registries: []proxy.Registry{reg, byPort}})
	loose := startGate(t, proxy.Options{Registries: []proxy.Registry{reg, byPort, all}})
	for host, want := range map[string]string{
		registryName: registryName, registryName + ":443": registryName, "REGISTRY.EXAMPLE.COM": registryName, registryName + ":5000": "port.example.com",
		"[::1]": registryName, "[::1]:443": registryName, "10.0.0.1:8443": registryName,
		"other.example.com": "all.example.com", "10.0.0.2": "all.example.com", "[::2]:1": "all.example.com",
	} {
		for name, g := range map[string]*gate{"strict": strict, "loose": loose} {
			a := g.rawGet("GET", "/v2/acme/app/manifests/absent", "Host: "+host)
			message := "remote trust data does not exist for " + want + "/acme/app"
			if name == "strict" && want == "all.example.com" {
				message = "no registry is configured for this host name"
			}
			if a.message() != message {
				t.Errorf("%s gate, Host %s: got %v, want %s", name, host, a, message)
			}
		}
	}
	w.heardNothing(t)
	if a := loose.rawGet("GET", "/v2/acme/app/blobs/"+im.blob, "Host: anything.example"); a.status != 200 {
		t.Errorf("got %v", a)
	}
}
