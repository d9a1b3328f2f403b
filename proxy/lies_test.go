package proxy_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sealgate/sealgate/proxy"
)

// lie stands in every answer that is one; no client may see it.
const lie = "a-lie-of-the-registry"

const (
	ociManifest = "application/vnd.oci.image.manifest.v1+json"
	ociIndex    = "application/vnd.oci.image.index.v1+json"
	dockerV2    = "application/vnd.docker.distribution.manifest.v2+json"
)

// send answers with a content type and a body.
func send(contentType string, body []byte, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", contentType)
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(http.StatusOK)
		_, _ = w.Write(body)
	}
}

func status(status int, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, lie)
	}
}

func TestALyingRegistry(t *testing.T) {
	w := newWorld(t, nil)
	good := w.push("acme/app", "1.0", "one")
	other := w.push("acme/app", "unsigned", lie)
	w.quiet()
	trust := &pretend{}
	reg := w.front(t)
	reg.Trust = trust

	flipped := bytes.Clone(good.body)
	flipped[len(flipped)-2] ^= 1
	half := good.body[:len(good.body)/2]
	tests := []struct {
		name   string
		status int
		lie    http.HandlerFunc
	}{
		{"another manifest", 502, send(dockerV2, other.body)},
		{"another manifest under the signed digest", 502, send(dockerV2, other.body, "Docker-Content-Digest", good.digest)},
		{"the unsigned manifest of the same tag", 502, func(rw http.ResponseWriter, r *http.Request) { send(dockerV2, other.body)(rw, r) }},
		{"one bit flipped", 502, send(dockerV2, flipped)},
		{"one byte more", 502, send(dockerV2, append(bytes.Clone(good.body), '\n'))},
		{"no body", 502, send(dockerV2, nil)},
		{"a web page", 502, send("text/html", []byte("<html>"+lie+"</html>"))},
		{"another content type", 502, send(ociManifest, good.body)},
		{"the content type of an index", 502, send(ociIndex, good.body)},
		{"a content type that is none", 502, send(";;;", good.body)},
		{"no content type", 502, func(rw http.ResponseWriter, r *http.Request) {
			rw.Header()["Content-Type"] = nil
			_, _ = rw.Write(good.body)
		}},
		{"gzip said and not done", 502, send(dockerV2, good.body, "Content-Encoding", "gzip")},
		{"an encoding nobody knows", 502, send(dockerV2, good.body, "Content-Encoding", "x-lie")},
		{"more than 4 MiB declared", 502, send(dockerV2, good.body[:1], "Content-Length", "4194305")},
		{"more than 4 MiB without a length", 502, func(rw http.ResponseWriter, r *http.Request) {
			rw.Header().Set("Content-Type", dockerV2)
			chunk := bytes.Repeat([]byte(lie+"\n"), 1<<10)
			for range 1 << 10 {
				if _, err := rw.Write(chunk); err != nil {
					return
				}
			}
		}},
		{"cut short of its length", 502, func(rw http.ResponseWriter, r *http.Request) {
			rw.Header().Set("Content-Length", fmt.Sprint(len(good.body)))
			send(dockerV2, half)(rw, r)
			panic(http.ErrAbortHandler)
		}},
		{"cut short without a length", 502, func(rw http.ResponseWriter, r *http.Request) {
			send(dockerV2, half)(rw, r)
			_ = http.NewResponseController(rw).Flush()
			panic(http.ErrAbortHandler)
		}},
		{"half of it, ended well", 502, send(dockerV2, half)},
		{"the connection cut at once", 502, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }},
		{"a header without end", 502, send(dockerV2, good.body, "X-Lie", strings.Repeat("x", 1<<20))},
		{"never an answer", 504, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }},
		{"half of it and then nothing", 504, func(rw http.ResponseWriter, r *http.Request) {
			rw.Header().Set("Content-Length", fmt.Sprint(len(good.body)))
			send(dockerV2, half)(rw, r)
			_ = http.NewResponseController(rw).Flush()
			<-r.Context().Done()
		}},
		{"a redirect to a host that is not allowed", 502, status(307, "Location", "https://evil.example/manifest")},
		{"a redirect to itself by another name", 502, status(302, "Location", "https://localhost/manifest")},
		{"a redirect to itself", 502, status(307, "Location", "/v2/acme/app/manifests/"+good.digest)},
		{"a redirect without a target", 502, status(308)},
		{"a redirect that cannot be parsed", 502, status(301, "Location", "https://TAG IS NOT SIGNED/")},
		{"multiple choices", 502, status(300, "Location", "/v2/acme/app/manifests/unsigned")},
		{"no content", 502, func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(204) }},
		{"part of it", 502, func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("Content-Range", "bytes 0-9/10")
			rw.WriteHeader(206)
			_, _ = rw.Write(good.body)
		}},
		{"not modified", 502, func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(304) }},
		{"a teapot", 502, status(418)},
		{"status 500", 502, status(500)},
		{"status 501", 502, status(501)},
		{"status 502", 502, status(502)},
		{"status 504", 504, status(504)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			trust.sign("acme/app", target("1.0", good))
			g := startGate(t, proxy.Options{Registries: []proxy.Registry{reg}, AuthorisationTTL: time.Minute, ManifestTimeout: timeoutFor(tt.status)})
			for _, method := range []string{http.MethodGet, http.MethodHead} {
				w.upstream.lie(tt.lie)
				a := g.do(method, "/v2/acme/app/manifests/1.0")
				if a.status != tt.status || method == http.MethodGet && a.code() != "UNKNOWN" {
					t.Errorf("%s: got %v, want %d UNKNOWN", method, a, tt.status)
				}
				noLie(t, a, other)
			}
			w.upstream.lie(nil)
			honest(t, g, good)
		})
	}
	w.heardNoTag(t)
}

