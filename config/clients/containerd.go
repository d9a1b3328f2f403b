package clients

import (
	"strings"

	"github.com/BurntSushi/toml"
)

// ContainerdConfig is what of containerd's config.toml decides where the CRI's
// images come from.
type ContainerdConfig struct {
	// Paths are the directories of hosts.toml. Empty: the file names none.
	Paths []string
	// Mirrors are the registries that have mirrors in the file itself, the old
	// form, which always falls back.
	Mirrors []string
	// Unverified are the hosts at which whoever answers is believed.
	Unverified []string
}

// registryOfPlugin are the places of the CRI's registry configuration, from the
// oldest to the newest.
var registryOfPlugin = []string{"cri", "io.containerd.grpc.v1.cri", "io.containerd.cri.v1.images"}

// ReadContainerd reads containerd's config.toml; an empty one is one, too.
func ReadContainerd(text []byte) (ContainerdConfig, error) {
	type registry struct {
		ConfigPath string                    `toml:"config_path"`
		Mirrors    map[string]toml.Primitive `toml:"mirrors"`
		Configs    map[string]struct {
			TLS struct {
				Skip bool `toml:"insecure_skip_verify"`
			} `toml:"tls"`
		} `toml:"configs"`
	}
	var file struct {
		Plugins map[string]toml.Primitive `toml:"plugins"`
	}
	var c ContainerdConfig
	md, err := toml.Decode(string(text), &file)
	if err != nil {
		return c, misread(err)
	}
	for _, name := range registryOfPlugin {
		var plugin struct {
			Registry registry `toml:"registry"`
		}
		primitive, ok := file.Plugins[name]
		if !ok {
			continue
		}
		if err := md.PrimitiveDecode(primitive, &plugin); err != nil {
			return c, misread(err)
		}
		for _, dir := range strings.Split(plugin.Registry.ConfigPath, ":") {
			if dir != "" {
				c.Paths = append(c.Paths, dir)
			}
		}
		for mirrored := range plugin.Registry.Mirrors {
			c.Mirrors = append(c.Mirrors, mirrored)
		}
		for host, config := range plugin.Registry.Configs {
			if config.TLS.Skip {
				c.Unverified = append(c.Unverified, host)
			}
		}
	}
	return c, nil
}
