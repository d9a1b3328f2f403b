package e2e

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// lan is a network of hosts by themselves, with no way in or out: each is a set of
// namespaces of this machine with its own addresses, processes, /etc, /run,
// /var/lib and /var/log, where servers listen on the ports that they have in production. A
// switch joins them. All know one another by name, and all trust one CA.
type lan struct {
	dir   string
	ca    *authority
	cable *network // the switch: a network namespace with a bridge
	names map[string]string
	hosts map[string]*host
}

// host is one of them. Its working directory and home are files of the suite's,
// what it has in /run and /var is memory that ends with it.
type host struct {
	name   string
	dir    string // work and home are below it
	ip     string
	holder *process
	pid    string // of the first process in the namespaces

	variables []string   // of all that run on it
	servers   []*process // what serve started
}

// hostAddresses are the names of the hosts that a lan can have, with the last
// byte of their addresses, and what else they are called.
var hostAddresses = map[string]struct {
	byte  int
	names []string
}{
	"gate":   {1, []string{"registry.example.com", "gate.example.com"}},
	"origin": {2, []string{"origin.internal"}},
	"notary": {3, []string{"notary.internal"}},
	"client": {4, nil},
	"hub":    {5, hubHosts},
	// An island: no cable leads there. It takes gate's address, for itself.
	"there": {1, nil},
}

func newLAN(t *testing.T) *lan {
	t.Helper()
	dir := must(os.MkdirTemp(suite.dir, "lan-"))(t)
	l := &lan{dir: dir, ca: must(newAuthority(dir))(t), names: map[string]string{}, hosts: map[string]*host{}}
	for name, address := range hostAddresses {
		for _, name := range append(slices.Clone(address.names), name) {
			if name != "there" {
				l.names[name] = fmt.Sprint("10.9.0.", address.byte)
			}
		}
	}
	l.cable = must(newIsland())(t)
	t.Cleanup(l.cable.close)
	l.cable.mustIn(t, "ip", "link", "add", "br0", "type", "bridge")
	l.cable.mustIn(t, "ip", "link", "set", "br0", "up")
	bin := filepath.Join(dir, "bin")
	if err := errors.Join(os.Mkdir(filepath.Join(dir, "media"), 0o700), os.Mkdir(bin, 0o700), os.Symlink(suite.sealgate, filepath.Join(bin, "sealgate")),
		os.WriteFile(filepath.Join(bin, "systemctl"), []byte(systemctl), 0o700)); err != nil {
		t.Fatal(err)
	}
	return l
}

// hostUp makes a host of new namespaces: $1 is its directory, $2 one that all
// hosts share, as a disk that is carried about.
const hostUp = `cp -a /etc/. "$1/etc" && cp "$1/hosts" "$1/etc/hosts" && cat "$1/ca.crt" >>"$1/etc/ssl/certs/ca-certificates.crt" &&
rm -rf "$1/etc/resolv.conf" "$1/etc/docker" "$1/etc/containerd" && : >"$1/etc/resolv.conf" &&
mount --bind "$1/etc" /etc && mount -t tmpfs none /run && mount -t tmpfs none /var/lib && mount -t tmpfs none /var/log && mount --bind "$2" /media &&
ip link set lo up && touch "$1/up" && exec sleep infinity`

