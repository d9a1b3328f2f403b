package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	clientfiles "github.com/sealgate/sealgate/config/clients"
)

// ctrPull pulls with containerd 1.6 from a host on which hosts is /etc/hosts,
// with the hosts.toml below dir. The hub's CA is in the host's own store,
// Sealgate's is where the files say.
func (s *hubScene) ctrPull(t *testing.T, hosts, dir, reference string) (string, error) {
	t.Helper()
	d := mustDockerd(t)
	ctr := func(arguments ...string) (string, error) {
		argv := append([]string{"ctr", "--address", d.containerd, "--namespace", "e2e-hub"}, arguments...)
		return run([]string{"SSL_CERT_FILE=" + s.system}, s.on(hosts, argv...)...)
	}
	if out, err := ctr("content", "fetch", "--hosts-dir", dir, reference); err != nil {
		return out, err
	}
	defer func() { _, _ = ctr("images", "rm", "--sync", reference) }()
	return ctr("images", "ls", "name=="+reference)
}

func TestEmittedHostsTOMLHoldsContainerd(t *testing.T) {
	s := curatedHub(t)
	hosts := mustHosts(t, s.beside())
	dir := filepath.Join(s.emitted(t, "containerd"), clientfiles.ContainerdDir)
	for _, c := range []struct {
		tag   string
		image pushed
	}{{"signed", s.signed}, {"drifted", s.drifted}} {
		before := len(s.hub.asked(0))
		if out, err := s.ctrPull(t, hosts, dir, "docker.io/team/app:"+c.tag); err != nil || !strings.Contains(out, c.image.digest) {
			t.Errorf("%s: want %s, got %v:\n%s", c.tag, c.image.digest, err, out)
		}
		s.notAsked(t, before)
	}
	before := len(s.hub.asked(0))
	for _, name := range []string{"docker.io", "registry-1.docker.io", "index.docker.io"} {
		if out, err := s.ctrPull(t, hosts, dir, name+"/team/app:unsigned"); err == nil || !strings.Contains(err.Error(), "not found") && !strings.Contains(err.Error(), "no available registry endpoint") {
			t.Errorf("%s: want a failure that says not found, got %v:\n%s", name, err, out)
		}
	}
	s.notAsked(t, before)
	if out, err := s.ctrPull(t, hosts, dir, "docker.io/team/app@"+s.unsigned.digest); err != nil {
		t.Errorf("by digest: %v\n%s", err, out)
	}
}

// TestHostsTOMLThatFallsBackGivesContainerdAnUnsignedTag shows the two mistakes
// that the emitted form does not make, and that the doctor names them.
func TestHostsTOMLThatFallsBackGivesContainerdAnUnsignedTag(t *testing.T) {
	s := curatedHub(t)
	hosts := mustHosts(t, s.beside())
	for _, c := range []struct{ name, text, says string }{
		{"the server may resolve", fmt.Sprintf("server = \"https://registry-1.docker.io\"\n[host.\"https://%s\"]\n  ca = %q\n", gateName, s.ca.file),
			"registry-1.docker.io is asked for tags when Sealgate refuses"},
		{"there is no host table", fmt.Sprintf("server = \"https://%s\"\nca = %q\n", gateName, s.ca.file),
			"there is no [host] table"},
	} {
		t.Run(c.name, func(t *testing.T) {
			root := t.TempDir()
			file := filepath.Join(root, clientfiles.ContainerdDir, "docker.io", "hosts.toml")
			if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, []byte(c.text), 0o600); err != nil {
				t.Fatal(err)
			}
			if out, err := s.ctrPull(t, hosts, filepath.Join(root, clientfiles.ContainerdDir), "docker.io/team/app:unsigned"); err != nil || !strings.Contains(out, s.unsigned.digest) {
				t.Errorf("want %s, got %v:\n%s", s.unsigned.digest, err, out)
			}
			out, code := s.doctor(t, hosts, root)
			if code != 1 || !strings.Contains(out, "/etc/containerd/certs.d/docker.io/hosts.toml: "+c.says) {
				t.Errorf("exit %d\n%s", code, out)
			}
		})
	}
}

// overEtc is argv where what is below etc in dir lies over the machine's own
// /etc/containers.
func overEtc(t *testing.T, dir string, argv ...string) []string {
	t.Helper()
	merged := t.TempDir()
	mustRun(t, nil, "cp", "-a", "/etc/containers/.", merged)
	mustRun(t, nil, "cp", "-a", filepath.Join(dir, "etc/containers")+"/.", merged)
	return append([]string{"unshare", "--mount", "--propagation", "slave", "sh", "-c", `mount --bind "$1" /etc/containers && shift && exec "$@"`, "sh", merged}, argv...)
}

// inContainers are pulls of the clients that read registries.conf; each returns
// what it then says of the image, its digest among it.
func (s *hubScene) inContainers(t *testing.T, hosts, dir string) map[string]func(reference string) (string, error) {
	env := []string{"SSL_CERT_FILE=" + s.system}
	on := func(argv ...string) (string, error) {
		return run(env, overEtc(t, dir, resolving(hosts, argv...)...)...)
	}
	storage := must(os.MkdirTemp(suite.dir, "podman-"))(t)
	podman := func(arguments ...string) (string, error) {
		return on(append([]string{
			"podman", "--root", filepath.Join(storage, "root"), "--runroot", filepath.Join(storage, "run"), "--tmpdir", filepath.Join(storage, "tmp"),
			"--storage-driver", "vfs", "--cgroup-manager", "cgroupfs", "--events-backend", "none",
		}, arguments...)...)
	}
	return map[string]func(string) (string, error){
		"skopeo": func(reference string) (string, error) {
			return on("skopeo", "inspect", "--no-tags", "docker://"+reference)
		},
		"podman": func(reference string) (string, error) {
			if out, err := podman("pull", "--quiet", reference); err != nil {
				return out, err
			}
			return podman("image", "inspect", "--format", "{{.RepoDigests}}", reference)
		},
	}
}

