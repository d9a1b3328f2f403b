package e2e

import (
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// objectStore is where a registry's blobs are, as an object store serves them:
// the directory of its filesystem driver over HTTPS.
type objectStore struct {
	url, addr string

	mu    sync.Mutex
	asked []*http.Request
}

// requests are those so far.
func (s *objectStore) requests() []*http.Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.asked)
}

func startObjectStore(t *testing.T, w *world, addr, directory string) *objectStore {
	t.Helper()
	s := &objectStore{url: "https://" + addr, addr: addr}
	files := http.FileServer(http.Dir(directory))
	stop, err := serveTLS(w.ca, "objects", addr, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.asked = append(s.asked, r)
		s.mu.Unlock()
		rw.Header().Set("Content-Type", "application/octet-stream")
		files.ServeHTTP(rw, r)
	}))
	if err != nil {
		t.Fatal(err)
	}
	w.atEnd(stop)
	return s
}

// A real registry that keeps its blobs elsewhere, and sends everybody there.
func TestBlobsThatARegistryKeepsElsewhere(t *testing.T) {
	addr := must(freeAddress())(t)
	w := ownWorld(t, registryOptions{user: &alice, elsewhere: "https://" + addr})
	store := startObjectStore(t, w, addr, filepath.Join(w.dir, "registry"))
	w.mustBegin(t, "team/app")
	image := w.mustSay(t, "team/app", "signed", "words")
	w.mustSign(t, "team/app", "signed", image)
	layer := must(must(must(saying("words"))(t).Layers())(t)[0].Digest())(t)
	blob := "/v2/team/app/blobs/" + layer.String()

	t.Run("are the clients' to fetch", func(t *testing.T) {
		w.mustOpen(t, func(s *settings) { s.credentials = w.asAlice(t) })
		defer w.gate.stop(10 * time.Second)
		a := w.get(t, blob)
		if a.status != http.StatusTemporaryRedirect || !strings.HasPrefix(a.header.Get("Location"), store.url+"/") {
			t.Errorf("got %d %v", a.status, a.header)
		}
	})
	t.Run("are fetched for clients", func(t *testing.T) {
		w.mustOpen(t, func(s *settings) {
			s.credentials, s.more = w.asAlice(t), "redirects: follow\nredirect-hosts: ["+addr+"]\n"
		})
		defer w.gate.stop(10 * time.Second)
		whole := w.get(t, blob)
		if whole.status != http.StatusOK || whole.header.Get("Location") != "" || "/v2/team/app/blobs/"+sha256Of(whole.body) != blob {
			t.Fatalf("got %d %v", whole.status, whole.header)
		}
		part := w.do(t, request{path: blob, header: http.Header{"Range": {"bytes=10-19"}}})
		if part.status != http.StatusPartialContent || part.body != whole.body[10:20] {
			t.Errorf("a range: got %d %v", part.status, part.header)
		}
		if head := w.do(t, request{method: http.MethodHead, path: blob}); head.status != http.StatusOK || head.header.Get("Content-Length") != whole.header.Get("Content-Length") {
			t.Errorf("HEAD: got %v", head)
		}
		for _, c := range clients {
			t.Run(c.name, func(t *testing.T) { wantPulled(t, c, w, w.tag("team/app", "signed"), image) })
		}
		for _, r := range store.requests() {
			if r.Header.Get("Authorization") != "" || r.UserAgent() == "" {
				t.Errorf("the store got %s %s with %v", r.Method, r.URL, r.Header)
			}
		}
	})
	t.Run("are not fetched from hosts that nobody listed", func(t *testing.T) {
		w.mustOpen(t, func(s *settings) {
			s.credentials, s.more = w.asAlice(t), "redirects: follow\nredirect-hosts: [objects.example.com]\n"
		})
		defer w.gate.stop(10 * time.Second)
		before := len(store.requests())
		wantRefused(t, w.get(t, blob), http.StatusBadGateway, "UNKNOWN", "redirected to a host that is not allowed")
		if len(store.requests()) != before {
			t.Error("the store was asked")
		}
		if log := w.gate.output(); !strings.Contains(log, addr+`\" is not among redirect-hosts`) {
			t.Errorf("the log is\n%s", log)
		}
	})
}
