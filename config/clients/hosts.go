package clients

import (
	"fmt"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"
)

// Hosts is a hosts.toml: where containerd, and dockerd with the containerd image
// store, ask for the images of one registry.
type Hosts struct {
	// Server is asked last. Its URL is empty where the file names none: the
	// registry itself.
	Server Host
	// Others are asked before it, in this order.
	Others []Host
	// Unknown are the keys that containerd passes over.
	Unknown []string
}

// Host is one host that is asked.
type Host struct {
	URL string
	// Capabilities are what it is asked for: "pull" by digest, "resolve" of
	// tags, "push". Empty: everything.
	Capabilities []string
	// SkipVerify is whether whoever answers is believed.
	SkipVerify bool
}

// resolves is whether tags are asked of the host.
func (h Host) resolves() bool {
	return len(h.Capabilities) == 0 || slices.Contains(h.Capabilities, "resolve")
}

// hostTable is what containerd reads at the root and below each [host]. The
// credentials that the last ones may hold are read past.
type hostTable struct {
	Capabilities []string          `toml:"capabilities"`
	SkipVerify   bool              `toml:"skip_verify"`
	CA           toml.Primitive    `toml:"ca"`
	Client       toml.Primitive    `toml:"client"`
	Header       toml.Primitive    `toml:"header"`
	OverridePath bool              `toml:"override_path"`
	DialTimeout  string            `toml:"dial_timeout"`
	Rewrite      map[string]string `toml:"rewrite"` // of k3s
}

// ReadHosts reads a hosts.toml. An error is what containerd ≤ 1.7 logs and then
// asks the registry itself, as if there were no file.
func ReadHosts(text []byte) (Hosts, error) {
	var file struct {
		hostTable
		Server string               `toml:"server"`
		Host   map[string]hostTable `toml:"host"`
	}
	md, err := toml.Decode(string(text), &file)
	if err != nil {
		return Hosts{}, misread(err)
	}
	h := Hosts{Server: Host{file.Server, file.Capabilities, file.SkipVerify}}
	for _, key := range md.Keys() { // in the order of the file, which is that of asking
		if len(key) != 2 || key[0] != "host" {
			continue
		}
		table := file.Host[key[1]]
		h.Others = append(h.Others, Host{key[1], table.Capabilities, table.SkipVerify})
	}
	h.Unknown = unknown(md, "header", "ca", "client")
	return h, nil
}

// unknown names the keys that nothing was read into, but those below one of
// opaque.
func unknown(md toml.MetaData, opaque ...string) []string {
	var names []string
	for _, key := range md.Undecoded() {
		if !slices.ContainsFunc(key, func(part string) bool { return slices.Contains(opaque, part) }) {
			names = append(names, key.String())
		}
	}
	return names
}

// hostsTOML is the form that leaves no way round: tags are asked of Sealgate
// alone, since the server is not asked to resolve.
func (e Endpoint) hostsTOML() string {
	var b strings.Builder
	fmt.Fprintf(&b, "server = %q\ncapabilities = [\"pull\"]\n\n[host.%q]\n  capabilities = [\"pull\", \"resolve\"]\n", e.origin(), e.URL())
	if len(e.CA) > 0 && !e.Plain {
		b.WriteString("  ca = \"ca.crt\"\n") // beside this file
	}
	return b.String()
}

// hostsFiles are the hosts.toml of a registry below dir, and the CA beside it.
func (e Endpoint) hostsFiles(dir, whom string) []File {
	at := dir + "/" + e.Registry
	files := []File{{
		Path: at + "/hosts.toml",
		Says: []string{
			"For " + whom + ".",
			"It closes the fallback: tags of " + e.Registry + " are resolved at Sealgate only, and the server is asked by digest at most;",
			"it does not hold a client that reads another directory, or that is told another name of the registry.",
		},
		Text: e.hostsTOML(),
	}}
	files = append(files, e.authority(at+"/ca.crt", "The CA that hosts.toml beside it names. It closes nothing: without it the pull fails.")...)
	for _, alias := range Aliases(e.Registry) {
		files = append(files, File{
			Path: dir + "/" + alias + "/hosts.toml",
			Says: []string{"Another name of " + e.Registry + ". It closes that: under this name tags are asked of nobody; digests are."},
			Text: aliasTOML(alias),
		})
	}
	return files
}

// aliasTOML has a [host] only because containerd ≤ 1.7 could not read it without.
func aliasTOML(alias string) string {
	return fmt.Sprintf("server = \"https://%[1]s\"\ncapabilities = [\"pull\"]\n\n[host.\"https://%[1]s\"]\n  capabilities = [\"pull\"]\n", alias)
}

// ContainerdDir is where containerd's hosts.toml are by convention, DockerDir
// where dockerd looks for its own.
const (
	ContainerdDir = "/etc/containerd/certs.d"
	DockerDir     = "/etc/docker/certs.d"
)

// Containerd is what a host needs whose containerd is used by Kubernetes' CRI, by
// nerdctl or by ctr.
func Containerd(endpoints []Endpoint) []File {
	var files []File
	mirrored := false
	for _, e := range endpoints {
		if e.AtOwnName() {
			files = append(files, e.containerdAtOwnName()...)
			continue
		}
		mirrored = true
		files = append(files, e.hostsFiles(ContainerdDir, "containerd 1.6 and newer, read anew at each pull")...)
	}
	if mirrored {
		files = append(files, File{
			Path: "/etc/containerd/config.toml",
			Says: []string{
				"Merge this into the file that is there (containerd 2: the plugin is \"io.containerd.cri.v1.images\"), and restart containerd.",
				"It has the CRI read the files above, without which they close nothing; ctr reads them with --hosts-dir " + ContainerdDir + " only.",
				"Remove registry.mirrors and registry.configs, which exclude config_path.",
			},
			Text: containerdTOML,
		})
	}
	return files
}

const containerdTOML = `version = 2
[plugins."io.containerd.grpc.v1.cri".registry]
  config_path = "` + ContainerdDir + `"
`

// containerdAtOwnName needs no form that is closed: there is nothing to fall back
// to, but the CA has to be known.
func (e Endpoint) containerdAtOwnName() []File {
	if e.Registry == Hub {
		return append([]File{e.ownName("containerd")}, e.systemAuthority("containerd believes")...)
	}
	files := []File{e.ownName("containerd")}
	if len(e.CA) == 0 || e.Plain {
		return files
	}
	at := ContainerdDir + "/" + e.Registry
	files = append(files, File{
		Path: at + "/hosts.toml",
		Says: []string{
			"For containerd 1.6 and newer: only so that it believes the CA.",
			"It closes nothing by itself; that the name leads to Sealgate does.",
		},
		Text: e.ownHostsTOML(),
	})
	return append(files, e.authority(at+"/ca.crt", "The CA that hosts.toml beside it names. It closes nothing: without it the pull fails.")...)
}

// ownHostsTOML only names the CA: the server is Sealgate itself. Without a [host]
// containerd ≤ 1.7 would not read it.
func (e Endpoint) ownHostsTOML() string {
	return fmt.Sprintf("server = %[1]q\nca = \"ca.crt\"\n\n[host.%[1]q]\n  ca = \"ca.crt\"\n", e.URL())
}

// ownName says that there is nothing to configure.
func (e Endpoint) ownName(client string) File {
	return File{Says: []string{
		e.Registry + ": Sealgate stands at the registry's own name, so that " + client + " needs nothing but its CA.",
		"That closes every fallback, as long as the name leads to Sealgate and the origin answers nobody else.",
	}}
}
