package e2e

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// newIsland is a network namespace with nothing but its own loopback: what is not
// in it cannot be reached from it, nor it from anywhere.
func newIsland() (n *network, err error) {
	n = &network{link: fmt.Sprintf("%sisland-%d", linksOfRun(), rand.IntN(10000))}
	n.holder, err = start("unshare", filepath.Join(suite.dir, n.link+".log"), nil, "unshare", "--net", "sleep", "infinity")
	if err != nil {
		return nil, err
	}
	if err = n.unshared(); err == nil {
		_, err = run(nil, n.in("ip", "link", "set", "lo", "up")...)
	}
	if err != nil {
		n.close()
		return nil, err
	}
	return n, nil
}

// airGap is two sides. On this one are a registry, a Notary server and a publisher;
// on the other, an island, is a Sealgate with the registry's name that has nothing
// but the bundles that are loaded.
type airGap struct {
	*world
	here   string   // the configuration of this side, of which no server runs
	island *network // the other side
	there  string   // its configuration
	dir    string   // where bundles are
}

func newAirGap(t *testing.T) *airGap {
	t.Helper()
	g := &airGap{world: ownWorld(t, registryOptions{}), dir: t.TempDir()}
	g.mustBegin(t, "team/app")
	g.here = g.configure(t, "here", nil)
	return g
}

// configure writes the configuration of this side as change leaves it.
func (g *airGap) configure(t *testing.T, name string, change func(*settings)) (file string) {
	t.Helper()
	s := must(g.defaults())(t)
	if change != nil {
		change(&s)
	}
	return g.write(t, name, must(s.yaml(filepath.Join(g.world.dir, name), g.ca))(t))
}

