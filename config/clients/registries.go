package clients

import (
	"errors"
	"fmt"
	"strings"

	"github.com/BurntSushi/toml"
)

// Registries is a registries.conf, version 2, or one of the files in its
// registries.conf.d: where podman, skopeo, buildah and CRI-O ask for images.
type Registries struct {
	// Search are the registries in which a name without one is looked for, in
	// this order. Nil: the file does not say.
	Search []string `toml:"unqualified-search-registries"`
	// Registries are what is said of some of them.
	Registries []Registry `toml:"registry"`
	// Unknown are the keys that these clients pass over.
	Unknown []string `toml:"-"`
}

// Registry is what is said of the references that begin with Prefix.
type Registry struct {
	// Prefix is a registry, with or without a part of a repository, or
	// "*.example.com". Never empty after ReadRegistries: Location is its default.
	Prefix string `toml:"prefix"`
	// Location is what Prefix is replaced by. Empty: not replaced.
	Location string `toml:"location"`
	// Blocked is whether Location is never asked, but its mirrors are.
	Blocked bool `toml:"blocked"`
	// Insecure is whether whoever answers at Location is believed.
	Insecure bool `toml:"insecure"`
	// DigestOnly is whether mirrors are asked by digest only.
	DigestOnly bool `toml:"mirror-by-digest-only"`
	// Mirrors are asked before Location, in this order.
	Mirrors []Mirror `toml:"mirror"`
}

// Mirror is one of them.
type Mirror struct {
	Location string `toml:"location"`
	Insecure bool   `toml:"insecure"`
	// From is when it is asked: "all" (also when empty), "digest-only" or
	// "tag-only".
	From string `toml:"pull-from-mirror"`
}

// ErrVersion1 is that the file is of the version that knows no mirrors.
var ErrVersion1 = errors.New("it has the form of version 1, which knows no mirrors")

// ReadRegistries reads a registries.conf or one of the files beside it.
func ReadRegistries(text []byte) (Registries, error) {
	var file struct {
		Registries
		V1        map[string]any    `toml:"registries"`
		Helpers   []string          `toml:"credential-helpers"`
		ShortName string            `toml:"short-name-mode"`
		Aliases   map[string]string `toml:"aliases"`
		Layers    string            `toml:"additional-layer-store-auth-helper"`
	}
	md, err := toml.Decode(string(text), &file)
	if err != nil {
		return Registries{}, misread(err)
	}
	if md.IsDefined("registries") {
		return Registries{}, ErrVersion1
	}
	r := file.Registries
	for i := range r.Registries {
		if r.Registries[i].Prefix == "" {
			r.Registries[i].Prefix = r.Registries[i].Location
		}
	}
	r.Unknown = unknown(md)
	return r, nil
}

// Over is r over what was read before: what r says of a prefix replaces what
// earlier says of the same.
func (r Registries) Over(earlier Registries) Registries {
	merged := Registries{Search: earlier.Search, Unknown: append(earlier.Unknown[:len(earlier.Unknown):len(earlier.Unknown)], r.Unknown...)}
	if r.Search != nil {
		merged.Search = r.Search
	}
	replaced := map[string]bool{}
	for _, registry := range r.Registries {
		replaced[registry.Prefix] = true
	}
	for _, registry := range earlier.Registries {
		if !replaced[registry.Prefix] {
			merged.Registries = append(merged.Registries, registry)
		}
	}
	merged.Registries = append(merged.Registries, r.Registries...)
	return merged
}

// PodmanFile is where podman, skopeo, buildah and CRI-O find what is emitted.
const PodmanFile = "/etc/containers/registries.conf.d/50-sealgate.conf"

// Podman is what a host with podman, skopeo, buildah or CRI-O needs.
func Podman(endpoints []Endpoint) []File {
	var files []File
	var text strings.Builder
	var names []string
	for _, e := range endpoints {
		if e.AtOwnName() {
			files = append(files, e.ownName("podman"))
		} else {
			names = append(names, e.Registry)
			text.WriteString(e.registryTOML())
		}
		at := e.Address
		if e.AtOwnName() {
			at = Origin(e.Registry)
		}
		files = append(files, e.authority("/etc/containers/certs.d/"+at+"/ca.crt",
			"The CA, for podman, skopeo, buildah and CRI-O. It closes nothing: without it the pull fails.")...)
	}
	if text.Len() == 0 {
		return files
	}
	return append([]File{{
		Path: PodmanFile,
		Says: []string{
			"For podman, skopeo, buildah and CRI-O (which is to be reloaded); read anew at each pull.",
			"It closes the fallback: " + strings.Join(names, ", ") + " itself is blocked, and Sealgate is asked alone;",
			"it does not hold a user whose own ~/.config/containers/registries.conf or .conf.d says otherwise, nor dockerd and containerd.",
		},
		Text: strings.TrimPrefix(text.String(), "\n"),
	}}, files...)
}

// registryTOML blocks the other names of the registry, too, and has no mirror for
// them.
func (e Endpoint) registryTOML() string {
	text := blockedTOML(e.Registry) + fmt.Sprintf("\n[[registry.mirror]]\nlocation = %q\n", e.Address)
	if e.Plain {
		text += "insecure = true\n"
	}
	for _, alias := range Aliases(e.Registry) {
		text += blockedTOML(alias)
	}
	return text
}

func blockedTOML(name string) string {
	return fmt.Sprintf("\n[[registry]]\nprefix = %[1]q\nlocation = %[1]q\nblocked = true\n", name)
}
