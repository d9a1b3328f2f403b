// Package clients knows the files in which container clients say where images
// come from: dockerd's daemon.json, the hosts.toml of containerd and of dockerd
// with the containerd image store, and the registries.conf of podman, skopeo and
// buildah. It writes them for a Sealgate, in the form that leaves a client no way
// round it where the client has such a form, and it reads them and tells the
// holes.
//
// It is pure: bytes in, bytes out. It opens no file and no socket, resolves no
// name, and knows nothing of proxy.yaml. What it reads it reads as the clients
// do: a key that a client does not know is passed over, and named in Unknown, so
// that a misspelt one is seen. Everything is safe for concurrent use.
package clients

import (
	"net"
	"net/netip"
	"slices"
	"strings"
)

// Hub is the name of Docker Hub in references, HubServer where clients ask for
// its images when nothing else is configured.
const (
	Hub       = "docker.io"
	HubServer = "registry-1.docker.io"
)

// HubHosts are the names under which clients of Docker Hub ask for manifests and
// blobs; HubOthers those of its token server and of the places where its blobs
// are kept, which an egress rule has to think of too.
var (
	HubHosts  = []string{HubServer, "index.docker.io", "registry.hub.docker.com"}
	HubOthers = []string{"auth.docker.io", "production.cloudflare.docker.com", "docker-images-prod.6aa30f8b08e16409b46e0173d6de2f56.r2.cloudflarestorage.com"}
)

// Endpoint is one registry, and where its clients are to find the Sealgate that
// stands in front of it.
type Endpoint struct {
	// Registry is what stands first in references: host or host:port, in lower
	// case, or Hub.
	Registry string
	// Address is where clients reach Sealgate, host or host:port; without a
	// port 443, or 80 where Plain is true.
	Address string
	// Plain is whether Sealgate is spoken to without TLS there.
	Plain bool
	// Addresses are the IP addresses of Address, for rules that know no names.
	// Empty: not known.
	Addresses []netip.Addr
	// CA is the PEM of the authority that clients have to trust for Address.
	// Empty: they trust it already.
	CA []byte
}

// URL is that of Sealgate, without a path.
func (e Endpoint) URL() string {
	if e.Plain {
		return "http://" + e.Address
	}
	return "https://" + e.Address
}

// AtOwnName is whether clients reach Sealgate at the very name that stands in
// references, so that they need no configuration but the CA.
func (e Endpoint) AtOwnName() bool {
	if e.Registry == Hub {
		return slices.ContainsFunc(HubHosts, func(h string) bool { return SameHost(h, e.Address) })
	}
	return SameHost(e.Registry, e.Address)
}

// origin is where clients ask for the registry's images when nothing else is
// configured.
func (e Endpoint) origin() string { return "https://" + Origin(e.Registry) }

// Origin is the host, with its port where it has one, at which clients look for
// a registry's images when nothing else is configured.
func Origin(registry string) string {
	if registry == Hub {
		return HubServer
	}
	return registry
}

// Aliases are the other names under which clients can ask for the images of a
// registry without its owner's doing.
func Aliases(registry string) []string {
	if registry == Hub {
		return slices.Clone(HubHosts)
	}
	return nil
}

// SameHost is whether two of host or host:port are the same; no port is 443.
func SameHost(a, b string) bool {
	return strings.EqualFold(strings.TrimSuffix(a, ":443"), strings.TrimSuffix(b, ":443"))
}

// hostOf is the host of host or host:port, without brackets.
func hostOf(address string) string {
	if host, _, err := net.SplitHostPort(address); err == nil {
		return host
	}
	return strings.Trim(address, "[]")
}

// portOf is the port at which e is reached.
func (e Endpoint) portOf() string {
	if _, port, err := net.SplitHostPort(e.Address); err == nil {
		return port
	}
	if e.Plain {
		return "80"
	}
	return "443"
}

// ofURL is the host, with its port where it is given, of a URL or of what stands
// for one in these files; plain is whether it is spoken to without TLS.
func ofURL(s string) (host string, plain bool) {
	scheme, rest, found := strings.Cut(s, "://")
	if !found {
		scheme, rest = "https", s
	}
	host, _, _ = strings.Cut(rest, "/")
	if plain = scheme == "http"; plain && !strings.Contains(host, ":") {
		host += ":80"
	}
	return host, plain
}