func (g *airGap) write(t *testing.T, name, text string) (file string) {
	t.Helper()
	dir := filepath.Join(g.world.dir, name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	file = filepath.Join(dir, "proxy.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// offline is the configuration of an offline site that pins a root key.
func (g *airGap) offline(t *testing.T, name, key string) (file string) {
	t.Helper()
	dir := filepath.Join(g.world.dir, name)
	cert, private, err := g.ca.pairFor(name, "localhost", "127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	return g.write(t, name, fmt.Sprintf(`listen: %[1]s
tls: {files: {cert: %[2]s, key: %[3]s}}
state-dir: %[4]s/state
storage: {filesystem: {rootdirectory: %[4]s/store}}
registries:
  - name: %[1]q
    offline: {grace: 24h}
content-trust:
  mode: enforced
  trust-pinning: {root-keys: {"%[1]s/*": [%[5]s]}}
  refresh: 1h
`, g.listen, cert, private, dir, key))
}

// open starts the other side.
func (g *airGap) open(t *testing.T) {
	t.Helper()
	g.island = must(newIsland())(t)
	t.Cleanup(g.island.close)
	g.there = g.offline(t, "there", must(g.rootKey())(t))
	gate := must(start("sealgate", filepath.Join(g.world.dir, "there.log"), nil, g.island.in(suite.sealgate, "serve", "--config", g.there)...))(t)
	t.Cleanup(func() {
		if code := gate.stop(20 * time.Second); code != 0 {
			t.Errorf("exit code %d\n%s", code, gate.tail())
		}
	})
	_, port, _ := strings.Cut(g.listen, ":")
	check := func() error {
		_, err := run(nil, g.island.in("bash", "-c", `exec 3<>"/dev/tcp/127.0.0.1/$1"`, "bash", port)...)
		return err
	}
	if err := gate.ready(20*time.Second, check); err != nil {
		t.Fatalf("%v\n%s", err, gate.tail())
	}
}

// save saves tags on this side.
func (g *airGap) save(t *testing.T, config, name string, arguments ...string) (file string) {
	t.Helper()
	file = filepath.Join(g.dir, name)
	mustRun(t, nil, append([]string{suite.sealgate, "bundle", "save", "--config", config, "-o", file}, arguments...)...)
	return file
}

// load loads a bundle on the other side.
func (g *airGap) load(config, file string) (out string, code int) {
	out, err := run(nil, g.island.in(suite.sealgate, "bundle", "load", "--config", config, file)...)
	return out, exitCode(err)
}

func (g *airGap) mustLoad(t *testing.T, file string) string {
	t.Helper()
	out, code := g.load(g.there, file)
	if code != 0 {
		t.Fatalf("exit code %d\n%s", code, out)
	}
	return out
}

// wantPulled fails unless crane gets this image for the tag on the other side, the
// moment after it was loaded.
func (g *airGap) wantPulled(t *testing.T, tag string, image pushed) {
	t.Helper()
	out, err := run(trusting(g.world), g.island.in("crane", "digest", g.tag("team/app", tag))...)
	if err != nil || strings.TrimSpace(out) != image.digest {
		t.Errorf("%s: want %s, got %s, %v", tag, image.digest, out, err)
	}
}

// TestABundleServesASiteWithoutANetwork: images and their proof are saved where a
// registry and a Notary server are, carried as a file, and served to real clients
// where neither can be reached.
func TestABundleServesASiteWithoutANetwork(t *testing.T) {
	t.Parallel()
	g := newAirGap(t)
	one := g.mustSay(t, "team/app", "signed", "words of one")
	many := must(g.push("team/app", "many", must(indexSaying("words of many"))(t)))(t)
	g.mustSay(t, "team/app", "unsigned", "words of a stranger")
	g.mustSign(t, "team/app", "signed", one)
	g.mustSign(t, "team/app", "many", many)

	first := g.save(t, g.here, "first.tar", g.tag("team/app", "*"))
	if again := g.save(t, g.here, "again.tar", g.tag("team/app", "signed"), g.tag("team/app", "many")); !bytes.Equal(must(os.ReadFile(first))(t), must(os.ReadFile(again))(t)) {
		t.Error("saved twice it is not the same")
	}
	if out, code := sealgate("bundle", "save", "--config", g.here, "-o", filepath.Join(g.dir, "unsigned.tar"), g.tag("team/app", "unsigned")); code != 1 || !strings.Contains(out, `no trust data for tag "unsigned"`) {
		t.Errorf("saving what is unsigned: exit code %d\n%s", code, out)
	}
	sparse := g.save(t, g.here, "sparse", "--platform", "linux/"+runtime.GOARCH, g.tag("team/app", "many"))
	g.readByOthers(t, first, sparse, one, many)
	g.fillsADisk(t)

	g.open(t)
	if routes := g.island.mustIn(t, "ip", "route", "show"); routes != "" {
		t.Fatalf("there is a way out:\n%s", routes)
	}
	if out, err := run(trusting(g.world), g.island.in("crane", "digest", g.tag("team/app", "signed"))...); err == nil || !strings.Contains(err.Error(), "no bundle with it has been loaded") {
		t.Errorf("before a bundle is loaded: %v\n%s", err, out)
	}
	out := g.mustLoad(t, sparse)
	if !strings.Contains(out, "linux/"+runtime.GOARCH+" (1 left out)") {
		t.Errorf("the table does not say what was left out:\n%s", out)
	}
	out = g.mustLoad(t, first)
	for _, says := range []string{g.tag("team/app", "signed"), one.digest, many.digest, "targets", "the running server shows it now"} {
		if !strings.Contains(out, says) {
			t.Errorf("the table says nothing of %q:\n%s", says, out)
		}
	}
	g.wantPulled(t, "signed", one)
	g.servesClients(t, first, one, many)

	two := g.mustSay(t, "team/app", "signed", "words of two")
	g.mustSign(t, "team/app", "signed", two)
	second := g.save(t, g.here, "second.tar", g.tag("team/app", "signed"))
	g.refuses(t, first, second, one)
	if out := g.mustLoad(t, rewritten(t, second)); !strings.Contains(out, "replaces "+one.digest) {
		t.Errorf("with its files in another order:\n%s", out)
	}
	g.wantPulled(t, "signed", two)
	if out, code := g.load(g.there, first); code != 1 || !strings.Contains(out, "the bundle is older than what was loaded here before") {
		t.Errorf("an older one: exit code %d\n%s", code, out)
	}
	g.wantPulled(t, "signed", two)
}

// fillsADisk saves where there is no room. The archive is not there, and the reason
// is said.
func (g *airGap) fillsADisk(t *testing.T) {
	t.Helper()
	const small = `mount -t tmpfs -o size=300k none "$1" && cd "$1" && shift && "$@"; code=$?; ls -A; exit $code`
	out, err := run(nil, "unshare", "--mount", "--propagation", "private", "sh", "-c", small, "sh", t.TempDir(),
		suite.sealgate, "bundle", "save", "--config", g.here, "-o", "site.tar", g.tag("team/app", "signed"))
	if err != nil {
		out = err.Error()
	}
	if exitCode(err) != 1 || !strings.Contains(out, "the disk is full") || !strings.HasSuffix(strings.TrimSpace(out), "site.tar.partial") {
		t.Errorf("exit code %d\n%s", exitCode(err), out)
	}
}

// readByOthers has tools read bundles that know nothing of Sealgate.
func (g *airGap) readByOthers(t *testing.T, archive, sparse string, one, many pushed) {
	t.Helper()
	to := t.TempDir()
	mustRun(t, nil, "skopeo", "copy", "--all", "--preserve-digests", "oci-archive:"+archive+":"+g.tag("team/app", "signed"), "dir:"+to)
	if raw := must(os.ReadFile(filepath.Join(to, "manifest.json")))(t); sha256Of(string(raw)) != one.digest {
		t.Errorf("skopeo has %s, and %s is signed", sha256Of(string(raw)), one.digest)
	}
	for _, layout := range []string{"oci-archive:" + archive, "oci:" + sparse} {
		mustRun(t, nil, "skopeo", "copy", "--override-arch", runtime.GOARCH, layout+":"+g.tag("team/app", "many"), "dir:"+t.TempDir())
	}

	dir := t.TempDir()
	mustRun(t, nil, "tar", "-C", dir, "-xf", archive)
	other := must(startRegistry(g.dir, g.ca, registryOptions{unfiltered: true}))(t) // whose tags may be read
	defer other.stop(5 * time.Second)
	copied := strings.TrimPrefix(other.url, "https://") + "/copied/app"
	if out, err := run(trusting(g.world), "crane", "push", "--index", dir, copied+":index"); err != nil {
		t.Fatalf("crane: %v\n%s", err, out)
	}
	mustRun(t, trusting(g.world), "crane", "validate", "--remote", copied+"@"+many.digest)
}

// servesClients pulls with the programs that a site has.
func (g *airGap) servesClients(t *testing.T, archive string, one, many pushed) {
	t.Helper()
	p := newPodman(t, g.world)
	reference := g.tag("team/app", "many")
	pull := append([]string{"podman"}, p.arguments("pull", "--quiet", "--cert-dir", g.ca.dir, reference)...)
	if out, err := run(trusting(g.world), g.island.in(pull...)...); err != nil {
		t.Errorf("podman: %v\n%s", err, out)
	}

	d, err := dockerHost{trusts: g.ca.file, names: leadTo("127.0.0.1", hubHosts...), network: g.island}.start(filepath.Join(g.world.dir, "d"))
	if err != nil {
		t.Fatal(err)
	}
	defer d.close()
	for tag, image := range map[string]pushed{"signed": one, "many": many} {
		if out, err := d.docker("pull", g.tag("team/app", tag)); err != nil || !strings.Contains(out, image.digest) {
			t.Errorf("dockerd, %s: want %s, got %v\n%s", tag, image.digest, err, out)
		}
	}
	if _, err := d.docker("pull", g.tag("team/app", "unsigned")); err == nil || !strings.Contains(err.Error(), `no trust data for tag "unsigned"`) {
		t.Errorf("dockerd, unsigned: %v", err)
	}

	mustRun(t, nil, "ctr", "--address", d.containerd, "--namespace", "imported", "image", "import", "--no-unpack", archive)
	if names := mustRun(t, nil, "ctr", "--address", d.containerd, "--namespace", "imported", "image", "ls"); !strings.Contains(names, one.digest) || !strings.Contains(names, g.tag("team/app", "many")) {
		t.Errorf("containerd has imported\n%s", names)
	}
	if err := trustByCLI(d.config, g.world); err != nil {
		t.Fatal(err)
	}
	out, err := run(d.env(), g.island.in("docker", "trust", "inspect", g.gun("team/app"))...)
	if err != nil || !strings.Contains(out, strings.TrimPrefix(one.digest, "sha256:")) || strings.Contains(out, "unsigned") {
		t.Errorf("docker trust inspect: %v\n%s", err, out)
	}
	with := append(d.env(), "DOCKER_CONTENT_TRUST=1")
	if out, err := run(with, g.island.in("docker", "pull", g.tag("team/app", "signed"))...); err != nil || !strings.Contains(out, one.digest) {
		t.Errorf("docker pull with content trust: %v\n%s", err, out)
	}
}

// refuses tries bundles that are not to be believed; what was served still is.
func (g *airGap) refuses(t *testing.T, first, second string, served pushed) {
	t.Helper()
	raw := must(os.ReadFile(second))(t)
	altered := func(name string, raw []byte) string {
		file := filepath.Join(g.dir, name)
		if err := os.WriteFile(file, raw, 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	tampered := bytes.Clone(raw)
	tampered[len(tampered)-4096] ^= 1 // in a blob, before the padding of the last one

	const elsewhere = "registry.elsewhere.test"
	if err := g.begin(elsewhere + "/team/app"); err != nil {
		t.Fatal(err)
	}
	if err := g.sign(elsewhere+"/team/app", "signed", served); err != nil {
		t.Fatal(err)
	}
	key := must(g.rootKey())(t)
	named := g.configure(t, "elsewhere", func(s *settings) {
		s.name, s.hosts, s.rootKeys = elsewhere, nil, map[string]string{elsewhere + "/*": key}
	})
	foreign := g.save(t, named, "foreign.tar", elsewhere+"/team/app:signed")
	otherPin := g.offline(t, "pinned", strings.Repeat("ab", 32))

	for name, c := range map[string]struct{ config, file, says string }{
		"a tampered one":                  {g.there, altered("tampered.tar", tampered), "have another digest"},
		"a truncated one":                 {g.there, altered("truncated.tar", raw[:len(raw)/2]), "the archive is truncated"},
		"one without its end":             {g.there, altered("endless.tar", raw[:len(raw)-1024]), "the archive is truncated"},
		"one of another registry":         {g.there, foreign, "is of no registry that is configured here"},
		"one where another key is pinned": {otherPin, second, "potential malicious behavior"},
		"what is no bundle":               {g.there, g.ca.file, "not a bundle that can be used"},
		"an image layout without proof":   {g.there, unproven(t, first), `make it with "sealgate bundle save"`},
	} {
		out, code := g.load(c.config, c.file)
		if code != 1 || !strings.Contains(out, c.says) {
			t.Errorf("%s: want exit code 1 and %q, got %d\n%s", name, c.says, code, out)
		}
	}
	g.wantPulled(t, "signed", served)
}

// unproven is the layout of a bundle without what proves it.
func unproven(t *testing.T, archive string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	mustRun(t, nil, "tar", "-C", dir, "-xf", archive, "oci-layout", "index.json", "blobs")
	return dir
}

// rewritten is an archive with its files in another order.
func rewritten(t *testing.T, archive string) (file string) {
	t.Helper()
	type entry struct {
		header *tar.Header
		body   []byte
	}
	var all []entry
	from := tar.NewReader(bytes.NewReader(must(os.ReadFile(archive))(t)))
	for {
		header, err := from.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, entry{header, must(io.ReadAll(from))(t)})
	}
	rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	var b bytes.Buffer
	to := tar.NewWriter(&b)
	for _, e := range all {
		if err := to.WriteHeader(e.header); err != nil {
			t.Fatal(err)
		}
		if _, err := to.Write(e.body); err != nil {
			t.Fatal(err)
		}
	}
	if err := to.Close(); err != nil {
		t.Fatal(err)
	}
	file = filepath.Join(t.TempDir(), "rewritten.tar")
	if err := os.WriteFile(file, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}