// host is the host of that name, made when it is first wanted.
func (l *lan) host(t *testing.T, name string) *host {
	t.Helper()
	if h := l.hosts[name]; h != nil {
		return h
	}
	address, known := hostAddresses[name]
	if !known {
		t.Fatalf("there is no host %q; there are %q", name, slices.Sorted(maps.Keys(hostAddresses)))
	}
	h := &host{name: name, dir: filepath.Join(l.dir, name), ip: fmt.Sprint("10.9.0.", address.byte)}
	for _, dir := range []string{"etc", "home", "work"} {
		if err := os.MkdirAll(filepath.Join(h.dir, dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	hosts := must(hostsFile(h.dir, l.names))(t)
	if err := errors.Join(os.Rename(hosts, filepath.Join(h.dir, "hosts")), os.Link(l.ca.file, filepath.Join(h.dir, "ca.crt"))); err != nil {
		t.Fatal(err)
	}
	h.holder = must(start(name, filepath.Join(h.dir, "host.log"), nil,
		"unshare", "--net", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--mount-proc",
		"sh", "-c", hostUp, "sh", h.dir, filepath.Join(l.dir, "media")))(t)
	t.Cleanup(h.close)
	if err := h.holder.ready(10*time.Second, h.isUp); err != nil {
		t.Fatal(err)
	}
	l.connect(t, h)
	l.hosts[name] = h
	return h
}

// isUp tells whether the namespaces are as they should be, and finds out who is
// the first in them.
func (h *host) isUp() error {
	if _, err := os.Stat(filepath.Join(h.dir, "up")); err != nil {
		return err
	}
	pid := h.holder.cmd.Process.Pid
	children, err := os.ReadFile(fmt.Sprintf("/proc/%[1]d/task/%[1]d/children", pid))
	if h.pid = strings.TrimSpace(string(children)); err == nil && h.pid == "" {
		err = fmt.Errorf("%s has no first process", h.name)
	}
	return err
}

// connect gives the host its address, on a cable to the switch or, on an island,
// for itself.
func (l *lan) connect(t *testing.T, h *host) {
	t.Helper()
	if h.name == "there" {
		h.mustRun(t, "ip", "address", "add", h.ip+"/32", "dev", "lo")
		return
	}
	l.cable.mustIn(t, "ip", "link", "add", h.name, "master", "br0", "type", "veth", "peer", "name", "eth0", "netns", h.pid)
	l.cable.mustIn(t, "ip", "link", "set", h.name, "up")
	h.mustRun(t, "ip", "address", "add", h.ip+"/24", "dev", "eth0")
	h.mustRun(t, "ip", "link", "set", "eth0", "up")
}

// close ends all that runs on the host.
func (h *host) close() {
	if children, err := os.ReadFile(fmt.Sprintf("/proc/%[1]d/task/%[1]d/children", h.holder.cmd.Process.Pid)); err == nil {
		var pid int
		if n, _ := fmt.Sscan(string(children), &pid); n == 1 {
			_ = syscall.Kill(pid, syscall.SIGKILL) // the kernel ends the others with it
		}
	}
	h.holder.stop(5 * time.Second)
}

// in is argv on the host.
func (h *host) in(argv ...string) []string {
	return append([]string{"nsenter", "--target", h.pid, "--net", "--mount", "--pid", "--wdns=" + filepath.Join(h.dir, "work"), "--"}, argv...)
}

// env is what a user of the host has. The passphrase is what is typed where the
// notary and docker commands ask for one.
func (h *host) env() []string {
	env := []string{"HOME=" + filepath.Join(h.dir, "home"), "XDG_RUNTIME_DIR=/run", "TMPDIR=/run", "PATH=" + strings.Join([]string{filepath.Join(h.dir, "home/.local/bin"), filepath.Join(filepath.Dir(h.dir), "bin"), os.Getenv("PATH")}, ":")}
	for _, role := range []string{"ROOT", "TARGETS", "SNAPSHOT", "DELEGATION"} {
		env = append(env, "NOTARY_"+role+"_PASSPHRASE="+passphrase)
	}
	env = append(env, h.variables...)
	return append(env, "DOCKER_CONTENT_TRUST_ROOT_PASSPHRASE="+passphrase, "DOCKER_CONTENT_TRUST_REPOSITORY_PASSPHRASE="+passphrase)
}

// mustRun runs a command on the host that has to succeed.
func (h *host) mustRun(t *testing.T, argv ...string) string {
	t.Helper()
	return mustRun(t, h.env(), h.in(argv...)...)
}

// serve starts a server on the host and waits until it listens on that port.
func (h *host) serve(t *testing.T, port string, argv ...string) *process {
	t.Helper()
	name := filepath.Base(argv[0])
	p := must(start(name, filepath.Join(h.dir, name+".log"), h.env(), h.in(argv...)...))(t)
	h.servers = append(h.servers, p)
	listens := func() error {
		_, err := run(nil, h.in("bash", "-c", `exec 3<>"/dev/tcp/$1/$2"`, "bash", h.ip, port)...)
		return err
	}
	if err := p.ready(20*time.Second, listens); err != nil {
		t.Fatal(err)
	}
	return p
}

// write writes a file to the host's working directory.
func (h *host) write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(h.dir, "work", name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
