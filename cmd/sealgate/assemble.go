package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"

	"github.com/rs/zerolog"
	"github.com/sealgate/sealgate/config"
	"github.com/sealgate/sealgate/proxy"
	"github.com/sealgate/sealgate/proxy/upstream"
	"github.com/sealgate/sealgate/trustcache"
	"github.com/sealgate/sealgate/trustcache/notary"
)

// parts is a configuration brought to life, without a listener.
type parts struct {
	handler    *proxy.Handler
	registries []registryParts
}

// registryParts are what one registry's trust comes from; source and trust
// are nil where no Notary server is configured.
type registryParts struct {
	name   string
	source *notary.Source
	trust  *trustcache.Cache
	idle   []*upstream.Transport
}

// assemble joins the parts that cfg describes. Close them when done.
func assemble(cfg *config.Config, log zerolog.Logger) (*parts, error) {
	p := &parts{}
	var registries []proxy.Registry
	for _, reg := range cfg.Registries {
		made, rp, err := assembleRegistry(reg, cfg.ContentTrust, log)
		if err != nil {
			p.close()
			return nil, err
		}
		registries = append(registries, made)
		p.registries = append(p.registries, rp)
	}
	p.handler = proxy.New(proxy.Options{
		Registries:       registries,
		AuthorisationTTL: cfg.ContentTrust.AuthorisationTTL,
		Log:              log,
	})
	return p, nil
}

func (p *parts) close() {
	for _, r := range p.registries {
		if r.trust != nil {
			r.trust.Close()
		}
		for _, transport := range r.idle {
			transport.CloseIdleConnections()
		}
	}
}

func assembleRegistry(reg config.Registry, ct config.ContentTrust, log zerolog.Logger) (proxy.Registry, registryParts, error) {
	rp := registryParts{name: reg.Name}
	asking, err := transport(reg.UpstreamCAFile, "", "", maxAsking)
	if err != nil {
		return proxy.Registry{}, rp, err
	}
	bodies, err := transport(reg.UpstreamCAFile, "", "", maxBodies)
	if err != nil {
		return proxy.Registry{}, rp, err
	}
	rp.idle = append(rp.idle, asking, bodies)
	made := proxy.Registry{
		Name:          reg.Name,
		Hosts:         reg.Hosts,
		URL:           reg.Upstream,
		Upstream:      asking,
		Bodies:        bodies,
		RedirectHosts: reg.RedirectHosts,
		Passthrough:   reg.Credentials.Kind == config.Passthrough,
		Disabled:      ct.Mode == config.Disabled,
		Expose:        expose(reg.Notary.Expose),
	}
	if reg.Notary.URL == nil {
		return made, rp, nil
	}
	verifying, err := transport(reg.Notary.CAFile, reg.Notary.CertFile, reg.Notary.KeyFile, maxAsking)
	if err != nil {
		return proxy.Registry{}, rp, err
	}
	// What clients read of the trust server they read as themselves, not with
	// our certificate, and without taking connections from refreshes.
	passing, err := transport(reg.Notary.CAFile, "", "", maxAsking)
	if err != nil {
		return proxy.Registry{}, rp, err
	}
	rp.idle = append(rp.idle, verifying, passing)
	rp.source = notary.New(notary.Options{
		URL:             reg.Notary.URL,
		Transport:       verifying,
		RootKeys:        rootKeys(ct.TrustPinning),
		TrustOnFirstUse: ct.TrustOnFirstUse,
		Limits:          notary.Limits(ct.Limits),
	})
	rp.trust = trustcache.New(trustcache.Options{
		Source:    rp.source,
		Refresh:   ct.Refresh,
		MaxStale:  ct.MaxStale,
		OnRefresh: func(r trustcache.Refresh) { logRefresh(log, r) },
	})
	made.Trust, made.NotaryURL, made.Notary = rp.trust, reg.Notary.URL, passing
	return made, rp, nil
}

// rootKeys finds the pins of a GUN: the exact name, then the longest wildcard.
func rootKeys(pins config.TrustPinning) func(gun string) []string {
	return func(gun string) []string {
		pattern, ok := config.BestMatch(pins.RootKeys, gun)
		if !ok {
			return nil
		}
		return pins.RootKeys[pattern]
	}
}

func expose(e string) proxy.Expose {
	switch e {
	case config.ExposeAlways:
		return proxy.ExposeAlways
	case config.ExposeAuto:
		return proxy.ExposeAuto
	}
	return proxy.ExposeNever
}

// maxAsking bounds the connections to one server for requests of our own,
// maxBodies those for what clients read for as long as they like.
const (
	maxAsking = 256
	maxBodies = 2048
)

// transport makes at most most connections to one server; empty files mean the
// system's authorities and no client certificate.
func transport(caFile, certFile, keyFile string, most int) (*upstream.Transport, error) {
	opts := upstream.Options{MaxConns: most}
	if caFile != "" {
		pem, err := os.ReadFile(caFile)
		if err != nil {
			return nil, err
		}
		opts.RootCAs = x509.NewCertPool()
		if !opts.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s: no certificate in it", caFile)
		}
	}
	if certFile != "" {
		pair, err := tls.LoadX509KeyPair(certFile, keyFile)
		if err != nil {
			return nil, err
		}
		opts.Certificate = &pair
	}
	return upstream.NewTransport(opts), nil
}

// logRefresh says what became of a refresh: failures are worth a look, and a
// failed verification is worth waking up for.
func logRefresh(log zerolog.Logger, r trustcache.Refresh) {
	var e *zerolog.Event
	text := "trust refresh failed"
	switch {
	case r.Recovered:
		e, text = log.Info(), "trust data is fresh again"
	case r.Err == nil:
		e, text = log.Debug(), "trust data is fresh"
	case trustcache.Absent(r.Err):
		e, text = log.Debug(), "no trust data"
	case trustcache.Alarming(r.Err):
		e = log.Error().Bool("alarm", true)
	default:
		e = log.Warn()
	}
	if r.Panic != nil {
		e.Bytes("stack", r.Panic)
	}
	if r.Err != nil {
		e.AnErr("error", r.Err).Bool("standing", r.Standing)
	}
	e.Str("gun", r.GUN).Dur("duration_ms", r.Duration).Msg(text)
}
