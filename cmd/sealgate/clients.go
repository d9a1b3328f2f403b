package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/rs/zerolog"
	"github.com/sealgate/sealgate/config"
	"github.com/sealgate/sealgate/proxy"
)

// clients says who may connect to the public listener, as one configuration has
// it: networks, client certificates and, without TLS of our own, the proxies
// that end it. Never nil; safe for concurrent use.
type clients struct {
	allow   []netip.Prefix // nil: any network
	cas     *clientCAs     // nil: no certificates are asked for
	proxies []netip.Prefix // nil: clients connect themselves
	exempt  []netip.Prefix // whom no limit of clients counts
}

// newClients reads the CAs that cfg names. It starts nothing.
func newClients(cfg *config.Config, log zerolog.Logger) (*clients, error) {
	c := &clients{exempt: cfg.Limits.Exempt}
	if plain := cfg.TLS.PlainHTTP; plain != nil && plain.BehindTLSProxy {
		c.proxies = plain.TrustedProxies
	}
	if cfg.Clients == nil {
		return c, nil
	}
	c.allow = cfg.Clients.Allow
	if cfg.Clients.CAFile != "" {
		cas, err := loadClientCAs(cfg.Clients.CAFile, log)
		if err != nil {
			return nil, fmt.Errorf("clients.ca-file: %w", err)
		}
		c.cas = cas
	}
	return c, nil
}

// Why a connection is closed before a byte of it was read; words of a metric.
const (
	refusedNetwork = "network" // clients.allow
	refusedProxy   = "proxy"   // tls.plain-http.trusted-proxies
)

// refuses says why a connection from peer is not to be accepted, "" where it
// is. Behind a TLS proxy the peer is that proxy, and the client shows only in
// what it asks for.
func (c *clients) refuses(peer netip.Addr) string {
	switch {
	case c.proxies != nil && !within(c.proxies, peer):
		return refusedProxy
	case c.proxies == nil && c.allow != nil && !within(c.allow, peer):
		return refusedNetwork
	}
	return ""
}

// of says who sent a request, and whether the client may still be served: its
// connection may be older than this configuration.
func (c *clients) of(r *http.Request) proxy.Client {
	peer := peerAddress(r.RemoteAddr)
	client := proxy.Client{Address: peer.String()}
	if !peer.IsValid() {
		client.Address = r.RemoteAddr
	}
	if r.TLS != nil && len(r.TLS.PeerCertificates) > 0 {
		client.Certificate = shownName(r.TLS.PeerCertificates[0].Subject.CommonName)
	}
	from := peer
	client.Refused = c.judge(r, peer, &from)
	if from != peer {
		client.Address = from.String()
	}
	client.Counted = countedClient(from, c.exempt)
	return client
}

// judge says why the client may not be served, nil where it may. from, which is
// peer, becomes the client's own address where it connects through a proxy.
func (c *clients) judge(r *http.Request, peer netip.Addr, from *netip.Addr) error {
	if reason := c.refuses(peer); reason != "" {
		return fmt.Errorf("no connection may come from %s any more (%s)", peer, reason)
	}
	if c.proxies != nil {
		forwarded, err := c.forwardedFor(r.Header["X-Forwarded-For"])
		if err == nil {
			*from = forwarded
		} else if c.allow != nil {
			return err
		}
	}
	if c.allow != nil && !within(c.allow, *from) {
		return fmt.Errorf("%s is in none of the networks of clients.allow", *from)
	}
	if c.cas != nil {
		return c.cas.check(r)
	}
	return nil
}

// forwardedFor is the client's address as the trusted proxies have it: each adds
// the address that connected to it on the right, so that what stands to the left
// of the first stranger is the stranger's own invention. Where all are trusted,
// the leftmost is the client.
func (c *clients) forwardedFor(lines []string) (netip.Addr, error) {
	entries := strings.Split(strings.Join(lines, ","), ",")
	var from netip.Addr
	for _, entry := range slices.Backward(entries) {
		from = forwardedAddress(strings.TrimSpace(entry))
		if !from.IsValid() {
			return from, errors.New("the TLS proxy did not say in X-Forwarded-For which address the client has")
		}
		if !within(c.proxies, from) {
			break
		}
	}
	return from, nil
}

// forwardedAddress reads an entry of X-Forwarded-For: an address, with a port
// from some proxies. It is not valid where the entry is neither.
func forwardedAddress(entry string) netip.Addr {
	if ip, err := netip.ParseAddr(entry); err == nil {
		return plainAddress(ip)
	}
	both, err := netip.ParseAddrPort(entry)
	if err != nil {
		return netip.Addr{}
	}
	return plainAddress(both.Addr())
}

// peerAddress is the address of host:port; not valid where there is none.
func peerAddress(hostPort string) netip.Addr {
	both, err := netip.ParseAddrPort(hostPort)
	if err != nil {
		return netip.Addr{}
	}
	return plainAddress(both.Addr())
}

// plainAddress is ip as networks contain it: IPv4 not in the clothes of IPv6,
// and without a zone.
func plainAddress(ip netip.Addr) netip.Addr { return ip.Unmap().WithZone("") }

// within is whether one of the networks contains ip; none contains an address
// that is not valid.
func within(networks []netip.Prefix, ip netip.Addr) bool {
	return slices.ContainsFunc(networks, func(n netip.Prefix) bool { return n.Contains(ip) })
}

// shownName is what the log says of a certificate: letters as they are, nothing
// that could rearrange a terminal, at most 64 runes (the bound of a common name,
// X.520).
func shownName(name string) string {
	runes := []rune(name[:min(len(name), 256)])
	for i, r := range runes {
		if !unicode.IsPrint(r) {
			runes[i] = unicode.ReplacementChar
		}
	}
	return string(runes[:min(len(runes), 64)])
}

// tlsConfig is base as these clients are met with; nil where that is base
// itself.
func (c *clients) tlsConfig(base *tls.Config) *tls.Config {
	if c.cas == nil {
		return nil
	}
	pool := c.cas.current()
	demanding := base.Clone()
	demanding.GetConfigForClient = nil
	demanding.ClientAuth, demanding.ClientCAs = tls.RequireAndVerifyClientCert, pool
	// crypto/tls trusts a session that is resumed for what was verified when it
	// began: perhaps against other CAs.
	demanding.VerifyConnection = func(state tls.ConnectionState) error {
		_, err := verifyClient(state.PeerCertificates, pool, time.Now())
		return err
	}
	return demanding
}

// gatedListener closes connections of whom clients does not let in, and those
// that are too many, before a byte of them is read.
type gatedListener struct {
	net.Listener
	clients func() *clients
	open    *connections
	limits  func() config.ClientLimits
	// refused is told of each connection that was closed.
	refused func(peer netip.Addr, reason string)
}

// Accept implements net.Listener.
func (l *gatedListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		peer := peerAddress(conn.RemoteAddr().String())
		reason := l.refuses(conn, peer)
		if reason == "" {
			return conn, nil
		}
		l.refused(peer, reason) // before the client can tell
		conn.Close()
	}
}

// refuses says why a connection is closed at once, "" where it is not. Behind a
// TLS proxy every one is the proxy's, and no client has a limit of its own.
func (l *gatedListener) refuses(conn net.Conn, peer netip.Addr) string {
	clients, limits := l.clients(), l.limits()
	if reason := clients.refuses(peer); reason != "" {
		return reason
	}
	var client netip.Prefix
	if clients.proxies == nil {
		client = countedClient(peer, clients.exempt)
	}
	return l.open.admit(conn, client, newConnectionLimits(limits, descriptors()))
}
