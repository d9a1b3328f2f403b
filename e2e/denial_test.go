package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestWhatUsersSeeOfADenied403: with denial: denied, every client but containerd
// 1.6 shows the message, docker after words of its own that mislead.
func TestWhatUsersSeeOfADenied403(t *testing.T) {
	w := ownWorld(t, registryOptions{})
	w.mustBegin(t, "team/app")
	image := w.mustSay(t, "team/app", "signed", "signed words")
	w.mustSay(t, "team/app", "unsigned", "unsigned words")
	w.mustSign(t, "team/app", "signed", image)
	w.mustOpen(t, func(s *settings) { s.more = "denial: denied" })
	message := noTrustData(w, "team/app", "unsigned")
	wantRefused(t, w.manifest(t, "team/app", "unsigned"), 403, "DENIED", message)
	eachClient(t, func(t *testing.T, c client) {
		wantPulled(t, c, w, w.tag("team/app", "signed"), image)
		if c.instead != "" {
			c.instead = "403 Forbidden"
		}
		wantDenied(t, c, w, w.tag("team/app", "unsigned"), message)
	})
}

// fallsBack is a client on a host where Sealgate is its mirror of Docker Hub, in
// the usual way: without what would close the way to Docker Hub itself.
type fallsBack struct {
	name string
	pull func(t *testing.T, d dockerHub, mirror *gate, repository, tag string) error
	// stops: strict-mirror ends the pull, with the message shown.
	stops bool
}

var thatFallBack = []fallsBack{
	{"docker", func(t *testing.T, d dockerHub, mirror *gate, repository, tag string) error {
		d.daemon.mirror(t, namedURL(mirror))
		image := d.tag(repository, tag)
		defer d.daemon.forget(image)
		_, err := d.daemon.docker("pull", image)
		return err
	}, true},
	{"docker build", func(t *testing.T, d dockerHub, mirror *gate, repository, tag string) error {
		d.daemon.mirror(t, namedURL(mirror))
		defer d.daemon.forget(d.tag(repository, tag))
		out, err := build(t, d.daemon, builders[0].command, d.tag(repository, tag))
		return withOutput(out, err)
	}, true},
	{"BuildKit", func(t *testing.T, d dockerHub, mirror *gate, repository, tag string) error {
		// A daemon of its own: the BuildKit of dockerd 20.10 reads its mirrors once.
		daemon := must(startAnyDockerd(filepath.Join(must(os.MkdirTemp(suite.dir, "bk-"))(t), "d"), d.ca, d.hub.names(), "--registry-mirror", namedURL(mirror)))(t)
		defer daemon.close()
		// With BuildKit it is the CLI that fetches tokens.
		command := func(daemon *dockerDaemon) (argv, env []string, err error) {
			argv, env, err = daemon.buildKit()
			return resolving(must(hostsFile(t.TempDir(), d.hub.names()))(t), argv...), append(env, trusting(d.world)...), err
		}
		out, err := build(t, daemon, command, d.tag(repository, tag))
		return withOutput(out, err)
	}, true},
	{"containerd", func(t *testing.T, d dockerHub, mirror *gate, repository, tag string) error {
		dir := t.TempDir()
		hosts := filepath.Join(dir, "docker.io")
		if err := os.MkdirAll(hosts, 0o700); err != nil {
			return err
		}
		toml := fmt.Sprintf("server = %q\n[host.%q]\n  capabilities = [\"pull\", \"resolve\"]\n  ca = %q\n", "https://registry-1.docker.io", mirror.url, d.ca.file)
		if err := os.WriteFile(filepath.Join(hosts, "hosts.toml"), []byte(toml), 0o600); err != nil {
			return err
		}
		ctr := []string{"ctr", "--address", d.daemon.containerd, "--namespace", "e2e"}
		image := d.tag(repository, tag)
		defer func() { _, _ = run(nil, append(ctr, "images", "rm", "--sync", image)...) }()
		_, err := run(trusting(d.world), resolving(must(hostsFile(dir, d.hub.names()))(t), append(ctr, "content", "fetch", "--hosts-dir", dir, image)...)...)
		return err
	}, true},
	{"skopeo", func(t *testing.T, d dockerHub, mirror *gate, repository, tag string) error {
		dir := t.TempDir()
		conf := filepath.Join(dir, "registries.conf")
		text := fmt.Sprintf("[[registry]]\nprefix = \"docker.io\"\nlocation = \"docker.io\"\n[[registry.mirror]]\nlocation = %q\n", mirror.listen)
		if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
			return err
		}
		_, err := run(trusting(d.world), resolving(must(hostsFile(dir, d.hub.names()))(t), "skopeo", "--registries-conf", conf, "copy", "docker://"+d.tag(repository, tag), "dir:"+filepath.Join(dir, "image"))...)
		return err
	}, false},
}

