package e2e

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestAFloodOfInventedNames: 100,000 repositories that do not exist leave the
// number of time series and the memory as they were, and what is real in the
// cache.
func TestAFloodOfInventedNames(t *testing.T) {
	t.Parallel()
	const names, clients = 100_000, 16
	w, image := oneSignedTag(t, registryOptions{})

	// In front of the real Notary server, something that knows as little as it
	// does about invented names, and is quicker to say so.
	target := must(url.Parse(w.notary.url))(t)
	real := &httputil.ReverseProxy{
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(target) },
		Transport: w.ca.transport(true),
	}
	unknown := must(plain(w.ca.transport(false), "GET", w.notary.url+"/v2/"+w.gun("invented/0")+"/_trust/tuf/timestamp.json", ""))(t)
	var asked, askedReal atomic.Int64
	front := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		if !strings.Contains(r.URL.Path, "/invented/") {
			askedReal.Add(1)
			real.ServeHTTP(rw, r)
			return
		}
		rw.Header().Set("Content-Type", unknown.header.Get("Content-Type"))
		rw.WriteHeader(unknown.status)
		_, _ = rw.Write([]byte(unknown.body))
	}))
	t.Cleanup(front.Close)

	w.mustOpen(t, func(s *settings) {
		s.plainHTTP, s.notary, s.credentials = true, front.URL, "anonymous"
		s.refresh, s.maxStale = time.Hour, time.Hour
		withAdmin(t, s)
	})
	wantServed(t, w.manifest(t, "team/app", "signed"), image)
	wantRefused(t, w.manifest(t, "invented/first", "latest"), 404, "MANIFEST_UNKNOWN", "remote trust data does not exist")
	real0 := askedReal.Load()

	var next atomic.Int64
	flood := func(until int64) {
		var all sync.WaitGroup
		for range clients {
			all.Go(func() {
				client := &http.Client{Transport: &http.Transport{}, Timeout: 30 * time.Second}
				defer client.CloseIdleConnections()
				for {
					n := next.Add(1)
					if n > until {
						return
					}
					a, err := clientGet(client, fmt.Sprintf("%s/v2/invented/n%d/manifests/t%d", w.url, n, n))
					if err != nil || a.status != 404 {
						t.Errorf("got %v, %v", a, err)
						return
					}
				}
			})
		}
		all.Wait()
		next.Store(until)
	}
	flood(names / 5)
	series, memory := w.series(t), w.residentKiB(t)>>10
	flood(names)
	if now := w.series(t); now != series {
		t.Errorf("%d time series have become %d", series, now)
	}
	after := w.residentKiB(t) >> 10
	if after > memory+32 {
		t.Errorf("%d MiB have become %d MiB", memory, after)
	}
	if remembered := number(t, w.metric(t, fmt.Sprintf(`sealgate_trust_cache_unknown_repositories{registry=%q}`, w.settings.name))); remembered > 4096 {
		t.Errorf("%d names without trust data are remembered", remembered)
	}
	wantServed(t, w.manifest(t, "team/app", "signed"), image)
	if n := askedReal.Load(); n != real0 {
		t.Errorf("the signed repository was pushed out of the cache: Notary was asked %d times more", n-real0)
	}
	measured(t, names/5, memory, names, after, series)
}

// series counts the time series of the exposition, but for the counters of the
// Go runtime, which come as they are needed.
func (g *gate) series(t *testing.T) (n int) {
	t.Helper()
	for line := range strings.Lines(g.mustWatch(t, "/metrics").body) {
		if strings.HasPrefix(line, "sealgate_") {
			n++
		}
	}
	return n
}

func number(t *testing.T, text string) int {
	t.Helper()
	return int(must(strconv.ParseFloat(text, 64))(t))
}
