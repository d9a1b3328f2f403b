package admin

import (
	"io"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// maxScrapes bounds the scrapes under way: each walks the caches.
const maxScrapes = 4

// Handler serves /healthz, /readyz and /metrics, and pages (see NewPages; nil
// for none) at every other path: nothing that changes or profiles the process,
// which is what the control socket is for.
//
// ready says why the process should get no requests, nil while it should: its
// listener, its certificate and its store are usable and it is not about to
// stop. It must not ask a registry or a Notary server: their outage must not
// take Sealgate away too. It is called concurrently, and its text is shown to
// whoever asks.
func Handler(metrics prometheus.Gatherer, ready func() error, pages http.Handler) http.Handler {
	scrape := promhttp.HandlerFor(metrics, promhttp.HandlerOpts{
		ErrorHandling:       promhttp.ContinueOnError, // one bad series must not hide the others
		MaxRequestsInFlight: maxScrapes,
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path := r.URL.Path
		own := path == "/healthz" || path == "/readyz" || path == "/metrics"
		if !own && pages != nil {
			pages.ServeHTTP(w, r)
			return
		}
		h := w.Header()
		h.Set("Content-Type", "text/plain; charset=utf-8")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Cache-Control", "no-store")
		status, text := http.StatusOK, "ok"
		switch {
		case !own:
			status, text = http.StatusNotFound, "there is /healthz, /readyz and /metrics"
		case r.Method != http.MethodGet && r.Method != http.MethodHead:
			h.Set("Allow", "GET, HEAD")
			status, text = http.StatusMethodNotAllowed, "GET and HEAD are served"
		case path == "/metrics":
			scrape.ServeHTTP(w, r)
			return
		case path == "/readyz":
			text = "ready"
			if err := ready(); err != nil {
				status, text = http.StatusServiceUnavailable, err.Error()
			}
		}
		w.WriteHeader(status)
		io.WriteString(w, text+"\n") // a client that is gone is told nothing
	})
}
