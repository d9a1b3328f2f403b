package main

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
	"github.com/sealgate/sealgate/config"
)

// clientCAs are the authorities of client certificates, from a file that is
// read again when it changes; one that cannot be used leaves those before in
// place.
type clientCAs struct {
	file string
	log  zerolog.Logger

	mu      sync.Mutex
	pool    *x509.CertPool // replaced as a whole, never changed
	stamp   [sha256.Size]byte
	checked time.Time
}

func loadClientCAs(file string, log zerolog.Logger) (*clientCAs, error) {
	c := &clientCAs{file: file, log: log, checked: time.Now()}
	var err error
	c.pool, c.stamp, err = readCAs(file)
	return c, err
}

// current are the authorities of the file as it was at most checkFiles ago.
func (c *clientCAs) current() *x509.CertPool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.checked) < checkFiles {
		return c.pool
	}
	c.checked = time.Now()
	pool, stamp, err := readCAs(c.file)
	switch {
	case err != nil:
		c.log.Error().Err(err).Msg("changed CAs of client certificates cannot be used, the ones before stay")
	case stamp != c.stamp:
		c.pool, c.stamp = pool, stamp
		c.log.Info().Msg("CAs of client certificates re-read")
	}
	return c.pool
}

// readCAs returns the authorities in a file, and a stamp that changes with
// them.
func readCAs(file string) (*x509.CertPool, [sha256.Size]byte, error) {
	cas, err := config.LoadCAs(file)
	if err != nil {
		return nil, [sha256.Size]byte{}, err
	}
	pool, all := x509.NewCertPool(), sha256.New()
	for _, ca := range cas {
		pool.AddCert(ca)
		all.Write(ca.Raw)
	}
	return pool, [sha256.Size]byte(all.Sum(nil)), nil
}

// verifyClient says until when a client's certificate stands for it, by the
// chain that is found first.
func verifyClient(certs []*x509.Certificate, pool *x509.CertPool, now time.Time) (until time.Time, err error) {
	if len(certs) == 0 {
		return until, errors.New("the client has no certificate")
	}
	others := x509.NewCertPool()
	for _, cert := range certs[1:] {
		others.AddCert(cert)
	}
	chains, err := certs[0].Verify(x509.VerifyOptions{
		Roots: pool, Intermediates: others, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	if err != nil {
		return until, fmt.Errorf("the client's certificate: %w", err)
	}
	until = certs[0].NotAfter
	for _, cert := range chains[0] {
		if cert.NotAfter.Before(until) {
			until = cert.NotAfter
		}
	}
	return until, nil
}

// connection is what is remembered of a connection: with which authorities its
// certificate was verified last, and until when that holds, so that not every
// request pays for it.
type connection struct {
	verified atomic.Pointer[verified]
}

type verified struct {
	pool  *x509.CertPool
	until time.Time
}

type connectionKey struct{}

// withConnection is an http.Server's ConnContext.
func withConnection(ctx context.Context, _ net.Conn) context.Context {
	return context.WithValue(ctx, connectionKey{}, &connection{})
}

// check says why the certificate of a request's connection does not stand for
// the client today, nil where it does.
func (c *clientCAs) check(r *http.Request) error {
	pool, now := c.current(), time.Now()
	conn, _ := r.Context().Value(connectionKey{}).(*connection)
	if conn != nil {
		if v := conn.verified.Load(); v != nil && v.pool == pool && !now.After(v.until) {
			return nil
		}
	}
	if r.TLS == nil {
		return errors.New("the client has no certificate")
	}
	until, err := verifyClient(r.TLS.PeerCertificates, pool, now)
	if err == nil && conn != nil {
		conn.verified.Store(&verified{pool, until})
	}
	return err
}
