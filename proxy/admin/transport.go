package admin

import (
	"context"
	"errors"
	"net/http"
	"time"
)

// Server is what a registry's requests of ours go to.
type Server string

// The servers behind a registry's name.
const (
	RegistryServer Server = "registry"
	NotaryServer   Server = "notary"
	TokenServer    Server = "token"    // of the registry or of its Notary server
	RedirectServer Server = "redirect" // where the registry redirected to
)

// Transport returns next, measured: how long each request to this server of
// this registry took until the header of its answer, by status class.
func (m *Metrics) Transport(registry string, server Server, next http.RoundTripper) http.RoundTripper {
	return &measured{m, registry, server, next}
}

type measured struct {
	metrics  *Metrics
	registry string
	server   Server
	next     http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (t *measured) RoundTrip(req *http.Request) (*http.Response, error) {
	start := time.Now()
	resp, err := t.next.RoundTrip(req)
	code := "error"
	switch {
	case err == nil:
		code = codeOf(resp.StatusCode)
	case errors.Is(err, context.Canceled):
		code = "canceled" // the client's doing, and no fault of the server's
	}
	t.metrics.upstreamDuration.WithLabelValues(t.metrics.registries.label(t.registry), string(t.server), code).Observe(seconds(time.Since(start)))
	return resp, err
}
