package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// dockerDaemon is a dockerd with a containerd of its own, apart from any other
// on the machine: its own sockets, storage, state and mounts, no bridge, no
// firewall rules.
type dockerDaemon struct {
	*process
	dir        string
	socket     string
	containerd string // socket
	config     string // the CLI's configuration directory
	json       string // where its daemon.json is, if it has one, which SIGHUP has it read again
	hosts      string // its /etc/hosts
}

// dockerd is the suite's one daemon, started by the first test that wants it.
var dockerd = sync.OnceValues(func() (*dockerDaemon, error) {
	s, err := sharedScene()
	if err != nil {
		return nil, err
	}
	// Docker Hub is on loopback too, where nothing answers for it: no test may reach the real one.
	d, err := startAnyDockerd(filepath.Join(suite.dir, "dockerd"), s.ca, leadTo("127.0.0.1", hubHosts...))
	if err == nil {
		suite.atEnd(d.close)
	}
	return d, err
})

// dockerHost is a host for dockerd.
type dockerHost struct {
	trusts  string            // PEM file, its system's store of CAs
	names   map[string]string // what resolves there beside registryName
	network *network          // where it is; nil: on the machine's own
	etc     string            // what it has as /etc/docker; "": nothing
}

// startAnyDockerd starts one that trusts ca, and to which these names resolve.
func startAnyDockerd(dir string, ca *authority, names map[string]string, flags ...string) (*dockerDaemon, error) {
	return dockerHost{trusts: ca.file, names: names}.start(dir, flags...)
}

// start is startDockerd with the first storage driver that works here.
func (h dockerHost) start(dir string, flags ...string) (*dockerDaemon, error) {
	var failures []error
	for _, driver := range []string{"overlay2", "vfs"} { // overlay2 does not work on every file system
		d, err := h.startDockerd(dir+"-"+driver, driver, flags...)
		if err == nil {
			return d, nil
		}
		failures = append(failures, err)
	}
	return nil, errors.Join(failures...)
}

// registryName is a host name that resolves for dockerd alone, to loopback. At a
// loopback *address* its BuildKit speaks no TLS; at this name it does, as at any
// registry's own name. The daemon itself verifies a certificate at neither, since
// it looks where a name leads to and believes loopback, Docker Hub's own names
// excepted: see network for where it verifies.
const registryName = "registry.e2e.test"

// ownMounts runs a command with its first two arguments as /etc/hosts and
// /etc/docker, where dockerd reads its configuration and certificates and writes
// a key.
const ownMounts = `mount --bind "$1" /etc/hosts && mount --bind "$2" /etc/docker && shift 2 && exec "$@"`

// startDockerd starts one in a mount namespace in which registryName and the
// host's names are in /etc/hosts; whatever it mounts ends with the namespace. What
// BuildKit is to know of mirrors has to be among flags.
func (h dockerHost) startDockerd(dir, driver string, flags ...string) (*dockerDaemon, error) {
	d := &dockerDaemon{
		dir:        dir,
		socket:     filepath.Join(dir, "docker.sock"),
		containerd: filepath.Join(dir, "exec", "containerd", "containerd.sock"),
		config:     filepath.Join(dir, "cli"),
	}
	etc := h.etc
	if etc == "" {
		etc = filepath.Join(dir, "etc")
	}
	for _, needed := range []string{d.config, etc} {
		if err := os.MkdirAll(needed, 0o700); err != nil {
			return nil, err
		}
	}
	d.json = filepath.Join(etc, "daemon.json")
	all := leadTo("127.0.0.1", registryName)
	maps.Copy(all, h.names)
	var err error
	if d.hosts, err = hostsFile(dir, all); err != nil {
		return nil, err
	}
	argv := append([]string{
		"unshare", "--mount", "--propagation", "slave",
		"sh", "-c", ownMounts, "sh", d.hosts, etc,
		"dockerd",
		"--data-root", filepath.Join(dir, "data"), "--exec-root", filepath.Join(dir, "exec"),
		"--pidfile", filepath.Join(dir, "dockerd.pid"), "--host", "unix://" + d.socket,
		"--bridge", "none", "--iptables=false", "--storage-driver", driver,
	}, flags...)
	d.process, err = start("dockerd", filepath.Join(dir, "dockerd.log"), []string{"SSL_CERT_FILE=" + h.trusts}, h.network.in(argv...)...)
	if err != nil {
		return nil, err
	}
	check := func() error { _, err := d.docker("version", "--format", "{{.Server.Version}}"); return err }
	if err := d.ready(60*time.Second, check); err != nil {
		d.close()
		return nil, err
	}
	return d, nil
}

// close stops the daemon and, should it have had to be killed, its containerd.
func (d *dockerDaemon) close() {
	pid, _ := os.ReadFile(filepath.Join(d.dir, "exec", "containerd", "containerd.pid"))
	d.stop(20 * time.Second)
	if id, err := strconv.Atoi(strings.TrimSpace(string(pid))); err == nil && strings.Contains(commandLine(id), d.dir) {
		if p, err := os.FindProcess(id); err == nil {
			_ = p.Kill()
		}
	}
}

// docker runs the CLI against this daemon, and against none other.
func (d *dockerDaemon) docker(arguments ...string) (string, error) {
	return run(d.env(), append([]string{"docker"}, arguments...)...)
}

func (d *dockerDaemon) env() []string {
	return []string{"DOCKER_HOST=unix://" + d.socket, "DOCKER_CONFIG=" + d.config}
}

// mirror sets the daemon's registry mirror; empty means none.
func (d *dockerDaemon) mirror(t *testing.T, url string) {
	t.Helper()
	mirrors := []string{}
	if url != "" {
		mirrors = append(mirrors, url)
	}
	text := must(json.Marshal(map[string]any{"registry-mirrors": mirrors}))(t)
	if err := os.WriteFile(d.json, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := d.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	eventually(t, 10*time.Second, func() error {
		out, err := d.docker("info", "--format", "{{json .RegistryConfig.Mirrors}}")
		if err == nil && strings.Contains(out, "//") == (url != "") {
			return nil
		}
		return fmt.Errorf("mirrors are %s, %v", out, err)
	})
}

// forget removes an image that a test has pulled or built, if it is there.
func (d *dockerDaemon) forget(image string) { _, _ = d.docker("rmi", "--force", image) }

// mustDockerd is dockerd for a test.
func mustDockerd(t *testing.T) *dockerDaemon {
	t.Helper()
	d, err := dockerd()
	if err != nil {
		t.Fatalf("dockerd does not run here: %v", err)
	}
	return d
}

// buildKit returns the arguments and settings that build with BuildKit: the
// buildx plugin where there is one, else a CLI older than 23, which has it inside.
func (d *dockerDaemon) buildKit() (argv, env []string, err error) {
	if _, err := d.docker("buildx", "version"); err == nil {
		return []string{"docker", "buildx", "build", "--load"}, d.env(), nil
	}
	for _, cli := range []string{"docker", "/usr/bin/docker"} {
		out, err := run(d.env(), cli, "version", "--format", "{{.Client.Version}}")
		major, _, _ := strings.Cut(out, ".")
		if n, convErr := strconv.Atoi(major); err == nil && convErr == nil && n < 23 {
			return []string{cli, "build"}, append(d.env(), "DOCKER_BUILDKIT=1"), nil
		}
	}
	return nil, nil, fmt.Errorf("no docker CLI with BuildKit: install docker.io from Debian 12, or the buildx plugin")
}
