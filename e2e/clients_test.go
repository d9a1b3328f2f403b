package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// client is a real client program.
type client struct {
	name string

	// pull fetches a reference and returns the digest by which the client then
	// knows the image, as it says or as its files on disk have it. Of an index
	// some know the chosen image's digest as well.
	pull func(t *testing.T, w *world, reference string) (digests []string, err error)

	// instead is what the client prints where it keeps a denial's message to
	// itself; empty where it shows the message.
	instead string
}

// clients are all that pull by tag and by digest.
var clients = []client{
	{name: "docker", pull: dockerPull},
	{name: "skopeo", pull: skopeoCopy},
	{name: "podman", pull: podmanPull},
	{name: "crane", pull: cranePull},
	{name: "regctl", pull: regctlCopy},
	{name: "containerd", pull: ctrFetch, instead: "not found"},
}

// shows tells whether the client told its user of a denial in these words.
func (c client) shows(err error, message string) bool {
	if c.instead != "" {
		message = c.instead
	}
	return err != nil && strings.Contains(strings.ReplaceAll(err.Error(), `\"`, `"`), message)
}

var anyDigest = regexp.MustCompile(`sha256:[0-9a-f]{64}`)

// dockerPull leaves nothing behind, so that the next pull is a pull.
func dockerPull(t *testing.T, _ *world, reference string) ([]string, error) {
	d := mustDockerd(t)
	defer d.forget(reference)
	if _, err := d.docker("pull", reference); err != nil {
		return nil, err
	}
	known, err := d.docker("image", "inspect", "--format", "{{join .RepoDigests \" \"}}", reference)
	return anyDigest.FindAllString(known, -1), err
}

func skopeoCopy(t *testing.T, w *world, reference string) ([]string, error) {
	dir := t.TempDir()
	if _, err := run(nil, "skopeo", "copy", "--all", "--preserve-digests", "--src-cert-dir", w.ca.dir, "docker://"+reference, "dir:"+dir); err != nil {
		return nil, err
	}
	manifest, err := os.ReadFile(filepath.Join(dir, "manifest.json"))
	return []string{sha256Of(string(manifest))}, err
}

func podmanPull(t *testing.T, w *world, reference string) ([]string, error) {
	p := newPodman(t, w)
	if _, err := p.podman("pull", "--quiet", "--cert-dir", w.ca.dir, reference); err != nil {
		return nil, err
	}
	known, err := p.podman("image", "inspect", "--format", "{{.RepoDigests}}", reference)
	return anyDigest.FindAllString(known, -1), err
}

// podmanHome is a podman with a storage of its own.
type podmanHome struct {
	dir   string
	world *world // whose CA it trusts
}

func newPodman(t *testing.T, w *world) podmanHome {
	t.Helper()
	return podmanHome{must(os.MkdirTemp(suite.dir, "p-"))(t), w} // podman refuses a long path
}

func (p podmanHome) podman(arguments ...string) (string, error) {
	return run(trusting(p.world), append([]string{"podman"}, p.arguments(arguments...)...)...)
}

func (p podmanHome) arguments(more ...string) []string {
	return append([]string{
		"--root", filepath.Join(p.dir, "root"), "--runroot", filepath.Join(p.dir, "run"), "--tmpdir", filepath.Join(p.dir, "tmp"),
		"--storage-driver", "vfs", "--cgroup-manager", "cgroupfs", "--events-backend", "none",
	}, more...)
}

func cranePull(t *testing.T, w *world, reference string) ([]string, error) {
	dir := filepath.Join(t.TempDir(), "image")
	if _, err := run(trusting(w), "crane", "pull", "--format", "oci", reference, dir); err != nil {
		return nil, err
	}
	return layoutDigests(dir)
}

func regctlCopy(t *testing.T, w *world, reference string) ([]string, error) {
	dir := t.TempDir()
	env := append(trusting(w), "REGCTL_CONFIG="+filepath.Join(dir, "regctl.json"))
	if _, err := run(env, "regctl", "image", "copy", reference, "ocidir://"+filepath.Join(dir, "image")+":copied"); err != nil {
		return nil, err
	}
	return layoutDigests(filepath.Join(dir, "image"))
}

func ctrFetch(t *testing.T, w *world, reference string) ([]string, error) {
	hosts, err := ctrHosts(t, w)
	if err != nil {
		return nil, err
	}
	ctr := ctrCommand(t)
	if _, err := ctr("content", "fetch", "--hosts-dir", hosts, reference); err != nil {
		return nil, err
	}
	defer func() { _, _ = ctr("images", "rm", "--sync", reference) }()
	list, err := ctr("images", "ls", "name=="+reference)
	return anyDigest.FindAllString(strings.ReplaceAll(list, reference, ""), -1), err
}

// ctrCommand runs ctr at the containerd that the suite's dockerd brought.
func ctrCommand(t *testing.T) func(arguments ...string) (string, error) {
	d := mustDockerd(t)
	return func(arguments ...string) (string, error) {
		return run(nil, append([]string{"ctr", "--address", d.containerd, "--namespace", "e2e"}, arguments...)...)
	}
}

// ctrHosts is a directory with the hosts.toml of the world's gate.
func ctrHosts(t *testing.T, w *world) (string, error) {
	hosts := filepath.Join(t.TempDir(), "hosts")
	registry := filepath.Join(hosts, w.listen)
	if err := os.MkdirAll(registry, 0o700); err != nil {
		return "", err
	}
	// Without this containerd would speak plain HTTP on loopback.
	hostsTOML := fmt.Sprintf("server = %q\nca = %q\n[host.%q]\n  ca = %q\n", w.gate.url, w.ca.file, w.gate.url, w.ca.file)
	return hosts, os.WriteFile(filepath.Join(registry, "hosts.toml"), []byte(hostsTOML), 0o600)
}

// trusting is the environment of a Go client that trusts the world's CA.
func trusting(w *world) []string {
	return []string{"SSL_CERT_FILE=" + w.ca.file, "SSL_CERT_DIR=" + w.ca.dir}
}

// layoutDigests are the digests in an OCI layout's index: one, after one pull.
func layoutDigests(dir string) ([]string, error) {
	b, err := os.ReadFile(filepath.Join(dir, "index.json"))
	if err != nil {
		return nil, err
	}
	var index struct{ Manifests []struct{ Digest string } }
	if err := json.Unmarshal(b, &index); err != nil {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	var digests []string
	for _, m := range index.Manifests {
		digests = append(digests, m.Digest)
	}
	return digests, nil
}
