package e2e

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
)

// pushWorld is a world that clients push to and sign in, through Sealgate alone:
// push and notary.writes are true. Trust data begins with
//
//	team/pushed  nothing signed in it
//	ci/app       nothing signed in it; build-* and cache are exempt
type pushWorld struct {
	*world
	through *publisher // as world's, but it signs through the gate
}

var sharedPushWorld = sync.OnceValues(func() (*pushWorld, error) {
	s, err := sharedScene()
	if err != nil {
		return nil, err
	}
	// dockerd trusts the scene's CA. Signature tags and exempt tags are the
	// registry's own: it is asked for them by tag.
	w, err := newWorldUnder(s.ca, filepath.Join(suite.dir, "push"), registryOptions{unfiltered: true})
	if err != nil {
		return nil, err
	}
	suite.atEnd(w.close)
	if err := w.begin(w.gun("team/pushed")); err != nil { // there has to be a root key to pin
		return nil, err
	}
	err = w.open(func(s *settings) {
		s.more, s.writes = "push: true", true
		s.policies = fmt.Sprintf("  policies: [{match: %q, exempt-tags: [%q, cache]}]\n", w.listen+"/ci/*", "build-*")
	})
	if err != nil {
		return nil, err
	}
	p := &pushWorld{w, &publisher{dir: w.publisher.dir, server: w.gate.url, ca: w.ca.file}}
	return p, p.through.begin(p.gun("ci/app"))
})

// mustPushWorld is the shared one, for a test.
func mustPushWorld(t *testing.T) *pushWorld {
	t.Helper()
	return must(sharedPushWorld())(t)
}

// mayBeRead are the tags that a registry may be asked for behind this gate.
var mayBeRead = regexp.MustCompile(`/manifests/(sha256-[0-9a-f]{64}(\.sig|\.att|\.sbom)?|build-[a-z0-9-]+|cache)["? ]`)

// wantNoOtherTagReads fails where the registry was asked for another tag.
func (p *pushWorld) wantNoOtherTagReads(t *testing.T) {
	t.Helper()
	for _, line := range p.registry.tagReads() {
		if !mayBeRead.MatchString(line) {
			t.Errorf("a read by tag reached the registry: %s", line)
		}
	}
}

// wantHiddenUntilSigned fails unless nobody sees a tag of team/pushed that a client
// has pushed, and everybody sees it as soon as it is signed through the gate.
func (p *pushWorld) wantHiddenUntilSigned(t *testing.T, tag string) {
	t.Helper()
	p.wantHidden(t, tag)
	image := p.stored(t, "team/pushed", tag)
	if err := p.through.sign(p.gun("team/pushed"), tag, image); err != nil {
		t.Fatal(err)
	}
	wantServed(t, p.manifest(t, "team/pushed", tag), image)
}

func (p *pushWorld) wantHidden(t *testing.T, tag string) {
	t.Helper()
	wantRefused(t, p.manifest(t, "team/pushed", tag), http.StatusNotFound, "MANIFEST_UNKNOWN", noTrustData(p.world, "team/pushed", tag))
}

// layout is an OCI layout with an image to push.
func (p *pushWorld) layout() (dir string, err error) {
	if dir, err = os.MkdirTemp(p.dir, "layout-"); err != nil {
		return "", err
	}
	image, err := ociSaying("words to push")
	if err != nil {
		return "", err
	}
	path, err := layout.Write(dir, empty.Index)
	if err != nil {
		return "", err
	}
	return dir, path.AppendImage(image, layout.WithAnnotations(map[string]string{"org.opencontainers.image.ref.name": "words"}))
}

// tagged has docker know an image of the scene under a tag of team/pushed too.
func (d dockerRow) tagged(t *testing.T, p *pushWorld, tag string) string {
	t.Helper()
	to := p.tag("team/pushed", tag)
	for _, step := range [][]string{{"pull", d.image("signed")}, {"tag", d.image("signed"), to}} {
		mustRun(t, d.daemon.env(), append([]string{"docker"}, step...)...)
	}
	t.Cleanup(func() { d.daemon.forget(d.image("signed")); d.daemon.forget(to) })
	return to
}

func (d dockerRow) pushes(t *testing.T, p *pushWorld) {
	mustRun(t, d.env, "docker", "push", d.tagged(t, p, "by-docker"))
	p.wantHiddenUntilSigned(t, "by-docker")
}

// publishing is the CLI's environment of the publisher, who names no trust server.
func (d dockerRow) publishing(t *testing.T, p *pushWorld) []string {
	t.Helper()
	if err := trustByCLI(p.publisher.dir, p.world); err != nil {
		t.Fatal(err)
	}
	return []string{
		"DOCKER_HOST=unix://" + d.daemon.socket, "DOCKER_CONFIG=" + p.publisher.dir,
		"DOCKER_CONTENT_TRUST_ROOT_PASSPHRASE=" + passphrase, "DOCKER_CONTENT_TRUST_REPOSITORY_PASSPHRASE=" + passphrase,
	}
}

func (d dockerRow) signs(t *testing.T, p *pushWorld) {
	image := d.tagged(t, p, "trusted-by-docker")
	mustRun(t, d.publishing(t, p), "docker", "trust", "sign", image) // pushes first
	wantServed(t, p.manifest(t, "team/pushed", "trusted-by-docker"), p.stored(t, "team/pushed", "trusted-by-docker"))
	mustRun(t, d.publishing(t, p), "docker", "trust", "revoke", "--yes", image)
	p.wantHidden(t, "trusted-by-docker")
}

// pushesSigning pushes with DOCKER_CONTENT_TRUST=1.
func (d dockerRow) pushesSigning(t *testing.T, p *pushWorld) {
	image := d.tagged(t, p, "by-docker-signing")
	out := mustRun(t, append(d.publishing(t, p), "DOCKER_CONTENT_TRUST=1"), "docker", "push", image)
	if !strings.Contains(out, "Successfully signed") {
		t.Errorf("docker does not say that it signed:\n%s", out)
	}
	wantServed(t, p.manifest(t, "team/pushed", "by-docker-signing"), p.stored(t, "team/pushed", "by-docker-signing"))
}
