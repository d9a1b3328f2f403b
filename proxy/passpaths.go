package proxy

import (
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"
)

// passPrefix is the configured prefix that a target lies under, literally: a
// path that would only be there once it is decoded is not. A prefix ends at a
// component's end, or has a "/" at its own.
func (g *gate) passPrefix(target string) (prefix string, found bool) {
	path, _, _ := strings.Cut(target, "?")
	for _, prefix := range g.PassPaths {
		rest, ok := strings.CutPrefix(path, prefix)
		if ok && (rest == "" || rest[0] == '/' || strings.HasSuffix(prefix, "/")) {
			return prefix, true
		}
	}
	return "", false
}

// servePassPath forwards a request below a prefix that the operator opened: the
// registry's pages and API, of which Sealgate understands nothing. What is
// certain is where it goes: to the registry, below the prefix, and never to the
// registry API, whatever decodes the path.
func (g *gate) servePassPath(w http.ResponseWriter, r *http.Request, target, prefix string, rec *record) error {
	path, query, asks := strings.Cut(target, "?")
	plain, ok := decodedPath(path)
	if !ok || !printable(query) || !g.below(prefix, path) {
		rec.path = prefix // as for what passes
		return errNoRoute
	}
	rec.routed(Route{Kind: PassPath, Reference: prefix})
	r = r.Clone(r.Context())
	// ReverseProxy would switch protocols, and then nothing would be seen any
	// more of what passes. A server may always ignore Upgrade (RFC 9110 section
	// 7.8).
	r.Header.Del("Upgrade")
	// RawPath is what goes out, as it came: it is in the grammar, so that
	// net/url finds nothing in it to escape.
	to := &url.URL{Scheme: g.URL.Scheme, Host: g.URL.Host, Path: plain, RawPath: path, RawQuery: query, ForceQuery: asks}
	forgetTargets(r.Header)
	return g.pour(w, r, to, rec.client.Address)
}

// below says whether every reading of a path stays below the prefix and away
// from the registry API. Servers decode a path more than once, fold what they
// find, and cut off what follows a ";" in a component; so all forms of it are
// looked at until nothing is left to decode.
func (g *gate) below(prefix, path string) bool {
	for range maxDecodings {
		if !cleanReading(path) || !strings.HasPrefix(path, prefix) || g.isAPI(path) || g.isAPI(withoutParams(path)) {
			return false
		}
		decoded := decodeOnce(path)
		if decoded == path {
			return true
		}
		path = decoded
	}
	return false
}

// maxDecodings is how often a path may be escaped over itself.
const maxDecodings = 8

// cleanReading: no component is empty, "." or "..", with or without what
// follows a ";", but the last may be empty; and nothing is a separator to some
// and a letter to others. Escapes are refused where they are no UTF-8, since
// lenient readers find dots and slashes in what is longer than it should be.
func cleanReading(path string) bool {
	if !utf8.ValidString(path) || strings.ContainsFunc(path, func(r rune) bool { return r < ' ' || r == 0x7f || r == '\\' }) {
		return false
	}
	components := strings.Split(path, "/")
	for i, component := range components[1:] {
		name, _, params := strings.Cut(component, ";")
		last := i == len(components)-2
		if name == "." || name == ".." || name == "" && (params || !last) {
			return false
		}
	}
	return components[0] == ""
}

// withoutParams is a path as servers read it that take what follows a ";" in a
// component for parameters of it (RFC 3986 section 3.3): those in Java do.
func withoutParams(path string) string {
	components := strings.Split(path, "/")
	for i, component := range components {
		components[i], _, _ = strings.Cut(component, ";")
	}
	return strings.Join(components, "/")
}

// isAPI says whether a path reads as one of the registry API: where the
// registry has it, or the manifests of another that the same server holds.
func (g *gate) isAPI(path string) bool {
	path = strings.ToLower(path)
	for _, api := range []string{"/v2", strings.ToLower(g.URL.Path) + "/v2"} {
		if path == api || strings.HasPrefix(path, api+"/") {
			return true
		}
	}
	_, after, found := strings.Cut(path, "/v2/")
	return found && strings.Contains("/"+after+"/", "/manifests/")
}

// decodedPath is a path without its escapes; ok where it is made of what may
// stand in one (RFC 3986 section 3.3).
func decodedPath(path string) (decoded string, ok bool) {
	for i := range len(path) {
		c := path[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		case strings.IndexByte("/-._~!$&'()*+,;=:@%", c) >= 0:
		default:
			return "", false
		}
	}
	decoded, err := url.PathUnescape(path)
	return decoded, err == nil
}

// decodeOnce decodes the escapes of a path, and leaves what is none of them as
// it is: a lenient reader would too.
func decodeOnce(path string) string {
	var b strings.Builder
	for i := 0; i < len(path); i++ {
		if path[i] == '%' && i+2 < len(path) {
			if c, err := url.PathUnescape(path[i : i+3]); err == nil {
				b.WriteString(c)
				i += 2
				continue
			}
		}
		b.WriteByte(path[i])
	}
	return b.String()
}

// printable says whether a query is made of visible characters: a blank in it
// would end the target for some readers.
func printable(query string) bool {
	for i := range len(query) {
		if c := query[i]; c <= ' ' || c >= 0x7f || c == '#' {
			return false
		}
	}
	return true
}
