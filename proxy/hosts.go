package proxy

import (
	"net"
	"net/http"
	"regexp"
	"strings"
)

// hosts finds the registry for a Host header: by host:port, then by host for
// any port, then "*".
type hosts struct {
	named  map[string]*gate // in lower case
	others *gate            // "*"
}

func (h *hosts) add(names []string, g *gate) {
	for _, name := range names {
		if name == "*" {
			h.others = g
			continue
		}
		if _, _, err := net.SplitHostPort(name); err != nil {
			name = bracketed(strings.Trim(name, "[]"))
		}
		h.named[strings.ToLower(name)] = g
	}
}

// hostGrammar is a Host header (RFC 9110 section 7.2): a name, an IPv4 or
// bracketed IPv6 address, and perhaps a port.
var hostGrammar = regexp.MustCompile(`^(?:[A-Za-z0-9._-]{1,255}|\[[0-9A-Fa-f:.]{2,64}\])(?::[0-9]{1,5})?$`)

// choose returns the registry that a request is for, and its target in origin
// form. net/http has refused repeated Host headers already, and for a target
// in absolute form the Host header is ignored (RFC 9112 section 3.2.2).
func (h *hosts) choose(r *http.Request) (*gate, string, error) {
	host, target := r.Host, r.RequestURI
	absolute := !strings.HasPrefix(target, "/")
	if absolute {
		var ok bool
		if host, target, ok = splitAbsolute(target); !ok || !strings.EqualFold(host, r.Host) {
			return nil, "", errBadHost
		}
	}
	// HTTP/2 has :authority, and a Host header beside it must agree (RFC 9113
	// section 8.3.1).
	if other, ok := r.Header["Host"]; ok && (len(other) != 1 || !strings.EqualFold(other[0], host)) {
		return nil, "", errBadHost
	}
	if g, ok := h.named[host]; ok { // the most frequent case, and in the grammar
		return g, target, nil
	}
	if !hostGrammar.MatchString(host) {
		return nil, "", errBadHost
	}
	g := h.find(strings.ToLower(host))
	switch {
	case g == nil && absolute:
		return nil, "", errBadHost
	case g == nil:
		return nil, "", errHost
	}
	return g, target, nil
}

func (h *hosts) find(host string) *gate {
	if g, ok := h.named[host]; ok {
		return g
	}
	if name, _, err := net.SplitHostPort(host); err == nil {
		if g, ok := h.named[bracketed(name)]; ok {
			return g
		}
	}
	return h.others
}

// bracketed is a host without a port as a Host header has it: an IPv6 address
// in brackets.
func bracketed(host string) string {
	if strings.Contains(host, ":") {
		return "[" + host + "]"
	}
	return host
}

// splitAbsolute splits "https://host/path" into host and path.
func splitAbsolute(target string) (host, path string, ok bool) {
	rest, ok := strings.CutPrefix(target, "https://")
	if !ok {
		if rest, ok = strings.CutPrefix(target, "http://"); !ok {
			return "", "", false
		}
	}
	slash := strings.IndexByte(rest, '/')
	if slash < 0 {
		return "", "", false
	}
	return rest[:slash], rest[slash:], true
}
