package proxy

import (
	"fmt"
	"net/http"
	"net/url"
	"path"
	"strings"

	"github.com/sealgate/sealgate/proxy/upstream"
)

// maxLocation bounds the location of an upload, in bytes.
const maxLocation = 4096

// upload puts a step of an upload to where the registry wants it (OCI
// distribution-spec v1.1, "Pushing blobs"). The client knows that place by
// a token of ours, which no other server can be reached with.
func (g *gate) upload(w http.ResponseWriter, r *http.Request, route Route) error {
	to := build(g.URL, route)
	if route.Kind == Upload {
		var err error
		if to, err = g.place(r, route); err != nil {
			return err
		}
	}
	x := g.exchange(w, r, to)
	if !g.own(to) {
		for _, name := range []string{"Authorization", "X-Forwarded-Host", "X-Forwarded-Proto"} {
			x.header.Del(name)
		}
		if g.Redirected != nil {
			x.via = g.Redirected
		}
	}
	a, err := x.send()
	if err != nil {
		return err
	}
	if err := g.relocate(r, to, route, a); err != nil {
		return err
	}
	a.write(w)
	return nil
}

// place opens the token of an upload.
func (g *gate) place(r *http.Request, route Route) (*url.URL, error) {
	location, err := g.uploads.open(r.Context(), g.Name, route.Repository, route.Reference)
	if err != nil {
		return nil, err
	}
	if strings.HasPrefix(location, "/") {
		location = g.URL.Scheme + "://" + g.URL.Host + location
	}
	to, err := url.Parse(location)
	if err != nil || g.allowed(to) != nil || readsTags(to) {
		return nil, errNoUpload.because(err) // it was allowed when the token was made
	}
	if r.Method == http.MethodPut && route.Digest != "" {
		if to.RawQuery != "" {
			to.RawQuery += "&"
		}
		to.RawQuery += "digest=" + url.QueryEscape(route.Digest)
	}
	return to, nil
}

// relocate sets the Location that the client sees: of an upload under way the
// token of the registry's, of a blob that is there our own.
func (g *gate) relocate(r *http.Request, asked *url.URL, route Route, a *written) error {
	location := a.header.Get("Location")
	a.header.Del("Location")
	switch {
	case a.status >= http.StatusMultipleChoices || r.Method == http.MethodDelete:
		return nil
	case a.status == http.StatusCreated:
		at := Route{Kind: Blob, Repository: route.Repository, Reference: a.header.Get("Docker-Content-Digest")}
		for _, digest := range []string{route.Mount, route.Digest} {
			if digest != "" {
				at.Reference = digest
			}
		}
		if validDigest(at.Reference) {
			a.header.Set("Location", at.Path())
		}
		return nil
	case location == "":
		return nil
	}
	to, err := g.leads(r, asked, location)
	if err != nil {
		return errUpstream(err)
	}
	token, err := g.uploads.seal(r.Context(), g.Name, route.Repository, to)
	if err != nil {
		return err
	}
	a.header.Set("Location", keepNamespace(g.ns, Route{Kind: Upload, Repository: route.Repository, Reference: token}.Path()))
	return nil
}

// leads returns where a Location leads that came as an answer from asked:
// a path with its query on the registry itself, or an address on one of the
// other hosts that the registry may redirect to. The error wraps
// upstream.ErrRedirect.
func (g *gate) leads(r *http.Request, asked *url.URL, location string) (string, error) {
	to, err := asked.Parse(location)
	if err != nil || len(location) > maxLocation || strings.ContainsFunc(location, func(c rune) bool { return c <= ' ' || c >= 0x7f }) {
		return "", fmt.Errorf("%w: no location of an upload that can be used", upstream.ErrRedirect)
	}
	if readsTags(to) {
		return "", fmt.Errorf("%w: of an upload to what is no upload", upstream.ErrRedirect)
	}
	to.Fragment, to.RawFragment = "", ""
	// A registry that believes X-Forwarded-Host names the host that the client
	// has asked: us. What it means is itself.
	named := g.own(asked) && to.User == nil && strings.EqualFold(to.Host, r.Host)
	if named || g.own(to) {
		return to.RequestURI(), nil
	}
	if err := g.allowed(to); err != nil {
		return "", err
	}
	return to.String(), nil
}

// readsTags says whether some server may read an address as that of a manifest,
// of tags or of the catalog: asked how far an upload has come, we would read
// a tag that nobody signed. It is for the registry's choice of a path, in which
// much may be odd and yet no more than that.
func readsTags(to *url.URL) bool {
	at := to.EscapedPath()
	for range maxDecodings {
		folded := strings.ToLower(withoutParams(strings.ReplaceAll(at, "\\", "/")))
		components := strings.Split(path.Clean("/"+folded), "/")
		last := len(components) - 1
		if components[last] == "_catalog" || components[last-1] == "manifests" || components[last-1] == "tags" && components[last] == "list" {
			return true
		}
		decoded := decodeOnce(at)
		if decoded == at {
			return false
		}
		at = decoded
	}
	return true
}

// own says whether an address is on the registry itself: then the client's
// credentials are for it. The scheme is always that of the configuration.
func (g *gate) own(to *url.URL) bool { return to.User == nil && strings.EqualFold(to.Host, g.URL.Host) }

// allowed says whether an upload may go to an address.
func (g *gate) allowed(to *url.URL) error {
	host := strings.ToLower(to.Host)
	switch {
	case g.own(to) && to.Scheme == g.URL.Scheme:
		return nil
	case to.User != nil, to.Scheme != "https" && (to.Scheme != "http" || g.URL.Scheme != "http"):
		return fmt.Errorf("%w: of an upload to scheme %.20q", upstream.ErrRedirect, to.Scheme)
	case !upstream.Listed(g.RedirectHosts, to):
		return fmt.Errorf("%w: of an upload: %.100q is not among redirect-hosts", upstream.ErrRedirect, host)
	}
	return nil
}
