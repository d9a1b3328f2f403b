package sandbox

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

func TestCAIssuesForAddressesAndNames(t *testing.T) {
	ca := newCA(t)
	cert, err := ca.Issue("127.0.0.1", "registry.example.com")
	if err != nil {
		t.Fatal(err)
	}
	for host, want := range map[string]bool{"127.0.0.1": true, "registry.example.com": true, "other.example.com": false} {
		if got := cert.Leaf.VerifyHostname(host) == nil; got != want {
			t.Errorf("valid for %q: got %v, want %v", host, got, want)
		}
	}
	if _, err := ca.Issue(); err == nil {
		t.Error("a certificate for no host was issued")
	}
}

func pushed(t *testing.T, registry *Registry, repo, tag, seed string) (string, int64) {
	t.Helper()
	img, err := Image(seed)
	if err != nil {
		t.Fatal(err)
	}
	digest, size, err := registry.Push(t.Context(), repo, tag, img)
	if err != nil {
		t.Fatal(err)
	}
	return digest, size
}

func TestRegistryServesWhatWasPushed(t *testing.T) {
	ca := newCA(t)
	for name, opts := range map[string]RegistryOptions{
		"over TLS":            {CA: ca},
		"over plain http":     {},
		"to its users":        {CA: ca, Users: map[string]string{"alice": "s3cret"}},
		"on a chosen address": {CA: ca, Listen: "127.0.0.1:0"},
	} {
		t.Run(name, func(t *testing.T) {
			registry := startRegistry(t, opts)
			digest, size := pushed(t, registry, "acme/app", "1.0", "one")
			request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, registry.URL()+"/v2/acme/app/manifests/1.0", nil)
			if err != nil {
				t.Fatal(err)
			}
			request.Header.Set("Accept", "application/vnd.docker.distribution.manifest.v2+json")
			if opts.Users != nil {
				request.SetBasicAuth("alice", "s3cret")
			}
			response, err := newClient(ca).Do(request)
			if err != nil {
				t.Fatal(err)
			}
			_ = response.Body.Close()
			if got := response.Header.Get("Docker-Content-Digest"); got != digest || response.ContentLength != size {
				t.Errorf("got %s %q with %d bytes, want %q with %d", response.Status, got, response.ContentLength, digest, size)
			}
		})
	}
}

func TestRegistryServesAnIndex(t *testing.T) {
	registry := startRegistry(t, RegistryOptions{CA: newCA(t)})
	index, err := Index("multi")
	if err != nil {
		t.Fatal(err)
	}
	digest, _, err := registry.Push(t.Context(), "acme/app", "multi", index)
	if err != nil {
		t.Fatal(err)
	}
	again, err := Index("multi")
	if err != nil {
		t.Fatal(err)
	}
	if hash, err := again.Digest(); err != nil || hash.String() != digest {
		t.Errorf("the same seed gave %v (%v), then %s", hash, err, digest)
	}
	manifest, err := again.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	var platforms []string
	for _, entry := range manifest.Manifests {
		platforms = append(platforms, entry.Platform.String()+" "+string(entry.MediaType))
	}
	want := "linux/amd64 application/vnd.oci.image.manifest.v1+json, linux/arm64 application/vnd.oci.image.manifest.v1+json"
	if got := strings.Join(platforms, ", "); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestImagesDifferBySeedAlone(t *testing.T) {
	digests := map[string]string{}
	for _, seed := range []string{"a", "b", "a"} {
		img, err := Image(seed)
		if err != nil {
			t.Fatal(err)
		}
		hash, err := img.Digest()
		if err != nil {
			t.Fatal(err)
		}
		if known := digests[seed]; known != "" && known != hash.String() {
			t.Errorf("seed %q gave %s, then %s", seed, known, hash)
		}
		digests[seed] = hash.String()
	}
	if digests["a"] == digests["b"] {
		t.Error("two seeds gave one digest")
	}
}

func TestRegistryRefusesStrangers(t *testing.T) {
	ca := newCA(t)
	registry := startRegistry(t, RegistryOptions{CA: ca, Users: map[string]string{"alice": "s3cret"}})
	img, err := Image("one")
	if err != nil {
		t.Fatal(err)
	}
	for _, user := range []string{"", "alice:wrong@", "mallory:s3cret@"} {
		target := strings.Replace(registry.URL(), "https://", "https://"+user, 1)
		_, _, err := Push(t.Context(), target, ca.Pool(), "acme/app", "1.0", img)
		var refused *transport.Error
		if !errors.As(err, &refused) || refused.StatusCode != http.StatusUnauthorized {
			t.Errorf("as %q: got %v, want 401", user, err)
		}
	}
	response, err := newClient(ca).Get(registry.URL() + "/v2/")
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	if got := response.Header.Get("WWW-Authenticate"); got != `Basic realm="sandbox"` {
		t.Errorf("got the challenge %q", got)
	}
}

func TestRegistryRecordsRequests(t *testing.T) {
	ca := newCA(t)
	registry := startRegistry(t, RegistryOptions{CA: ca})
	target := registry.URL() + "/v2/acme/%61pp/manifests/1.0?ns=docker.io"
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, target, nil)
	if err != nil {
		t.Fatal(err)
	}
	request.SetBasicAuth("alice", "s3cret")
	request.Header.Set("Range", "bytes=0-1")
	do(t, newClient(ca), request)
	get(t, newClient(ca), http.MethodHead, registry.URL()+"/v2/")

	got := registry.Requests()
	if len(got) != 2 {
		t.Fatalf("got %d requests, want 2", len(got))
	}
	first := got[0]
	if first.Target != "/v2/acme/%61pp/manifests/1.0?ns=docker.io" || first.Method != http.MethodGet ||
		!first.Authorization || first.Header.Get("Range") != "bytes=0-1" || first.Host != registry.Addr() {
		t.Errorf("got %+v", first)
	}
	if got[1].Method != http.MethodHead || got[1].Authorization {
		t.Errorf("got %+v", got[1])
	}
	registry.ResetRequests()
	if left := registry.Requests(); len(left) != 0 {
		t.Errorf("after a reset: %+v", left)
	}
}

