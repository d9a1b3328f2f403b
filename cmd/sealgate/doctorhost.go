package main

import (
	"errors"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"

	clientfiles "github.com/sealgate/sealgate/config/clients"
)

// host reads the configuration of a host's clients. What it finds it adds to the
// report; what the files hold it does not repeat beyond names of hosts and keys.
type host struct {
	root     fs.FS
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
	text, err := readBounded(h.root, strings.TrimPrefix(file, "/"))
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
	h.bundled()
	h.buildkitd()
	h.podman()
}

func (h host) exists(names ...string) bool {
	return slices.ContainsFunc(names, func(name string) bool {
		_, err := fs.Stat(h.root, strings.TrimPrefix(name, "/"))
		return err == nil
	})
}

// dockerd examines those of the host and of its users, rootless.
func (h host) dockerd() {
	const client = "dockerd"
	if h.exists("/etc/docker", "/usr/bin/dockerd", "/usr/sbin/dockerd", "/usr/local/bin/dockerd") {
		h.daemon(clientfiles.DaemonFile, clientfiles.DockerDir)
		h.proxies(client, "/etc/default/docker", "/etc/systemd/system/docker.service.d")
	}
	for _, home := range h.homes() {
		if file := path.Join(home, ".config/docker/daemon.json"); h.exists(file) {
			h.daemon(file, path.Join(home, ".config/docker/certs.d"))
		}
	}
}

// daemon examines one dockerd, which has two stores of images: its own, which
// knows registry-mirrors, and containerd's, which knows hosts.toml.
func (h host) daemon(file, dir string) {
	const client = "dockerd"
	daemon, err := clientfiles.ReadDaemon(h.read(client, file))
	if err != nil {
		h.report.add(levelUnknown, client, file, "cannot be understood: %v", err)
	}
	h.holes(client, file, daemon.Holes(h.registry, h.gate), "")
	if daemon.Proxies.HTTP != "" || daemon.Proxies.HTTPS != "" {
		h.proxied(client, file)
	}
	on, known := daemon.ContainerdStore()
	if on || !known {
		if found := h.registryDirs(client, dir); !found && on {
			h.holes(client, dir, h.noHosts(h.registry), "")
		}
	}
	if !on {
		h.holes(client, file, clientfiles.StoreHoles(h.registry), "")
	}
}

// proxied says that a client may reach the registry where the doctor, which asks
// directly, does not.
func (h host) proxied(client, file string) {
	if h.fallback == originSilent {
		h.report.add(levelUnknown, client, file, "it asks by a web proxy, from which %s may be reached", clientfiles.Origin(h.registry))
	}
}

// proxySetting is one in the environment of a service.
var proxySetting = regexp.MustCompile(`(?im)^[^#\n]*\bhttps?_proxy=.`)

// proxies looks for web proxies in the environment of a service.
func (h host) proxies(client, defaults, dropIns string) {
	for _, file := range append([]string{defaults}, h.below(client, dropIns)...) {
		if proxySetting.Match(h.read(client, file)) {
			h.proxied(client, file)
		}
	}
}

// noHosts is the hole where a hosts.toml would have to be.
func (h host) noHosts(name string) []clientfiles.Hole {
	if clientfiles.SameHost(h.gate, clientfiles.Origin(name)) {
		return nil // nothing is needed
	}
	return []clientfiles.Hole{{Says: "no hosts.toml for " + name + ": " + clientfiles.Origin(name) + " is asked", Fallback: true}}
}

// registryDirs examines what is said below dir of the registry and of its other
// names; false where nothing is said of it.
func (h host) registryDirs(client, dir string) bool {
	if !h.hostsTOML(client, dir, h.registry, "tags are asked of Sealgate alone") {
		return false
	}
	var missing []string
	for _, alias := range clientfiles.Aliases(h.registry) {
		known := client == "dockerd" && alias == "index.docker.io" // which dockerd takes for docker.io
		if !known && !h.hostsTOML(client, dir, alias, "") && len(h.noHosts(alias)) > 0 {
			missing = append(missing, alias)
		}
	}
	if len(missing) > 0 {
		says := "no hosts.toml for " + strings.Join(missing, ", ") + ", by which " + h.registry + " can be asked, too"
		h.holes(client, dir, []clientfiles.Hole{{Says: says, Fallback: true}}, "")
	}
	return true
}

// hostsTOML examines the hosts.toml of a registry's name below dir; false where
// there is none.
func (h host) hostsTOML(client, dir, name, good string) bool {
	places := []string{name, "_default"}
	if host, port, ok := strings.Cut(name, ":"); ok {
		places = slices.Insert(places, 0, host+"_"+port+"_") // looked for first
	}
	for _, place := range places {
		file := path.Join(dir, place, "hosts.toml")
		text := h.read(client, file)
		if text == nil {
			continue
		}
		hosts, err := clientfiles.ReadHosts(text)
		if err != nil {
			h.holes(client, file, []clientfiles.Hole{{Says: "cannot be understood, and is passed over: " + clientfiles.Origin(name) + " is asked", Fallback: true}}, "")
			return true
		}
		h.unknownKeys(client, file, hosts.Unknown)
		h.holes(client, file, hosts.Holes(name, h.gate), good)
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
	h.proxies(client, "/etc/default/containerd", "/etc/systemd/system/containerd.service.d")
	for _, dir := range paths {
		if h.registryDirs(client, dir) {
			return
		}
	}
	h.holes(client, paths[0], h.noHosts(h.registry), "")
}

// bundled examines the containerd that a distribution of Kubernetes brings, which
// writes the hosts.toml itself, from its registries.yaml.
func (h host) bundled() {
	for _, client := range []string{"k3s", "rke2"} {
		state := "/var/lib/rancher/" + client + "/agent/etc/containerd"
		dir := state + "/certs.d"
		if h.exists(state) && !h.registryDirs(client, dir) {
			h.holes(client, dir, h.noHosts(h.registry), "")
		}
	}
}

// buildkitd has mirrors in a form that always falls back.
func (h host) buildkitd() {
	const client, file = "buildkitd", "/etc/buildkit/buildkitd.toml"
	if h.exists(file, "/usr/bin/buildkitd", "/usr/local/bin/buildkitd") && len(h.noHosts(h.registry)) > 0 {
		origin := clientfiles.Origin(h.registry)
		h.holes(client, file, []clientfiles.Hole{{Says: "it falls back to " + origin + " whatever a mirror answers: only egress or DNS closes this", Fallback: true}}, "")
	}
}

// podman stands for all that read registries.conf. A user's own file replaces the
// system's; what is in the .d directories comes over either.
func (h host) podman() {
	const client, etc, own = "podman", "/etc/containers/registries.conf", ".config/containers/registries.conf"
	if !h.exists("/etc/containers", "/usr/bin/podman", "/usr/bin/skopeo", "/usr/bin/buildah") {
		return
	}
	system := h.below(client, etc+".d")
	h.judge(append([]string{etc}, system...), etc)
	for _, home := range h.homes() {
		file := path.Join(home, own)
		dropped := h.below(client, file+".d")
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

// below lists the .conf files of a directory in their order.
func (h host) below(client, dir string) []string {
	entries, err := fs.ReadDir(h.root, strings.TrimPrefix(dir, "/"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		h.report.add(levelUnknown, client, dir, "cannot be read: %s", reason(err))
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
	entries, _ := fs.ReadDir(h.root, "home") // there may be none
	for _, entry := range entries {
		homes = append(homes, path.Join("/home", entry.Name()))
	}
	return homes
}
