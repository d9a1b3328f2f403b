package e2e

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

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

// firstSteps is the stage of getting started: a clone, on a machine that reaches
// Docker Hub, and that has a registry and a Notary server to stand before later.
func firstSteps(t *testing.T, l *lan) {
	clone(t, l)
	l.startHub(t, "library/alpine:3.20", "library/alpine:3.21")
	l.startOrigin(t)
	l.startNotary(t)
}

// mirroredHub is the stage of a mirror: Docker Hub with two images, a Notary server
// of one's own, nothing on gate but a certificate, and client with docker and
// containerd.
func mirroredHub(t *testing.T, l *lan) {
	l.startHub(t, "library/alpine:3.20", "library/alpine:3.21")
	l.startNotary(t)
	l.certify(t, "gate")
	l.host(t, "client").startDocker(t)
}

// production is the stage of a registry and a Notary server that are in use, with
// nothing on gate but a certificate. registry.example.com is gate already.
func production(t *testing.T, l *lan) {
	l.startOrigin(t)
	l.startNotary(t)
	l.publish(t, "prod/app", "1.4")
	l.certify(t, "gate")
}

// twoSites is the stage of an air gap: a site, and another without a network that
// has a certificate for the same name.
func twoSites(t *testing.T, l *lan) {
	site(t, l)
	l.certify(t, "there")
}

// privateRegistry is the stage of taking over a registry's name: a registry for
// alice alone and a Notary server that have other names already, and client, with
// docker, for which registry.example.com is gate.
func privateRegistry(t *testing.T, l *lan) {
	l.host(t, "origin").write(t, "htpasswd", alice.name+":"+alice.htpasswd+"\n")
	l.startRegistry(t, "origin", "5000", "auth: {htpasswd: {realm: example, path: htpasswd}}", "origin.internal")
	l.startNotary(t)
	l.certify(t, "gate")
	l.startHub(t, "library/alpine:3.20")
	l.host(t, "client").startDocker(t)
}

// site is the stage of pages about a Sealgate that is there: a registry at
// origin.internal:5000, a Notary server at notary.internal:4443, some images, and
// on gate a Sealgate that enforces and caches. Its proxy.yaml is in the working
// directory, and the publisher's keys are in ~/.docker/trust.
func site(t *testing.T, l *lan) {
	l.startOrigin(t)
	l.startNotary(t)
	g := l.host(t, "gate")
	for repository, tags := range map[string][]string{"prod/app": {"1.4"}, "team/app": {"v1.2"}, "team/base": {"3", "4"}, "team/tools": {"latest"}} {
		l.publish(t, repository, tags...)
	}
	pins := g.mustRun(t, "bash", "-c", `notary -d ~/.docker/trust key list | awk '$1 == "root" {print $2}'`)
	l.certify(t, "gate")
	g.write(t, "proxy.yaml", fmt.Sprintf(`listen: 0.0.0.0:443
tls: {files: {cert: tls.crt, key: tls.key}}
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
`, strings.TrimSpace(pins)))
	g.serve(t, "443", "sealgate", "serve", "--config", "proxy.yaml")
	g.mustRun(t, "crane", "digest", "registry.example.com/prod/app:1.4") // now Sealgate knows it
}

// startOrigin starts Debian's registry as the organisation's own.
func (l *lan) startOrigin(t *testing.T) { l.startRegistry(t, "origin", "5000", "", "origin.internal") }

// startHub starts Debian's registry as Docker Hub, with images of these names,
// which print them. It asks nobody for a token.
func (l *lan) startHub(t *testing.T, images ...string) {
	t.Helper()
	l.startRegistry(t, "hub", "443", "", hubHosts...)
	for _, image := range images {
		l.image(t, image)
		l.host(t, "hub").mustRun(t, "crane", "push", filepath.Join(l.dir, "images", image), "docker.io/"+image)
	}
}

