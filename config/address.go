package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"path"
	"regexp"
	"strconv"
	"strings"
)

// domain is a host name in lower case: the domain-name of the reference grammar
// (github.com/distribution/reference v0.6.0).
var domain = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$`)

// urlHost is more generous: inside a network, host names with underscores
// answer.
var urlHost = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?$`)

// parseHost reads host, host:port or an IP address, in the one spelling that a
// Host header is compared with.
func parseHost(s string) (string, error) {
	if ip, err := netip.ParseAddr(s); err == nil && ip.Zone() == "" {
		return ip.String(), nil
	}
	host, port, err := splitHost(s)
	if err != nil || port == "" {
		return host, err
	}
	return net.JoinHostPort(host, port), nil
}

// splitHost splits host or host:port. An IPv6 address stands in brackets, and
// comes out without them.
func splitHost(s string) (host, port string, err error) {
	host, port, hasPort := strings.Cut(s, ":")
	ok := isHostName(host)
	if inBrackets, found := strings.CutPrefix(s, "["); found {
		var rest string
		var closed bool
		host, rest, closed = strings.Cut(inBrackets, "]")
		ip, err := netip.ParseAddr(host)
		port, hasPort = strings.CutPrefix(rest, ":")
		ok = closed && err == nil && ip.Is6() && ip.Zone() == "" && (hasPort || rest == "")
		host = ip.String()
	}
	ok = ok && (!hasPort || port != "" && strings.Trim(port, "0123456789") == "")
	if lower := strings.ToLower(s); !ok && lower != s {
		if _, _, err := splitHost(lower); err == nil {
			return "", "", fmt.Errorf("%s must be in lower case: write %s", quote(s), quote(lower))
		}
	}
	if !ok {
		return "", "", fmt.Errorf("%s is not a host: expected host, host:port or an IP address, in lower-case letters, digits, dots and dashes, without scheme and path", quote(s))
	}
	if hasPort && !isPort(port, 1) {
		return "", "", fmt.Errorf("%s in %s is not a port: expected a number from 1 to 65535", quote(port), quote(s))
	}
	return host, port, nil
}

// isHostName is whether s is a host name in lower case or an IPv4 address. What
// looks like an address but is none, such as 10.0.0.256, is no host name.
func isHostName(s string) bool {
	if ip, err := netip.ParseAddr(s); err == nil {
		return ip.Is4()
	}
	last := s[strings.LastIndexByte(s, '.')+1:]
	return len(s) <= 253 && domain.MatchString(s) && strings.Trim(last, "0123456789") != ""
}

// isPort is whether s is a port in plain digits.
func isPort(s string, lowest int) bool {
	n, err := strconv.Atoi(s)
	return err == nil && strconv.Itoa(n) == s && lowest <= n && n <= 65535
}

// checkListen checks the address of a listener; such names good ones.
func checkListen(s, such string) error {
	host, port, err := net.SplitHostPort(s)
	if err != nil || !isPort(port, 0) {
		return fmt.Errorf("%s is not an address to listen on: expected host:port, such as %s", quote(s), such)
	}
	if _, err := netip.ParseAddr(host); host != "" && err != nil && !isHostName(host) {
		return fmt.Errorf("%s in %s is neither an IP address nor a host name", quote(host), quote(s))
	}
	return nil
}

// collide is whether two listeners with these addresses, which checkListen
// accepts, would be on one port of one interface. Port 0 is always another port.
func collide(a, b string) bool {
	hostA, portA, _ := net.SplitHostPort(a)
	hostB, portB, _ := net.SplitHostPort(b)
	if portA != portB || portA == "0" {
		return false
	}
	ipA, ipB := listenIP(hostA), listenIP(hostB)
	return hostA == hostB || ipA == ipB && ipA.IsValid() || ipA.IsUnspecified() || ipB.IsUnspecified()
}

// listenIP is the address that a listener's host stands for: unspecified for
// all interfaces, not valid for a name that only a resolver knows.
func listenIP(host string) netip.Addr {
	switch host {
	case "":
		return netip.IPv6Unspecified()
	case "localhost":
		return netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return netip.Addr{}
	}
	return ip.Unmap()
}

// isLoopback is whether the host of host:port or of a URL is this machine, by
// its address or by the name localhost.
func isLoopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.Unmap().IsLoopback()
}

// parseNetwork reads a network in CIDR form.
func parseNetwork(s string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(s)
	switch {
	case err != nil:
		return netip.Prefix{}, fmt.Errorf("%s is not a network: expected CIDR form, such as 10.0.0.0/8", quote(s))
	case p.Addr().Is4In6():
		return netip.Prefix{}, fmt.Errorf("%s is an IPv4 network in IPv6 form: write it in IPv4 form, such as 10.0.0.0/8", quote(s))
	case p != p.Masked():
		return netip.Prefix{}, fmt.Errorf("%s has bits set outside its mask: write %s", quote(s), p.Masked())
	}
	return p, nil
}

// parseURL reads the base URL of a server. Messages repeat only values that
// cannot hold a password.
func parseURL(s string) (*url.URL, error) {
	if s == "" {
		return nil, errors.New("is empty: expected a URL such as https://registry.example.com")
	}
	shown := quote(s)
	if strings.ContainsAny(s, "@?#") {
		shown = "the value"
	}
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, fmt.Errorf("%s is not a URL: expected http:// or https:// and a host, such as https://registry.example.com", shown)
	}
	if u.User != nil {
		return nil, errors.New("a URL must not hold a user name or password: credentials have a key of their own")
	}
	if strings.ContainsAny(s, "?#") {
		return nil, errors.New("a URL must end with its path here: leave out ? and # and what follows")
	}
	if err := checkURLHost(u); err != nil {
		return nil, err
	}
	trimmed := strings.TrimSuffix(u.Path, "/")
	switch {
	case u.RawPath != "" || u.EscapedPath() != u.Path:
		return nil, fmt.Errorf("the path of %s must need no escapes: use letters, digits and -._~", shown)
	case trimmed == "/" || trimmed != "" && path.Clean(trimmed) != trimmed:
		return nil, fmt.Errorf("the path of %s must be in its shortest form: //, . and .. are not accepted", shown)
	case strings.HasSuffix(trimmed, "/v2"):
		return nil, fmt.Errorf("%s ends with /v2, which is added to the URL: leave it out", shown)
	}
	u.Path = trimmed
	u.Host = strings.ToLower(u.Host)
	return u, nil
}

func checkURLHost(u *url.URL) error {
	host := u.Hostname()
	if ip, err := netip.ParseAddr(host); err != nil && !urlHost.MatchString(host) || ip.Zone() != "" {
		return fmt.Errorf("the host %s of the URL is neither a host name nor an IP address", quote(host))
	}
	if port := u.Port(); port != "" && !isPort(port, 1) || port == "" && strings.HasSuffix(u.Host, ":") {
		return fmt.Errorf("the port %s of the URL is not a number from 1 to 65535", quote(port))
	}
	return nil
}