// timeoutFor is short where a test waits for it, and else never over.
func timeoutFor(status int) time.Duration {
	if status == http.StatusGatewayTimeout {
		return time.Second
	}
	return time.Minute
}

func noLie(t *testing.T, a answer, other image) {
	t.Helper()
	if all := fmt.Sprintf("%v %s", a.header, a.body); strings.Contains(all, lie) || strings.Contains(all, other.digest) || bytes.Contains(a.body, []byte("schemaVersion")) {
		t.Errorf("some of the lie shows in %v %v", a, a.header)
	}
	for _, name := range []string{"Docker-Content-Digest", "Etag", "Location", "Content-Encoding", "Set-Cookie"} {
		if a.header[name] != nil {
			t.Errorf("the answer has %s: %q", name, a.header[name])
		}
	}
}

// honest fails unless the gate now serves the signed manifest, first fetched:
// nothing of what came before was kept.
func honest(t *testing.T, g *gate, good image) {
	t.Helper()
	for range 2 {
		a := g.get("/v2/acme/app/manifests/1.0")
		if a.status != 200 || !bytes.Equal(a.body, good.body) || a.header.Get("Docker-Content-Digest") != good.digest || a.header.Get("Content-Type") != dockerV2 {
			t.Errorf("once the registry is honest: got %v", a)
		}
	}
}

func TestADigestHeaderThatLiesIsNotPassedOn(t *testing.T) {
	w, trust := newWorld(t, nil), &pretend{}
	good := w.push("acme/app", "1.0", "one")
	trust.sign("acme/app", target("1.0", good))
	reg := w.front(t)
	reg.Trust = trust
	g := gateFor(t, reg)
	length := fmt.Sprint(len(good.body))
	w.upstream.lie(send(dockerV2, good.body, "Docker-Content-Digest", sha256, "Content-Length", length))
	if a := g.get("/v2/acme/app/manifests/1.0"); a.status != 502 || a.code() != "UNKNOWN" {
		t.Errorf("a digest header that lies: got %v", a)
	}
	w.upstream.lie(send(dockerV2, good.body, "Etag", `"`+sha256+`"`, "Set-Cookie", "a=b", "Content-Length", length))
	a := g.get("/v2/acme/app/manifests/1.0")
	if a.status != 200 || a.header.Get("Docker-Content-Digest") != good.digest || a.header.Get("Etag") != `"`+good.digest+`"` || a.header["Set-Cookie"] != nil {
		t.Errorf("other headers that lie: got %v %v", a, a.header)
	}
}

