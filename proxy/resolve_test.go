package proxy_test

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/sealgate/sealgate/proxy"
)

func TestResolveSaysWhatTheRegistryHas(t *testing.T) {
	w := newWorld(t, nil)
	index := w.push("acme/app", "index", "index 1")
	single := w.push("acme/app", "single", "one")
	reg := w.front(t)
	for tag, want := range map[string]image{"index": index, "single": single} {
		got, err := proxy.Resolve(t.Context(), reg, "acme/app", tag)
		if err != nil || got.Digest != want.digest || got.Size != want.size || !strings.Contains(got.MediaType, "+json") {
			t.Errorf("%s: got %+v, %v", tag, got, err)
			continue
		}
		if tag == "index" && len(got.Platforms) != 2 || tag == "single" && !slices.Equal(got.Platforms, []string{"linux/amd64"}) {
			t.Errorf("%s: got the platforms %q", tag, got.Platforms)
		}
	}
	for tag, want := range map[string]image{"index": index, "single": single} {
		if got, err := proxy.TagDigest(t.Context(), reg, "acme/app", tag); err != nil || got != want.digest {
			t.Errorf("%s: the registry has the digest %s, %v", tag, got, err)
		}
	}
	if got, err := proxy.TagDigest(t.Context(), reg, "acme/app", "absent"); !errors.Is(err, proxy.ErrNotInRegistry) {
		t.Errorf("got %s, %v", got, err)
	}
	if got, err := proxy.Resolve(t.Context(), reg, "acme/app", "absent"); !errors.Is(err, proxy.ErrNotInRegistry) {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestResolveBelievesNoRegistryThatContradictsItself(t *testing.T) {
	w := newWorld(t, nil)
	im := w.push("acme/app", "1", "one")
	other := w.push("acme/app", "2", "two")
	reg := w.front(t)
	const manifest = "application/vnd.docker.distribution.manifest.v2+json"
	answer := func(contentType, digest string, body []byte) http.HandlerFunc {
		return func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("Content-Type", contentType)
			if digest != "" {
				rw.Header().Set("Docker-Content-Digest", digest)
			}
			_, _ = rw.Write(body)
		}
	}
	for name, test := range map[string]struct {
		lie  http.HandlerFunc
		want error
	}{
		"another digest than the bytes have": {answer(manifest, other.digest, im.body), proxy.ErrMismatch},
		"other bytes by digest": {func(rw http.ResponseWriter, r *http.Request) {
			b := im.body
			if strings.Contains(r.URL.Path, "sha256:") {
				b = other.body
			}
			answer(manifest, "", b)(rw, r)
		}, proxy.ErrMismatch},
		"schema 1":                             {answer("application/vnd.docker.distribution.manifest.v1+prettyjws", "", []byte(`{"fsLayers":[]}`)), proxy.ErrSchema1},
		"schema 1 under another name":          {answer(manifest, "", []byte(`{"fsLayers":[]}`)), proxy.ErrSchema1},
		"an index and an image at once":        {answer(manifest, "", []byte(`{"manifests":[],"layers":[]}`)), proxy.ErrMismatch},
		"no JSON":                              {answer(manifest, "", []byte(`<html>`)), proxy.ErrMismatch},
		"another type than the manifest's own": {answer(manifest, "", []byte(`{"mediaType":"a/b","layers":[]}`)), proxy.ErrMismatch},
		"401":                                  {func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(401) }, nil},
		"5 MiB":                                {answer(manifest, "", make([]byte, 5<<20)), nil},
		"a redirect to anywhere": {func(rw http.ResponseWriter, r *http.Request) {
			http.Redirect(rw, r, "https://evil.example/", http.StatusTemporaryRedirect)
		}, nil},
	} {
		w.upstream.lie(test.lie)
		got, err := proxy.Resolve(t.Context(), reg, "acme/app", "1")
		if err == nil || test.want != nil && !errors.Is(err, test.want) {
			t.Errorf("%s: got %+v, %v", name, got, err)
		}
	}
}
