package e2e

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// composeDir has the Compose file.
const composeDir = "../deploy/compose"

// composePlugin makes Debian's docker-compose the CLI's plugin, which it is not
// there: the CLI asks a plugin what it is, and calls it with its name first.
const composePlugin = `#!/bin/sh
if [ "$1" = docker-cli-plugin-metadata ]; then
	echo '{"SchemaVersion":"0.1.0","Vendor":"sealgate","Version":"1.29.2"}'
	exit
fi
shift
exec docker-compose "$@"
`

// composeImages are those of the Compose file. None can be pulled here.
func composeImages() []standIn {
	return []standIn{
		{name: "sealgate:local", program: suite.sealgate, dir: "/var/lib/sealgate", uid: 65532, run: []string{"sealgate"}},
		{name: "registry:2.8.3", program: "docker-registry", files: map[string]string{"/etc/docker/registry/config.yml": "testdata/registry-image.yml"},
			dir: "/var/lib/registry", run: []string{"docker-registry", "serve"}, args: []string{"/etc/docker/registry/config.yml"}},
		{name: "notary:server-0.7.0", program: "notary-server", uid: 1000, run: []string{"entrypoint.sh"}, args: []string{"notary-server", "--version"}},
		{name: "notary:signer-0.7.0", program: "notary-signer", uid: 1000, run: []string{"entrypoint.sh"}, args: []string{"notary-signer", "--version"}},
	}
}

// step is a block of commands of a walk-through, and a line that the page says is in
// what they print.
type step struct{ commands, says string }

var shellBlock = regexp.MustCompile("(?s)```sh\n(.*?)```\n(?:\n```text\n(.*?)\n```\n)?")

// TestTheWalkThroughOfTheComposeFile: all that deploy/compose/README.md has its reader
// type, in order, with a dockerd, in a network of its own, on which images of Debian's
// docker-registry and notary have the names of those that the file is about.
func TestTheWalkThroughOfTheComposeFile(t *testing.T) {
	t.Parallel()
	dir := must(os.MkdirTemp(suite.dir, "compose-"))(t)
	n := must(newNetwork())(t)
	t.Cleanup(n.close)
	d := must(dockerHost{trusts: must(newAuthority(dir))(t).file, network: n}.start(filepath.Join(dir, "d")))(t)
	t.Cleanup(d.close)
	for _, image := range composeImages() {
		file := must(image.file(dir))(t)
		must(d.docker("load", "--input", file))(t)
	}

	home := filepath.Join(dir, "home")
	env := append(composeHome(t, home), "DOCKER_HOST=unix://"+d.socket)
	t.Cleanup(func() { // before the daemon's end, where the walk has not come to its own
		if !t.Failed() {
			return
		}
		_, _ = run(env, n.in("bash", "-c", "cd "+home+"/deploy/compose && docker compose down --volumes --timeout 1")...)
	})

	where := home
	for _, s := range steps(t, composeDir+"/README.md") {
		out, err := run(env, n.in("bash", "-euc", "cd "+where+"\n"+s.commands+"\npwd >"+home+"/where")...)
		refused := strings.HasPrefix(s.says, "no ")
		if (err != nil) != refused || !strings.Contains(out, s.says) {
			logs, _ := run(env, n.in("bash", "-c", "cd "+home+"/deploy/compose && docker compose logs --tail 20")...)
			t.Fatalf("%s\nwant %q, got %v\n%s\n%s", s.commands, s.says, err, out, logs)
		}
		if !refused {
			where = strings.TrimSpace(string(must(os.ReadFile(home + "/where"))(t)))
		}
	}
}

// composeHome makes the home directory of somebody with the tree and the plugin, and
// returns the environment.
func composeHome(t *testing.T, home string) []string {
	t.Helper()
	if err := os.CopyFS(filepath.Join(home, "deploy", "compose"), os.DirFS(composeDir)); err != nil {
		t.Fatal(err)
	}
	plugins := filepath.Join(home, ".docker", "cli-plugins")
	if err := os.MkdirAll(plugins, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(plugins, "docker-compose"), []byte(composePlugin), 0o700); err != nil {
		t.Fatal(err)
	}
	return []string{"HOME=" + home, "DOCKER_CONTENT_TRUST_ROOT_PASSPHRASE=" + passphrase, "DOCKER_CONTENT_TRUST_REPOSITORY_PASSPHRASE=" + passphrase}
}

// steps are those of a page.
func steps(t *testing.T, page string) (all []step) {
	t.Helper()
	for _, m := range shellBlock.FindAllStringSubmatch(string(must(os.ReadFile(page))(t)), -1) {
		all = append(all, step{m[1], m[2]})
	}
	if len(all) < 7 {
		t.Fatalf("%s has %d steps", page, len(all))
	}
	return all
}
