package admin_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/sealgate/sealgate/proxy/admin"
)

func ready() error { return nil }

func TestTheListenerServesThreePathsReadOnly(t *testing.T) {
	_, reg := newMetrics(t)
	h := admin.Handler(reg, ready, nil)
	const three = "there is /healthz, /readyz and /metrics\n"
	for _, c := range []struct {
		method, target string
		status         int
		body           string // "" for metrics
	}{
		{"GET", "/healthz", 200, "ok\n"},
		{"HEAD", "/healthz", 200, "ok\n"}, // net/http keeps the body back
		{"GET", "/healthz?verbose", 200, "ok\n"},
		{"GET", "/readyz", 200, "ready\n"},
		{"HEAD", "/readyz", 200, "ready\n"},
		{"GET", "/metrics", 200, ""},
		{"HEAD", "/metrics", 200, ""},
		{"POST", "/healthz", 405, "GET and HEAD are served\n"},
		{"PUT", "/readyz", 405, "GET and HEAD are served\n"},
		{"DELETE", "/metrics", 405, "GET and HEAD are served\n"},
		{"OPTIONS", "/metrics", 405, "GET and HEAD are served\n"},
		{"GET", "/", 404, three},
		{"GET", "/healthz/", 404, three},
		{"GET", "//healthz", 404, three},
		{"GET", "/x/../metrics", 404, three},
		{"GET", "/HEALTHZ", 404, three},
		{"GET", "/debug/pprof/", 404, three},
		{"GET", "/debug/pprof/heap", 404, three},
		{"POST", "/reload", 404, three},
		{"POST", "/forget", 404, three},
		{"GET", "/v2/", 404, three},
	} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(c.method, c.target, nil))
		name := c.method + " " + c.target
		if w.Code != c.status || c.body != "" && w.Body.String() != c.body {
			t.Errorf("%s: %d %q", name, w.Code, w.Body)
		}
		header := w.Header()
		if header.Get("X-Content-Type-Options") != "nosniff" || header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: header %v", name, header)
		}
		if c.body != "" && header.Get("Content-Type") != "text/plain; charset=utf-8" {
			t.Errorf("%s: content type %q", name, header.Get("Content-Type"))
		}
		if allow := header.Get("Allow"); (allow == "GET, HEAD") != (c.status == 405) {
			t.Errorf("%s: Allow %q", name, allow)
		}
		if c.body == "" && (!strings.HasPrefix(header.Get("Content-Type"), "text/plain; version=0.0.4") ||
			!strings.Contains(w.Body.String(), "\nsealgate_build_info{go_version=\"go")) {
			t.Errorf("%s: %q %.200q", name, header.Get("Content-Type"), w.Body)
		}
	}
}

func TestNotReadySaysWhyAndIsHealthyAllTheSame(t *testing.T) {
	_, reg := newMetrics(t)
	var reason error
	h := admin.Handler(reg, func() error { return reason }, nil)
	for _, c := range []struct {
		reason error
		status int
		body   string
	}{
		{errors.New("draining"), 503, "draining\n"},
		{errors.New("every certificate has expired"), 503, "every certificate has expired\n"},
		{nil, 200, "ready\n"},
	} {
		reason = c.reason
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", "/readyz", nil))
		if w.Code != c.status || w.Body.String() != c.body {
			t.Errorf("%v: %d %q", c.reason, w.Code, w.Body)
		}
		w = httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", "/healthz", nil))
		if w.Code != 200 {
			t.Errorf("%v: not healthy: %d", c.reason, w.Code)
		}
	}
}

func TestHEADHasNoBodyOnTheWire(t *testing.T) {
	server := httptest.NewServer(admin.Handler(prometheus.NewRegistry(), ready, nil))
	defer server.Close()
	defer http.DefaultClient.CloseIdleConnections()
	resp, err := http.Head(server.URL + "/healthz")
	must(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	must(t, err)
	if resp.StatusCode != 200 || len(body) != 0 {
		t.Errorf("%s %q", resp.Status, body)
	}
}

// gatherer is a prometheus.Gatherer.
type gatherer func() ([]*dto.MetricFamily, error)

func (g gatherer) Gather() ([]*dto.MetricFamily, error) { return g() }

func TestOneBadSeriesDoesNotHideTheOthers(t *testing.T) {
	_, reg := newMetrics(t)
	broken := gatherer(func() ([]*dto.MetricFamily, error) {
		families, _ := reg.Gather()
		return families, errors.New("one of them is bad")
	})
	w := httptest.NewRecorder()
	admin.Handler(broken, ready, nil).ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	if w.Code != 200 || !strings.Contains(w.Body.String(), "sealgate_build_info") {
		t.Errorf("%d %.100q", w.Code, w.Body)
	}
}

func TestScrapesAtOnceAreFew(t *testing.T) {
	started, release := make(chan bool), make(chan bool)
	h := admin.Handler(gatherer(func() ([]*dto.MetricFamily, error) {
		started <- true
		<-release
		return nil, nil
	}), ready, nil)
	scrape := func() int {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
		return w.Code
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if code := scrape(); code != 200 {
				t.Errorf("status %d", code)
			}
		})
		<-started
	}
	if code := scrape(); code != 503 {
		t.Errorf("the fifth scrape at once: status %d", code)
	}
	close(release)
	wg.Wait()
}
