package proxy

import (
	"strings"

	"github.com/distribution/reference"
)

// DockerHub is the Name of the one registry whose repositories have short
// names.
const DockerHub = "docker.io"

// Repository is the full name of a repository of the registry of this name: at
// Docker Hub "alpine" is short for "library/alpine", as which it is stored and
// signed (distribution/reference v0.6.0, normalize.go). Everywhere else names
// are what they are.
func Repository(registry, name string) string {
	if registry == DockerHub && !strings.Contains(name, "/") {
		return "library/" + name
	}
	return name
}

// official puts the full name of the repository into a route, from where the
// decision, the registry's paths and the log have it. Trust metadata is asked
// for by full names only.
func (g *gate) official(route Route) (Route, error) {
	if g.Name != DockerHub {
		return route, nil
	}
	switch route.Kind {
	case Base, TrustMetadata, TrustCollection, TrustKey:
		return route, nil
	}
	if route.From != "" {
		route.From = Repository(g.Name, route.From)
	}
	route.Repository = Repository(g.Name, route.Repository)
	if len(route.Repository) > reference.RepositoryNameTotalLengthMax {
		return Route{}, errNoRoute
	}
	return route, nil
}
