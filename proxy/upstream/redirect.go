package upstream

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// ErrRedirect: the upstream redirected to where nobody may be sent.
var ErrRedirect = errors.New("redirect refused")

// maxRedirects is how many redirects in a row are followed.
const maxRedirects = 3

// Follower is an http.RoundTripper that follows redirects of GET and HEAD to
// the hosts in Hosts, with Accept as the only header: credentials go nowhere
// but to the host of the first request. It never goes from https to http.
type Follower struct {
	Transport http.RoundTripper
	Hosts     []string // host or host:port, lower case
}

// RoundTrip implements http.RoundTripper. The error wraps ErrRedirect where a
// redirect may not be followed.
func (f *Follower) RoundTrip(req *http.Request) (*http.Response, error) {
	for range maxRedirects {
		resp, err := f.Transport.RoundTrip(req)
		if err != nil || !isRedirect(resp.StatusCode) {
			return resp, err
		}
		resp.Body.Close()
		target, err := f.target(req.URL, resp.Header.Get("Location"))
		if err != nil {
			return nil, err
		}
		next := (&http.Request{Method: req.Method, URL: target, Header: http.Header{}}).WithContext(req.Context())
		if accept := req.Header["Accept"]; accept != nil {
			next.Header["Accept"] = accept
		}
		next.Header.Set("User-Agent", req.Header.Get("User-Agent"))
		req = next
	}
	resp, err := f.Transport.RoundTrip(req)
	if err == nil && isRedirect(resp.StatusCode) {
		resp.Body.Close()
		return nil, fmt.Errorf("%w: more than %d in a row", ErrRedirect, maxRedirects)
	}
	return resp, err
}

func isRedirect(status int) bool {
	switch status {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return true
	}
	return false
}

func (f *Follower) target(from *url.URL, location string) (*url.URL, error) {
	to, err := from.Parse(location)
	if err != nil || location == "" {
		return nil, fmt.Errorf("%w: no location that can be parsed", ErrRedirect)
	}
	if to.Scheme != "https" && to.Scheme != from.Scheme || to.Scheme != "http" && to.Scheme != "https" || to.User != nil {
		return nil, fmt.Errorf("%w: to scheme %.20q", ErrRedirect, to.Scheme)
	}
	host := strings.ToLower(to.Host)
	if !slices.Contains(f.Hosts, host) && !slices.Contains(f.Hosts, strings.ToLower(to.Hostname())) {
		return nil, fmt.Errorf("%w: %.100q is not among redirect-hosts", ErrRedirect, host)
	}
	to.Fragment = ""
	return to, nil
}
