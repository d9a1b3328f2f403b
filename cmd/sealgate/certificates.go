package main

import (
	"crypto/tls"
	"fmt"
	"slices"
	"time"

	"github.com/rs/zerolog"
	"github.com/sealgate/sealgate/config"
	"github.com/sealgate/sealgate/trustcache/guard"
)

// certificates are what the public listener shows, as one configuration names
// them; nil stands for plain HTTP. Safe for concurrent use.
type certificates struct {
	self  *selfSigned // one of the three
	files *fileCertificates
	acme  *acmeCertificates
}

// newCertificates loads what cfg names and fails where it cannot be used; nil
// for plain HTTP. What is not wanted after all can be stopped and dropped: at most
// a CA has been made, where tls.self-signed had none yet. Where running do for cfg
// as they are, and have goroutines that go on, they are returned themselves.
//
// running are those that clients are shown at present, nil at the start. A
// certificate outside its validity is no reason not to start, where the operator
// sees the warning and clients see why, but it displaces nothing that runs: it
// is refused unless running shows the same one already.
//
// count is told the result of each order of a certificate.
func newCertificates(cfg *config.Config, running *certificates, log zerolog.Logger, count func(result string)) (*certificates, error) {
	switch {
	case cfg.TLS.PlainHTTP != nil:
		return nil, nil
	case cfg.TLS.SelfSigned != nil:
		ca, path, err := loadCA(cfg.StateDir)
		if err != nil {
			return nil, err
		}
		self := &selfSigned{ca: ca, caPath: path, hosts: cfg.TLS.SelfSigned.Hosts}
		if _, err := self.get(nil); err != nil {
			return nil, fmt.Errorf("the CA %q cannot sign a certificate: %w", path, err)
		}
		return &certificates{self: self}, nil
	case cfg.TLS.ACME != nil:
		if running != nil && running.acme != nil && running.acme.same(*cfg.TLS.ACME) {
			return running, nil
		}
		acme, err := newACME(cfg, running, log, count)
		if err != nil {
			return nil, err
		}
		return &certificates{acme: acme}, nil
	}
	files := &fileCertificates{pairs: cfg.TLS.Files, log: log}
	if err := files.load(func(cert *tls.Certificate) bool { return running == nil || running.shows(cert) }); err != nil {
		return nil, err
	}
	return &certificates{files: files}, nil
}

// get is a tls.Config's GetCertificate.
func (c *certificates) get(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	switch {
	case c.self != nil:
		return c.self.get(hello)
	case c.acme != nil:
		return c.acme.get(hello)
	}
	return c.files.get(hello)
}

// start begins to obtain and renew certificates, where that is how they come.
// The public listener is open.
func (c *certificates) start(panicked func(*guard.Panic)) {
	if c != nil && c.acme != nil {
		c.acme.start(panicked)
	}
}

// stop ends what start began, and what waits for it.
func (c *certificates) stop() {
	if c != nil && c.acme != nil {
		c.acme.stop()
	}
}

// usable is nil while at least one certificate is within its validity, and for
// plain HTTP.
func (c *certificates) usable(now time.Time) error {
	switch {
	case c == nil:
		return nil
	case c.self != nil:
		return c.self.usable(now)
	case c.acme != nil:
		return c.acme.usable(now)
	}
	return c.files.usable(now)
}

// expiry is when the first of the certificates expires; zero where there is none.
func (c *certificates) expiry() (first time.Time) {
	for _, cert := range c.shown() {
		if first.IsZero() || cert.Leaf.NotAfter.Before(first) {
			first = cert.Leaf.NotAfter
		}
	}
	return first
}

// shown are the certificates that clients may be shown; none for plain HTTP.
func (c *certificates) shown() (list []*tls.Certificate) {
	switch {
	case c == nil:
	case c.acme != nil:
		for _, domain := range c.acme.settings.Domains {
			list = append(list, c.acme.certificate(domain))
		}
	default:
		list = c.all("")
	}
	return slices.DeleteFunc(slices.Clone(list), func(cert *tls.Certificate) bool { return cert == nil })
}

// source is where they come from; "" for plain HTTP.
func (c *certificates) source() string {
	switch {
	case c == nil:
		return ""
	case c.self != nil:
		return "self-signed"
	case c.acme != nil:
		return "acme"
	}
	return "files"
}

// good is a certificate for a name that is within its validity; nil where there
// is none.
func (c *certificates) good(name string, now time.Time) *tls.Certificate {
	if c == nil {
		return nil
	}
	for _, cert := range c.all(name) {
		if cert != nil && validAt(cert, now) == nil && cert.Leaf.VerifyHostname(name) == nil {
			return cert
		}
	}
	return nil
}

// all are the certificates that may be for a name.
func (c *certificates) all(name string) []*tls.Certificate {
	switch {
	case c.acme != nil:
		return []*tls.Certificate{c.acme.certificate(name)}
	case c.files != nil:
		return c.files.current()
	}
	cert, err := c.self.get(nil)
	if err != nil {
		return nil
	}
	return []*tls.Certificate{cert}
}

// shows is whether cert is one of those from files.
func (c *certificates) shows(cert *tls.Certificate) bool {
	return c.files != nil && contains(c.files.current(), cert)
}

// tlsConfig is the TLS configuration of the public listener, for as long as it
// listens: every handshake asks for the current certificates and clients, which
// are never nil. Session tickets belong to it, so that sessions resume across a change of
// certificates, on what the client verified when it was given the ticket.
func tlsConfig(current func() (*certificates, *clients)) *tls.Config {
	base := &tls.Config{
		MinVersion: tls.VersionTLS12,
		GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			certificates, _ := current()
			return certificates.get(hello)
		},
		NextProtos: []string{"h2", "http/1.1"},
	}
	challenged := base.Clone()
	challenged.NextProtos, challenged.SessionTicketsDisabled = []string{challengeProtocol}, true
	base.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		certificates, clients := current()
		if certificates.acme != nil && certificates.acme.challenges(hello) {
			// An ACME server has no client certificate; net/http serves nobody who has
			// agreed on this protocol.
			return challenged, nil
		}
		return clients.tlsConfig(base), nil
	}
	return base
}

// validAt is nil while cert is within its validity.
func validAt(cert *tls.Certificate, now time.Time) error {
	if leaf := cert.Leaf; now.Before(leaf.NotBefore) || now.After(leaf.NotAfter) {
		return fmt.Errorf("valid from %s to %s only", leaf.NotBefore.UTC().Format(time.RFC3339), leaf.NotAfter.UTC().Format(time.RFC3339))
	}
	return nil
}

func contains(certs []*tls.Certificate, cert *tls.Certificate) bool {
	return slices.ContainsFunc(certs, func(c *tls.Certificate) bool { return c.Leaf.Equal(cert.Leaf) })
}
