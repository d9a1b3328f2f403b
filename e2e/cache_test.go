package e2e

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestWhatWasPulledIsServedAfterARestartWithNobodyElseThere: neither the
// registry nor the Notary server is.
func TestWhatWasPulledIsServedAfterARestartWithNobodyElseThere(t *testing.T) {
	t.Parallel()
	w, _, registry, notary := outageWorld(t, cached)
	image, blobs := w.layered(t, "team/app", "kept", 2, 100<<10)
	w.layered(t, "team/app", "other", 1, 100<<10)
	p := w.puller(t, false)
	eventually(t, 10*time.Second, func() error { return p.image(t.Context(), "team/app", "kept") }) // signed after the gate was open
	for _, crash := range []bool{false, true} {
		registry.cut()
		notary.cut()
		w.restart(t, crash, nil)
		p = w.puller(t, false)
		p.mustPull(t, "team/app", "kept")
		p.mustPull(t, "team/app", image.digest)

		path := "/v2/team/app/blobs/" + blobs[1]
		whole := w.get(t, path)
		head := w.do(t, request{method: http.MethodHead, path: path})
		if whole.status != 200 || head.status != 200 || head.body != "" || head.header.Get("Content-Length") != whole.header.Get("Content-Length") {
			t.Errorf("GET %d, HEAD %v", whole.status, head)
		}
		part := w.do(t, request{path: path, header: http.Header{"Range": {"bytes=1000-1999"}}})
		if part.status != http.StatusPartialContent || part.body != whole.body[1000:2000] {
			t.Errorf("want 206 with 1000 bytes, got %d with %d", part.status, len(part.body))
		}
		if again := w.do(t, request{path: path, header: http.Header{"If-None-Match": {whole.header.Get("Etag")}}}); again.status != http.StatusNotModified {
			t.Errorf("want 304, got %v", again)
		}
		wantRefused(t, w.manifest(t, "team/app", "other"), 503, "UNAVAILABLE", "cache")
		wantRefused(t, w.get(t, "/v2/team/app/blobs/sha256:"+strings.Repeat("0", 64)), 503, "UNAVAILABLE", "cache")
		wantRefused(t, w.get(t, "/v2/team/none/blobs/"+blobs[1]), 503, "UNAVAILABLE", "cache") // another repository's
		wantRefused(t, w.manifest(t, "team/app", "unsigned"), 404, "MANIFEST_UNKNOWN", noTrustData(w, "team/app", "unsigned"))
		wantTags(t, tagsIn(t, w.get(t, "/v2/team/app/tags/list")), "kept", "other", "signed")
		registry.restore(t)
		notary.restore(t)
	}
	wantServed(t, w.manifest(t, "team/app", "kept"), image)
}

// TestClientsPullAgainWithTheRegistryGone.
func TestClientsPullAgainWithTheRegistryGone(t *testing.T) {
	t.Parallel()
	w, image := oneSignedTag(t, registryOptions{})
	w.mustOpen(t, func(s *settings) { cached(s); s.refresh = time.Minute })
	pull := func(t *testing.T) {
		for _, c := range clients {
			t.Run(c.name, func(t *testing.T) { wantPulled(t, c, w, w.tag("team/app", "signed"), image) })
		}
	}
	t.Run("with the registry", pull)
	w.registry.kill()
	t.Run("without", pull)
}

// TestWhoMayNotReadGetsNothingOfWhatAnotherHasLeftInTheCache, whether the
// registry is asked at every request or not, under every spelling of a read.
func TestWhoMayNotReadGetsNothingOfWhatAnotherHasLeftInTheCache(t *testing.T) {
	t.Parallel()
	w, _ := tokenWorld(t, registryOptions{})
	image, blobs := w.layered(t, "team/app", "kept", 1, 100<<10)
	w.mustSay(t, "team/other", "latest", "words") // which Bob may read
	bobs := w.bearer(t, "bob", time.Hour, "repository:team/other:pull", pullTeam)
	strangers := map[string]http.Header{
		"nobody":              nil,
		"bob":                 bobs,
		"everybody's token":   w.bearer(t, "", time.Hour, pullTeam),
		"a token that is old": w.bearer(t, "alice", -time.Hour, pullTeam),
		"no token at all":     {"Authorization": {"Bearer guessed"}},
	}
	for name, ttl := range map[string]time.Duration{"asked each time": 0, "remembered": time.Minute} {
		w.mustOpen(t, func(s *settings) { cached(s); s.credentials, s.authTTL = "passthrough", ttl })
		alices := w.bearer(t, "alice", time.Hour, pullTeam)
		read := func(path string, header http.Header, more ...string) answer {
			header = header.Clone()
			if header == nil {
				header = http.Header{}
			}
			if len(more) == 2 {
				header.Set(more[0], more[1])
			}
			return w.do(t, request{path: path, header: header})
		}
		paths := []string{"/v2/team/app/manifests/kept", "/v2/team/app/manifests/" + image.digest}
		for _, blob := range blobs {
			paths = append(paths, "/v2/team/app/blobs/"+blob)
		}
		for _, path := range paths {
			for range 2 { // the second time from the cache
				if a := read(path, alices); a.status != http.StatusOK || !strings.Contains(path, "kept") && !strings.HasSuffix(path, sha256Of(a.body)) {
					t.Fatalf("%s, %s: alice gets %v", name, path, a)
				}
			}
			for who, header := range strangers {
				for _, more := range [][]string{nil, {"Range", "bytes=0-9"}, {"If-None-Match", `"` + path[strings.LastIndex(path, "/")+1:] + `"`}} {
					a := read(path, header, more...)
					if a.status != http.StatusUnauthorized || a.header.Get("WWW-Authenticate") == "" || strings.Contains(a.body, "schemaVersion") || len(a.body) > 1<<10 {
						t.Errorf("%s, %s %v: %s gets %v", name, path, more, who, a)
					}
				}
			}
		}
		// What Alice has read of one repository is not in another.
		for _, path := range []string{"/v2/team/other/manifests/" + image.digest, "/v2/team/other/blobs/" + blobs[1]} {
			if a := read(path, bobs); a.status != http.StatusNotFound {
				t.Errorf("%s, %s: bob gets %v", name, path, a)
			}
		}
		w.gate.stop(10 * time.Second)
	}
}
