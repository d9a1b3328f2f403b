package proxy

import (
	"net"
	"net/http"
	"net/netip"
)

// Client is who sent a request.
type Client struct {
	// Address is the client's own address, without a port: for the access line.
	Address string
	// Certificate names the certificate that the client identified itself with,
	// in printable text of at most 64 runes; "" where there was none.
	Certificate string
	// Counted is whom ClientLimits count as one client: a network. Nobody counts
	// one that is not valid.
	Counted netip.Prefix
	// Refused says why this client is not served; nil where it is.
	Refused error
}

// peer is the Client where nobody says more: whoever has the connection.
func peer(r *http.Request) Client {
	address, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		address = r.RemoteAddr
	}
	return Client{Address: address}
}

// clientScheme is what the client speaks: with us, or with the TLS proxy in
// front of us.
func (g *gate) clientScheme(r *http.Request) string {
	if r.TLS != nil || g.behindTLSProxy {
		return "https"
	}
	return "http"
}
