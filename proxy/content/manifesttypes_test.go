package content

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
)

const (
	dockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
	dockerList     = "application/vnd.docker.distribution.manifest.list.v2+json"
)

func TestManifestsKeepTheirMediaType(t *testing.T) {
	onEach(t, func(t *testing.T, s *Store) {
		for _, test := range []struct{ mediaType, body string }{
			{ociImage, fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"config":{},"layers":[]}`, ociImage)},
			{ociImage, `{"schemaVersion":2,"config":{},"layers":[]}`},
			{ociImage, `{"schemaVersion":2,"config":{},"layers":[],"manifests":null}`},
			{ociImage, fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"artifactType":"a/b","config":{},"layers":[],"subject":{}}`, ociImage)},
			{ociIndex, fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"manifests":[]}`, ociIndex)},
			{ociIndex, `{"schemaVersion":2,"manifests":[]}`},
			{dockerManifest, fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"config":{},"layers":[]}`, dockerManifest)},
			{dockerList, fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"manifests":[]}`, dockerList)},
			{ociImage, "\n{ \"schemaVersion\": 2,\t\"config\":{},\"layers\" :[]}\n\n"},
		} {
			m := typed(t, test.mediaType, test.body)
			must(t, s.PutManifest(t.Context(), repository, m))
			got, err := s.Manifest(t.Context(), repository, digest.Digest(m.Digest))
			if err != nil || got.MediaType != test.mediaType || !bytes.Equal(got.Body, m.Body) {
				t.Errorf("%s: got %+v, %v", test.body, got, err)
			}
		}
	})
}

// TestAManifestThatWouldBeReadOtherwiseIsNotKept: its media type is read from
// its bytes alone.
func TestAManifestThatWouldBeReadOtherwiseIsNotKept(t *testing.T) {
	onEach(t, func(t *testing.T, s *Store) {
		for _, test := range []struct{ mediaType, body string }{
			{"application/vnd.docker.distribution.manifest.v1+prettyjws", `{"schemaVersion":1,"name":"a"}`},
			{"application/vnd.oci.artifact.manifest.v1+json", `{"schemaVersion":2,"mediaType":"application/vnd.oci.artifact.manifest.v1+json"}`},
			{dockerManifest, `{"schemaVersion":2,"config":{},"layers":[]}`},
			{dockerManifest, fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"config":{},"layers":[]}`, ociImage)},
			{ociIndex, `{"schemaVersion":2,"config":{},"layers":[]}`},
			{ociImage, `{"schemaVersion":2,"manifests":[]}`},
			{ociImage, `{"schemaVersion":2,"manifests":5}`},
			{ociIndex, `{"schemaVersion":2,"manifests":5}`},
			{ociIndex, `{"schemaVersion":2,"manifests":[],"layers":[]}`},
			{ociImage + "; charset=utf-8", `{"schemaVersion":2,"config":{},"layers":[]}`},
			{"", `{"schemaVersion":2,"config":{},"layers":[]}`},
			{ociImage, ``}, {ociImage, `null`}, {ociImage, `[]`}, {ociImage, `not json`},
			{ociImage, strings.Repeat("[", 100_000)},
			{ociImage, `{"schemaVersion":2,"config":{},"layers":[],"x":"` + strings.Repeat("x", maxManifest) + `"}`},
		} {
			m := typed(t, test.mediaType, test.body)
			if err := s.PutManifest(t.Context(), repository, m); err == nil {
				t.Errorf("%s as %q is kept", test.body[:min(len(test.body), 80)], test.mediaType)
			} else {
				wantError(t, err, ErrUncacheable)
			}
			_, err := s.Manifest(t.Context(), repository, digest.Digest(m.Digest))
			wantError(t, err, ErrNotCached)
		}
		if left := objects(t, s); len(left) > 0 {
			t.Errorf("left: %q", left)
		}
	})
}
