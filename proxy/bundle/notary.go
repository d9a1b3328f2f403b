package bundle

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
)

// metadataOf says which metadata of gun the path of a request to a Notary server
// means.
func metadataOf(gun, path string) (name string, ok bool) {
	_, name, ok = strings.Cut(path, "/v2/"+gun+"/_trust/tuf/")
	return name, ok && protocolName.MatchString(name)
}

// replay is a Notary server of one repository that has what a bundle has.
type replay struct {
	b    *Bundle
	repo *Repository
	root string // what it offers as root.json
	// offered says that it did: who knows a root of the repository does not ask.
	offered atomic.Bool
}

// RoundTrip implements http.RoundTripper. What is not there is Notary's own 404.
func (p *replay) RoundTrip(req *http.Request) (*http.Response, error) {
	name, ok := metadataOf(p.repo.GUN, req.URL.Path)
	if name == "root.json" {
		p.offered.Store(true)
		name = p.root
	}
	sum := p.repo.Files[name]
	if !ok || sum == "" {
		return answer(req, http.StatusNotFound, []byte(`{"errors":[{"code":"METADATA_NOT_FOUND"}]}`)), nil
	}
	body, size, err := p.b.from.open(trustName(sum))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, malformed("%s is missing", trustName(sum))
	}
	if err != nil {
		return nil, err
	}
	resp := answer(req, http.StatusOK, nil)
	resp.Body, resp.ContentLength = body, size
	return resp, nil
}

func answer(req *http.Request, status int, body []byte) *http.Response {
	return &http.Response{
		Status: http.StatusText(status), StatusCode: status, Request: req,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{"Content-Type": {"application/json"}},
		Body:   io.NopCloser(bytes.NewReader(body)), ContentLength: int64(len(body)),
	}
}

// Recorder is a way to a Notary server that keeps what comes of one repository.
// It is safe for concurrent use.
type Recorder struct {
	next  http.RoundTripper
	gun   string
	mu    sync.Mutex
	files map[string][]byte
}

// Record returns a Recorder of what comes of gun by next.
func Record(next http.RoundTripper, gun string) *Recorder {
	return &Recorder{next: next, gun: gun, files: map[string][]byte{}}
}

// RoundTrip implements http.RoundTripper. A file is kept when its reader has come
// to the end of it; readers bound what they read.
func (r *Recorder) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := r.next.RoundTrip(req)
	if err != nil || req.Method != http.MethodGet || resp.StatusCode != http.StatusOK {
		return resp, err
	}
	if name, ok := metadataOf(r.gun, req.URL.Path); ok {
		resp.Body = &recording{ReadCloser: resp.Body, to: r, name: name}
	}
	return resp, nil
}

// recording is a body that is kept.
type recording struct {
	io.ReadCloser
	to   *Recorder
	name string
	raw  bytes.Buffer
}

func (r *recording) Read(into []byte) (int, error) {
	n, err := r.ReadCloser.Read(into)
	r.raw.Write(into[:n])
	if err == io.EOF {
		r.to.keep(r.name, bytes.Clone(r.raw.Bytes()))
	}
	return n, err
}

func (r *Recorder) keep(name string, raw []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.files[name] = raw
}

// maxRoots is how many versions of the root a bundle can have; as many as a
// client follows.
const maxRoots = 128

// Roots fetches every version of the root up to the last one from the server: a
// client that knows any of them has to find its way from there. limit bounds
// each, in bytes.
func (r *Recorder) Roots(ctx context.Context, server *url.URL, last int, limit int64) error {
	if last < 1 || last > maxRoots {
		return fmt.Errorf("the root of %s is of version %d: from 1 to %d are expected", r.gun, last, maxRoots)
	}
	for n := 1; n <= last; n++ {
		if err := r.fetch(ctx, server, rootName(n), limit); err != nil {
			return fmt.Errorf("version %d of the root of %s: %w", n, r.gun, err)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.files["root.json"] = r.files[rootName(last)]
	return nil
}

// fetch has one file recorded.
func (r *Recorder) fetch(ctx context.Context, server *url.URL, name string, limit int64) error {
	req := (&http.Request{
		Method: http.MethodGet,
		URL:    &url.URL{Scheme: server.Scheme, Host: server.Host, Path: server.Path + "/v2/" + r.gun + "/_trust/tuf/" + name},
		Header: http.Header{"Accept": {"application/json"}},
	}).WithContext(ctx)
	resp, err := r.RoundTrip(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the trust server answers with status %d", resp.StatusCode)
	}
	n, err := io.Copy(io.Discard, io.LimitReader(resp.Body, limit+1))
	if err == nil && n > limit {
		err = fmt.Errorf("it has more than %d bytes", limit)
	}
	return err
}

// rootName is what the n-th version of the root is called.
func rootName(n int) string { return fmt.Sprintf("%d.root.json", n) }

// recorded is what was kept, by name.
func (r *Recorder) recorded() map[string][]byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.files
}