// startRegistry starts Debian's registry on a host, with a certificate for names,
// and with more lines in its configuration.
func (l *lan) startRegistry(t *testing.T, name, port, more string, names ...string) {
	t.Helper()
	h := l.host(t, name)
	cert, key, err := l.ca.pairFor(name, names...)
	if err != nil {
		t.Fatal(err)
	}
	h.write(t, "registry.yml", fmt.Sprintf("version: 0.1\nlog: {accesslog: {disabled: false}}\nstorage: {filesystem: {rootdirectory: /var/lib/registry}, delete: {enabled: true}}\nhttp: {addr: ':%s', secret: e2e, tls: {certificate: %s, key: %s}}\n%s\n", port, cert, key, more))
	h.serve(t, port, "docker-registry", "serve", "registry.yml")
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

// publish pushes an image to a repository, under these tags and under "unsigned",
// and signs all but that. Its words are the repository's name.
func (l *lan) publish(t *testing.T, repository string, tags ...string) {
	t.Helper()
	image := l.image(t, repository)
	const script = `set -e
gun=registry.example.com/$1 repository=$1 image=$2 size=$3 digest=${4#sha256:}
shift 4
publisher="notary -s https://notary.internal:4443 -d $HOME/.docker/trust"
$publisher init $gun
crane push "$image" "origin.internal:5000/$repository:unsigned"
for tag; do
  crane push "$image" "origin.internal:5000/$repository:$tag"
  $publisher addhash $gun "$tag" "$size" --sha256 "$digest"
done
$publisher publish $gun`
	argv := []string{"bash", "-c", script, "bash", repository, filepath.Join(l.dir, "images", repository), strconv.FormatInt(image.size, 10), image.digest}
	l.host(t, "gate").mustRun(t, append(argv, tags...)...)
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

// certify puts a certificate for the names of gate, and for Docker Hub's, into a
// host's working directory, as tls.crt and tls.key.
func (l *lan) certify(t *testing.T, name string) {
	t.Helper()
	work := filepath.Join(l.host(t, name).dir, "work")
	cert, key, err := l.ca.pairFor("tls-"+name, append(slices.Clone(hubHosts), hostAddresses["gate"].names...)...)
	if err := errors.Join(err, os.Rename(cert, filepath.Join(work, "tls.crt")), os.Rename(key, filepath.Join(work, "tls.key"))); err != nil {
		t.Fatal(err)
	}
}

// systemctl stands for systemd, which the hosts do not have. Sealgate it runs as
// root, and otherwise as the unit in deploy/systemd says.
const systemctl = `#!/bin/bash
await() { for i in $(seq 300); do "$@" >/dev/null 2>&1 && return; sleep 0.1; done; tail /run/*.log >&2; exit 1; }
config=/etc/sealgate/proxy.yaml
case "$*" in
"restart docker")
  if [ -e /run/docker.pid ]; then kill "$(cat /run/docker.pid)"; await [ ! -e /run/docker.pid ]; fi
  dockerd --bridge none --iptables=false >>/run/dockerd.log 2>&1 &
  await docker version ;;
"enable --now sealgate")
  sealgate serve --config $config >>/run/sealgate.log 2>&1 &
  echo $! >/run/sealgate.pid
  await grep '"serving"' /run/sealgate.log ;;
"reload sealgate")
  sealgate check --config $config && kill -HUP "$(cat /run/sealgate.pid)" &&
  await grep '"configuration reloaded"' /run/sealgate.log ;;
*) echo "systemctl $*: not on this host" >&2; exit 1 ;;
esac
`

// startDocker starts containerd and docker, which uses it.
func (h *host) startDocker(t *testing.T) {
	t.Helper()
	p := must(start("containerd", filepath.Join(h.dir, "containerd.log"), h.env(), h.in("containerd")...))(t)
	listens := func() error { _, err := run(h.env(), h.in("ctr", "version")...); return err }
	if err := p.ready(20*time.Second, listens); err != nil {
		t.Fatal(err)
	}
	h.mustRun(t, "systemctl", "restart", "docker")
}
