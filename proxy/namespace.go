package proxy

import (
	"net/url"
	"strings"
)

// namespaces are the registries that containerd's ns may choose on a host: by
// name, and by the hosts that mean them.
type namespaces map[string]*gate

func newNamespaces(gates []*gate) namespaces {
	n := namespaces{}
	for _, g := range gates {
		n[g.Name] = g
	}
	for _, g := range gates {
		for _, host := range g.Hosts {
			if host = canonicalHost(host); host != anyHost && n[host] == nil {
				n[host] = g
			}
		}
	}
	return n
}

// chosenBy is the gate for a request that has chosen it by ns.
func (g *gate) chosenBy(ns string) *gate {
	chosen := *g
	chosen.ns = ns
	return &chosen
}

// keepNamespace is a path on this host, with the ns that has chosen the gate:
// a client that goes on there with its credentials would otherwise show them to
// another registry.
func keepNamespace(ns, at string) string {
	if ns == "" || !strings.HasPrefix(at, "/") {
		return at
	}
	separator := "?"
	if strings.Contains(at, "?") {
		separator = "&"
	}
	return at + separator + "ns=" + url.QueryEscape(ns)
}

// keepNamespaceInLink is keepNamespace for a Link header of package rewrite.
func keepNamespaceInLink(ns, link string) string {
	at, rest, ok := strings.Cut(strings.TrimPrefix(link, "<"), ">")
	if !ok {
		return link
	}
	return "<" + keepNamespace(ns, at) + ">" + rest
}

// namespace reads ns from a target's query: the host of the reference that a
// client pulls, which containerd (v1.6 and v2.4, core/remotes/docker) adds
// where it asks another host than that. Docker Hub's other names mean
// DockerHub. given is false where there is no ns; one that comes twice or is no
// host is refused, since readers would differ on what it means.
func namespace(target string) (ns string, given bool, err error) {
	_, query, _ := strings.Cut(target, "?")
	for pair := range strings.SplitSeq(query, "&") {
		key, value, _ := strings.Cut(pair, "=")
		if key, err := url.QueryUnescape(key); err != nil || key != "ns" {
			continue
		}
		unescaped, err := url.QueryUnescape(value)
		if given || err != nil || !hostGrammar.MatchString(unescaped) {
			return "", true, errNamespace(value)
		}
		ns, given = strings.ToLower(unescaped), true
	}
	switch ns {
	case "index.docker.io", "registry-1.docker.io":
		ns = DockerHub
	}
	return ns, given, nil
}
