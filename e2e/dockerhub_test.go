package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// hubDockerd is a dockerd that finds a hub under Docker Hub's names, and believes
// its CA and Sealgate's. It is a test's own: where names lead is the test's to
// change, by leadsTo.
type hubDockerd struct {
	*dockerDaemon
	led int
}

func newHubDockerd(t *testing.T, s *hubScene) *hubDockerd {
	t.Helper()
	return startHubDockerd(t, dockerHost{trusts: s.both, names: s.beside()})
}

func startHubDockerd(t *testing.T, h dockerHost) *hubDockerd {
	t.Helper()
	d, err := h.start(filepath.Join(must(os.MkdirTemp(suite.dir, "hubd-"))(t), "d"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.close)
	return &hubDockerd{dockerDaemon: d}
}

// leadsTo has names lead elsewhere: it writes into the same file, which is mounted,
// and waits until the daemon has read it, since Go reads it anew every 5 s only.
func (d *hubDockerd) leadsTo(t *testing.T, names map[string]string) {
	t.Helper()
	d.led++
	mark := fmt.Sprintf("led-%d.e2e.test", d.led)
	names[mark] = "127.0.0.1"
	text := must(os.ReadFile(mustHosts(t, names)))(t)
	if err := os.WriteFile(d.hosts, text, 0o644); err != nil {
		t.Fatal(err)
	}
	eventually(t, 20*time.Second, func() error {
		if _, err := d.docker("pull", mark+":1/nothing"); !strings.Contains(err.Error(), "connection refused") {
			return err
		}
		return nil
	})
}

// pull pulls and forgets an image, and returns the digest by which it was known.
func (d *hubDockerd) pull(reference string) (string, error) {
	defer d.forget(reference)
	if out, err := d.docker("pull", reference); err != nil {
		return out, err
	}
	return d.docker("image", "inspect", "--format", "{{.RepoDigests}}", reference)
}

// root is a host's tree with this daemon's daemon.json.
func (d *hubDockerd) root(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	if err := os.MkdirAll(filepath.Join(root, "etc/docker"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "etc/docker/daemon.json"), must(os.ReadFile(d.json))(t), 0o600); err != nil {
		t.Fatal(err)
	}
	return root
}

// TestDockerdFallsBackFromAMirrorUntilDockerHubsNameLeadsToSealgate: the hole that
// no configuration of dockerd closes, and what does.
func TestDockerdFallsBackFromAMirrorUntilDockerHubsNameLeadsToSealgate(t *testing.T) {
	s := curatedHub(t)
	d := newHubDockerd(t, s)
	d.mirror(t, "https://"+gateName)
	const hole = "dockerd: /etc/docker/daemon.json: dockerd with its own image store falls back to registry-1.docker.io"

	before := len(s.hub.asked(0))
	if out, err := d.pull("team/app:signed"); err != nil || !strings.Contains(out, s.signed.digest) {
		t.Errorf("signed, by the mirror: want %s, got %v:\n%s", s.signed.digest, err, out)
	}
	s.notAsked(t, before)
	if out, err := d.pull("team/app:unsigned"); err != nil || !strings.Contains(out, s.unsigned.digest) {
		t.Errorf("unsigned, by the fallback: want %s, got %v:\n%s", s.unsigned.digest, err, out)
	}
	if out, code := s.doctor(t, d.hosts, d.root(t)); code != 1 || !strings.Contains(out, "hole     "+hole) {
		t.Errorf("exit %d\n%s", code, out)
	}

	for _, c := range []struct {
		name, mirror string
		names        map[string]string
	}{
		{"Docker Hub's names lead to Sealgate, with a mirror", "https://" + gateName, s.instead()},
		{"Docker Hub's names lead to Sealgate, without", "", s.instead()},
		{"Docker Hub cannot be reached", "https://" + gateName, s.without()},
	} {
		t.Run(c.name, func(t *testing.T) {
			d.leadsTo(t, c.names)
			d.mirror(t, c.mirror)
			before := len(s.hub.asked(0))
			if out, err := d.pull("team/app:drifted"); err != nil || !strings.Contains(out, s.drifted.digest) {
				t.Errorf("want %s, got %v:\n%s", s.drifted.digest, err, out)
			}
			if out, err := d.pull("team/app:unsigned"); err == nil {
				t.Errorf("pulled an unsigned tag:\n%s", out)
			}
			s.notAsked(t, before)
			if out, code := s.doctor(t, d.hosts, d.root(t)); code != 0 || !strings.Contains(out, "closed   "+hole) {
				t.Errorf("exit %d\n%s", code, out)
			}
		})
	}
}

// TestDoctorHasClientsPullTheCanaryAndListsWhatIsNotSigned runs on a host whose
// docker has an unsigned image already, and whose only client is docker.
func TestDoctorHasClientsPullTheCanaryAndListsWhatIsNotSigned(t *testing.T) {
	s := curatedHub(t)
	d := newHubDockerd(t, s)
	only := t.TempDir()
	for _, program := range []string{"docker", "sh", "mount", "readlink", "unshare"} {
		path := strings.TrimSpace(mustRun(t, nil, "sh", "-c", `command -v "$1"`, "sh", program))
		if err := os.Symlink(path, filepath.Join(only, program)); err != nil {
			t.Fatal(err)
		}
	}
	doctor := func(more ...string) (string, int) {
		argv := append([]string{suite.sealgate, "doctor", "--proxy", "https://" + gateName, "--registry", "docker.io", "--canary", "team/app:unsigned", "--ca-file", s.ca.file}, more...)
		env := append(d.env(), "SSL_CERT_FILE="+s.both, "PATH="+only)
		out, err := run(env, resolving(d.hosts, argv...)...)
		return out, exitCode(err)
	}

	out, code := doctor("--pull", "docker")
	for _, line := range []string{"hole     docker: pulled the canary docker.io/team/app:unsigned", "ok       docker: no image of docker.io is here that is not signed"} {
		if code != 1 || !strings.Contains(out, line) {
			t.Errorf("exit %d, no %q:\n%s", code, line, out)
		}
	}
	if out, err := d.docker("image", "ls", "--quiet"); err != nil || strings.TrimSpace(out) != "" {
		t.Errorf("the canary is still there: %v\n%s", err, out)
	}

	for _, tag := range []string{"unsigned", "drifted", "signed"} {
		mustRun(t, d.env(), "docker", "pull", "team/app:"+tag)
	}
	d.leadsTo(t, s.instead())
	out, code = doctor("--pull", "docker")
	for _, line := range []string{
		"unknown  docker: docker.io/team/app:unsigned is here already",
		"hole     docker: the image docker.io/team/app:unsigned is here, " + s.unsigned.digest + ": not signed (any more)",
		"hole     docker: the image docker.io/team/app:drifted here is " + s.drift.digest + ": not signed (any more), signed is " + s.drifted.digest,
	} {
		if code != 1 || !strings.Contains(out, line) {
			t.Errorf("exit %d, no %q:\n%s", code, line, out)
		}
	}
	if strings.Contains(out, "team/app:signed") {
		t.Errorf("the signed image is listed:\n%s", out)
	}

	for _, tag := range []string{"unsigned", "drifted"} {
		d.forget("team/app:" + tag)
	}
	out, code = doctor("--pull", "docker")
	if code != 0 || !strings.Contains(out, "ok       docker: pulling the canary docker.io/team/app:unsigned failed: ") {
		t.Errorf("exit %d:\n%s", code, out)
	}
}
