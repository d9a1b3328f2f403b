package trustcachetest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// MetadataNotFound is the body of Notary's own 404.
const MetadataNotFound = `{"errors":[{"code":"METADATA_NOT_FOUND","message":"You have requested metadata that does not exist."}]}`

// A Reply is an answer other than the true one.
type Reply struct {
	Status int
	Body   io.Reader
	Header http.Header // nil means none
	Err    error       // of the connection, instead of an answer
	Stall  bool        // after the body: nothing more until the request is over
}

// Status is a reply of that status and body.
func Status(code int, body string) *Reply { return &Reply{Status: code, Body: strings.NewReader(body)} }

// RoundTrip serves the world's files. There is no socket, so there is nothing
// else that the code under test could reach. A request that is not one for a file
// of the repository is an error.
func (w *World) RoundTrip(req *http.Request) (*http.Response, error) {
	name, ours := strings.CutPrefix(req.URL.String(), "https://notary.test/v2/"+w.GUN+"/_trust/tuf/")
	if !ours || req.Method != http.MethodGet || req.Body != nil {
		return nil, fmt.Errorf("unexpected request: %s %s", req.Method, req.URL)
	}
	w.mu.Lock()
	w.requests = append(w.requests, name)
	fresh := req.Header.Get("Cache-Control") == "no-cache"
	if fresh {
		w.PastCaches[name]++
	}
	w.mu.Unlock()
	var r *Reply
	if w.Answer != nil {
		r = w.Answer(name)
	}
	if r == nil {
		r = w.truth(name, fresh)
	}
	if r.Err != nil {
		return nil, r.Err
	}
	header := r.Header
	if header == nil {
		header = http.Header{}
	}
	return &http.Response{StatusCode: r.Status, Header: header, Body: body{req.Context(), r.Body, r.Stall}, Request: req}, nil
}

// truth is the file of that name, or the lie that is served under it. A lie
// told to those who ask a cache is not told to those who ask past it.
func (w *World) truth(name string, fresh bool) *Reply {
	raw, lie := w.Serve[name]
	if stale, cached := w.Serve["cached "+name]; cached && !fresh {
		raw, lie = stale, true
	}
	if !lie {
		raw = w.Files[name]
	}
	if raw == nil {
		return Status(http.StatusNotFound, MetadataNotFound)
	}
	return &Reply{Status: http.StatusOK, Body: bytes.NewReader(raw)}
}

// body fails once its request is over, as a network's does.
type body struct {
	ctx   context.Context
	from  io.Reader
	Stall bool
}

func (b body) Read(p []byte) (int, error) {
	if err := b.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := b.from.Read(p)
	if err == io.EOF && b.Stall {
		<-b.ctx.Done()
		return n, b.ctx.Err()
	}
	return n, err
}

func (b body) Close() error { return nil }

// Endless is a body of that byte without an end.
func Endless(filler byte) io.Reader { return endless{filler} }

type endless struct{ filler byte }

func (e endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = e.filler
	}
	return len(p), nil
}

// Asked returns the names requested since the last call, each file of a hash
// name by its role alone.
func (w *World) Asked() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	list := make([]string, 0, len(w.requests))
	for _, name := range w.requests {
		role, rest, _ := strings.Cut(name, ".")
		if len(rest) == 2*sha256.Size+len(".json") {
			name = role
		}
		list = append(list, name)
	}
	w.requests = nil
	return list
}
