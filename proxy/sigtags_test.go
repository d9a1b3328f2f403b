package proxy_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	cryptosha256 "crypto/sha256"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/sealgate/sealgate/e2e/sandbox"
	"github.com/sealgate/sealgate/proxy"
)

// Layers as cosign (v2.6) writes them.
const (
	simpleSigning = "application/vnd.dev.cosign.simplesigning.v1+json"
	dsse          = "application/vnd.dsse.envelope.v1+json"
	payload       = `{"critical":{"identity":{"docker-reference":"registry.example.com/acme/app"},"image":{"docker-manifest-digest":"sha256:00"},"type":"cosign container image signature"},"optional":null}`
)

// withLayers is an OCI image made of these layers: media type and bytes in turn.
func withLayers(t *testing.T, layers ...string) v1.Image {
	t.Helper()
	base := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	var list []v1.Layer
	for i := 0; i < len(layers); i += 2 {
		list = append(list, static.NewLayer([]byte(layers[i+1]), types.MediaType(layers[i])))
	}
	im, err := mutate.AppendLayers(base, list...)
	if err != nil {
		t.Fatal(err)
	}
	return im
}

func indexOf(things ...mutate.Appendable) v1.ImageIndex {
	var list []mutate.IndexAddendum
	for _, thing := range things {
		list = append(list, mutate.IndexAddendum{Add: thing})
	}
	return mutate.AppendManifests(empty.Index, list...)
}

