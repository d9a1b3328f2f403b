package proxy

import (
	"context"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"

	"github.com/sealgate/sealgate/rewrite"
)

// pourWaits: an answer is read for as long as it flows.
var pourWaits = waits{piece: headerTimeout, answer: headerTimeout, reader: clientStall}

// pour passes request and answer on, whatever they are and for as long as they
// flow. It returns an error only when nothing was sent to the client.
func (g *gate) pour(w http.ResponseWriter, r *http.Request, to *url.URL, client string) error {
	ctx, cancel := context.WithCancelCause(r.Context())
	defer cancel(nil)
	body := newSentBody(w, r, unbounded, pourWaits, g.minRate, func() { cancel(context.DeadlineExceeded) })
	defer body.end()
	if r.ContentLength != 0 {
		r.Body = body
	}
	var failed error
	rp := httputil.ReverseProxy{
		Rewrite: func(pr *httputil.ProxyRequest) {
			pr.Out.URL, pr.Out.Host = to, ""
			pr.SetXForwarded()
			pr.Out.Header.Set("X-Forwarded-Proto", g.clientScheme(r)) // else pages send the client in circles
			pr.Out.Header.Set("X-Forwarded-For", client)
			pr.Out.Trailer = nil // around forgetTargets
		},
		Transport: g.Pass,
		ModifyResponse: func(resp *http.Response) error {
			body.answerFlows()
			resp.Body = newFlowingBody(resp, 0, func() { cancel(nil) }) // a page that shows progress says little
			ownAnswer(resp, g.URL)
			return nil
		},
		ErrorHandler:  func(_ http.ResponseWriter, _ *http.Request, err error) { failed = err },
		ErrorLog:      silent,
		BufferPool:    copyBuffers,
		FlushInterval: -1, // pages that show progress
	}
	rp.ServeHTTP(newFlowingWriter(w, g.minRate), r.WithContext(ctx))
	switch refused := body.refusal(); {
	case failed == nil:
		return nil
	case refused != nil:
		return refused
	case r.Context().Err() != nil:
		return r.Context().Err()
	case context.Cause(ctx) != nil:
		return errUpstream(context.Cause(ctx))
	}
	return errUpstream(failed)
}

// forgetTargets drops what a client says of where the request was for and where
// it came from: servers that believe it would leave the prefix.
func forgetTargets(h http.Header) {
	for name := range h {
		// To whoever takes headers for variables "_" and "-" are the same.
		switch read := http.CanonicalHeaderKey(strings.ReplaceAll(name, "_", "-")); {
		case strings.HasPrefix(read, "X-Forwarded-"), strings.HasPrefix(read, "X-Original-"), strings.HasPrefix(read, "X-Rewrite-"),
			read == "Forwarded", read == "X-Real-Ip", read == "X-Envoy-Original-Path":
			delete(h, name)
		}
	}
}

// ownAnswer keeps a client at this address: a Location on the registry itself
// loses its host, and no other place is advertised (RFC 7838).
func ownAnswer(resp *http.Response, upstream *url.URL) {
	resp.Trailer = nil // see flowingBody
	resp.Header.Del("Alt-Svc")
	resp.Header.Del("X-Request-Id") // ours is there already
	if location := resp.Header.Get("Location"); location != "" {
		resp.Header.Set("Location", rewrite.OwnLocation(location, upstream))
	}
}
