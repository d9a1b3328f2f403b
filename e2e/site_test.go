package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
)

// clone is the stage of pages that begin with a clone of the tree: it is the
// working directory, and what builds it has been fetched.
func clone(t *testing.T, l *lan) {
	h := l.host(t, "gate")
	mustRun(t, nil, "bash", "-c", `tar -C .. --exclude=./.git --exclude=./.cache --exclude=./bin -cf - . | tar -C "$1" -xf -`, "bash", filepath.Join(h.dir, "work"))
	h.variables = append(h.variables, "GOPROXY=off", "GOFLAGS=-trimpath", "GOTOOLCHAIN=local")
	for _, name := range []string{"GOCACHE", "GOMODCACHE"} {
		value, err := run(goEnvironment(), "go", "env", name)
		if err != nil {
			t.Fatal(err)
		}
		h.variables = append(h.variables, name+"="+strings.TrimSpace(value))
	}
}

// site is the stage of pages about a Sealgate that is there: a registry at
// origin.internal:5000, a Notary server at notary.internal:4443, some images, and
// on gate a Sealgate that enforces and caches. Its proxy.yaml is in the working
// directory, the publisher's keys are in ~/.docker/trust, and the variable PUBLISHER
// has the notary command with its options.
func site(t *testing.T, l *lan) {
	l.startOrigin(t)
	l.startNotary(t)
	g := l.host(t, "gate")
	g.variables = append(g.variables, "PUBLISHER=notary -s https://notary.internal:4443 -d "+filepath.Join(g.dir, "home/.docker/trust"))
	for repository, tag := range map[string]string{"prod/app": "1.4", "team/app": "v1.2", "team/base": "3", "team/tools": "latest"} {
		l.publish(t, repository, tag)
	}
	pins := g.mustRun(t, "bash", "-c", `notary -d ~/.docker/trust key list | awk '$1 == "root" {print $2}'`)
	cert, key, err := l.ca.pairFor("gate", hostAddresses["gate"].names...)
	if err != nil {
		t.Fatal(err)
	}
	g.write(t, "proxy.yaml", fmt.Sprintf(`listen: 0.0.0.0:443
tls: {files: {cert: %s, key: %s}}
admin: {listen: "127.0.0.1:8444"}
storage: {filesystem: {rootdirectory: /var/lib/sealgate}}
registries:
  - name: registry.example.com
    hosts: [registry.example.com, gate.example.com]
    upstream: https://origin.internal:5000
    credentials: anonymous
    redirects: follow
    notary: {url: "https://notary.internal:4443"}
    cache: {max-size: 1GiB, ttl: 168h}
content-trust:
  mode: enforced
  trust-pinning:
    root-keys: {"registry.example.com/*": [%s]}
`, cert, key, strings.TrimSpace(pins)))
	g.serve(t, "443", "sealgate", "serve", "--config", "proxy.yaml")
	g.mustRun(t, "crane", "digest", "registry.example.com/prod/app:1.4") // now Sealgate knows it
}

// startOrigin starts Debian's registry.
func (l *lan) startOrigin(t *testing.T) {
	t.Helper()
	h := l.host(t, "origin")
	cert, key, err := l.ca.pairFor("origin", "origin.internal")
	if err != nil {
		t.Fatal(err)
	}
	h.write(t, "registry.yml", fmt.Sprintf("version: 0.1\nlog: {accesslog: {disabled: false}}\nstorage: {filesystem: {rootdirectory: /var/lib/registry}, delete: {enabled: true}}\nhttp: {addr: ':5000', secret: e2e, tls: {certificate: %s, key: %s}}\n", cert, key))
	h.serve(t, "5000", "docker-registry", "serve", "registry.yml")
}

// startNotary starts Debian's Notary server.
func (l *lan) startNotary(t *testing.T) {
	t.Helper()
	h := l.host(t, "notary")
	cert, key, err := l.ca.pairFor("notary", "notary.internal")
	if err != nil {
		t.Fatal(err)
	}
	h.write(t, "notary-server.json", fmt.Sprintf(`{"server": {"http_addr": ":4443", "tls_cert_file": %q, "tls_key_file": %q},
"trust_service": {"type": "local", "hostname": "", "port": "", "key_algorithm": "ecdsa"}, "storage": {"backend": "memory"}, "logging": {"level": "info"}}`, cert, key))
	h.serve(t, "4443", "notary-server", "-config", "notary-server.json")
}

// publish pushes an image to a repository, under a tag and under "unsigned", and
// signs the first. Its words are the repository's name.
func (l *lan) publish(t *testing.T, repository, tag string) {
	t.Helper()
	image := l.image(t, repository)
	const script = `set -e
for tag in "$2" unsigned; do crane push "$3" "origin.internal:5000/$1:$tag"; done
$PUBLISHER init "registry.example.com/$1"
$PUBLISHER addhash -p "registry.example.com/$1" "$2" "$4" --sha256 "${5#sha256:}"`
	g := l.host(t, "gate")
	g.mustRun(t, "bash", "-c", script, "bash", repository, tag, filepath.Join(l.dir, "images", repository), strconv.FormatInt(image.size, 10), image.digest)
}

// image writes an image that prints words to a directory of their name.
func (l *lan) image(t *testing.T, words string) pushed {
	t.Helper()
	dir := filepath.Join(l.dir, "images", words)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	image := must(saying(words))(t)
	path := must(layout.Write(dir, empty.Index))(t)
	if err := path.AppendImage(image); err != nil {
		t.Fatal(err)
	}
	return pushed{must(image.Digest())(t).String(), must(image.Size())(t)}
}