// archive is a tar of one program; with a comment as long as said before it, in
// a header of its own.
func archive(t *testing.T, comment int) string {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	h := &tar.Header{Name: "bin/evil", Mode: 0o755, Size: 4}
	if comment > 0 {
		h.PAXRecords, h.Format = map[string]string{"comment": strings.Repeat("x", comment)}, tar.FormatPAX
	}
	if err := w.WriteHeader(h); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte("evil")); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func gzipped(t *testing.T, s string) string {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write([]byte(s)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// newSigned is a gate that passes signature tags on, before an open registry.
func newSigned(t *testing.T) (*world, proxy.Registry) {
	t.Helper()
	w, trust := newWorld(t, nil), &pretend{}
	im := w.push("acme/app", "1.0", "one")
	trust.sign("acme/app", target("1.0", im))
	reg := w.front(t)
	reg.Trust, reg.SignatureTags, reg.Passthrough = trust, true, true
	return w, reg
}

// put pushes what under a signature tag and returns its manifest.
func (w *world) put(t *testing.T, tag string, what remote.Taggable) []byte {
	t.Helper()
	if _, _, err := w.registry.Push(t.Context(), "acme/app", tag, what); err != nil {
		t.Fatal(err)
	}
	body, err := what.RawManifest()
	if err != nil {
		t.Fatal(err)
	}
	return body
}

const sigTag = "sha256-" + hex64

// noTrustInApp is the refusal of a signature tag.
func noTrustInApp(tag string) string {
	return fmt.Sprintf("no trust data for tag %q in registry.example.com/acme/app", tag)
}

func TestSignatureTagsAreServedWhileNothingRunnableIsInThem(t *testing.T) {
	w, reg := newSigned(t)
	g := gateFor(t, reg)
	signature, another := withLayers(t, simpleSigning, payload), withLayers(t, simpleSigning, payload+" ")
	long := strings.Repeat("a long document, longer than what is looked at of it. ", 100)
	image, err := sandbox.Image("an ordinary image")
	if err != nil {
		t.Fatal(err)
	}
	images, err := sandbox.Index("of ordinary images")
	if err != nil {
		t.Fatal(err)
	}
	tarball := archive(t, 0)
	for _, tt := range []struct {
		name   string
		what   remote.Taggable
		served bool
	}{
		{"a cosign signature", signature, true},
		{"two cosign signatures", withLayers(t, simpleSigning, payload, simpleSigning, payload+"\n"), true},
		{"a long attestation", withLayers(t, dsse, long), true},
		{"an empty document", withLayers(t, "application/vnd.oci.empty.v1+json", "{}"), true},
		{"a layer of nothing", withLayers(t, "text/plain", ""), true},
		{"no layer", withLayers(t), true},
		{"an index of referrers", indexOf(signature, another), true},
		{"an empty index", empty.Index, true},
		{"an ordinary image", image, false},
		{"an ordinary index", images, false},
		{"an index of a signature and an image", indexOf(signature, image), false},
		{"an index in an index", indexOf(indexOf(signature)), false},
		{"a signature and a layer of a file system", withLayers(t, simpleSigning, payload, string(types.OCILayer), gzipped(t, tarball)), false},
		{"a layer's type, whatever its bytes are", withLayers(t, string(types.DockerUncompressedLayer), "no archive at all"), false},
		{"a layer's type in capitals", withLayers(t, "application/vnd.OCI.image.Layer.v1.tar", "no archive"), false},
		{"an archive that says so", withLayers(t, "application/x-acme.v1.tar+zstd", "no archive"), false},
		{"gzip under a signature's type", withLayers(t, simpleSigning, gzipped(t, tarball)), false},
		{"gzip after a signature", withLayers(t, simpleSigning, payload, dsse, gzipped(t, tarball)), false},
		{"tar under a signature's type", withLayers(t, simpleSigning, tarball), false},
		{"tar with a long header first", withLayers(t, simpleSigning, archive(t, 5000)), false},
		{"tar with a header of one block first", withLayers(t, simpleSigning, archive(t, 400)), false},
		{"an empty archive", withLayers(t, simpleSigning, string(make([]byte, 1024))), false},
		{"bzip2", withLayers(t, simpleSigning, "BZh91AY&SY"), false},
		{"xz", withLayers(t, simpleSigning, "\xfd7zXZ\x00 and so on"), false},
		{"zstd", withLayers(t, simpleSigning, "\x28\xb5\x2f\xfd and so on"), false},
		{"zstd after a frame that is skipped", withLayers(t, simpleSigning, "\x5a\x2a\x4d\x18\x00\x00\x00\x00\x28\xb5\x2f\xfd"), false},
		{"an image of Apptainer", withLayers(t, "application/octet-stream", "#!/usr/bin/env run-singularity\n"), false},
		{"an image of Apptainer that says so", withLayers(t, "application/vnd.sylabs.sif", "no image"), false},
		{"a program", withLayers(t, "application/octet-stream", "\x7fELF\x02\x01\x01"), false},
		{"a file system", withLayers(t, "application/octet-stream", "hsqs and so on"), false},
		{"WebAssembly", withLayers(t, "application/octet-stream", "\x00asm\x01\x00\x00\x00"), false},
	} {
		for _, tag := range []string{sigTag + ".sig", sigTag} {
			t.Run(tt.name+" "+tag[len(sigTag):], func(t *testing.T) {
				body := w.put(t, tag, tt.what)
				for range 2 { // judged, and then remembered
					a := sameForHead(t, g, "/v2/acme/app/manifests/"+tag)
					digest := fmt.Sprintf("sha256:%x", cryptosha256.Sum256(body))
					switch {
					case tt.served && (a.status != 200 || !bytes.Equal(a.body, body) || a.header.Get("Docker-Content-Digest") != digest):
						t.Errorf("got %v, want what was pushed", a)
					case !tt.served:
						isRefusal(t, a, 404, "MANIFEST_UNKNOWN", noTrustInApp(tag), nil)
					}
				}
			})
		}
	}
	if a := g.get("/v2/acme/app/tags/list"); !strings.Contains(string(a.body), `"tags":["1.0"]`) {
		t.Errorf("the list is %s", a.body)
	}
}

func TestOnlySignatureTagsGoUpstreamByName(t *testing.T) {
	w, reg := newSigned(t)
	image := withLayers(t, simpleSigning, payload)
	tags := []string{"unsigned", "sha256-" + hex64[1:], "sha256-" + hex64 + "0", "sha256-" + strings.Repeat("A", 64), "sha512-" + hex64, sigTag + ".SIG", sigTag + ".sig.sig", sigTag + ".", sigTag + "-sig", "x" + sigTag}
	for _, tag := range tags {
		w.put(t, tag, image)
	}
	w.quiet()
	g := gateFor(t, reg)
	for _, tag := range tags {
		if a := g.get("/v2/acme/app/manifests/" + tag); a.status != 404 || a.code() != "MANIFEST_UNKNOWN" {
			t.Errorf("%s: got %v", tag, a)
		}
	}
	w.heardNoTag(t)
	for _, suffix := range []string{"", ".sig", ".att", ".sbom"} {
		if a := g.get("/v2/acme/app/manifests/" + sigTag + suffix); a.status != 404 || a.message() != noTrustInApp(sigTag+suffix) {
			t.Errorf("one that is not there: got %v", a)
		}
		w.put(t, sigTag+suffix, image)
		if a := g.get("/v2/acme/app/manifests/" + sigTag + suffix); a.status != 200 {
			t.Errorf("%s: got %v", suffix, a)
		}
	}
	// By default they are tags like any other.
	reg.SignatureTags = false
	w.quiet()
	if a := gateFor(t, reg).get("/v2/acme/app/manifests/" + sigTag + ".sig"); a.status != 404 {
		t.Errorf("got %v", a)
	}
	w.heardNoTag(t)
}

func TestAVerdictOnASignatureTagIsRemembered(t *testing.T) {
	w, reg := newSigned(t)
	first, second := withLayers(t, simpleSigning, payload), withLayers(t, simpleSigning, payload+" ")
	w.put(t, sigTag, indexOf(first, second))
	w.quiet()
	g := gateFor(t, reg)
	const path = "/v2/acme/app/manifests/" + sigTag
	if a := g.get(path); a.status != 200 || len(w.asked()) != 5 {
		t.Errorf("got %v, and the registry was asked %v: the tag, two manifests and their layers", a, w.asked())
	}
	w.quiet()
	if a := g.get(path); a.status != 200 || !slices.Equal(w.asked(), []string{"GET " + path}) {
		t.Errorf("got %v, and the registry was asked %v", a, w.asked())
	}
	third := w.put(t, sigTag, indexOf(first, second, withLayers(t, simpleSigning, payload+"  ")))
	w.quiet()
	if a := g.get(path); a.status != 200 || !bytes.Equal(a.body, third) || len(w.asked()) != 3 {
		t.Errorf("got %v, and the registry was asked %v: the tag, and what is new in it", a, w.asked())
	}
	if a := g.get(path, "If-None-Match", fmt.Sprintf("sha256:%x", cryptosha256.Sum256(third))); a.status != 304 {
		t.Errorf("got %v, want 304", a)
	}
}

// TestALayersVerdictIsNotTheManifests: the bytes of a manifest are no archive,
// so that whoever uploads them as a layer too gets a good verdict on them.
func TestALayersVerdictIsNotTheManifests(t *testing.T) {
	w, reg := newSigned(t)
	g := gateFor(t, reg)
	image := withLayers(t, string(types.OCILayer), gzipped(t, archive(t, 0)))
	manifest, err := image.RawManifest()
	if err != nil {
		t.Fatal(err)
	}
	w.put(t, sigTag+".sig", withLayers(t, dsse, string(manifest)))
	if a := g.get("/v2/acme/app/manifests/" + sigTag + ".sig"); a.status != 200 {
		t.Fatalf("got %v", a)
	}
	for _, what := range []remote.Taggable{image, indexOf(image)} {
		w.put(t, sigTag+".sig", what)
		if a := g.get("/v2/acme/app/manifests/" + sigTag + ".sig"); a.status != 404 {
			t.Errorf("got %v", a)
		}
	}
	// Nor is an index that was judged under a tag one that may stand in another.
	inner := indexOf(withLayers(t, simpleSigning, payload))
	w.put(t, sigTag, inner)
	if a := g.get("/v2/acme/app/manifests/" + sigTag); a.status != 200 {
		t.Fatalf("got %v", a)
	}
	w.put(t, sigTag, indexOf(inner))
	if a := g.get("/v2/acme/app/manifests/" + sigTag); a.status != 404 {
		t.Errorf("got %v", a)
	}
}

func TestWhoMayReadASignatureTag(t *testing.T) {
	p := newPrivate(t, users)
	p.put(t, sigTag+".sig", withLayers(t, simpleSigning, payload))
	p.reg.SignatureTags = true
	g := p.gate(t, time.Minute)
	const path = "/v2/acme/app/manifests/" + sigTag + ".sig"
	for range 2 {
		a := sameForHead(t, g, path)
		isRefusal(t, a, 401, "UNAUTHORIZED", "the registry asks for authentication", http.Header{"Www-Authenticate": {`Basic realm="sandbox"`}})
		if a := g.get(path, "Authorization", alice); a.status != 200 {
			t.Errorf("alice got %v", a)
		}
	}
	if strings.Contains(g.log.String(), strings.TrimPrefix(alice, "Basic ")) {
		t.Error("a credential is logged")
	}
}

// shelf is a registry that has what it is given, true or not.
type shelf struct {
	mu     sync.Mutex
	things map[string]http.HandlerFunc // by the end of the path
}

func (s *shelf) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	serve := s.things[r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]]
	s.mu.Unlock()
	if serve == nil {
		http.NotFound(w, r)
		return
	}
	serve(w, r)
}