// TestManifestsWithTwoReadings: the bytes are what was signed, and are not
// served all the same, because clients do not agree on what they say.
func TestManifestsWithTwoReadings(t *testing.T) {
	const config, layers, manifests = `"config":{}`, `"layers":[]`, `"manifests":[]`
	tests := []struct {
		name, contentType, body string
		status                  int
	}{
		{"an OCI manifest", ociManifest, `{"schemaVersion":2,` + config + `,` + layers + `}`, 200},
		{"an OCI manifest that says so", ociManifest, `{"mediaType":"` + ociManifest + `",` + config + `,` + layers + `}`, 200},
		{"an OCI index", ociIndex, `{"schemaVersion":2,` + manifests + `}`, 200},
		{"a content type with a parameter", ociIndex + "; charset=utf-8", `{"mediaType":"` + ociIndex + `",` + manifests + `}`, 200},
		{"a content type in capitals", strings.ToUpper(ociIndex), `{"schemaVersion":2,"mediaType":"` + ociIndex + `",` + manifests + `}`, 200},
		{"manifests and layers", ociIndex, `{` + manifests + `,` + config + `,` + layers + `}`, 502},
		{"manifests and layers, as a manifest", ociManifest, `{` + manifests + `,` + config + `,` + layers + `}`, 502},
		{"manifests and layers, null", ociManifest, `{"manifests":null,"layers":null}`, 502},
		{"manifests and layers in capitals", ociIndex, `{` + manifests + `,"LAYERS":[]}`, 502},
		{"manifests and a layers key with an escape", ociIndex, `{` + manifests + `,"l\u0061yers":[]}`, 502},
		{"manifests and layers with the long s", ociIndex, `{` + manifests + `,"layer\u017f":[]}`, 502},
		{"manifests and a config", ociIndex, `{` + manifests + `,` + config + `}`, 502},
		{"layers twice", ociManifest, `{` + layers + `,"layers":[{}]}`, 502},
		{"layers twice, once in capitals", ociManifest, `{` + layers + `,"Layers":[{}]}`, 502},
		{"layers twice, once with the long s", ociManifest, `{` + layers + `,"layer\u017f":[{}]}`, 502},
		{"a media type twice", ociManifest, `{"mediaType":"` + ociManifest + `","mediaType":"` + ociIndex + `",` + layers + `}`, 502},
		{"another media type than the registry says", ociManifest, `{"mediaType":"` + ociIndex + `",` + layers + `}`, 502},
		{"a Docker media type under an OCI content type", ociManifest, `{"mediaType":"` + dockerV2 + `",` + layers + `}`, 502},
		{"a media type that is no string", ociManifest, `{"mediaType":7,` + layers + `}`, 502},
		{"an index without manifests", ociIndex, `{"schemaVersion":2}`, 502},
		{"a manifest without layers", ociManifest, `{` + config + `}`, 502},
		{"an index as text", "text/plain", `{` + manifests + `}`, 502},
		{"layers as application/json", "application/json", `{` + layers + `}`, 502},
		{"no JSON", ociManifest, lie, 502},
		{"an array", ociManifest, `[` + `{` + layers + `}]`, 502},
		{"two objects", ociManifest, `{` + layers + `}{` + manifests + `}`, 502},
		{"an object and rubbish", ociManifest, `{` + layers + `}` + lie, 502},
		{"an object cut short", ociManifest, `{` + layers, 502},
		{"nothing", ociManifest, ``, 502},
		{"deep nesting", ociManifest, `{` + layers + `,"x":` + strings.Repeat("[", 1<<20) + strings.Repeat("]", 1<<20) + `}`, 502},
		{"schema 1", "application/vnd.docker.distribution.manifest.v1+prettyjws", `{"schemaVersion":1,"fsLayers":[]}`, 404},
		{"schema 1 without signatures", "application/vnd.docker.distribution.manifest.v1+json", `{"schemaVersion":1,"fsLayers":[]}`, 404},
		{"schema 1 under another type", ociManifest, `{"schemaVersion":1,"fsLayers":[],` + layers + `}`, 404},
		{"exactly 4 MiB", ociManifest, exactly(4<<20, `{`+layers+`,"x":"`, `"}`), 200},
		{"a byte more than 4 MiB", ociManifest, exactly(4<<20+1, `{`+layers+`,"x":"`, `"}`), 502},
	}
	w, trust := newWorld(t, nil), &pretend{}
	reg := w.front(t)
	reg.Trust = trust
	g := gateFor(t, reg)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			im := imageOf([]byte(tt.body))
			trust.sign("acme/app", target("1.0", im))
			w.upstream.lie(send(tt.contentType, im.body))
			a := g.get("/v2/acme/app/manifests/1.0")
			if a.status != tt.status {
				t.Fatalf("got %.300v, want %d", a, tt.status)
			}
			switch a.status {
			case 200:
				if !bytes.Equal(a.body, im.body) || a.header.Get("Content-Type") != tt.contentType {
					t.Errorf("got other bytes or the type %q", a.header.Get("Content-Type"))
				}
			case 404:
				if want := "signed digest " + im.digest + " is an image manifest of schema 1, which is not served"; a.code() != "MANIFEST_UNKNOWN" || a.message() != want {
					t.Errorf("got %v", a)
				}
			case 502:
				if a.code() != "UNKNOWN" || strings.Contains(string(a.body), lie) {
					t.Errorf("got %v", a)
				}
			}
			w.upstream.lie(status(404))
			if again := g.get("/v2/acme/app/manifests/1.0"); (again.status == 200) != (tt.status == 200) {
				t.Errorf("asked again: got %v", again)
			}
		})
	}
}

