package e2e

import (
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// network is a network of two: the machine, where the suite's servers listen, and
// a network namespace for clients, with a link between them and no other way out.
// Clients there are as those on another host: no address of the servers is a
// loopback address, at which dockerd verifies nobody but Docker Hub.
//
// The namespace has no name. It is a process's, with which it ends, and that
// process ends with the suite, however that ends.
type network struct {
	holder *process
	link   string       // the machine's end of the link; the other end is uplink
	block  netip.Prefix // its addresses: servers of servers, and then the clients'
	taken  int          // of the servers' addresses
}

// uplink is the clients' end of the link.
const uplink = "uplink"

// servers is how many addresses the servers have, each for one that listens on 443.
const servers = 3

// linksOfRun is how the names begin of all links that this run makes.
func linksOfRun() string { return fmt.Sprintf("sg%x-", os.Getpid()) }

func newNetwork() (n *network, err error) {
	n = &network{link: linksOfRun() + strconv.Itoa(rand.IntN(10000))}
	n.holder, err = start("unshare", filepath.Join(suite.dir, n.link+".log"), nil, "unshare", "--net", "sleep", "infinity")
	if err != nil {
		return nil, err
	}
	for _, step := range []func() error{n.unshared, n.connect, n.address, n.open} {
		if err := step(); err != nil {
			n.close()
			return nil, err
		}
	}
	return n, nil
}

func (n *network) close() {
	// The kernel takes its time to end a namespace; the link goes at once.
	_, _ = run(nil, "ip", "link", "delete", n.link)
	n.holder.stop(5 * time.Second)
}

// path is the namespace's file.
func (n *network) path() string { return fmt.Sprintf("/proc/%d/ns/net", n.holder.cmd.Process.Pid) }

// in is argv in the namespace; in no network, it is argv.
func (n *network) in(argv ...string) []string {
	if n == nil {
		return argv
	}
	return append([]string{"nsenter", "--net=" + n.path(), "--"}, argv...)
}

// unshared waits for the namespace.
func (n *network) unshared() error {
	return n.holder.ready(10*time.Second, func() error {
		ours, err := os.Readlink("/proc/self/ns/net")
		if err != nil {
			return err
		}
		if theirs, err := os.Readlink(n.path()); err != nil || theirs == ours {
			return fmt.Errorf("%s is %q, and ours %q: %w", n.path(), theirs, ours, err)
		}
		return nil
	})
}

func (n *network) connect() error {
	if _, err := run(nil, "ip", "link", "add", n.link, "type", "veth", "peer", "name", uplink, "netns", strconv.Itoa(n.holder.cmd.Process.Pid)); err != nil {
		return err
	}
	_, err := run(nil, "ip", "link", "set", n.link, "up")
	return err
}

// host is the i-th address, from 1, with the length of the prefix.
func (n *network) host(i int) netip.Prefix {
	ip := n.block.Addr().As4()
	ip[3] += byte(i)
	return netip.PrefixFrom(netip.AddrFrom4(ip), n.block.Bits())
}

// address finds the servers addresses.
func (n *network) address() error {
	for range 20 {
		random := netip.AddrFrom4([4]byte{10, 213, byte(rand.IntN(256)), byte(rand.IntN(32)) << 3})
		if free, err := n.claim(netip.PrefixFrom(random, 29)); err != nil || free {
			return err
		}
	}
	return fmt.Errorf("no eight addresses are free in 10.213.0.0/16")
}

// claim gives the servers the addresses of a block, unless something else on this
// machine has a route to any of them, another run of the suite included: that is
// why it takes them first and looks then.
func (n *network) claim(block netip.Prefix) (free bool, err error) {
	n.block = block
	for i := range servers {
		if _, err := run(nil, "ip", "address", "add", n.host(1+i).String(), "dev", n.link); err != nil {
			return false, err
		}
	}
	routes, err := run(nil, "ip", "-4", "route", "show", "table", "all", "root", block.String())
	if err != nil || n.alone(routes) {
		return err == nil, err
	}
	_, err = run(nil, "ip", "address", "flush", "dev", n.link)
	return false, err
}

// alone tells whether all routes are by our link.
func (n *network) alone(routes string) bool {
	for route := range strings.Lines(routes) {
		if !strings.Contains(route, "dev "+n.link+" ") {
			return false
		}
	}
	return routes != ""
}

// open gives the clients their address, and no route but to its neighbours.
func (n *network) open() error {
	for _, command := range []string{
		"link set lo up",
		fmt.Sprintf("address add %s dev %s", n.host(1+servers), uplink),
		"link set " + uplink + " up",
	} {
		if _, err := run(nil, n.in(append([]string{"ip"}, strings.Fields(command)...)...)...); err != nil {
			return err
		}
	}
	return nil
}

// listen443 listens on port 443 of the servers' next address.
func (n *network) listen443() (net.Listener, error) {
	if n.taken == servers {
		return nil, fmt.Errorf("all %d addresses of the servers are taken", servers)
	}
	n.taken++
	return net.Listen("tcp", netip.AddrPortFrom(n.host(n.taken).Addr(), 443).String())
}

// mustIn runs a command in the namespace that has to succeed.
func (n *network) mustIn(t *testing.T, argv ...string) string {
	t.Helper()
	return mustRun(t, nil, n.in(argv...)...)
}

// counts counts the TCP packets that clients send to an address, from now on: the
// kernel does, before anything can be lost or refused.
func (n *network) counts(t *testing.T, ip string) (packets func() int) {
	t.Helper()
	rule := []string{"OUTPUT", "--destination", ip, "--protocol", "tcp"}
	n.mustIn(t, append([]string{"iptables", "--table", "raw", "--append"}, rule...)...)
	t.Cleanup(func() { n.mustIn(t, append([]string{"iptables", "--table", "raw", "--delete"}, rule...)...) })
	counted := regexp.MustCompile(`-d ` + regexp.QuoteMeta(ip) + `/32 -p tcp -c ([0-9]+) `)
	return func() int {
		t.Helper()
		rules := n.mustIn(t, "iptables", "--table", "raw", "--verbose", "--list-rules", "OUTPUT")
		m := counted.FindStringSubmatch(rules)
		if m == nil {
			t.Fatalf("no count for %s in\n%s", ip, rules)
		}
		return must(strconv.Atoi(m[1]))(t)
	}
}

// TestANetworkHasNoOtherWayOutAndNoAddressOfAnother is about the harness.
func TestANetworkHasNoOtherWayOutAndNoAddressOfAnother(t *testing.T) {
	one, other := must(newNetwork())(t), must(newNetwork())(t)
	t.Cleanup(one.close)
	t.Cleanup(other.close)

	routes := one.mustIn(t, "ip", "route", "show")
	if want := one.block.String() + " dev " + uplink + " "; !strings.HasPrefix(routes, want) || strings.Count(routes, "\n") != 1 {
		t.Errorf("want the route %q alone, got\n%s", want, routes)
	}
	l := must(one.listen443())(t)
	defer l.Close()
	const connect = `exec 3<>"/dev/tcp/$1/443"`
	ip := one.host(1).Addr().String()
	one.mustIn(t, "bash", "-c", connect, "bash", ip)
	if out, err := run(nil, other.in("bash", "-c", connect, "bash", ip)...); err == nil || !strings.Contains(out, "unreachable") {
		t.Errorf("from another network: want no route, got %v:\n%s", err, out)
	}

	if free, err := other.claim(one.block); free || err != nil {
		t.Errorf("addresses in use are taken for free: %t, %v", free, err)
	}
}

// leftLinks looks for links of this run's networks, ends them, and says what they
// were.
func leftLinks() []error {
	links, err := net.Interfaces()
	if err != nil {
		return []error{err}
	}
	var errs []error
	for _, link := range links {
		if strings.HasPrefix(link.Name, linksOfRun()) {
			errs = append(errs, fmt.Errorf("the link %s was left", link.Name))
			_, _ = run(nil, "ip", "link", "delete", link.Name)
		}
	}
	return errs
}
