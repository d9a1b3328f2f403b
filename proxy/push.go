package proxy

import (
	"context"
	"net/http"
	"net/url"
	"slices"
)

// pushHeaders are the headers of a client's write that reach a server. How long
// the body is is said anew; Authorization is added where credentials are passed
// through. Expect lets a server refuse before it has read the body.
var pushHeaders = []string{
	"Accept",
	"Content-Range",
	"Content-Type",
	"Expect",
	"If-Match",
	"If-None-Match",
	"User-Agent",
}

// methods are those that are served of a kind of route; none where the kind is
// not served here at all.
func (g *gate) methods(kind Kind) []string {
	switch kind {
	case Uploads:
		return only(g.Push, http.MethodPost)
	case Upload:
		return only(g.Push, http.MethodGet, http.MethodHead, http.MethodPatch, http.MethodPut, http.MethodDelete)
	case TrustCollection:
		return only(g.TrustWrites, http.MethodPost, http.MethodDelete)
	case TrustKey:
		return only(g.TrustWrites, http.MethodGet, http.MethodPost)
	}
	served := []string{http.MethodGet, http.MethodHead}
	switch kind {
	case ManifestByTag, ManifestByDigest:
		served = append(served, only(g.Push, http.MethodPut, http.MethodDelete)...)
	case Blob:
		served = append(served, only(g.Push, http.MethodDelete)...)
	}
	return served
}

func only(where bool, methods ...string) []string {
	if !where {
		return nil
	}
	return methods
}

func reads(method string) bool { return method == http.MethodGet || method == http.MethodHead }

// takes refuses a method that the kind of route does not have here.
func (g *gate) takes(method string, kind Kind) error {
	if reads(method) && !isWrite(method, kind) {
		return nil // every pull comes by here
	}
	served := g.methods(kind)
	switch {
	case slices.Contains(served, method):
		return nil
	case served == nil && reads(method):
		return errNoRoute
	case served == nil || !g.Push && !g.TrustWrites:
		return errMethod
	}
	return errMethodNot(served)
}

// isWrite says whether a request is for serveWrite: what changes something, and
// what is asked of a change under way.
func isWrite(method string, kind Kind) bool {
	switch kind {
	case Uploads, Upload, TrustCollection, TrustKey:
		return true
	}
	return !reads(method)
}

// serveWrite puts a write to the server that it is for, with the client's own
// credentials, and passes the answer back. Nothing of it depends on trust data:
// what is pushed becomes visible when it is signed.
func (g *gate) serveWrite(w http.ResponseWriter, r *http.Request, route Route, rec *record) error {
	switch route.Kind {
	case TrustCollection, TrustKey:
		return g.writeTrust(w, r, route)
	case Uploads, Upload:
		return g.upload(w, r, route)
	}
	a, err := g.exchange(w, r, build(g.URL, route)).send()
	if err != nil {
		return err
	}
	if a.status < 300 {
		g.wrote(r, route, a, rec)
	}
	a.write(w)
	return nil
}

// wrote sees to what follows from a manifest or blob that was written or
// deleted.
func (g *gate) wrote(r *http.Request, route Route, a *written, rec *record) {
	switch {
	case r.Method == http.MethodDelete && (route.Kind == ManifestByDigest || route.Kind == Blob):
		g.drop(context.WithoutCancel(r.Context()), route)
	case r.Method == http.MethodPut:
		at := route
		if digest := a.header.Get("Docker-Content-Digest"); validDigest(digest) {
			at = Route{Kind: ManifestByDigest, Repository: route.Repository, Reference: digest}
			if route.Kind == ManifestByTag {
				rec.upstreamDigest = digest
			}
		}
		a.header.Set("Location", at.Path())
	}
}

// exchange is a write to the registry itself. The registry builds the addresses
// in its answers from what it is told here of how the client came; a client's
// own X-Forwarded headers are never believed.
func (g *gate) exchange(w http.ResponseWriter, r *http.Request, to *url.URL) *exchange {
	x := &exchange{minRate: g.minRate, w: w, r: r, to: to, via: g.Writes, header: http.Header{}, fail: errUpstream, most: unbounded}
	for _, name := range pushHeaders {
		if values := r.Header[name]; values != nil {
			x.header[name] = values
		}
	}
	if authorization := r.Header.Get("Authorization"); g.Passthrough && authorization != "" {
		x.header.Set("Authorization", authorization)
	}
	x.header.Set("X-Forwarded-Host", r.Host)
	x.header.Set("X-Forwarded-Proto", g.clientScheme(r))
	return x
}
