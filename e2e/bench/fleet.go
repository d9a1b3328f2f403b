package main

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"io"
	"log"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/sealgate/sealgate/e2e/sandbox"
)

// fleet is a trust server and a registry in one, for as many repositories as
// anybody asks for: every one has the same signed tags, which mean the same
// image. It is as fast as net/http, so that what is measured in front of it
// is not its own slowness, and it counts what it is asked.
type fleet struct {
	url      string
	metadata *metadata
	manifest *image

	server *http.Server
	served sync.WaitGroup

	mu    sync.Mutex
	delay time.Duration
	asked map[string]int // "timestamp.json", "GET manifest" and so on, of all repositories
}

// image is a manifest that contestants serve.
type image struct {
	body      []byte
	mediaType string
	digest    [sha256.Size]byte
}

func newImage(body []byte, mediaType string) *image {
	return &image{body: body, mediaType: mediaType, digest: sha256.Sum256(body)}
}

func (i *image) String() string { return "sha256:" + hex.EncodeToString(i.digest[:]) }

// startFleet serves until close, over TLS with HTTP/2.
func startFleet(ca *sandbox.CA, m *metadata, what *image) (*fleet, error) {
	cert, err := ca.Issue("127.0.0.1")
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	f := &fleet{url: "https://" + listener.Addr().String(), metadata: m, manifest: what, asked: map[string]int{}}
	f.server = &http.Server{
		Handler:   f,
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{cert}},
		ErrorLog:  log.New(io.Discard, "", 0),
	}
	f.served.Go(func() { _ = f.server.ServeTLS(listener, "", "") }) // ends with close
	return f, nil
}

func (f *fleet) close() {
	_ = f.server.Close()
	f.served.Wait()
}

// slowDown makes every answer wait, as answers from another machine do.
func (f *fleet) slowDown(delay time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.delay = delay
}

// take returns what was asked since the last call.
func (f *fleet) take() map[string]int {
	f.mu.Lock()
	defer f.mu.Unlock()
	asked := f.asked
	f.asked = map[string]int{}
	return asked
}

func (f *fleet) count(ctx context.Context, what string) {
	f.mu.Lock()
	f.asked[what]++
	delay := f.delay
	f.mu.Unlock()
	if delay > 0 {
		select {
		case <-time.After(delay):
		case <-ctx.Done():
		}
	}
}

// ServeHTTP answers as a trust server below /_trust/tuf/ and as a registry
// elsewhere. It reads paths generously: Sealgate is the only client.
func (f *fleet) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if _, file, ok := strings.Cut(r.URL.Path, "/_trust/tuf/"); ok {
		f.serveTrust(w, r, file)
		return
	}
	_, digest, ok := strings.Cut(r.URL.Path, "/manifests/")
	switch {
	case r.URL.Path == "/v2/":
		_, _ = io.WriteString(w, "{}")
	case ok && digest == f.manifest.String():
		f.count(r.Context(), r.Method+" manifest")
		h := w.Header()
		h.Set("Content-Type", f.manifest.mediaType)
		h.Set("Content-Length", strconv.Itoa(len(f.manifest.body)))
		h.Set("Docker-Content-Digest", digest)
		_, _ = w.Write(f.manifest.body)
	default:
		f.count(r.Context(), "what is not there")
		http.Error(w, `{"errors":[{"code":"MANIFEST_UNKNOWN"}]}`, http.StatusNotFound)
	}
}

func (f *fleet) serveTrust(w http.ResponseWriter, r *http.Request, file string) {
	role, _, _ := strings.Cut(file, ".")
	f.count(r.Context(), role)
	raw := f.metadata.files[file]
	if raw == nil {
		http.Error(w, `{"errors":[{"code":"METADATA_NOT_FOUND"}]}`, http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(raw)
}
