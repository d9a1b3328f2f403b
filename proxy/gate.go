package proxy

import (
	"net/http"

	"github.com/sealgate/sealgate/proxy/upstream"
)

// gate is the handler of one registry.
type gate struct {
	Registry
	*shared
	origin           string            // the registry's URL
	manifestUpstream http.RoundTripper // for the manifests of tags
	realms           *realms
	ns               string // of the request that this one is for; "" where none has chosen it
}

// newGate returns a gate before a registry that is complete.
func newGate(reg Registry, shared *shared) *gate {
	following := func(first http.RoundTripper) http.RoundTripper {
		return &upstream.Follower{Transport: first, Elsewhere: reg.Redirected, Hosts: reg.RedirectHosts}
	}
	g := &gate{Registry: reg, shared: shared, origin: reg.URL.String(), realms: &realms{}, manifestUpstream: following(reg.Upstream)}
	if reg.Follow {
		g.Bodies = following(reg.Bodies)
	}
	return g
}

// repo is a repository behind a gate.
type repo struct {
	name string // as the registry knows it
	gun  string // as it is signed: the registry's name, "/", name
}

func (g *gate) repo(name string) repo { return repo{name: name, gun: g.Name + "/" + name} }
