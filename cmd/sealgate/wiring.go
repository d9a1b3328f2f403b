package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"time"

	"github.com/sealgate/sealgate/config"
	"github.com/sealgate/sealgate/proxy"
	"github.com/sealgate/sealgate/proxy/admin"
	"github.com/sealgate/sealgate/proxy/upstream"
	"github.com/sealgate/sealgate/trustcache/notary"
)

// wiring makes the connections of one registry; parts gets what has to be
// closed.
type wiring struct {
	lasting
	reg   config.Registry
	parts *registryParts
}

// servers makes the ways to the registry and to its Notary server, where it has
// them, for the gate and for the source of trust.
func (w *wiring) servers(made *proxy.Registry, source *notary.Options) error {
	if w.reg.Offline != nil {
		source.Grace = w.reg.Offline.Grace
		return nil
	}
	if err := w.registry(made); err != nil || w.reg.Notary.URL == nil {
		return err
	}
	var err error
	source.URL, made.NotaryURL = w.reg.Notary.URL, w.reg.Notary.URL
	source.Transport, made.Notary, err = w.notary()
	return err
}

// registry makes the ways to the registry.
func (w *wiring) registry(made *proxy.Registry) error {
	asking, err := w.transport(upstream.Options{MaxConns: maxAsking}, w.reg.UpstreamCAFile, false)
	if err != nil {
		return err
	}
	bodies, err := w.transport(upstream.Options{MaxConns: maxBodies, HTTP1: true}, w.reg.UpstreamCAFile, false)
	if err != nil {
		return err
	}
	// Where redirects lead is the registry's choice: to the listed hosts, and not
	// into this machine.
	if made.Redirected, err = w.elsewhere(admin.RedirectServer, upstream.Options{MaxConns: maxBodies, HTTP1: true, Guarded: true}, w.reg.UpstreamCAFile); err != nil {
		return err
	}
	made.Upstream, made.Bodies = w.measured(admin.RegistryServer, asking), w.measured(admin.RegistryServer, bodies)
	made.Pass = made.Bodies
	if made.Push = w.reg.Push; made.Push {
		writing, err := w.transport(upstream.Options{MaxConns: maxBodies, HTTP1: true, HeaderTimeout: maxAnswering}, w.reg.UpstreamCAFile, false)
		if err != nil {
			return err
		}
		made.Writes = w.measured(admin.RegistryServer, writing)
	}
	nobody, err := w.login(w.reg.Upstream, config.Credentials{Kind: config.Anonymous}, asking, w.reg.UpstreamCAFile)
	if err != nil {
		return err
	}
	anonymous := nobody.Over(made.Upstream)
	w.parts.asked = proxy.Registry{Name: made.Name, URL: made.URL, RedirectHosts: made.RedirectHosts, Redirected: made.Redirected, Upstream: anonymous}
	if made.Passthrough {
		return nil
	}
	own, err := w.login(w.reg.Upstream, w.reg.Credentials, asking, w.reg.UpstreamCAFile)
	if err != nil {
		return err
	}
	made.Anonymous = anonymous
	made.Upstream, made.Bodies = own.Over(made.Upstream), own.Over(made.Bodies)
	w.parts.asked.Upstream = made.Upstream
	return nil
}

// notary makes the way on which trust data is refreshed, with our credentials
// and certificate, and that of what clients read as themselves, which has
// neither and takes no connections from refreshes.
func (w *wiring) notary() (verifying, passing http.RoundTripper, err error) {
	n := w.reg.Notary
	opts := upstream.Options{MaxConns: maxAsking}
	if n.CertFile != "" {
		pair, err := tls.LoadX509KeyPair(n.CertFile, n.KeyFile)
		if err != nil {
			return nil, nil, err
		}
		opts.Certificate = &pair
	}
	refreshing, err := w.transport(opts, n.CAFile, false)
	if err != nil {
		return nil, nil, err
	}
	reading, err := w.transport(upstream.Options{MaxConns: maxAsking}, n.CAFile, false)
	if err != nil {
		return nil, nil, err
	}
	login, err := w.login(n.URL, n.Credentials, refreshing, n.CAFile)
	if err != nil {
		return nil, nil, err
	}
	return login.Over(w.measured(admin.NotaryServer, refreshing)), w.measured(admin.NotaryServer, reading), nil
}

// login is how server knows us. Tokens come over home where the token server
// is on its host.
func (w *wiring) login(server *url.URL, c config.Credentials, home *upstream.Transport, caFile string) (*upstream.Login, error) {
	elsewhere, err := w.elsewhere(admin.TokenServer, upstream.Options{MaxConns: maxAsking}, caFile)
	if err != nil {
		return nil, err
	}
	login := upstream.NewLogin(upstream.LoginOptions{
		Server:    server,
		Secrets:   secrets(c, server.Host, w.reg.Name),
		Realms:    w.reg.Realms,
		Home:      w.measured(admin.TokenServer, home),
		Elsewhere: elsewhere,
	})
	w.parts.logins = append(w.parts.logins, login)
	return login, nil
}

// secrets finds what c says we are known by; docker's configuration is looked
// up under names in turn.
func secrets(c config.Credentials, names ...string) upstream.Secrets {
	switch c.Kind {
	case config.Password:
		return func(context.Context, bool) (upstream.Secret, error) {
			password, err := config.LoadPassword(c.PasswordFile)
			if err != nil {
				return upstream.Secret{}, fmt.Errorf("password-file: %w", err)
			}
			return upstream.Secret{Username: c.Username, Password: password}, nil
		}
	case config.DockerConfig:
		return upstream.DockerConfig(names...)
	}
	return nil
}

// elsewhere is a transport to hosts that are listed beside a server. They may
// have certificates of the CAs that the server has, or of any that the system
// trusts.
func (w *wiring) elsewhere(server admin.Server, opts upstream.Options, caFile string) (http.RoundTripper, error) {
	made, err := w.transport(opts, caFile, true)
	if err != nil {
		return nil, err
	}
	return w.measured(server, made), nil
}

func (w *wiring) measured(server admin.Server, next http.RoundTripper) http.RoundTripper {
	if w.tracing != nil {
		next = &upstream.Traced{Next: next, Registry: w.reg.Name, Server: string(server)}
	}
	return w.metrics.Transport(w.reg.Name, server, next)
}

// maxAsking bounds the connections to one server for requests of our own,
// maxBodies those for what clients read for as long as they like.
const (
	maxAsking = 256
	maxBodies = 2048
	// maxAnswering is the longest that a registry may take to answer what was
	// pushed; package proxy waits for less.
	maxAnswering = 10 * time.Minute
)

// transport completes opts with the authorities of a file; without one they are
// the system's. withSystem adds the system's to those of the file.
func (w *wiring) transport(opts upstream.Options, caFile string, withSystem bool) (*upstream.Transport, error) {
	if caFile != "" {
		pem, err := os.ReadFile(caFile)
		if err != nil {
			return nil, err
		}
		opts.RootCAs = x509.NewCertPool()
		if withSystem {
			if system, err := x509.SystemCertPool(); err == nil {
				opts.RootCAs = system
			}
		}
		if !opts.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s: no certificate in it", caFile)
		}
	}
	made := upstream.NewTransport(opts)
	w.parts.transports = append(w.parts.transports, made)
	return made, nil
}
