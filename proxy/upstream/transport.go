// Package upstream carries requests to a registry or a trust server. It
// exports http.RoundTrippers and knows nothing of routes or trust: what to ask
// is the caller's business; what may be connected to (transport.go,
// addresses.go), which redirects are followed (redirect.go) and how a server
// gets to know who we are (login.go, challenge.go, realm.go, token.go) is
// decided here.
package upstream

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

// ErrSwitching: the upstream answered 1xx as its final status, in particular
// 101, which nobody asked for.
var ErrSwitching = errors.New("upstream tried to switch protocols")

// Options configure a Transport.
type Options struct {
	// RootCAs verify the upstream; nil means the system's.
	RootCAs *x509.CertPool
	// Certificate is presented to an upstream that asks for one; nil means none.
	Certificate *tls.Certificate
	// HeaderTimeout bounds the wait for an answer's header; zero means 15 s.
	HeaderTimeout time.Duration
	// MaxConns bounds the connections per host; zero means no bound. Readers
	// of bodies must not be able to use up what probes need.
	MaxConns int
	// HTTP1 keeps to HTTP/1.1: large bodies on connections of their own are
	// a third faster than through HTTP/2's flow control, and do not wait for
	// each other.
	HTTP1 bool
	// Guarded refuses to connect where a name that somebody else chose must not
	// resolve to: this machine, its link, its cloud's services. The error wraps
	// ErrRedirect.
	Guarded bool
}

const (
	// idleConns is how many connections are kept for the next request.
	idleConns = 256
	// pingAfter is how long an HTTP/2 connection may be silent before it is
	// asked for a sign of life, pingTimeout how long it has for one. Together
	// they are less than HeaderTimeout's default, so that a request on a
	// connection that died gets a second try on another.
	pingAfter, pingTimeout = 5 * time.Second, 4 * time.Second
)

// NewTransport returns a transport that keeps connections alive, speaks HTTP/2
// where the upstream does (and opts allow), uses no proxy from the environment,
// and never decompresses: bytes are passed on as they come.
func NewTransport(opts Options) *Transport {
	if opts.HeaderTimeout <= 0 {
		opts.HeaderTimeout = 15 * time.Second
	}
	config := &tls.Config{RootCAs: opts.RootCAs, MinVersion: tls.VersionTLS12}
	if opts.Certificate != nil {
		config.Certificates = []tls.Certificate{*opts.Certificate}
	}
	dialer := net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}
	dial := dialer.DialContext
	if opts.Guarded {
		dial = guarded(dialer)
	}
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(!opts.HTTP1)
	return &Transport{base: &http.Transport{
		Protocols:              &protocols,
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingTimeout},
		DialContext:            dial,
		TLSClientConfig:        config,
		TLSHandshakeTimeout:    10 * time.Second,
		ResponseHeaderTimeout:  opts.HeaderTimeout,
		ExpectContinueTimeout:  time.Second, // of a request with Expect; then its body goes out
		IdleConnTimeout:        90 * time.Second,
		MaxIdleConns:           idleConns,
		MaxIdleConnsPerHost:    idleConns,
		MaxConnsPerHost:        opts.MaxConns,
		MaxResponseHeaderBytes: 64 << 10,
		DisableCompression:     true,
	}}
}

// Transport is an http.RoundTripper, safe for concurrent use.
type Transport struct{ base *http.Transport }

// RoundTrip implements http.RoundTripper. It follows no redirect.
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := t.roundTrip(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode < 200 {
		resp.Body.Close()
		return nil, fmt.Errorf("%w: status %d", ErrSwitching, resp.StatusCode)
	}
	return resp, nil
}

// CloseIdleConnections closes what is kept alive and not in use.
func (t *Transport) CloseIdleConnections() { t.base.CloseIdleConnections() }

// Discard closes the body of an answer that nobody reads, after reading what
// little there usually is, so that the connection can be used again.
func Discard(resp *http.Response) {
	io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10)) // an error ends it as well
	resp.Body.Close()
}
