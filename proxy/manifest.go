package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/sealgate/sealgate/proxy/content"
	"github.com/sealgate/sealgate/proxy/upstream"
	"github.com/sealgate/sealgate/trustcache"
)

const (
	// maxManifest bounds a manifest in bytes, as registries do.
	maxManifest = 4 << 20
	// manifestTimeout bounds fetching one.
	manifestTimeout = 20 * time.Second
)

// serveTag answers a read of a tag with what is signed for it.
func (g *gate) serveTag(w http.ResponseWriter, r *http.Request, repo repo, route Route, rec *record) error {
	view, trustErr := g.Trust.Tag(r.Context(), repo.gun, route.Reference)
	if errors.Is(trustErr, context.Canceled) {
		return trustErr
	}
	d := Decide(repo.gun, route.Reference, view, trustErr)
	rec.decided(d, view)
	authorization := g.authorization(r)
	if d.Denial != nil {
		if err := g.admitToDenial(r.Context(), repo, authorization, view); err != nil {
			return err
		}
		warnStale(w.Header(), view)
		g.warnAge(w.Header(), view)
		return d.Denial
	}
	m, from, err := g.manifest(r.Context(), repo, authorization, d.Target.Digest)
	if err != nil {
		return err
	}
	if g.Cache != nil {
		rec.from = from
	}
	rec.served = m.Digest
	rec.length = int64(len(m.Body))
	warnStale(w.Header(), view)
	g.warnAge(w.Header(), view)
	writeManifest(w, r, m)
	return nil
}

// warnStale says in a header (RFC 7234 section 5.5) that an older verified
// snapshot decided, and the kind of reason.
func warnStale(h http.Header, view trustcache.View) {
	if view.Snapshot != nil && view.Stale != nil {
		h.Set("Warning", fmt.Sprintf(`110 sealgate "trust data is stale: %s"`, trustcache.Class(view.Stale)))
	}
}

func writeManifest(w http.ResponseWriter, r *http.Request, m *content.Manifest) {
	h := w.Header()
	h["Docker-Content-Digest"] = m.Header.Digest
	h["Etag"] = m.Header.ETag
	h["Docker-Distribution-Api-Version"] = apiVersion
	if matchesETag(r.Header["If-None-Match"], m.Digest) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	h["Content-Type"] = m.Header.Type
	h["Content-Length"] = m.Header.Length
	h["X-Content-Type-Options"] = nosniff
	w.WriteHeader(http.StatusOK)
	w.Write(m.Body) // a HEAD's body is left out by net/http
}

// Header values that never change; net/http only reads them.
var (
	apiVersion = []string{"registry/2.0"}
	nosniff    = []string{"nosniff"}
)

// matchesETag evaluates If-None-Match (RFC 9110 section 13.1.2). Docker's
// clients leave out the quotes.
func matchesETag(values []string, digest string) bool {
	for _, value := range values {
		for tag := range strings.SplitSeq(value, ",") {
			tag = strings.TrimPrefix(strings.TrimSpace(tag), "W/")
			if tag == "*" || strings.Trim(tag, `"`) == digest {
				return true
			}
		}
	}
	return false
}

// manifest returns a manifest to a client that may read the repository: one
// from memory or the cache when the client is admitted, else fetched with the
// client's own credentials, which admits it. from says which.
func (g *gate) manifest(ctx context.Context, r repo, authorization string, digest trustcache.Digest) (m *content.Manifest, from string, err error) {
	m, from, err = g.findManifest(ctx, r, digest)
	if err == nil {
		found, err := g.admit(ctx, r, authorization, Route{Kind: ManifestByDigest, Repository: r.name, Reference: m.Digest})
		if err == nil && !found {
			err = errNotInRegistry(digest)
		}
		if err != nil {
			return nil, "", err
		}
		return m, from, nil
	}
	if g.Offline != nil {
		return nil, "", errOffline(ctx, Route{Kind: ManifestByDigest, Repository: r.name, Reference: digest.String()}, err)
	}
	m, err = share(ctx, g, &g.fetches, r, digest.String(), authorization, g.manifestTimeout, func(ctx context.Context) (*content.Manifest, error) {
		return g.fetchManifest(ctx, r, authorization, digest)
	})
	if err != nil {
		return nil, "", g.outage(err, digest.String())
	}
	return m, fromUpstream, nil
}

