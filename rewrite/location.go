package rewrite

import (
	"net/url"
	"slices"
	"strings"
)

// Location returns what a client should see of a Location header that the
// upstream sent. One on the upstream's own origin becomes path-absolute,
// without the path prefix that the upstream is configured with, so that the
// client stays on this host; any other is left as it is. ok is false when it
// is on the upstream but outside the prefix or on a way out of it (".."), or
// cannot be parsed.
func Location(location string, upstream *url.URL) (rewritten string, ok bool) {
	u, err := url.Parse(location)
	if err != nil || location == "" {
		return "", false
	}
	if u.Host != "" && !sameOrigin(u, upstream) {
		return location, true
	}
	path, ok := strings.CutPrefix(u.EscapedPath(), upstream.EscapedPath())
	if !ok || !strings.HasPrefix(path, "/") || strings.HasPrefix(path, "//") || slices.Contains(strings.Split(u.Path, "/"), "..") {
		return "", false
	}
	if u.RawQuery != "" {
		path += "?" + u.RawQuery
	}
	return path, true
}

// sameOrigin compares scheme, host and port, the default ports (RFC 9110
// section 4.2) said aloud or not. A u without a scheme has upstream's.
func sameOrigin(u, upstream *url.URL) bool {
	if u.Scheme != "" && u.Scheme != upstream.Scheme {
		return false
	}
	port := func(u *url.URL) string {
		if u.Port() != "" {
			return u.Port()
		}
		return map[string]string{"http": "80", "https": "443"}[upstream.Scheme]
	}
	return strings.EqualFold(u.Hostname(), upstream.Hostname()) && port(u) == port(upstream)
}

// Link returns the Link header for a next page that the upstream sent,
// path-absolute and for the client's view, or "" where it does not lead to a
// further page of wantPath (a path of the client's view).
func Link(link string, upstream *url.URL, wantPath string) string {
	target, params, ok := strings.Cut(strings.TrimPrefix(strings.TrimSpace(link), "<"), ">")
	if !ok || !strings.HasPrefix(strings.TrimSpace(link), "<") || !nextPage(params) {
		return ""
	}
	if strings.HasPrefix(target, "?") {
		target = wantPath + target
	} else if target, ok = Location(target, upstream); !ok {
		return ""
	}
	if path, _, _ := strings.Cut(target, "?"); path != wantPath {
		return ""
	}
	for i := range len(target) {
		if c := target[i]; c <= ' ' || c >= 0x7f || c == '<' || c == '>' || c == '"' {
			return ""
		}
	}
	return "<" + target + `>; rel="next"`
}

func nextPage(params string) bool {
	for param := range strings.SplitSeq(params, ";") {
		switch strings.ToLower(strings.TrimSpace(param)) {
		case `rel="next"`, `rel=next`:
			return true
		}
	}
	return false
}
