package rewrite

import (
	"net/url"
	"slices"
	"strings"
)

// Location returns what a client should see of a Location header that the
// upstream sent. One below /v2/ on the upstream's own origin becomes
// path-absolute, without the path prefix that the upstream is configured with,
// so that the client stays on this host; any other is absolute, since only the
// upstream can serve it. ok is false when it cannot be parsed or climbs with
// "..".
func Location(location string, upstream *url.URL) (rewritten string, ok bool) {
	u, err := url.Parse(location)
	control := func(r rune) bool { return r < ' ' || r == 0x7f }
	if err != nil || location == "" || strings.ContainsFunc(location, control) || slices.Contains(strings.Split(u.Path, "/"), "..") {
		return "", false
	}
	switch {
	case u.Host == "" && (u.Scheme != "" || u.User != nil):
		return "", false
	case u.Host != "" && !sameOrigin(u, upstream):
		return location, true
	}
	path, ours := strings.CutPrefix(u.EscapedPath(), upstream.EscapedPath())
	if !ours || !strings.HasPrefix(path, "/v2/") {
		if u.Host == "" && !strings.HasPrefix(u.Path, "/") {
			return "", false // relative to what?
		}
		absolute := upstream.ResolveReference(u)
		absolute.User = nil
		return absolute.String(), true
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

// OwnLocation returns a Location header path-absolute where it names the
// upstream itself, and as it is otherwise: for pages that are forwarded
// untouched, of which no meaning is known.
func OwnLocation(location string, upstream *url.URL) string {
	u, err := url.Parse(location)
	if err != nil || u.Host == "" || u.User != nil || !sameOrigin(u, upstream) {
		return location
	}
	path := u.EscapedPath()
	switch {
	case path == "":
		path = "/"
	case strings.HasPrefix(path, "//"): // would name a host
		return location
	}
	own := (&url.URL{RawQuery: u.RawQuery, ForceQuery: u.ForceQuery, Fragment: u.Fragment, RawFragment: u.RawFragment}).String()
	return path + own
}
