package e2e

import (
	"net/http"
	"strings"
	"testing"
)

func wantStatus(t *testing.T, a answer, status int) {
	t.Helper()
	if a.status != status {
		t.Fatalf("want %d, got %v", status, a)
	}
}

func TestBothProtocolsAreServed(t *testing.T) {
	s := shared(t)
	for protocol, http2 := range map[string]bool{"HTTP/1.1": false, "HTTP/2.0": true} {
		t.Run(protocol, func(t *testing.T) {
			signed := s.do(t, request{path: "/v2/team/app/manifests/signed", http2: http2})
			wantServed(t, signed, s.signed)
			if signed.proto != protocol {
				t.Errorf("want %s, got %s", protocol, signed.proto)
			}
			wantRefused(t, s.do(t, request{path: "/v2/team/app/manifests/unsigned", http2: http2}), 404, "MANIFEST_UNKNOWN",
				noTrustData(s.world, "team/app", "unsigned"))
		})
	}
}

func TestHEADIsGETMinusTheBody(t *testing.T) {
	s := shared(t)
	for _, reference := range []string{"signed", "index", "unsigned", "gone", s.signed.digest, s.unsigned.digest} {
		path := "/v2/team/app/manifests/" + reference
		get, head := s.get(t, path), s.do(t, request{method: http.MethodHead, path: path})
		if head.status != get.status || head.body != "" {
			t.Errorf("%s: GET %d, HEAD %d with %d bytes", reference, get.status, head.status, len(head.body))
		}
		for _, name := range []string{"Content-Type", "Content-Length", "Docker-Content-Digest", "Etag", "Docker-Distribution-Api-Version"} {
			if get.header.Get(name) != head.header.Get(name) {
				t.Errorf("%s: %s is %q with GET and %q with HEAD", reference, name, get.header.Get(name), head.header.Get(name))
			}
		}
	}
}

func TestIfNoneMatchOnASignedTagIs304(t *testing.T) {
	s := shared(t)
	etag := s.manifest(t, "team/app", "signed").header.Get("Etag")
	conditional := http.Header{"If-None-Match": {etag}}
	wantStatus(t, s.do(t, request{path: "/v2/team/app/manifests/signed", header: conditional}), http.StatusNotModified)
	guess := http.Header{"If-None-Match": {`"` + s.unsigned.digest + `"`}}
	wantStatus(t, s.do(t, request{path: "/v2/team/app/manifests/unsigned", header: guess}), http.StatusNotFound)
}

func TestBlobRangesAreServed(t *testing.T) {
	s := shared(t)
	layer := must(suite.say.Digest())(t)
	path := "/v2/team/app/blobs/" + layer.String()
	whole := s.get(t, path)
	if whole.status != http.StatusOK || sha256Of(whole.body) != layer.String() {
		t.Fatalf("want the layer, got %d with %d bytes", whole.status, len(whole.body))
	}
	part := s.do(t, request{path: path, header: http.Header{"Range": {"bytes=100-199"}}})
	if part.status != http.StatusPartialContent || part.body != whole.body[100:200] {
		t.Errorf("want 206 with 100 bytes, got %d with %d", part.status, len(part.body))
	}
}

// Without a schema2 type in Accept, docker-registry converts what it is asked for by tag.
func TestAcceptDoesNotChangeWhatASignedTagMeans(t *testing.T) {
	s := shared(t)
	for _, accept := range []string{"", "*/*", "text/html", "application/vnd.docker.distribution.manifest.v1+prettyjws"} {
		header := http.Header{}
		if accept != "" {
			header.Set("Accept", accept)
		}
		wantServed(t, s.do(t, request{path: "/v2/team/app/manifests/signed", header: header}), s.signed)
		wantServed(t, s.do(t, request{path: "/v2/team/app/manifests/released", header: header}), s.released)
	}
}

// Each of these makes docker-registry itself answer with the unsigned manifest,
// or might; through Sealgate none may.
func TestNoSpellingOfAnUnsignedTagReachesIt(t *testing.T) {
	s := shared(t)
	for _, path := range []string{
		"/v2/team/app/manifests/%75nsigned",
		"/v2/team/app/%6danifests/unsigned",
		"/v2/team/app%2Fmanifests/unsigned",
		"/%76%32/team/app/manifests/unsigned",
		"/v2/team/app/manifests/unsigned/",
		"/v2/team/app/manifests//unsigned",
		"/v2//team/app/manifests/unsigned",
		"/v2/team/app/../app/manifests/unsigned",
		"/v2/team/app/./manifests/unsigned",
		"/v2/team/app/manifests/unsigned?ns=docker.io",
		"/v2/team/app/manifests/unsigned%00",
		"/v2/team/app/manifests/%2575nsigned",
		"/v2/team/app/manifests/unsigned;x",
		"/V2/team/app/manifests/unsigned",
	} {
		a := s.get(t, path)
		if a.status != http.StatusNotFound || strings.Contains(a.body, "schemaVersion") || a.header.Get("Docker-Content-Digest") != "" {
			t.Errorf("%s: want 404, got %v", path, a)
		}
	}
}

func TestWritesAreUnsupported(t *testing.T) {
	s := shared(t)
	for method, path := range map[string]string{
		http.MethodPut:    "/v2/team/app/manifests/unsigned",
		http.MethodPost:   "/v2/team/app/blobs/uploads/",
		http.MethodDelete: "/v2/team/app/manifests/" + s.unsigned.digest,
	} {
		a := s.do(t, request{method: method, path: path})
		if a.status != http.StatusMethodNotAllowed || a.code() != "UNSUPPORTED" {
			t.Errorf("%s %s: want 405 UNSUPPORTED, got %v", method, path, a)
		}
	}
}

func TestUnknownHostIsMisdirected(t *testing.T) {
	s := shared(t)
	req := must(http.NewRequest(http.MethodGet, s.url+"/v2/", nil))(t)
	req.Host = "another.example.com"
	resp := must((&http.Client{Transport: s.ca.transport(false)}).Do(req))(t)
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusMisdirectedRequest {
		t.Fatalf("want 421, got %s", resp.Status)
	}
}
