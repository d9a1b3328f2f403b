package main

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	clientfiles "github.com/sealgate/sealgate/config/clients"
)

// host reads the configuration of a host's clients, below a root that a symbolic
// link cannot lead out of. What it finds it adds to the report; what the files
// hold it does not repeat beyond names of hosts.
type host struct {
	root     *os.Root
	registry string
	gate     string // host or host:port of Sealgate, as this host is to know it
	fallback origin
	report   *diagnosis
}

// origin is whether clients that fall back reach the registry itself.
type origin int

const (
	originAnswers  origin = iota // holes that are fallbacks are open
	originSealgate               // its name leads to Sealgate
	originSilent                 // nobody answers there
)

// read reads a file; nil where there is none, and where it cannot be read, which
// is said.
func (h host) read(client, file string) []byte {
	text, err := readBounded(h.root.Open, strings.TrimPrefix(file, "/"))
	switch {
	case err == nil && text == nil:
		return []byte{}
	case err == nil || errors.Is(err, fs.ErrNotExist):
		return text
	}
	h.report.add(levelUnknown, client, file, "cannot be read: %s", reason(err))
	return nil
}

// reason is err without the path, which has been said.
func reason(err error) error {
	var at *fs.PathError
	if errors.As(err, &at) {
		return at.Err
	}
	return err
}

// holes adds what a file leaves open, or that it leaves nothing open.
func (h host) holes(client, file string, holes []clientfiles.Hole, good string) {
	for _, hole := range holes {
		switch {
		case !hole.Fallback || h.fallback == originAnswers:
			h.report.add(levelHole, client, file, "%s", hole.Says)
		case h.fallback == originSealgate:
			h.report.add(levelClosed, client, file, "%s; but there Sealgate answers", hole.Says)
		default:
			h.report.add(levelClosed, client, file, "%s; but nothing answers there", hole.Says)
		}
	}
	if len(holes) == 0 && good != "" {
		h.report.add(levelOK, client, file, "%s", good)
	}
}

func (h host) unknownKeys(client, file string, keys []string) {
	if len(keys) > 0 {
		h.report.add(levelNote, client, file, "%s passes over %s", client, strings.Join(keys, ", "))
	}
}

// examine reads everything.
func (h host) examine() {
	h.dockerd()
	h.containerd()
	h.podman()
}

func (h host) exists(names ...string) bool {
	return slices.ContainsFunc(names, func(name string) bool {
		_, err := h.root.Stat(strings.TrimPrefix(name, "/"))
		return err == nil
	})
}

// dockerd has two stores of images: its own, which knows registry-mirrors, and
// containerd's, which knows hosts.toml.
func (h host) dockerd() {
	const client = "dockerd"
	if !h.exists("/etc/docker", "/usr/bin/dockerd", "/usr/sbin/dockerd", "/usr/local/bin/dockerd") {
		return
	}
	daemon, err := clientfiles.ReadDaemon(h.read(client, clientfiles.DaemonFile))
	if err != nil {
		h.report.add(levelUnknown, client, clientfiles.DaemonFile, "cannot be understood: %v", err)
	}
	h.holes(client, clientfiles.DaemonFile, daemon.Holes(h.registry, h.gate), "")
	on, known := daemon.ContainerdStore()
	if on || !known {
		if found := h.hostsTOML(client, clientfiles.DockerDir); !found && on {
			h.holes(client, clientfiles.DockerDir, h.noHosts(), "")
		}
	}
	if !on {
		h.holes(client, clientfiles.DaemonFile, clientfiles.StoreHoles(h.registry), "")
	}
}

// noHosts is the hole where hosts.toml would have to be.
func (h host) noHosts() []clientfiles.Hole {
	if clientfiles.SameHost(h.gate, clientfiles.Origin(h.registry)) {
		return nil // nothing is needed
	}
	return []clientfiles.Hole{{Says: "no hosts.toml for " + h.registry + ": " + clientfiles.Origin(h.registry) + " is asked", Fallback: true}}
}

