package clients

import (
	"fmt"
	"slices"
	"strings"
)

// DNS is what makes the registries' own names lead to Sealgate, and what keeps a
// host from asking anybody else.
func DNS(endpoints []Endpoint) []File {
	var hosts, zone strings.Builder
	var notes []string
	for _, e := range endpoints {
		names := []string{hostOf(e.Registry)}
		if e.Registry == Hub {
			names = HubHosts
		}
		if !e.AtOwnName() {
			notes = append(notes, fmt.Sprintf("%s: proxy.yaml has to have %s in its hosts, in a certificate, and on port %s;", e.Registry, strings.Join(names, ", "), ownPort(e.Registry)))
		}
		for _, name := range names {
			if len(e.Addresses) > 0 {
				fmt.Fprintf(&zone, "local-zone: %q redirect\n", name+".")
			}
			for _, ip := range e.Addresses {
				fmt.Fprintf(&hosts, "%s %s\n", ip, name)
				kind := "A"
				if ip.Is6() {
					kind = "AAAA"
				}
				fmt.Fprintf(&zone, "local-data: \"%s. IN %s %s\"\n", name, kind, ip)
			}
		}
	}
	if len(notes) > 0 {
		notes = append(notes, "and its upstream must not lead back to itself: Sealgate's own resolver is to give the real address.")
	}
	files := []File{
		{
			Path: "/etc/hosts",
			Says: append([]string{
				"Lines to add on a client host.",
				"They close the fallback of every client, dockerd's too, on this host, where Sealgate's CA is in the system's store;",
				"they do not hold who knows the origin's address or another resolver (the egress rules do), nor containers with name servers of their own.",
			}, notes...),
			Text: hosts.String(),
		},
		{
			Path: "/etc/unbound/unbound.conf.d/sealgate.conf",
			Says: []string{
				"The same for a whole network, in its resolver (unbound; other servers have the like).",
				"It closes the fallback of every client that asks this resolver, and does not hold who asks another.",
			},
			Text: "server:\n" + indent(zone.String(), "  "),
		},
	}
	files = append(files, egress(endpoints))
	for _, e := range endpoints {
		if len(e.CA) > 0 {
			return append(files, e.systemAuthority("every client believes for a registry's own name")...)
		}
	}
	return files
}

func ownPort(registry string) string {
	if _, port, found := strings.Cut(registry, ":"); found {
		return port
	}
	return "443"
}

// egress rejects what goes to a registry's ports and not to Sealgate: a packet
// filter knows addresses, not names, and those of a content network change.
func egress(endpoints []Endpoint) File {
	var v4, v6, to []string
	ports := []string{"80", "443"}
	for _, e := range endpoints {
		for _, ip := range e.Addresses {
			if ip.Is4() {
				v4 = append(v4, ip.String())
			} else {
				v6 = append(v6, ip.String())
			}
		}
		for _, port := range []string{e.portOf(), ownPort(Origin(e.Registry))} {
			if !slices.Contains(ports, port) {
				ports = append(ports, port)
			}
		}
		to = append(to, Origin(e.Registry))
	}
	var b strings.Builder
	b.WriteString("table inet sealgate {\n")
	for _, set := range []struct {
		name, kind string
		elements   []string
	}{{"gates4", "ipv4_addr", v4}, {"gates6", "ipv6_addr", v6}} {
		fmt.Fprintf(&b, "  set %s {\n    type %s\n", set.name, set.kind)
		if len(set.elements) > 0 {
			slices.Sort(set.elements)
			fmt.Fprintf(&b, "    elements = { %s }\n", strings.Join(slices.Compact(set.elements), ", "))
		}
		b.WriteString("  }\n")
	}
	list := strings.Join(ports, ", ")
	fmt.Fprintf(&b, `  chain out {
    type filter hook output priority 0; policy accept;
    jump only_gates
  }
  chain through {
    type filter hook forward priority 0; policy accept;
    jump only_gates
  }
  chain only_gates {
    oifname "lo" accept
    ip daddr @gates4 accept
    ip6 daddr @gates6 accept
    tcp dport { %[1]s } reject with tcp reset
    udp dport { %[1]s } reject
  }
}
`, list)
	return File{
		Path: "/etc/nftables.d/sealgate.nft",
		Says: []string{
			"For client hosts that need no other web server; at a gateway, allow by address what they do need (nft -f this file).",
			"It closes every direct way to " + strings.Join(append(to, HubOthers[:2]...), ", ") + " on the usual ports,",
			"and does not hold a registry on another port, nor one that Sealgate's address forwards to.",
		},
		Text: b.String(),
	}
}

func indent(text, by string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		b.WriteString(by + line)
	}
	return b.String()
}