func errNotInRegistry(digest trustcache.Digest) *Error {
	return notFound("not-in-registry", "signed digest "+digest.String()+" is not in the registry")
}

func errNotServed(digest trustcache.Digest) *Error {
	return notFound("schema1", "signed digest "+digest.String()+" is an image manifest of schema 1, which is not served")
}

// fetchManifest reads a manifest by digest and lets nothing through that is
// not exactly what was signed, in one reading.
func (g *gate) fetchManifest(ctx context.Context, r repo, authorization string, digest trustcache.Digest) (*content.Manifest, error) {
	if m := g.manifests.Peek(g.origin, r.gun, digest); m != nil && (!g.Passthrough || g.auth.known(g.origin, r.gun, authorization)) {
		return m, nil // another flight has just landed
	}
	since := g.deletions.Load()
	route := Route{Kind: ManifestByDigest, Repository: r.name, Reference: digest.String()}
	resp, err := g.askForManifest(ctx, route, authorization, errNotInRegistry(digest))
	if err != nil {
		return nil, err
	}
	defer upstream.Discard(resp)
	m, err := checkedManifest(resp, digest)
	if err != nil {
		return nil, err
	}
	g.keepManifest(r, m, since)
	if g.Passthrough {
		g.auth.remember(g.origin, r.gun, authorization)
	}
	return m, nil
}

// checkedManifest reads the manifest of a signed digest, or of one that it leads
// to. The error is an *Error where it is not exactly that, in one reading.
func checkedManifest(resp *http.Response, digest trustcache.Digest) (*content.Manifest, error) {
	body, contentType, err := readManifest(resp, digest.String())
	if err != nil {
		return nil, err
	}
	if isSchema1(contentType) {
		return nil, errNotServed(digest) // before the digest, which schema 1 has of its payload alone
	}
	if claimed := resp.Header.Get("Docker-Content-Digest"); claimed != "" && claimed != digest.String() {
		return nil, badGateway("upstream-mismatch", "the registry answered for another digest than the signed %s", digest)
	}
	m, err := content.Check(digest, body, contentType)
	if err != nil {
		return nil, badGateway("upstream-mismatch", "the registry's bytes do not match the signed digest %s", digest)
	}
	err = oneReading(body, m.MediaType)
	if errors.Is(err, errSchema1) {
		return nil, errNotServed(digest)
	}
	if err != nil {
		return nil, badGateway("upstream-two-readings", "the manifest %s cannot be served: %v", digest, err)
	}
	return m, nil
}

// askForManifest asks the registry, with a client's credentials, for a manifest
// that a client is to get. The answer has status 200, and the caller closes it. The
// error is missing where there is none, else an *Error.
func (g *gate) askForManifest(ctx context.Context, route Route, authorization string, missing error) (*http.Response, error) {
	resp, err := g.ask(ctx, g.manifestUpstream, http.MethodGet, route, authorization)
	if err != nil {
		return nil, errUpstream(err)
	}
	if resp.StatusCode == http.StatusOK {
		return resp, nil
	}
	upstream.Discard(resp)
	if resp.StatusCode == http.StatusNotFound {
		return nil, missing
	}
	return nil, g.refused(resp)
}

// readManifest reads an answer with a manifest: the body, and the Content-Type as
// it is sent. The error is an *Error that calls the manifest what.
func readManifest(resp *http.Response, what string) (body []byte, contentType string, err error) {
	if encoding := resp.Header.Get("Content-Encoding"); encoding != "" && encoding != "identity" {
		return nil, "", badGateway("upstream-encoding", "the registry sent %s encoded", what)
	}
	if resp.ContentLength > maxManifest {
		return nil, "", badGateway("upstream-oversize", "the registry sent more than %d bytes for %s", maxManifest, what)
	}
	body, err = io.ReadAll(io.LimitReader(resp.Body, maxManifest+1))
	if err != nil {
		return nil, "", errUpstream(err)
	}
	if len(body) > maxManifest {
		return nil, "", badGateway("upstream-oversize", "the registry sent more than %d bytes for %s", maxManifest, what)
	}
	return body, resp.Header.Get("Content-Type"), nil
}