// hostsTOML examines the hosts.toml of the registry below dir; false where there
// is none.
func (h host) hostsTOML(client, dir string) bool {
	names := []string{h.registry, "_default"}
	if name, port, ok := strings.Cut(h.registry, ":"); ok {
		names = slices.Insert(names, 0, name+"_"+port+"_") // looked for first
	}
	for _, name := range names {
		file := path.Join(dir, name, "hosts.toml")
		text := h.read(client, file)
		if text == nil {
			continue
		}
		hosts, err := clientfiles.ReadHosts(text)
		if err != nil {
			h.holes(client, file, []clientfiles.Hole{{Says: "cannot be understood, and is passed over: " + clientfiles.Origin(h.registry) + " is asked", Fallback: true}}, "")
			return true
		}
		h.unknownKeys(client, file, hosts.Unknown)
		h.holes(client, file, hosts.Holes(h.registry, h.gate), "tags are asked of Sealgate alone")
		return true
	}
	return false
}

func (h host) containerd() {
	const client, file = "containerd", "/etc/containerd/config.toml"
	if !h.exists("/etc/containerd", "/usr/bin/containerd", "/usr/local/bin/containerd") {
		return
	}
	c, err := clientfiles.ReadContainerd(h.read(client, file))
	if err != nil {
		h.report.add(levelUnknown, client, file, "cannot be understood: %v", err)
	}
	h.holes(client, file, c.Holes(h.registry, h.gate), "")
	paths := c.Paths
	if len(paths) == 0 {
		paths = []string{clientfiles.ContainerdDir, clientfiles.DockerDir} // containerd 2's default
		if h.exists(paths...) {
			h.report.add(levelNote, client, file, "config_path is not set: containerd ≤ 1.7 reads no hosts.toml for Kubernetes")
		}
	}
	for _, dir := range paths {
		if h.hostsTOML(client, dir) {
			return
		}
	}
	h.holes(client, paths[0], h.noHosts(), "")
}

// podman stands for all that read registries.conf. A user's own file replaces the
// system's; what is in the .d directories comes over either.
func (h host) podman() {
	const client, etc, own = "podman", "/etc/containers/registries.conf", ".config/containers/registries.conf"
	if !h.exists("/etc/containers", "/usr/bin/podman", "/usr/bin/skopeo", "/usr/bin/buildah") {
		return
	}
	system := h.registriesBelow(etc + ".d")
	h.judge(append([]string{etc}, system...), etc)
	for _, home := range h.homes() {
		file := path.Join(home, own)
		dropped := h.registriesBelow(file + ".d")
		if !h.exists(file) && len(dropped) == 0 {
			continue
		}
		base, named := etc, file+".d"
		if h.exists(file) {
			base, named = file, file
		}
		h.judge(slices.Concat([]string{base}, system, dropped), named)
	}
}

// judge reads the files one over the other, and says of the last what they leave
// open together.
func (h host) judge(files []string, named string) {
	const client = "podman"
	var all clientfiles.Registries
	for _, file := range files {
		text := h.read(client, file)
		r, err := clientfiles.ReadRegistries(text)
		if err != nil {
			h.report.add(levelUnknown, client, file, "cannot be understood: %v", err)
			continue
		}
		h.unknownKeys(client, file, r.Unknown)
		if all = r.Over(all); len(r.Registries) > 0 {
			named = file
		}
	}
	h.holes(client, named, all.Holes(h.registry, h.gate), "tags are asked of Sealgate alone")
}

// registriesBelow lists the .conf files of a directory in their order.
func (h host) registriesBelow(dir string) []string {
	entries, err := fs.ReadDir(h.root.FS(), strings.TrimPrefix(dir, "/"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		h.report.add(levelUnknown, "podman", dir, "cannot be read: %s", reason(err))
	}
	var files []string
	for _, entry := range entries {
		if !entry.IsDir() && path.Ext(entry.Name()) == ".conf" {
			files = append(files, path.Join(dir, entry.Name()))
		}
	}
	return files
}

// homes are the home directories of people and of root.
func (h host) homes() []string {
	homes := []string{"/root"}
	entries, _ := fs.ReadDir(h.root.FS(), "home") // there may be none
	for _, entry := range entries {
		homes = append(homes, path.Join("/home", entry.Name()))
	}
	return homes
}
