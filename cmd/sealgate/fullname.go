package main

import (
	"strings"

	"github.com/distribution/reference"
	"github.com/sealgate/sealgate/config"
	"github.com/sealgate/sealgate/proxy"
)

// fullName is an image as publishers name it where arg is what Docker's users
// type: "alpine:3.20" is docker.io/library/alpine:3.20. Only a configuration
// with Docker Hub in it has such names; everything else is returned as it is,
// for the caller to judge.
func fullName(cfg *config.Config, arg string) string {
	hub := false
	for _, reg := range cfg.Registries {
		if reg.Name == proxy.DockerHub {
			hub = true
		} else if strings.HasPrefix(arg, reg.Name+"/") {
			return arg // without a dot it looks like a user of Docker Hub
		}
	}
	named, err := reference.ParseNormalizedNamed(arg)
	if !hub || err != nil || reference.Domain(named) != proxy.DockerHub {
		return arg
	}
	return named.String()
}

// withRegistry is the full name of a repository as docker lists it, which leaves
// Docker Hub's name out.
func withRegistry(name string) string {
	named, err := reference.ParseNormalizedNamed(name)
	if err != nil {
		return name
	}
	return named.Name()
}