// exactly is a text of n bytes that begins and ends as given.
func exactly(n int, begin, end string) string {
	return begin + strings.Repeat("x", n-len(begin)-len(end)) + end
}

func TestARedirectOfATagsManifest(t *testing.T) {
	w, trust := newWorld(t, nil), &pretend{}
	good := w.push("acme/app", "1.0", "one")
	trust.sign("acme/app", target("1.0", good))
	cdn := newWorld(t, nil)
	hops := func(n int) {
		cdn.upstream.lie(func(rw http.ResponseWriter, r *http.Request) {
			var hop int
			if fmt.Sscanf(r.URL.Path, "/hop/%d", &hop); hop < n {
				http.Redirect(rw, r, fmt.Sprintf("/hop/%d", hop+1), http.StatusFound)
				return
			}
			send(dockerV2, good.body)(rw, r)
		})
		cdn.quiet()
	}
	w.upstream.lie(func(rw http.ResponseWriter, r *http.Request) {
		http.Redirect(rw, r, cdn.registry.URL()+"/hop/1", http.StatusTemporaryRedirect)
	})
	front := func(t *testing.T, allowed ...string) *gate {
		reg := w.front(t)
		reg.Trust, reg.Passthrough, reg.RedirectHosts = trust, true, allowed
		pool := w.ca.Pool()
		pool.AppendCertsFromPEM(cdn.ca.PEM())
		reg.Upstream = transport(t, pool)
		return gateFor(t, reg)
	}
	t.Run("is followed to a host that is allowed, without credentials", func(t *testing.T) {
		hops(1)
		a := front(t, cdn.registry.Addr()).get("/v2/acme/app/manifests/1.0", "Authorization", "Bearer secret", "Cookie", "a=b")
		if a.status != 200 || !bytes.Equal(a.body, good.body) {
			t.Fatalf("got %v", a)
		}
		arrived := cdn.upstream.list()
		if len(arrived) != 1 || len(arrived[0].Header) != 2 || arrived[0].Header.Get("User-Agent") != "sealgate" || arrived[0].Header.Get("Accept") == "" {
			t.Errorf("the other host got %+v", arrived)
		}
	})
	t.Run("is followed three times", func(t *testing.T) {
		hops(3)
		if a := front(t, "127.0.0.1").get("/v2/acme/app/manifests/1.0"); a.status != 200 {
			t.Errorf("got %v", a)
		}
	})
	t.Run("is not followed a fourth time", func(t *testing.T) {
		hops(4)
		a := front(t, "127.0.0.1").get("/v2/acme/app/manifests/1.0")
		if a.status != 502 || a.code() != "UNKNOWN" {
			t.Errorf("got %v", a)
		}
		if got := len(cdn.upstream.list()); got != 3 {
			t.Errorf("the other host was asked %d times", got)
		}
	})
	t.Run("is not followed to another host", func(t *testing.T) {
		hops(1)
		a := front(t, "cdn.example.com", "127.0.0.1:1").get("/v2/acme/app/manifests/1.0")
		if a.status != 502 || a.code() != "UNKNOWN" || len(cdn.registry.Requests()) != 0 {
			t.Errorf("got %v, and the other host was asked %v", a, cdn.asked())
		}
	})
	t.Run("is not followed from https to http", func(t *testing.T) {
		hops(1)
		w.upstream.lie(func(rw http.ResponseWriter, r *http.Request) {
			http.Redirect(rw, r, "http://"+cdn.registry.Addr()+"/hop/1", http.StatusTemporaryRedirect)
		})
		if a := front(t, "127.0.0.1").get("/v2/acme/app/manifests/1.0"); a.status != 502 || len(cdn.registry.Requests()) != 0 {
			t.Errorf("got %v, and the other host was asked %v", a, cdn.asked())
		}
	})
}

