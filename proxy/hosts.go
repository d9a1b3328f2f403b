package proxy

import (
	"fmt"
	"net"
	"net/http"
	"regexp"
	"strings"
)

// hosts finds the registry for a request: by Host as host:port, then as host for
// any port, then "*"; on a mirror host, and on one that only "*" covers,
// containerd's ns comes first.
type hosts struct {
	named  map[string]*gate // in lower case
	others *gate            // "*"

	mirrors map[string]namespaces // by mirror host, as in named
	all     namespaces
}

// newHosts takes names before hosts, so that ns means the registry of that name
// where another one has it as a host.
func newHosts(gates []*gate) *hosts {
	h := &hosts{named: map[string]*gate{}, mirrors: map[string]namespaces{}, all: newNamespaces(gates)}
	listed := map[string][]*gate{}
	for _, g := range gates {
		for _, name := range g.Hosts {
			if name == anyHost {
				h.others = g
				continue
			}
			h.named[canonicalHost(name)] = g
		}
		for _, name := range g.MirrorHosts {
			name = canonicalHost(name)
			listed[name] = append(listed[name], g)
		}
	}
	for name, gates := range listed {
		h.mirrors[name] = newNamespaces(gates)
	}
	return h
}

// anyHost in Registry.Hosts stands for every Host that no registry names.
const anyHost = "*"

// canonicalHost is a configured host as a Host header has it, in lower case.
func canonicalHost(name string) string {
	if _, _, err := net.SplitHostPort(name); err != nil {
		name = bracketed(strings.Trim(name, "[]"))
	}
	return strings.ToLower(name)
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
	if g, ok := h.named[host]; ok && len(h.mirrors) == 0 { // the most frequent case, and in the grammar
		return g, target, nil
	}
	if !hostGrammar.MatchString(host) {
		return nil, "", errBadHost
	}
	g, err := h.find(strings.ToLower(host), target)
	if err == errHost && absolute {
		err = errBadHost
	}
	if err != nil {
		return nil, "", err
	}
	return g, target, nil
}

// find returns the registry for a Host in lower case. What ns names is decided
// among few, and a namespace that none of them has is refused: the answer of
// another registry would be a lie.
func (h *hosts) find(host, target string) (*gate, error) {
	g, named := lookup(h.named, host)
	among, mirror := lookup(h.mirrors, host)
	if !named {
		g = h.others
		if !mirror && g != nil {
			among, mirror = h.all, true
		}
	}
	if mirror {
		ns, given, err := namespace(target)
		switch {
		case err != nil:
			return nil, err
		case given && among[ns] == nil:
			refused := errNamespace(ns)
			refused.Cause = fmt.Errorf("ns=%.130q", ns) // a host by its grammar; the rest of a query is not logged
			return nil, refused
		case given:
			return among[ns].chosenBy(ns), nil
		case g == nil:
			return nil, errNoNamespace
		}
	}
	if g == nil {
		return nil, errHost
	}
	return g, nil
}

// lookup finds a host:port, then its host for any port.
func lookup[T any](by map[string]T, host string) (T, bool) {
	if found, ok := by[host]; ok {
		return found, true
	}
	name, _, err := net.SplitHostPort(host)
	if err != nil {
		var none T
		return none, false
	}
	found, ok := by[bracketed(name)]
	return found, ok
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