func TestEmittedRegistriesConfHoldsPodmanAndSkopeo(t *testing.T) {
	s := curatedHub(t)
	for name, pull := range s.inContainers(t, mustHosts(t, s.beside()), s.emitted(t, "podman")) {
		t.Run(name, func(t *testing.T) {
			before := len(s.hub.asked(0))
			if out, err := pull("docker.io/team/app:signed"); err != nil || !strings.Contains(out, s.signed.digest) {
				t.Errorf("want %s, got %v:\n%s", s.signed.digest, err, out)
			}
			if out, err := pull("docker.io/team/app:drifted"); err != nil || !strings.Contains(out, s.drifted.digest) {
				t.Errorf("want %s, got %v:\n%s", s.drifted.digest, err, out)
			}
			out, err := pull("docker.io/team/app:unsigned")
			if err == nil || !strings.Contains(strings.ReplaceAll(err.Error(), `\"`, `"`), `no trust data for tag "unsigned" in docker.io/team/app`) {
				t.Errorf("want the denial, got %v:\n%s", err, out)
			}
			for _, name := range []string{"registry-1.docker.io", "index.docker.io"} {
				if out, err := pull(name + "/team/app:unsigned"); err == nil {
					t.Errorf("pulled from %s:\n%s", name, out)
				}
			}
			s.notAsked(t, before)
		})
	}
}

// TestRegistriesConfThatDoesNotBlockGivesPodmanAnUnsignedTag shows that the test
// above can fail, and that the doctor names the mistake.
func TestRegistriesConfThatDoesNotBlockGivesPodmanAnUnsignedTag(t *testing.T) {
	s := curatedHub(t)
	hosts, dir := mustHosts(t, s.beside()), s.emitted(t, "podman")
	file := filepath.Join(dir, clientfiles.PodmanFile)
	text := must(os.ReadFile(file))(t)
	if err := os.WriteFile(file, []byte(strings.Replace(string(text), "blocked = true", "blocked = false", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, pull := range s.inContainers(t, hosts, dir) {
		if out, err := pull("docker.io/team/app:unsigned"); err != nil || !strings.Contains(out, s.unsigned.digest) {
			t.Errorf("%s: want %s, got %v:\n%s", name, s.unsigned.digest, err, out)
		}
	}
	if out, code := s.doctor(t, hosts, dir); code != 1 || !strings.Contains(out, clientfiles.PodmanFile+": docker.io is not blocked") {
		t.Errorf("exit %d\n%s", code, out)
	}
}

// doctor examines a host with that /etc/hosts and that root, by the canary.
func (s *hubScene) doctor(t *testing.T, hosts, root string, more ...string) (string, int) {
	t.Helper()
	argv := append([]string{suite.sealgate, "doctor", "--proxy", "https://" + gateName, "--registry", "docker.io",
		"--canary", "team/app:unsigned", "--ca-file", s.ca.file, "--root", root}, more...)
	out, err := run([]string{"SSL_CERT_FILE=" + s.system}, s.on(hosts, argv...)...)
	return out, exitCode(err)
}

func TestDoctorTellsAHostThatIsHeldFromOneThatIsNot(t *testing.T) {
	s := curatedHub(t)
	root := s.emitted(t, "containerd", "podman")
	held := []string{
		"ok       network: Sealgate at gate.e2e.test refuses the canary, with status 404",
		"ok       containerd: /etc/containerd/certs.d/docker.io/hosts.toml: tags are asked of Sealgate alone",
		"ok       podman: " + clientfiles.PodmanFile + ": tags are asked of Sealgate alone",
	}
	for _, c := range []struct {
		name  string
		names map[string]string
		code  int
		says  []string
	}{
		{"it reaches Sealgate only", s.without(), 0, append(held, "registry-1.docker.io cannot be reached from this host")},
		{"Docker Hub's names lead to Sealgate", s.instead(), 0, append(held, "registry-1.docker.io leads to Sealgate")},
		{"it reaches Docker Hub", s.beside(), 1, append(held, "hole     network: registry-1.docker.io serves the canary docker.io/team/app:unsigned to this host, as "+s.unsigned.digest)},
		{"it does not reach Sealgate", s.hub.names(), 1, []string{"unknown  network: whether Sealgate at gate.e2e.test refuses", "hole     network: registry-1.docker.io serves"}},
		{"it reaches nobody", nil, 3, []string{"unknown  network: whether Sealgate"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			out, code := s.doctor(t, mustHosts(t, c.names), root)
			if code != c.code {
				t.Errorf("want exit %d, got %d", c.code, code)
			}
			for _, line := range c.says {
				if !strings.Contains(out, line) {
					t.Errorf("no %q", line)
				}
			}
			if t.Failed() {
				t.Log(out)
			}
		})
	}
}