// TestARedirectBackToTheRegistryReadsNoTag: no request that reads as a manifest
// by tag goes upstream, not even where the registry itself sends us.
func TestARedirectBackToTheRegistryReadsNoTag(t *testing.T) {
	w, trust := newWorld(t, nil), &pretend{}
	good := w.push("acme/app", "1.0", "one")
	trust.sign("acme/app", target("1.0", good))
	reg := w.front(t)
	reg.Trust, reg.RedirectHosts = trust, []string{w.registry.Addr(), "127.0.0.1"}
	g := gateFor(t, reg)
	for _, location := range []string{"/v2/acme/app/manifests/1.0", "/v2/acme/app/manifests/%31.0", "/v2/acme//app/manifests/1.0", w.registry.URL() + "/v2/acme/app/manifests/1.0"} {
		w.quiet()
		w.upstream.lie(status(307, "Location", location))
		if a := g.get("/v2/acme/app/manifests/1.0"); a.status != 502 || a.code() != "UNKNOWN" {
			t.Errorf("%s: got %v", location, a)
		}
		w.heardNoTag(t)
	}
}

// TestAnUpstreamThatSwitchesProtocols needs an upstream below net/http.
func TestAnUpstreamThatSwitchesProtocols(t *testing.T) {
	w, trust := newWorld(t, nil), &pretend{}
	trust.sign("acme/app", target("1.0", imageOf([]byte("{}"))))
	addr := rawUpstream(t, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"+lie)
	reg := w.front(t)
	reg.Trust, reg.URL = trust, mustURL(t, "http://"+addr)
	g := gateFor(t, reg)
	for _, target := range []string{"/v2/acme/app/manifests/1.0", "/v2/acme/app/manifests/" + sha256, "/v2/acme/app/blobs/" + sha256} {
		for _, headers := range [][]string{nil, {"Connection: Upgrade", "Upgrade: h2c"}} {
			a := g.rawGet("GET", target, headers...)
			if a.status != 502 || a.code() != "UNKNOWN" || strings.Contains(string(a.body), lie) {
				t.Errorf("%s %v: got %v", target, headers, a)
			}
		}
	}
}

func TestInformationalAnswersStayBehind(t *testing.T) {
	w := newWorld(t, nil)
	addr := rawUpstream(t, "HTTP/1.1 103 Early Hints\r\nLink: </"+lie+">\r\nSet-Cookie: "+lie+"\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
	reg := w.front(t)
	reg.Trust, reg.URL = &pretend{}, mustURL(t, "http://"+addr)
	g := gateFor(t, reg)
	a := g.rawGet("GET", "/v2/acme/app/blobs/"+sha256)
	if a.status != 200 || string(a.body) != "ok" || strings.Contains(fmt.Sprint(a.header), lie) {
		t.Errorf("got %v %v", a, a.header)
	}
	if a.header.Get("X-Request-Id") == "" {
		t.Error("the answer lost its name")
	}
}

// rawUpstream answers every connection with text as soon as it has read a
// request header.
func rawUpstream(t *testing.T, text string) (addr string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			var head []byte
			buf := make([]byte, 4096)
			for !bytes.Contains(head, []byte("\r\n\r\n")) {
				n, err := conn.Read(buf)
				if err != nil {
					break
				}
				head = append(head, buf[:n]...)
			}
			_, _ = io.WriteString(conn, text)
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() {
		_ = listener.Close()
		<-done
	})
	return listener.Addr().String()
}

func TestARegistryThatIsNotThere(t *testing.T) {
	w, trust := newWorld(t, nil), &pretend{}
	good := w.push("acme/app", "1.0", "one")
	trust.sign("acme/app", target("1.0", good))
	reg := w.front(t)
	reg.Trust = trust
	g := gateFor(t, reg)
	closed(t, w.registry)
	for _, target := range []string{"/v2/acme/app/manifests/1.0", "/v2/acme/app/manifests/" + good.digest, "/v2/acme/app/blobs/" + good.blob} {
		a := g.get(target)
		if a.status != 502 || a.code() != "UNKNOWN" || a.message() != "the registry behind sealgate cannot be reached" {
			t.Errorf("%s: got %v", target, a)
		}
		if strings.Contains(string(a.body), w.registry.Addr()) {
			t.Errorf("%s: the registry's address shows in %v", target, a)
		}
	}
	if a := g.get("/v2/acme/app/manifests/unsigned"); a.status != 404 {
		t.Errorf("an unsigned tag needs no registry: got %v", a)
	}
	if !slices.Contains([]int{200}, g.get("/v2/acme/app/tags/list").status) {
		t.Error("the list of a registry that is open to everybody needs no registry")
	}
}
