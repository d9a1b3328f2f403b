package e2e

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// emitted is a host of clients that are set up as `sealgate doctor --emit` says,
// and that find a Docker Hub under its own names: what they could fall back to.
type emitted struct {
	dockerHub
	dir   string // the host's root, with the files that were emitted
	hosts string // its /etc/hosts
}

// emits has a gate's proxy.yaml made into the configuration of clients.
func (d dockerHub) emits(t *testing.T, g *gate) emitted {
	t.Helper()
	// Short, for podman, and its HOME has what a host has in /etc/containers:
	// podman and skopeo read both, whoever runs them.
	e := emitted{dockerHub: d, dir: must(os.MkdirTemp(suite.dir, "h-"))(t)}
	for _, kind := range []string{"containerd", "podman"} {
		mustRun(t, nil, suite.sealgate, "doctor", "--emit", kind, "--config", g.config, "--address", g.listen, "--ca-file", d.ca.file, "--out", e.dir)
	}
	config := filepath.Join(e.dir, ".config")
	if err := os.Mkdir(config, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(e.dir, "etc", "containers"), filepath.Join(config, "containers")); err != nil {
		t.Fatal(err)
	}
	e.hosts = must(hostsFile(e.dir, d.hub.names()))(t)
	return e
}

// run runs a client on the host. It would trust the hub.
func (e emitted) run(argv ...string) (string, error) {
	return run(append(trusting(e.world), "HOME="+e.dir), resolving(e.hosts, argv...)...)
}

// asksNobodyElse has a cell fail, too, where the hub was asked for the unsigned tag.
func asksNobodyElse(h *hub, here cell) cell {
	return cell{test: func(t *testing.T) outcome {
		before := len(h.asked(0))
		seen := here.test(t)
		if asked := h.asked(before); slices.ContainsFunc(asked, func(s string) bool { return strings.Contains(s, "unsigned") }) {
			t.Errorf("Docker Hub was asked %q", asked)
		}
		return seen
	}}
}

// row is a client's row, with its cells for a private registry's names replaced.
func (e emitted) row(name string, c client, more map[string]cell) matrixClient {
	cells := reads(e.scene, c, "docker.io")
	cells[unsignedTag] = asksNobodyElse(e.hub, cells[unsignedTag])
	return matrixClient{name, with(with(cells, map[string]cell{
		pushes:  without(notToDockerHub),
		signs:   without(notToDockerHub),
		resumes: without("as in the row without that file"),
	}), more)}
}

func containerdEmitted(_ *testing.T, e emitted) matrixClient {
	pull := func(_ *testing.T, _ *world, reference string) ([]string, error) {
		ctr := func(arguments ...string) (string, error) {
			return e.run(append([]string{"ctr", "--address", e.daemon.containerd, "--namespace", "e2e"}, arguments...)...)
		}
		if _, err := ctr("content", "fetch", "--hosts-dir", filepath.Join(e.dir, "etc/containerd/certs.d"), reference); err != nil {
			return nil, err
		}
		defer func() { _, _ = ctr("images", "rm", "--sync", reference) }()
		known, err := ctr("images", "ls", "name=="+reference)
		return anyDigest.FindAllString(strings.ReplaceAll(known, reference, ""), -1), err
	}
	return e.row("containerd, ctr, emitted `hosts.toml`", client{name: "ctr", pull: pull, instead: "not found"}, map[string]cell{
		list:   without("ctr has no command that lists a registry's tags"),
		runs:   without("as in the row without that file"),
		builds: without("containerd builds nothing: see BuildKit"),
	})
}

func podmanEmitted(_ *testing.T, e emitted) matrixClient {
	podman := func(p podmanHome) func(...string) (string, error) {
		return func(arguments ...string) (string, error) {
			return e.run(append([]string{"podman"}, p.arguments(arguments...)...)...)
		}
	}
	pull := func(t *testing.T, _ *world, reference string) ([]string, error) {
		p := newPodman(t, e.world)
		if _, err := podman(p)("pull", "--quiet", reference); err != nil {
			return nil, err
		}
		known, err := p.podman("image", "inspect", "--format", "{{.RepoDigests}}", reference)
		return anyDigest.FindAllString(known, -1), err
	}
	c := client{name: "podman", pull: pull}
	return e.row("podman, emitted `registries.conf`", c, map[string]cell{
		list: does("blocked", func(t *testing.T) {
			e.listsNothing(t, append([]string{"podman"}, newPodman(t, e.world).arguments("search", "--list-tags", "docker.io/team/list")...)...)
		}),
		runs: asksNobodyElse(e.hub, does("yes, refused", func(t *testing.T) {
			podmanRuns(t, podman(newPodman(t, e.world)), e.world, c)
		})),
		builds: asksNobodyElse(e.hub, does("yes, refused", func(t *testing.T) {
			podmanBuilds(t, podman(newPodman(t, e.world)), e.world, c)
		})),
	})
}

func skopeoEmitted(_ *testing.T, e emitted) matrixClient {
	pull := func(t *testing.T, _ *world, reference string) ([]string, error) {
		dir := t.TempDir()
		if _, err := e.run("skopeo", "copy", "--all", "--preserve-digests", "docker://"+reference, "dir:"+dir); err != nil {
			return nil, err
		}
		manifest, err := os.ReadFile(filepath.Join(dir, "manifest.json"))
		return []string{sha256Of(string(manifest))}, err
	}
	return e.row("skopeo, emitted `registries.conf`", client{name: "skopeo", pull: pull}, map[string]cell{
		list:   does("blocked", func(t *testing.T) { e.listsNothing(t, "skopeo", "list-tags", "docker://docker.io/team/list") }),
		runs:   without(copiesOnly),
		builds: without(copiesOnly),
	})
}

// listsNothing: podman and skopeo do not ask mirrors for lists, and the registry
// itself is blocked.
func (e emitted) listsNothing(t *testing.T, argv ...string) {
	t.Helper()
	before := len(e.hub.asked(0))
	if out, err := e.run(argv...); err == nil || !strings.Contains(err.Error(), "blocked") {
		t.Errorf("want a refusal that says blocked, got %v:\n%s", err, out)
	}
	if asked := e.hub.asked(before); len(asked) > 0 {
		t.Errorf("Docker Hub was asked %q", asked)
	}
}
