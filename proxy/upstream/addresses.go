package upstream

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"syscall"
)

// serviceAddresses are those at which clouds serve secrets to their machines,
// as far as they are not link-local: Amazon (over IPv6), Google (the same),
// Alibaba, Azure, Oracle.
var serviceAddresses = []netip.Addr{
	netip.MustParseAddr("fd00:ec2::254"),
	netip.MustParseAddr("fd20:ce::254"),
	netip.MustParseAddr("100.100.100.200"),
	netip.MustParseAddr("168.63.129.16"),
	netip.MustParseAddr("192.0.0.192"),
}

// translated are the prefixes under which an IPv4 address is reached over IPv6
// in the last 32 bits (RFC 6052 section 2.1, RFC 8215).
var translated = []netip.Prefix{netip.MustParsePrefix("64:ff9b::/96"), netip.MustParsePrefix("64:ff9b:1::/96")}

// guarded returns a dial function for addresses that an upstream chose, by
// name: what the name resolves to must not be this machine, its link or a
// service of its cloud. It looks at the address that is connected to, so that
// no second answer of the name server slips through. Private networks are
// allowed: object stores stand there. So is an address that is written as one
// and localhost, since somebody must have listed them.
func guarded(dialer net.Dialer) func(ctx context.Context, network, address string) (net.Conn, error) {
	plain := dialer
	dialer.ControlContext = func(_ context.Context, _, address string, _ syscall.RawConn) error {
		ip, err := netip.ParseAddrPort(address)
		if err != nil || !mayFollowTo(ip.Addr()) {
			return fmt.Errorf("%w: the host resolves to %s, an address of this machine, its link or its cloud; list the address itself in redirect-hosts where that is meant", ErrRedirect, address)
		}
		return nil
	}
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		host, _, err := net.SplitHostPort(address)
		if err != nil {
			return nil, err
		}
		if _, err := netip.ParseAddr(host); err == nil || host == "localhost" {
			return plain.DialContext(ctx, network, address)
		}
		return dialer.DialContext(ctx, network, address)
	}
}

// mayFollowTo says whether a name that a redirect leads to may resolve to ip.
func mayFollowTo(ip netip.Addr) bool {
	ip = ip.Unmap().WithZone("")
	for _, prefix := range translated {
		if prefix.Contains(ip) {
			bytes := ip.As16()
			ip, _ = netip.AddrFromSlice(bytes[12:])
		}
	}
	switch {
	case ip.IsLoopback(), ip.IsLinkLocalUnicast(), ip.IsMulticast(), ip.IsUnspecified(), slices.Contains(serviceAddresses, ip):
		return false
	case ip.Is4():
		first := ip.As4()[0]
		return first != 0 && first < 240 // "this network" and what is reserved, broadcast among it
	}
	return true
}
