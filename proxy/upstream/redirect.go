package upstream

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// ErrRedirect: the upstream redirected to where nobody may be sent.
var ErrRedirect = errors.New("redirect refused")

// maxRedirects is how many redirects in a row are followed.
const maxRedirects = 3

// Follower is an http.RoundTripper that follows redirects of GET and HEAD to
// the hosts in Hosts, taking along nothing but what describes the answer that
// is wanted: credentials go with the first request only. It never goes from
// https to http, and never back to the server of the first request: where a
// registry sends us on its own ground may be what must not be asked for, such
// as a tag.
type Follower struct {
	// Transport carries the first request, Elsewhere those that follow; nil
	// means Transport.
	Transport, Elsewhere http.RoundTripper
	Hosts                []string // host or host:port, lower case
}

// takenAlong are the headers of a request that a redirect keeps.
var takenAlong = []string{"Accept", "If-Range", "Range", "User-Agent"}

// RoundTrip implements http.RoundTripper. The error wraps ErrRedirect where a
// redirect may not be followed, or leads to a server that wants credentials.
func (f *Follower) RoundTrip(req *http.Request) (*http.Response, error) {
	home, via := req.URL, f.Transport
	for followed := 0; ; followed++ {
		resp, err := via.RoundTrip(req)
		if err != nil {
			return nil, err
		}
		if followed > 0 && resp.StatusCode == http.StatusUnauthorized {
			Discard(resp) // a challenge would be taken for the registry's
			return nil, fmt.Errorf("%w: %.100q wants credentials", ErrRedirect, req.URL.Host)
		}
		if !isRedirect(resp.StatusCode) {
			return resp, nil
		}
		Discard(resp)
		if followed == maxRedirects {
			return nil, fmt.Errorf("%w: more than %d in a row", ErrRedirect, maxRedirects)
		}
		target, err := f.target(req.URL, resp.Header.Get("Location"), home)
		if err != nil {
			return nil, err
		}
		header := http.Header{}
		for _, name := range takenAlong {
			if values := req.Header[name]; values != nil {
				header[name] = values
			}
		}
		req = (&http.Request{Method: req.Method, URL: target, Header: header}).WithContext(req.Context())
		if f.Elsewhere != nil {
			via = f.Elsewhere
		}
	}
}

// sameServer compares host and port, the default ports said aloud or not.
func sameServer(a, b *url.URL) bool {
	port := func(u *url.URL) string {
		if u.Port() == "" {
			return map[string]string{"http": "80", "https": "443"}[u.Scheme]
		}
		return u.Port()
	}
	return strings.EqualFold(a.Hostname(), b.Hostname()) && port(a) == port(b)
}

func isRedirect(status int) bool {
	switch status {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return true
	}
	return false
}

func (f *Follower) target(from *url.URL, location string, home *url.URL) (*url.URL, error) {
	to, err := from.Parse(location)
	if err != nil || location == "" {
		return nil, fmt.Errorf("%w: no location that can be parsed", ErrRedirect)
	}
	if to.Scheme != "https" && to.Scheme != from.Scheme || to.Scheme != "http" && to.Scheme != "https" || to.User != nil {
		return nil, fmt.Errorf("%w: to scheme %.20q", ErrRedirect, to.Scheme)
	}
	host := strings.ToLower(to.Host)
	if sameServer(to, home) {
		return nil, fmt.Errorf("%w: back to where it came from", ErrRedirect)
	}
	if !Listed(f.Hosts, to) {
		return nil, fmt.Errorf("%w: %.100q is not among redirect-hosts", ErrRedirect, host)
	}
	to.Fragment = ""
	return to, nil
}