// blob serves part or all of b.
func blob(b string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader(b))
	}
}

func sum(b string) string { return fmt.Sprintf("sha256:%x", cryptosha256.Sum256([]byte(b))) }

// manifestOf is an OCI manifest with layers as they are given, in JSON.
func manifestOf(layers ...string) string {
	return `{"schemaVersion":2,"mediaType":"` + ociManifest + `","config":{},"layers":[` + strings.Join(layers, ",") + `]}`
}

func layerOf(mediaType, digest string) string {
	b, _ := json.Marshal(map[string]any{"mediaType": mediaType, "digest": digest, "size": 1})
	return string(b)
}

func indexOver(digests ...string) string {
	var list []string
	for _, digest := range digests {
		list = append(list, layerOf(ociManifest, digest))
	}
	return `{"schemaVersion":2,"mediaType":"` + ociIndex + `","manifests":[` + strings.Join(list, ",") + `]}`
}

// TestASignatureTagThatCannotBeJudged is 502, and never 404: whoever reads it
// to add a signature would take that for leave to begin anew.
func TestASignatureTagThatCannotBeJudged(t *testing.T) {
	w, reg := newSigned(t)
	good := manifestOf(layerOf(simpleSigning, sum(payload)))
	tarball := archive(t, 0)
	many := func(n int) (digests []string) {
		for i := range n {
			digests = append(digests, sum(fmt.Sprint(i)))
		}
		return digests
	}
	reply := func(contentType, body string) http.HandlerFunc { return send(contentType, []byte(body)) }
	for _, tt := range []struct {
		name   string
		tag    http.HandlerFunc
		more   map[string]http.HandlerFunc
		status int
		reason string
	}{
		{"a layer that is not there", reply(ociManifest, good), nil, 502, "signature-tag-incomplete"},
		{"a manifest that is not there", reply(ociIndex, indexOver(sum(good))), nil, 502, "signature-tag-incomplete"},
		{"a layer cut short", reply(ociManifest, manifestOf(layerOf(dsse, sum(tarball)))), map[string]http.HandlerFunc{sum(tarball): blob(tarball[:100])}, 502, "upstream-mismatch"},
		{"another layer", reply(ociManifest, good), map[string]http.HandlerFunc{sum(payload): blob("other")}, 502, "upstream-mismatch"},
		{"another part of a layer", reply(ociManifest, good), map[string]http.HandlerFunc{sum(payload): func(w http.ResponseWriter, r *http.Request) {
			r.Header.Set("Range", "bytes=1-")
			blob(payload)(w, r)
		}}, 502, "upstream-protocol"},
		{"a layer encoded", reply(ociManifest, good), map[string]http.HandlerFunc{sum(payload): send("", []byte(payload), "Content-Encoding", "gzip")}, 502, "upstream-encoding"},
		{"a layer elsewhere", reply(ociManifest, good), map[string]http.HandlerFunc{sum(payload): status(307, "Location", "https://evil.example/")}, 502, "upstream-redirect"},
		{"a layer that fails", reply(ociManifest, good), map[string]http.HandlerFunc{sum(payload): status(500)}, 502, "upstream-status"},
		{"a layer that never comes", reply(ociManifest, good), map[string]http.HandlerFunc{sum(payload): func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }}, 504, "upstream-timeout"},
		{"a listed manifest that is another", reply(ociIndex, indexOver(sum(good))), map[string]http.HandlerFunc{sum(good): reply(ociManifest, manifestOf())}, 502, "upstream-mismatch"},
		{"a listed manifest with two readings", reply(ociIndex, indexOver(sum(good))), map[string]http.HandlerFunc{sum(good): reply(ociIndex, good)}, 502, "signature-tag-malformed"},
		{"two readings", reply(ociIndex, good), nil, 502, "signature-tag-malformed"},
		{"no manifest at all", reply("text/html", "<html>"), nil, 502, "signature-tag-malformed"},
		{"a digest that is not that of the bytes", send(ociManifest, []byte(manifestOf()), "Docker-Content-Digest", sha256), nil, 502, "upstream-mismatch"},
		{"too large", send(ociManifest, bytes.Repeat([]byte(" "), 4<<20+1)), nil, 502, "upstream-oversize"},
		{"too much to ask for", reply(ociManifest, manifestOf(layersOf(many(513))...)), numbered(513), 502, "signature-tag-too-large"},
		{"a registry that forbids", status(403), nil, 403, "upstream-refused"},
		{"a registry that limits", status(429), nil, 429, "upstream-refused"},
		{"a registry that fails", status(500), nil, 502, "upstream-status"},
		{"a redirect", status(307, "Location", "https://evil.example/"), nil, 502, "upstream-redirect"},
		// What follows was judged.
		{"a layer from elsewhere", reply(ociManifest, manifestOf(`{"mediaType":"text/plain","digest":"`+sum(payload)+`","urls":["https://evil.example"]}`)), nil, 404, "runnable"},
		{"a layer with two digests", reply(ociManifest, manifestOf(`{"mediaType":"text/plain","digest":"`+sum(payload)+`","Digest":"`+sum(tarball)+`"}`)), nil, 404, "runnable"},
		{"a layer without a digest", reply(ociManifest, manifestOf(`{"mediaType":"text/plain"}`)), nil, 404, "runnable"},
		{"a listed manifest without a digest", reply(ociIndex, indexOver("latest")), nil, 404, "runnable"},
		{"a type that nobody knows", reply("application/x", `{"mediaType":"application/x"}`), nil, 404, "runnable"},
		{"schema 1", reply("application/vnd.docker.distribution.manifest.v1+prettyjws", `{"schemaVersion":1,"fsLayers":[]}`), nil, 404, "runnable"},
		{"schema 1 in an index", reply(ociIndex, indexOver(sum("x"))), map[string]http.HandlerFunc{sum("x"): reply("application/vnd.docker.distribution.manifest.v1+json", `{"schemaVersion":1,"fsLayers":[]}`)}, 404, "runnable"},
		// And what is well.
		{"a registry that knows no ranges", reply(ociManifest, good), map[string]http.HandlerFunc{sum(payload): send("", []byte(payload))}, 200, "signature-tag"},
		{"OCI's artifact manifest", reply("application/vnd.oci.artifact.manifest.v1+json", `{"mediaType":"application/vnd.oci.artifact.manifest.v1+json","blobs":[`+layerOf(dsse, sum(payload))+`]}`), map[string]http.HandlerFunc{sum(payload): blob(payload)}, 200, "signature-tag"},
		{"as much as is asked for", reply(ociManifest, manifestOf(layersOf(many(512))...)), numbered(512), 200, "signature-tag"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := &shelf{things: map[string]http.HandlerFunc{sigTag: tt.tag}}
			for digest, h := range tt.more {
				s.things[digest] = h
			}
			w.upstream.lie(s.ServeHTTP)
			g := startGate(t, proxy.Options{Registries: []proxy.Registry{reg}, ManifestTimeout: timeoutFor(tt.status)})
			a := g.get("/v2/acme/app/manifests/" + sigTag)
			if a.status != tt.status || !strings.Contains(g.log.String(), `"reason":"`+tt.reason+`"`) || strings.Contains(string(a.body), lie) {
				t.Errorf("got %v, want %d for %s\n%s", a, tt.status, tt.reason, g.log)
			}
			if a.status == 404 && a.message() != noTrustInApp(sigTag) {
				t.Errorf("got %v", a)
			}
		})
	}
}

func layersOf(digests []string) (layers []string) {
	for _, digest := range digests {
		layers = append(layers, layerOf(dsse, digest))
	}
	return layers
}

// numbered are n blobs that hold their number.
func numbered(n int) map[string]http.HandlerFunc {
	blobs := map[string]http.HandlerFunc{}
	for i := range n {
		blobs[sum(fmt.Sprint(i))] = blob(fmt.Sprint(i))
	}
	return blobs
}

// TestALargeSignatureTagIsJudgedInSeveralReads.
func TestALargeSignatureTagIsJudgedInSeveralReads(t *testing.T) {
	w, reg := newSigned(t)
	s := &shelf{things: numbered(600)}
	var digests []string
	for i := range 600 {
		digests = append(digests, sum(fmt.Sprint(i)))
	}
	s.things[sigTag] = send(ociManifest, []byte(manifestOf(layersOf(digests)...)))
	w.upstream.lie(s.ServeHTTP)
	g := gateFor(t, reg)
	for _, want := range []int{502, 200} {
		if a := g.get("/v2/acme/app/manifests/" + sigTag); a.status != want {
			t.Errorf("got %v, want %d", a, want)
		}
	}
}
