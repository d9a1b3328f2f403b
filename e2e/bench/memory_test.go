package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"runtime"
	"strings"
	"testing"

	"github.com/sealgate/sealgate/trustcache"
	"github.com/sealgate/sealgate/trustcache/notary"
)

// RoundTrip makes metadata a trust server without a network.
func (m *metadata) RoundTrip(req *http.Request) (*http.Response, error) {
	_, file, _ := strings.Cut(req.URL.Path, "/_trust/tuf/")
	resp := &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Request: req}
	raw := m.files[file]
	if raw == nil {
		resp.StatusCode = http.StatusNotFound
		raw = []byte(`{"errors":[{"code":"METADATA_NOT_FOUND"}]}`)
	}
	resp.Body = io.NopCloser(strings.NewReader(string(raw)))
	return resp, nil
}

// cacheOver is the cache as Sealgate has it, verifier and store included.
func cacheOver(m *metadata) *trustcache.Cache {
	return trustcache.New(trustcache.Options{
		MaxBytes: 1 << 40,
		Source: notary.New(notary.Options{
			URL:       &url.URL{Scheme: "https", Host: "notary.test"},
			Transport: m,
			Pins:      func(string) notary.Pins { return notary.Pins{Kind: notary.RootKeys, IDs: []string{m.rootKey}} },
		}),
	})
}

func signedTags(tb testing.TB, tags int) *metadata {
	tb.Helper()
	names := make([]string, tags)
	for i := range names {
		names[i] = fmt.Sprintf("v1.%d.%d-linux", i/100, i%100)
	}
	m, err := newMetadata(registryName, names, sha256.Sum256([]byte("image")), 1000)
	if err != nil {
		tb.Fatal(err)
	}
	return m
}

// held is what the cache keeps of so many repositories, in bytes: the growth
// of the heap, garbage collected.
func held(tb testing.TB, m *metadata, repositories int) float64 {
	tb.Helper()
	c := cacheOver(m)
	defer c.Close()
	before := heap()
	for i := range repositories {
		if _, err := c.Repository(context.Background(), fmt.Sprintf("%s/bench/r%d", registryName, i)); err != nil {
			tb.Fatal(err)
		}
	}
	after := heap()
	runtime.KeepAlive(c)
	return float64(after) - float64(before)
}

func heap() uint64 {
	var stats runtime.MemStats
	runtime.GC()
	runtime.GC() // what a finalizer held goes the second time
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}

func BenchmarkMemoryPerTag(b *testing.B) {
	const tags, repositories = 10_000, 4
	m := signedTags(b, tags)
	var size float64
	for b.Loop() {
		size = held(b, m, repositories)
	}
	b.ReportMetric(size/repositories/tags, "B/tag")
}

func BenchmarkMemoryPerRepository(b *testing.B) {
	const repositories = 200
	m := signedTags(b, 10)
	var size float64
	for b.Loop() {
		size = held(b, m, repositories)
	}
	b.ReportMetric(size/repositories, "B/repository")
}

func TestTheMetadataOfAFleetVerifies(t *testing.T) {
	m := signedTags(t, 3)
	c := cacheOver(m)
	defer c.Close()
	view, err := c.Repository(t.Context(), registryName+"/some/thing")
	if err != nil {
		t.Fatal(err)
	}
	target, ok := view.Lookup("v1.0.2-linux")
	if view.Len() != 3 || !ok || target.Role != releases || target.Digest != sha256.Sum256([]byte("image")) {
		t.Errorf("%d tags, %v, %+v", view.Len(), ok, target)
	}
	if _, err := c.Repository(t.Context(), "other.example.com/some/thing"); err == nil {
		t.Error("the root is for another registry, and was accepted")
	}
}
