package proxy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/sealgate/sealgate/proxy/content"
	"github.com/sealgate/sealgate/trustcache"
)

// Offline is what an offline registry has in the place of servers.
type Offline struct {
	// Metadata returns a file of trust metadata of a GUN by the name that Notary's
	// clients ask for, as it was signed. Where there is none the error wraps
	// fs.ErrNotExist. It must be safe for concurrent use.
	Metadata func(gun, name string) ([]byte, error)
	// Now is the time by which trust expires; nil means that of the Handler.
	Now func() time.Time
}

// offlineURL is the address of an offline registry. Nobody has it (RFC 2606
// section 2), and nothing goes there.
func offlineURL() *url.URL { return &url.URL{Scheme: "https", Host: "offline.invalid"} }

// nowhere stands for a registry that has nothing, for all that an offline registry
// does not have in its cache.
type nowhere struct{}

// emptyReferrers is what a registry says that knows of no referrers (OCI
// distribution-spec v1.1, "Listing Referrers").
const emptyReferrers = `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}`

// RoundTrip answers a request that build made.
func (nowhere) RoundTrip(req *http.Request) (*http.Response, error) {
	status, contentType, body := http.StatusOK, "application/vnd.oci.image.index.v1+json", []byte(emptyReferrers)
	if route, err := Parse(req.URL.RequestURI()); err != nil || route.Kind != Referrers {
		e := errNotLoaded(route)
		status, contentType, body = e.Status, "application/json", e.body()
	}
	resp := &http.Response{
		Status: strconv.Itoa(status) + " " + http.StatusText(status), StatusCode: status,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header:        http.Header{"Content-Type": {contentType}, "Content-Length": {strconv.Itoa(len(body))}},
		ContentLength: int64(len(body)), Body: http.NoBody, Request: req,
	}
	if req.Method != http.MethodHead {
		resp.Body = io.NopCloser(bytes.NewReader(body))
	}
	return resp, nil
}

// errOffline says why an offline registry does not serve what a route by digest
// means, by what its cache said: that nobody has loaded it is known only where the
// cache can be read.
func errOffline(ctx context.Context, route Route, err error) error {
	switch {
	case errors.Is(err, content.ErrNotCached):
		return errNotLoaded(route)
	case ctx.Err() != nil:
		return ctx.Err()
	}
	return unavailable("store", fmt.Errorf("what was loaded as %s of %s cannot be served", route.Reference, route.Repository)).because(err)
}

// errNotLoaded: what a route by digest means is not there.
func errNotLoaded(route Route) *Error {
	code := codeManifestUnknown
	if route.Kind == Blob {
		code = codeBlobUnknown
	}
	return &Error{Status: http.StatusNotFound, Code: code, Reason: "not-loaded",
		Message: fmt.Sprintf("%.140s of %.300s is in no bundle that has been loaded here", route.Reference, route.Repository)}
}

// warnAge says in a header (RFC 7234 section 5.5) that nothing newer than what was
// loaded can be had, once any of it that decides is past its expiry.
func (g *gate) warnAge(h http.Header, view trustcache.View) {
	if g.Offline == nil || view.Snapshot == nil {
		return
	}
	now := g.Offline.Now
	if now == nil {
		now = g.auth.now
	}
	if role, at := view.FirstExpiry(); role != "" && !now().Before(at) {
		h.Add("Warning", fmt.Sprintf(`112 sealgate "offline: %s expired at %s"`, role, at.UTC().Format(time.RFC3339)))
	}
}

// maxKeptFiles bounds the files of trust metadata that are being served at once:
// each is in memory until its client has it.
const maxKeptFiles = 8

// serveKeptTrust serves a file of trust metadata from what is kept. Whoever reads
// an offline registry may: there is nobody to ask who else may not.
func (g *gate) serveKeptTrust(w http.ResponseWriter, r *http.Request, route Route) error {
	if err := g.keptFiles.Acquire(r.Context(), 1); err != nil {
		return err
	}
	defer g.keptFiles.Release(1)
	raw, err := g.Offline.Metadata(route.Repository, route.Reference)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return errNoTrustFile
	case err != nil:
		return unavailable("store", fmt.Errorf("%w: trust metadata of %s cannot be read", trustcache.ErrStore, route.Repository)).because(err)
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(raw)))
	h.Set("X-Content-Type-Options", "nosniff")
	w.Write(raw) // a HEAD's body is left out by net/http
	return nil
}
