package clients

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Hole is one way in which a client may be given a tag that Sealgate does not
// show.
type Hole struct {
	// Says is why.
	Says string
	// Fallback is whether it is open only as long as the client can reach the
	// registry itself: egress rules or DNS close it.
	Fallback bool
}

func always(format string, values ...any) Hole { return Hole{Says: fmt.Sprintf(format, values...)} }

func fallback(format string, values ...any) Hole {
	return Hole{Says: fmt.Sprintf(format, values...), Fallback: true}
}

// Holes tells what a hosts.toml of the registry leaves open to a client that is
// to ask for tags at gate, host or host:port, alone. That nobody is asked is no
// hole.
func (h Hosts) Holes(registry, gate string) []Hole {
	var holes []Hole
	if len(h.Others) == 0 {
		holes = append(holes, fallback("there is no [host] table: containerd ≤ 1.7 cannot read such a file, and asks %s as if it were not there", Origin(registry)))
	}
	server := h.Server
	if server.URL == "" {
		server.URL = "https://" + Origin(registry)
	}
	asked := false
	for _, host := range append(slices.Clone(h.Others), server) {
		address, plain := ofURL(host.URL)
		if !host.resolves() {
			continue
		}
		if SameHost(address, gate) {
			asked = true
			if host.SkipVerify {
				holes = append(holes, always("skip_verify = true: whoever answers at %s is believed", address))
			}
			if plain && !isLoopback(address) {
				holes = append(holes, always("%s is asked without TLS: whoever is on the way is believed", address))
			}
			continue
		}
		what := always("%s is asked for tags, and is not Sealgate", address)
		switch {
		case SameHost(address, Origin(registry)):
			what = fallback("%s is asked for tags when Sealgate refuses: leave \"resolve\" out of its capabilities (the default has it)", address)
		case !asked:
			what = always("%s is asked for tags before Sealgate is", address)
		}
		holes = append(holes, what)
	}
	return holes
}

// Holes tells what daemon.json leaves open.
func (d Daemon) Holes(registry, gate string) []Hole {
	var holes []Hole
	for _, insecure := range d.Insecure {
		network, err := netip.ParsePrefix(insecure)
		switch {
		case err == nil && network.Addr().IsLoopback():
		case err == nil:
			holes = append(holes, always("insecure-registries has %s: whoever answers at an address in it is believed", insecure))
		case SameHost(insecure, registry), SameHost(insecure, gate), SameHost(insecure, Origin(registry)):
			holes = append(holes, always("insecure-registries has %s: whoever answers there is believed", insecure))
		}
	}
	if registry != Hub {
		return holes
	}
	for _, mirror := range d.Mirrors {
		if address, _ := ofURL(strings.TrimSuffix(mirror, "/")); !SameHost(address, gate) {
			holes = append(holes, always("registry-mirrors has %s, which is not Sealgate", address))
		}
	}
	return holes
}

// StoreHoles tells what is left open where dockerd keeps images in its own store,
// in which nothing of its configuration helps.
func StoreHoles(registry string) []Hole {
	if registry != Hub {
		return nil // there is no mirror, and so no fallback
	}
	return []Hole{fallback("dockerd with its own image store falls back to %s whatever a mirror answers: only egress or DNS closes this", HubServer)}
}

// Holes tells what containerd's config.toml leaves open by itself.
func (c ContainerdConfig) Holes(registry, gate string) []Hole {
	var holes []Hole
	for _, mirrored := range c.Mirrors {
		if mirrored == registry || mirrored == "*" {
			holes = append(holes, fallback("registry.mirrors.%q: mirrors in this file always fall back to %s; use config_path and hosts.toml", mirrored, Origin(registry)))
		}
	}
	for _, host := range c.Unverified {
		if SameHost(host, gate) || SameHost(host, Origin(registry)) || host == registry {
			holes = append(holes, always("insecure_skip_verify at %s: whoever answers there is believed", host))
		}
	}
	return holes
}

// Holes tells what is left open to podman and its like.
func (r Registries) Holes(registry, gate string) []Hole {
	holes, covered := r.under(registry, gate)
	if !covered && !SameHost(Origin(registry), gate) {
		holes = append(holes, fallback("nothing is said of %s: %s is asked", registry, Origin(registry)))
	} else {
		holes = append(holes, r.aliasHoles(registry, gate)...)
	}
	for _, name := range r.Search {
		if name != registry {
			holes = append(holes, always("unqualified-search-registries has %s: a name without a registry may mean an image there", name))
		}
	}
	return holes
}

func (r Registries) aliasHoles(registry, gate string) []Hole {
	var holes []Hole
	var missing []string
	for _, alias := range Aliases(registry) {
		more, covered := r.under(alias, gate)
		holes = append(holes, more...)
		if !covered && !SameHost(alias, gate) && alias != "index.docker.io" { // which these clients take for docker.io
			missing = append(missing, alias)
		}
	}
	if len(missing) > 0 {
		holes = append(holes, fallback("nothing is said of %s, by which %s can be asked, too", strings.Join(missing, ", "), registry))
	}
	return holes
}

// under tells what is left open of the references that begin with name; covered is
// whether anything is said of all of them.
func (r Registries) under(name, gate string) (holes []Hole, covered bool) {
	for _, entry := range r.Registries {
		whole := entry.Prefix == name || wildcard(entry.Prefix, name)
		if whole || strings.HasPrefix(entry.Prefix, name+"/") {
			covered = covered || whole
			holes = append(holes, entry.holes(name, gate)...)
		}
	}
	return holes, covered
}

// wildcard is whether prefix, "*.example.com", covers the registry.
func wildcard(prefix, registry string) bool {
	suffix, ok := strings.CutPrefix(prefix, "*")
	return ok && strings.HasSuffix(hostOf(registry), suffix)
}

func (r Registry) holes(registry, gate string) []Hole {
	var holes []Hole
	location := r.Location
	if location == "" {
		location = r.Prefix
	}
	at, _ := ofURL(location)
	for i, mirror := range r.Mirrors {
		address, _ := ofURL(mirror.Location)
		digests := r.DigestOnly || mirror.From == "digest-only"
		switch {
		case digests:
		case !SameHost(address, gate):
			holes = append(holes, always("%s: mirror %d is %s, which is not Sealgate", r.Prefix, i+1, address))
		case mirror.Insecure && !isLoopback(address):
			holes = append(holes, always("%s: mirror %s has insecure = true: whoever answers there is believed", r.Prefix, address))
		}
	}
	switch {
	case r.Blocked:
	case SameHost(at, gate):
		if r.Insecure && !isLoopback(at) {
			holes = append(holes, always("%s: insecure = true: whoever answers at %s is believed", r.Prefix, at))
		}
	case strings.HasPrefix(location, registry):
		holes = append(holes, fallback("%s is not blocked: %s is asked when Sealgate refuses", r.Prefix, Origin(registry)))
	default:
		holes = append(holes, always("%s: %s is asked, and is not Sealgate", r.Prefix, at))
	}
	return holes
}

// isLoopback is whether host or host:port is this machine.
func isLoopback(address string) bool {
	host := hostOf(address)
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}
