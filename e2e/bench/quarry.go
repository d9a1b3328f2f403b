package main

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/sealgate/sealgate/e2e/sandbox"
)

// quarry is a registry of large blobs that are nowhere: each is made as it is
// read, so that what it serves costs neither memory nor disk.
type quarry struct {
	url    string
	paths  []string // of its blobs
	blobs  map[string]stone
	reads  atomic.Int64 // of blobs, by GET
	server *http.Server
	served sync.WaitGroup
}

// openQuarry serves n blobs of size bytes until close, over TLS.
func openQuarry(ca *sandbox.CA, n int, size int64) (*quarry, error) {
	cert, err := ca.Issue("127.0.0.1")
	if err != nil {
		return nil, err
	}
	q := &quarry{blobs: map[string]stone{}}
	if err := q.cut(n, size); err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	q.url = "https://" + listener.Addr().String()
	q.server = &http.Server{
		Handler:   q,
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{cert}},
		ErrorLog:  log.New(io.Discard, "", 0),
	}
	q.served.Go(func() { _ = q.server.ServeTLS(listener, "", "") }) // ends with close
	return q, nil
}

// cut makes the blobs, which is to find their digests.
func (q *quarry) cut(n int, size int64) error {
	vein := make([]byte, 1<<20)
	rand.Read(vein)
	digests := make([]string, n)
	stones := make([]stone, n)
	var group errgroup.Group
	group.SetLimit(2)
	for i := range n {
		stones[i] = newStone(vein, uint64(i), size)
		group.Go(func() error {
			h := sha256.New()
			_, err := io.Copy(h, stones[i].reader())
			digests[i] = "sha256:" + hex.EncodeToString(h.Sum(nil))
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	for i, digest := range digests {
		q.blobs[digest] = stones[i]
		q.paths = append(q.paths, "/v2/"+repository+"/blobs/"+digest)
	}
	return nil
}

func (q *quarry) close() {
	_ = q.server.Close()
	q.served.Wait()
}

// ServeHTTP answers as a registry that has these blobs and nothing else.
func (q *quarry) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, digest, _ := strings.Cut(r.URL.Path, "/blobs/")
	blob, ok := q.blobs[digest]
	switch {
	case r.URL.Path == "/v2/":
		_, _ = io.WriteString(w, "{}")
	case ok:
		if r.Method == http.MethodGet {
			q.reads.Add(1)
		}
		w.Header().Set("Content-Type", "application/octet-stream")
		w.Header().Set("Docker-Content-Digest", digest)
		w.Header().Set("Etag", `"`+digest+`"`)
		http.ServeContent(w, r, "", time.Time{}, blob.reader())
	default:
		http.Error(w, `{"errors":[{"code":"BLOB_UNKNOWN"}]}`, http.StatusNotFound)
	}
}

// stone is a blob: one that begins with a number of its own, and then is the
// same bytes over and over.
type stone struct {
	begin, vein []byte
	size        int64
}

func newStone(vein []byte, n uint64, size int64) stone {
	begin := bytes.Clone(vein)
	binary.BigEndian.PutUint64(begin, n)
	return stone{begin, vein, size}
}

func (s stone) reader() *io.SectionReader { return io.NewSectionReader(s, 0, s.size) }

// ReadAt knows no end: reader does.
func (s stone) ReadAt(p []byte, offset int64) (n int, err error) {
	for n < len(p) {
		from := s.vein
		if offset < int64(len(s.begin)) {
			from = s.begin
		}
		copied := copy(p[n:], from[offset%int64(len(from)):])
		n, offset = n+copied, offset+int64(copied)
	}
	return n, nil
}
