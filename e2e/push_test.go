package e2e

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// openToWrite is a world whose Sealgate is the only address that publishers
// know: for images and for trust data. Their root key is made, and pinned, before
// anything is signed.
func openToWrite(t *testing.T, change func(*settings)) *world {
	t.Helper()
	w := ownWorld(t, registryOptions{})
	if _, err := w.cli("key", "generate", "ecdsa"); err != nil {
		t.Fatal(err)
	}
	w.mustOpen(t, func(s *settings) {
		s.more, s.writes = "push: true\n", true
		if change != nil {
			change(s)
		}
	})
	w.server = w.url
	return w
}

// archive is an image that prints words, as a file that every client can load
// under the name ref, and as it is known by digest.
func archive(t *testing.T, ref, words string) string {
	t.Helper()
	image, err := saying(words)
	if err != nil {
		t.Fatal(err)
	}
	tag, err := name.NewTag(ref)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "image.tar")
	if err := tarball.WriteToFile(file, tag, image); err != nil {
		t.Fatal(err)
	}
	return file
}

// pushers push a file that archive made to ref.
var pushers = []struct {
	name string
	push func(t *testing.T, w *world, file, ref string) error
}{
	{"docker", func(t *testing.T, w *world, file, ref string) error {
		d := mustDockerd(t)
		defer d.forget(ref)
		if _, err := d.docker("load", "--input", file); err != nil {
			return err
		}
		_, err := d.docker("push", ref)
		return err
	}},
	{"skopeo", func(t *testing.T, w *world, file, ref string) error {
		_, err := run(nil, "skopeo", "copy", "--insecure-policy", "--dest-cert-dir", w.ca.dir, "docker-archive:"+file, "docker://"+ref)
		return err
	}},
	{"podman", func(t *testing.T, w *world, file, ref string) error {
		dir, err := os.MkdirTemp(suite.dir, "podman-")
		if err != nil {
			return err
		}
		podman := []string{
			"podman", "--root", filepath.Join(dir, "root"), "--runroot", filepath.Join(dir, "run"), "--tmpdir", filepath.Join(dir, "tmp"),
			"--storage-driver", "vfs", "--cgroup-manager", "cgroupfs", "--events-backend", "none",
		}
		if _, err := run(nil, append(podman, "load", "--input", file)...); err != nil {
			return err
		}
		_, err = run(nil, append(podman, "push", "--cert-dir", w.ca.dir, ref)...)
		return err
	}},
	{"crane", func(t *testing.T, w *world, file, ref string) error {
		_, err := run(trusting(w), "crane", "push", file, ref)
		return err
	}},
	{"regctl", func(t *testing.T, w *world, file, ref string) error {
		env := append(trusting(w), "REGCTL_CONFIG="+filepath.Join(t.TempDir(), "regctl.json"))
		_, err := run(env, "regctl", "image", "import", ref, file)
		return err
	}},
}

func TestWhatIsPushedIsInvisibleUntilItIsSigned(t *testing.T) {
	t.Parallel()
	w := openToWrite(t, nil)
	for _, client := range pushers {
		t.Run(client.name, func(t *testing.T) {
			repository := "pushed/" + client.name
			ref := w.tag(repository, "1.0")
			if err := client.push(t, w, archive(t, ref, "words of "+client.name), ref); err != nil {
				t.Fatal(err)
			}
			wantRefused(t, w.manifest(t, repository, "1.0"), http.StatusNotFound, "MANIFEST_UNKNOWN", "remote trust data does not exist")
			image := w.stored(t, repository, "1.0")
			w.mustBegin(t, repository)
			w.mustSign(t, repository, "1.0", image)
			wantServed(t, w.manifest(t, repository, "1.0"), image) // right after it was signed
		})
	}
}

// stored is what the registry has for a tag, past Sealgate.
func (w *world) stored(t *testing.T, repository, tag string) pushed {
	t.Helper()
	req := must(http.NewRequest(http.MethodGet, w.registry.url+"/v2/"+repository+"/manifests/"+tag, nil))(t)
	req.Header.Set("User-Agent", publisherAgent)
	req.Header["Accept"] = []string{"application/vnd.docker.distribution.manifest.v2+json", "application/vnd.oci.image.manifest.v1+json", "application/vnd.oci.image.index.v1+json"}
	resp := must((&http.Client{Transport: w.ca.transport(false)}).Do(req))(t)
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("the registry has no %s:%s: %s", repository, tag, resp.Status)
	}
	return pushed{resp.Header.Get("Docker-Content-Digest"), resp.ContentLength}
}

func TestABlobIsMountedFromAnotherRepository(t *testing.T) {
	w := openToWrite(t, nil)
	ref := w.tag("team/from", "1.0")
	mustRun(t, trusting(w), "crane", "push", archive(t, ref, "words to mount"), ref)
	image := w.stored(t, "team/from", "1.0")
	mustRun(t, trusting(w), "crane", "copy", w.gun("team/from")+"@"+image.digest, w.tag("team/to", "1.0"))
	if out := w.registry.output(); !strings.Contains(out, "from=team/from") || !strings.Contains(out, "POST /v2/team/to/blobs/uploads/?mount=sha256:") {
		t.Errorf("nothing was mounted:\n%s", out)
	}
	if got := w.stored(t, "team/to", "1.0"); got != image {
		t.Errorf("got %v, want %v", got, image)
	}
}

func TestDeletedImagesAreGone(t *testing.T) {
	w := openToWrite(t, nil)
	ref := w.tag("team/app", "1.0")
	mustRun(t, trusting(w), "crane", "push", archive(t, ref, "words to delete"), ref)
	image := w.stored(t, "team/app", "1.0")
	w.mustBegin(t, "team/app")
	w.mustSign(t, "team/app", "1.0", image)
	wantServed(t, w.manifest(t, "team/app", "1.0"), image)
	mustRun(t, trusting(w), "crane", "delete", w.gun("team/app")+"@"+image.digest)
	wantRefused(t, w.manifest(t, "team/app", "1.0"), http.StatusNotFound, "MANIFEST_UNKNOWN", "is not in the registry")
}

func TestAPrivateRegistryIsPushedToByWhoIsLoggedIn(t *testing.T) {
	d := mustDockerd(t)
	w := ownWorld(t, registryOptions{user: &alice})
	if _, err := w.cli("key", "generate", "ecdsa"); err != nil {
		t.Fatal(err)
	}
	w.mustOpen(t, func(s *settings) { s.more = "push: true\n" })
	env := []string{"DOCKER_HOST=unix://" + d.socket, "DOCKER_CONFIG=" + t.TempDir()}
	ref := w.tag("team/private", "1.0")
	file := archive(t, ref, "private words")
	mustRun(t, env, "docker", "load", "--input", file)
	defer d.forget(ref)
	if out, err := run(env, "docker", "push", ref); err == nil || !strings.Contains(out, "no basic auth credentials") {
		t.Errorf("a stranger pushed, or was not told to log in: %v\n%s", err, out)
	}
	mustRun(t, env, "docker", "login", "--username", alice.name, "--password", alice.password, w.listen)
	mustRun(t, env, "docker", "push", ref)

	ref = w.tag("team/private", "2.0")
	if _, err := run(trusting(w), "crane", "push", file, ref); err == nil {
		t.Error("crane pushed as a stranger")
	}
	mustRun(t, append(trusting(w), env...), "crane", "push", file, ref)
	log := w.gate.output()
	if strings.Contains(log, alice.password) || strings.Contains(log, "Basic ") {
		t.Error("the log has credentials")
	}
}