// namedURL is a gate at a host name, which dockerd can resolve: BuildKit speaks
// no TLS to a mirror at a loopback address.
func namedURL(g *gate) string {
	_, port, _ := strings.Cut(g.listen, ":")
	return "https://" + registryName + ":" + port
}

// withOutput is err with what the command printed.
func withOutput(out string, err error) error {
	if err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

// TestAStrictMirrorKeepsClientsFromDockerHub: after a 404 of their mirror all
// clients pull the unsigned tag from Docker Hub; after the answer of
// strict-mirror those that it is for do not ask there, and say why.
func TestAStrictMirrorKeepsClientsFromDockerHub(t *testing.T) {
	t.Parallel()
	d := newDockerHub(t)
	open := func(change func(*settings)) *gate {
		address := must(freeAddress())(t)
		return d.openWith(t, address, []string{address, registryName}, change)
	}
	usual := open(func(*settings) {})
	strict := open(func(s *settings) { s.more = "denial: strict-mirror" })
	blind := open(func(s *settings) {
		s.more = "denial: strict-mirror"
		s.notary = "https://" + must(freeAddress())(t)
	})
	askedOf := func(before int, repository string) (asked []string) {
		for _, line := range d.hub.asked(before) {
			if strings.Contains(line, "/v2/"+repository) {
				asked = append(asked, line)
			}
		}
		return asked
	}
	for _, c := range thatFallBack {
		t.Run(c.name, func(t *testing.T) {
			for _, p := range []struct {
				mirror                   *gate
				repository, tag, message string
				stops                    bool
			}{
				{usual, "team/app", "unsigned", "", false},
				{strict, "team/app", "unsigned", "TAG IS NOT SIGNED (no trust data for tag 'unsigned' in docker.io/team/app; no such process)", c.stops},
				{strict, "team/plain", "latest", "TAG IS NOT SIGNED (remote trust data does not exist for docker.io/team/plain; no such process)", c.stops},
				{blind, "team/app", "signed", "TAG CANNOT BE JUDGED (trust server unreachable", c.stops},
			} {
				before := len(d.hub.asked(0))
				err := c.pull(t, d, p.mirror, p.repository, p.tag)
				asked := askedOf(before, p.repository)
				switch {
				case p.stops && (err == nil || !strings.Contains(err.Error(), p.message) || len(asked) != 0):
					t.Errorf("%s:%s, want the message %q: got %v, and Docker Hub was asked %q", p.repository, p.tag, p.message, err, asked)
				case !p.stops && (err != nil || len(asked) == 0):
					t.Errorf("%s:%s: does not fall back: got %v, and Docker Hub was asked %q", p.repository, p.tag, err, asked)
				}
			}
			before := len(d.hub.asked(0))
			if err := c.pull(t, d, strict, "team/app", "signed"); err != nil || len(askedOf(before, "team/app")) != 0 {
				t.Errorf("a signed tag: got %v, and Docker Hub was asked %q", err, askedOf(before, "team/app"))
			}
		})
	}
}