func TestRequestLogIsBounded(t *testing.T) {
	var log requestLog
	for range maxRequests {
		log.add(Request{Target: "/old"})
	}
	log.add(Request{Target: "/new"})
	entries := log.list()
	if len(entries) != maxRequests || entries[maxRequests-1].Target != "/new" {
		t.Errorf("got %d entries, the last of them %q", len(entries), entries[len(entries)-1].Target)
	}
}

func TestMiddlewareCanSpoilAnswers(t *testing.T) {
	ca := newCA(t)
	teapot := func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) })
	}
	registry := startRegistry(t, RegistryOptions{CA: ca, Middleware: teapot})
	if status, _ := get(t, newClient(ca), http.MethodGet, registry.URL()+"/v2/"); status != http.StatusTeapot {
		t.Errorf("got %d, want %d", status, http.StatusTeapot)
	}
	if len(registry.Requests()) != 1 {
		t.Error("the request was not recorded")
	}
}

func TestRegistryDeletes(t *testing.T) {
	ca := newCA(t)
	registry := startRegistry(t, RegistryOptions{CA: ca})
	digest, _ := pushed(t, registry, "acme/app", "1.0", "one")
	if status, body := get(t, newClient(ca), http.MethodDelete, registry.URL()+"/v2/acme/app/manifests/"+digest); status != http.StatusAccepted {
		t.Errorf("got %d %s, want 202", status, body)
	}
}

// syncBuffer is written by handlers and read by the test.
type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

func TestRegistryLogsWhereItIsTold(t *testing.T) {
	ca := newCA(t)
	var log syncBuffer
	registry := startRegistry(t, RegistryOptions{CA: ca, Log: &log})
	get(t, newClient(ca), http.MethodGet, registry.URL()+"/v2/acme/app/manifests/none")
	if !strings.Contains(log.String(), "manifest unknown") {
		t.Errorf("the registry's log holds %q", log.String())
	}
}

func TestServersEndWithTheirContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	registry, err := StartRegistry(ctx, RegistryOptions{})
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	<-registry.served
	if err := registry.Close(); err != nil {
		t.Errorf("close after the end: %v", err)
	}
	if err := registry.Close(); err != nil {
		t.Errorf("close again: %v", err)
	}
}

func TestCloseBreaksOffStuckRequests(t *testing.T) {
	ca := newCA(t)
	entered := make(chan struct{})
	stuck := func(http.Handler) http.Handler {
		return http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			close(entered)
			<-r.Context().Done()
		})
	}
	registry := startRegistry(t, RegistryOptions{CA: ca, Middleware: stuck})
	failed := make(chan error, 1)
	go func() {
		response, err := newClient(ca).Get(registry.URL() + "/v2/")
		if err == nil {
			_ = response.Body.Close()
		}
		failed <- err
	}()
	<-entered
	closeQuietly(t, registry)
	if err := <-failed; err == nil {
		t.Error("a request that nobody answered succeeded")
	}
}

func TestPushRefusesWhatItCannotPush(t *testing.T) {
	img, err := Image("one")
	if err != nil {
		t.Fatal(err)
	}
	for _, target := range []string{"", "127.0.0.1:5000", "ftp://127.0.0.1", "https://user:s3cret@%zz"} {
		if _, _, err := Push(t.Context(), target, nil, "acme/app", "1.0", img); err == nil || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("push to %q: got %v", target, err)
		}
	}
	if _, _, err := Push(t.Context(), "https://127.0.0.1:1", nil, "UPPER", "1.0", img); err == nil {
		t.Error("a bad repository name was accepted")
	}
	if _, _, err := Push(t.Context(), "https://127.0.0.1:1", nil, "acme/app", "1.0", remote.Taggable(raw("{}"))); err == nil {
		t.Error("a thing without a digest was accepted")
	}
}

type raw string

func (r raw) RawManifest() ([]byte, error) { return []byte(r), nil }
