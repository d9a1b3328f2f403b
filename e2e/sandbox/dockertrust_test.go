package sandbox

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// dockerWorld is a registry and a trust server behind one host and port, and
// the real docker command line that knows nothing but that host and port.
type dockerWorld struct {
	registry *Registry
	server   *TrustServer
	docker   tool
	repo     string // host:port/acme/app, which is also the GUN
}

func newDockerWorld(t *testing.T) *dockerWorld {
	t.Helper()
	docker := needTool(t, "docker")
	ca := newCA(t)
	server := startTrustServer(t, TrustServerOptions{CA: ca})
	registry := startRegistry(t, RegistryOptions{CA: ca, Middleware: trustAt(ca, server)})
	config := t.TempDir()
	writeFile(t, filepath.Join(config, "tls", registry.Addr(), "ca.crt"), ca.PEM())
	w := &dockerWorld{registry: registry, server: server, repo: registry.Addr() + "/acme/app"}
	w.docker = tool{path: docker, env: []string{
		"DOCKER_CONFIG=" + config,
		"DOCKER_HOST=unix://" + filepath.Join(config, "no-daemon.sock"),
		"DOCKER_CONTENT_TRUST_ROOT_PASSPHRASE=rootrootroot",
		"DOCKER_CONTENT_TRUST_REPOSITORY_PASSPHRASE=repositoryrepository",
	}}
	if out, err := w.docker.try(t, "trust", "inspect", "--help"); err != nil || !strings.Contains(out, "docker trust inspect") {
		cannotRun(t, "docker has no trust command: "+out)
	}
	return w
}

// addSigners makes alice with "key generate" and bob with "key load".
func (w *dockerWorld) addSigners(t *testing.T) {
	t.Helper()
	dir := t.TempDir()
	w.docker.run(t, "trust", "key", "generate", "alice", "--dir", dir)
	w.docker.run(t, "trust", "signer", "add", "--key", filepath.Join(dir, "alice.pub"), "alice", w.repo)
	keyFile, certFile := signerKey(t)
	w.docker.run(t, "trust", "key", "load", keyFile, "--name", "bob")
	w.docker.run(t, "trust", "signer", "add", "--key", certFile, "bob", w.repo)
}

// inspected is the part of "docker trust inspect" that tests look at.
type inspected struct {
	SignedTags []struct {
		SignedTag, Digest string
		Signers           []string
	}
	Signers            []struct{ Name string }
	AdministrativeKeys []struct{ Name string }
}

func (w *dockerWorld) inspect(t *testing.T) inspected {
	t.Helper()
	var all []inspected
	out := w.docker.run(t, "trust", "inspect", w.repo)
	if err := json.Unmarshal([]byte(out), &all); err != nil || len(all) != 1 {
		t.Fatalf("docker trust inspect: %v\n%s", err, out)
	}
	return all[0]
}

func TestDockerTrustSignerAddAndInspect(t *testing.T) {
	w := newDockerWorld(t)
	if out, err := w.docker.try(t, "trust", "inspect", w.repo); err == nil {
		t.Errorf("inspect of a repository without trust data: got %s", out)
	}
	w.addSigners(t)
	got := w.inspect(t)
	if len(got.Signers) != 2 || len(got.SignedTags) != 0 || len(got.AdministrativeKeys) != 2 {
		t.Errorf("got %+v", got)
	}
	for _, role := range []string{"targets/releases", "targets/alice", "targets/bob"} {
		if !bytes.Contains(w.server.File(w.repo, "targets"), []byte(`"`+role+`"`)) {
			t.Errorf("nobody delegated to %s", role)
		}
	}
}

// startDockerd runs a daemon of the test's own: no bridge, no firewall rules,
// no storage shared with any other.
func (w *dockerWorld) startDockerd(t *testing.T) {
	t.Helper()
	dockerd := needTool(t, "dockerd")
	if os.Geteuid() != 0 {
		cannotRun(t, "dockerd needs root")
	}
	// Not t.TempDir: a unix socket's path may have 107 bytes.
	dir, err := os.MkdirTemp("", "dockerd")
	must(t, err)
	host := "unix://" + filepath.Join(dir, "d.sock")
	var log syncBuffer
	daemon := exec.CommandContext(context.WithoutCancel(t.Context()), dockerd, "--host", host,
		"--data-root", filepath.Join(dir, "data"), "--exec-root", filepath.Join(dir, "exec"), "--pidfile", filepath.Join(dir, "pid"),
		"--storage-driver", "vfs", "--bridge", "none", "--iptables=false", "--ip6tables=false")
	daemon.Stdout, daemon.Stderr = &log, &log
	must(t, daemon.Start())
	t.Cleanup(func() {
		_ = daemon.Process.Signal(syscall.SIGTERM)
		_ = daemon.Wait()
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	w.docker.env = append(w.docker.env, "DOCKER_HOST="+host)
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(200 * time.Millisecond) {
		if _, err := w.docker.try(t, "info"); err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("dockerd did not come up:\n%s", log.String())
		}
	}
}

// load puts an image into the daemon's store under tag.
func (w *dockerWorld) load(t *testing.T, tag string) {
	t.Helper()
	img, err := Image(tag)
	must(t, err)
	ref, err := name.NewTag(w.repo + ":" + tag)
	must(t, err)
	file := filepath.Join(t.TempDir(), "image.tar")
	must(t, tarball.WriteToFile(file, ref, img))
	w.docker.run(t, "load", "-i", file)
}

func TestDockerTrustSignAndRevoke(t *testing.T) {
	w := newDockerWorld(t)
	w.startDockerd(t)
	w.addSigners(t)
	for _, tag := range []string{"1.0", "1.1"} {
		w.load(t, tag)
		w.docker.run(t, "trust", "sign", w.repo+":"+tag)
	}
	got := w.inspect(t)
	if len(got.SignedTags) != 2 || strings.Join(got.SignedTags[0].Signers, " ") != "alice bob" {
		t.Fatalf("got %+v", got)
	}
	status, body := get(t, newClient(w.registry.ca), "GET", w.registry.URL()+"/v2/acme/app/manifests/sha256:"+got.SignedTags[0].Digest)
	if status != 200 {
		t.Errorf("the signed digest in the registry: got %d %s", status, body)
	}
	w.docker.run(t, "trust", "revoke", "--yes", w.repo+":1.0")
	if got := w.inspect(t); len(got.SignedTags) != 1 || got.SignedTags[0].SignedTag != "1.1" {
		t.Errorf("after revoking 1.0: got %+v", got)
	}
}
