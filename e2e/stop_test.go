package e2e

import (
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/random"
)

func TestSIGTERMEndsWithExitCode0(t *testing.T) {
	w, image := oneSignedTag(t, registryOptions{})
	w.mustOpen(t, nil)
	wantServed(t, w.manifest(t, "team/app", "signed"), image)
	begin := time.Now()
	if code := w.stop(20 * time.Second); code != 0 {
		t.Fatalf("want exit code 0, got %d after %v\n%s", code, time.Since(begin), w.tail())
	}
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("an idle server took %v to stop", took)
	}
}

func TestSIGTERMLetsADownloadFinish(t *testing.T) {
	for protocol, http2 := range map[string]bool{"HTTP/1.1": false, "HTTP/2": true} {
		t.Run(protocol, func(t *testing.T) {
			w := ownWorld(t, registryOptions{})
			w.mustBegin(t, "team/app")
			blob := w.mustBlob(t, "team/app", 2<<20)
			slow := newLine(t, w.registry.addr)
			w.mustOpen(t, func(s *settings) { s.upstream = "https://" + slow.addr })

			slow.slow.Store(true)
			resp, err := (&http.Client{Transport: w.ca.transport(http2)}).Get(w.url + "/v2/team/app/blobs/" + blob)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			body := make([]byte, 32<<10)
			if _, err := io.ReadFull(resp.Body, body); err != nil {
				t.Fatal(err)
			}

			code := make(chan int)
			go func() { code <- w.stop(30 * time.Second) }()
			rest, err := io.ReadAll(resp.Body)
			if body = append(body, rest...); err != nil || sha256Of(string(body)) != blob {
				t.Errorf("want the whole blob, got %d bytes and %v", len(body), err)
			}
			if c := <-code; c != 0 {
				t.Errorf("want exit code 0, got %d\n%s", c, w.tail())
			}
		})
	}
}

// mustBlob pushes a blob of this many bytes and returns its digest.
func (w *world) mustBlob(t *testing.T, repository string, size int64) string {
	t.Helper()
	image := must(random.Image(size, 1))(t)
	must(w.push(repository, fmt.Sprint("blob-", size), image))(t)
	return must(must(image.Layers())(t)[0].Digest())(t).String()
}
