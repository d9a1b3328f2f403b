package notary_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/sealgate/sealgate/trustcache"
	"github.com/sealgate/sealgate/trustcache/notary"
)

const metadataNotFound = `{"errors":[{"code":"METADATA_NOT_FOUND","message":"You have requested metadata that does not exist."}]}`

// reply is an answer other than the true one.
type reply struct {
	status int
	body   io.Reader
	header http.Header
	err    error
	stall  bool // after the body: nothing more until the request is over
}

func status(code int, body string) *reply { return &reply{status: code, body: strings.NewReader(body)} }

// RoundTrip serves the world's files. There is no socket, so there is nothing
// else that the code under test could reach.
func (w *world) RoundTrip(req *http.Request) (*http.Response, error) {
	name, ours := strings.CutPrefix(req.URL.String(), "https://notary.test/v2/"+w.gun+"/_trust/tuf/")
	if !ours || req.Method != http.MethodGet || req.Body != nil {
		return nil, fmt.Errorf("unexpected request: %s %s", req.Method, req.URL)
	}
	w.mu.Lock()
	w.requests = append(w.requests, name)
	fresh := req.Header.Get("Cache-Control") == "no-cache"
	if fresh {
		w.noCache[name]++
	}
	w.mu.Unlock()
	var r *reply
	if w.answer != nil {
		r = w.answer(name)
	}
	if r == nil {
		r = w.truth(name, fresh)
	}
	if r.err != nil {
		return nil, r.err
	}
	header := r.header
	if header == nil {
		header = http.Header{}
	}
	return &http.Response{StatusCode: r.status, Header: header, Body: body{req.Context(), r.body, r.stall}, Request: req}, nil
}

// truth is the file of that name, or the lie that is served under it. A lie
// told to those who ask a cache is not told to those who ask past it.
func (w *world) truth(name string, fresh bool) *reply {
	raw, lie := w.serve[name]
	if stale, cached := w.serve["cached "+name]; cached && !fresh {
		raw, lie = stale, true
	}
	if !lie {
		raw = w.files[name]
	}
	if raw == nil {
		return status(http.StatusNotFound, metadataNotFound)
	}
	return &reply{status: http.StatusOK, body: bytes.NewReader(raw)}
}

// body fails once its request is over, as a network's does.
type body struct {
	ctx   context.Context
	from  io.Reader
	stall bool
}

func (b body) Read(p []byte) (int, error) {
	if err := b.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := b.from.Read(p)
	if err == io.EOF && b.stall {
		<-b.ctx.Done()
		return n, b.ctx.Err()
	}
	return n, err
}

func (b body) Close() error { return nil }

// endless is a body without an end.
type endless struct{ filler byte }

func (e endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = e.filler
	}
	return len(p), nil
}

// asked returns the names requested since the last call, each file of a hash
// name by its role alone.
func (w *world) asked() []string {
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

// source returns a source that pins the world's root key.
func (w *world) source(change ...func(*notary.Options)) *notary.Source {
	pin := w.parties["root"].keys[0].canonical()
	opts := notary.Options{
		URL:       &url.URL{Scheme: "https", Host: "notary.test"},
		Transport: w,
		Pins:      func(string) notary.Pins { return notary.Pins{Kind: notary.RootKeys, IDs: []string{pin}} },
		Now:       w.now,
	}
	for _, c := range change {
		c(&opts)
	}
	return notary.New(opts)
}

// fetch runs one update of the world's repository.
func (w *world) fetch(s *notary.Source, prev *trustcache.Snapshot) (*trustcache.Snapshot, error) {
	return s.Fetch(w.tb.Context(), w.gun, prev)
}

// verified is fetch for an update that has to succeed.
func (w *world) verified(s *notary.Source, prev *trustcache.Snapshot) *trustcache.Snapshot {
	w.tb.Helper()
	snap, err := w.fetch(s, prev)
	if err != nil {
		w.tb.Fatalf("update: %v", err)
	}
	return snap
}

// cache returns a cache over the source with the world's clock.
func (w *world) cache(s trustcache.Source) *trustcache.Cache {
	c := trustcache.New(trustcache.Options{Source: s, Now: w.now, MaxStale: 24 * time.Hour})
	w.tb.Cleanup(c.Close)
	return c
}
