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
// the host of the first request and to the hosts in Hosts, taking along nothing
// but Accept and User-Agent: credentials go with the first request only. It
// never goes from https to http.
type Follower struct {
	Transport http.RoundTripper
	Hosts     []string // host or host:port, lower case
}

// RoundTrip implements http.RoundTripper. The error wraps ErrRedirect where a
// redirect may not be followed.
func (f *Follower) RoundTrip(req *http.Request) (*http.Response, error) {
	home := req.URL.Host
	for followed := 0; ; followed++ {
		resp, err := f.Transport.RoundTrip(req)
		if err != nil || !isRedirect(resp.StatusCode) {
			return resp, err
		}
		resp.Body.Close()
		if followed == maxRedirects {
			return nil, fmt.Errorf("%w: more than %d in a row", ErrRedirect, maxRedirects)
		}
		target, err := f.target(req.URL, resp.Header.Get("Location"), home)
		if err != nil {
			return nil, err
		}
		header := http.Header{}
		for _, name := range []string{"Accept", "User-Agent"} {
			if values := req.Header[name]; values != nil {
				header[name] = values
			}
		}
		req = (&http.Request{Method: req.Method, URL: target, Header: header}).WithContext(req.Context())
	}
}

func isRedirect(status int) bool {
	switch status {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return true
	}
	return false
}

func (f *Follower) target(from *url.URL, location, home string) (*url.URL, error) {
	to, err := from.Parse(location)
	if err != nil || location == "" {
		return nil, fmt.Errorf("%w: no location that can be parsed", ErrRedirect)
	}
	if to.Scheme != "https" && to.Scheme != from.Scheme || to.Scheme != "http" && to.Scheme != "https" || to.User != nil {
		return nil, fmt.Errorf("%w: to scheme %.20q", ErrRedirect, to.Scheme)
	}
	host := strings.ToLower(to.Host)
	if host != strings.ToLower(home) && !slices.Contains(f.Hosts, host) && !slices.Contains(f.Hosts, strings.ToLower(to.Hostname())) {
		return nil, fmt.Errorf("%w: %.100q is not among redirect-hosts", ErrRedirect, host)
	}
	to.Fragment = ""
	return to, nil
}
