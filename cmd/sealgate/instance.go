package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
	"github.com/sealgate/sealgate/config"
	"github.com/sealgate/sealgate/proxy/admin"
	"github.com/sealgate/sealgate/trustcache/guard"
)

// instance is a running gate. Its configuration can be replaced while it
// serves: a request keeps to the parts that it began with, so that it never
// sees two policies.
type instance struct {
	lasting
	current atomic.Pointer[parts]
	open    *connections
	started time.Time
	reload  atomic.Pointer[admin.Reload] // the last one that ended; nil before the first

	reloads   sync.Mutex     // one at a time; held while current changes
	listening bool           // certificates may be obtained
	closed    bool           // nothing is replaced any more
	retired   sync.WaitGroup // parts that were replaced and have requests still
}

func newInstance(cfg *config.Config, log zerolog.Logger) (*instance, error) {
	m, err := openRemembered(cfg, log)
	if err != nil {
		return nil, err
	}
	made, err := newLasting(log, m)
	if err != nil {
		return nil, err
	}
	if made.tracing, err = openTracing(log, made.metrics); err != nil {
		return nil, err
	}
	made.audit = newAuditLog(log, made.metrics.AuditFailed, made.panicked("audit"))
	made.caching = &caching{log: log, metrics: made.metrics, driver: m.driver, directory: cfg.StateDir}
	i := &instance{lasting: made, open: newConnections(made.metrics.ConnectionEvicted), started: m.now()}
	p, err := i.build(cfg, nil)
	if err != nil {
		made.tracing.close()
		return nil, err
	}
	i.use(p)
	return i, nil
}

// use makes p what the requests to come are served with.
func (i *instance) use(p *parts) {
	for _, r := range p.registries {
		i.metrics.AddRegistries(r.name)
	}
	sweepCaches(i.current.Load(), p)
	i.audit.use(p.audit)
	i.current.Store(p)
}

// build makes the parts of cfg with its certificates; nothing changes where
// one of them cannot be made.
func (i *instance) build(cfg *config.Config, before *parts) (*parts, error) {
	var running *certificates
	if before != nil {
		running = before.certificates
	}
	p, err := i.assemble(cfg, before)
	if err != nil {
		return nil, err
	}
	if p.audit, err = openAudit(cfg.Audit); err != nil {
		p.close()
		return nil, err
	}
	// Last, since it may start what somebody has to stop.
	if p.certificates, err = newCertificates(cfg, running, i.log, i.metrics.CertificateOrder); err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

// listens begins to obtain certificates, where they are not there for the
// taking: the listener over which it is looked whether our names are ours is
// open.
func (i *instance) listens() {
	i.reloads.Lock()
	defer i.reloads.Unlock()
	i.listening = true
	i.current.Load().certificates.start(i.panicked("certificates"))
}

// ServeHTTP implements http.Handler.
func (i *instance) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p := i.acquire()
	defer p.inUse.RUnlock()
	p.handler.ServeHTTP(w, r)
}

// acquire returns the parts of the newest configuration with inUse held for
// reading.
func (i *instance) acquire() *parts {
	for {
		p := i.current.Load()
		if p.inUse.TryRLock() {
			return p
		}
		// Replaced between the two lines, and closed.
	}
}

// reloadLocked goes over to next, whole or not at all.
func (i *instance) reloadLocked(next *config.Config) error {
	if i.closed {
		return errStopping
	}
	running := i.current.Load()
	if keys := config.RestartOnly(running.cfg, next); keys != nil {
		return fmt.Errorf("a restart is needed to change %s", strings.Join(keys, ", "))
	}
	p, err := i.build(next, running)
	if err != nil {
		return err
	}
	i.use(p)
	if p.certificates != running.certificates {
		running.certificates.stop()
		if i.listening {
			p.certificates.start(i.panicked("certificates"))
		}
	}
	i.retired.Go(func() {
		defer guard.Tell(i.panicked("reload"))
		running.inUse.Lock() // for good: when the last of its requests is done
		running.close()
	})
	return nil
}

// reloadFrom reads the file and goes over to it. It logs and counts what came
// of it; the error is for whoever asked.
func (i *instance) reloadFrom(path string) error {
	i.reloads.Lock() // before the file is read, so that the newest file wins
	defer i.reloads.Unlock()
	var cfg *config.Config
	err := i.guarded("reload", func() (err error) {
		if cfg, err = config.Load(path); err != nil {
			return err
		}
		return i.reloadLocked(cfg)
	})()
	i.metrics.Reloaded(err)
	i.noteReload(err)
	if err != nil {
		i.log.Error().Str("config", path).Err(err).Msg("reload refused: nothing has changed")
		return err
	}
	i.announce()
	i.log.Info().Str("config", path).Str("mode", string(cfg.ContentTrust.Mode)).Msg("configuration reloaded")
	return nil
}

// announce logs what the gate stands in front of, and what is worth a warning.
func (i *instance) announce() {
	running := i.current.Load()
	cfg := running.cfg
	if running.certificates != nil && running.certificates.self != nil {
		i.log.Info().Str("ca", running.certificates.self.caPath).
			Strs("how", howToTrust(running.certificates.self.caPath, cfg.Registries[0], cfg.Listen)).Msg("self-signed certificates: clients have to trust this CA")
	}
	if acme := cfg.TLS.ACME; acme != nil {
		i.log.Info().Strs("domains", acme.Domains).Str("directory", acme.Directory).Msg("certificates from an ACME server")
	}
	for _, warning := range append(cfg.Warnings(), thisMachine(cfg)...) {
		i.log.Warn().Msg(warning)
	}
	for _, reg := range cfg.Registries {
		e := i.log.Info().Str("registry", reg.Name).Strs("hosts", reg.Hosts)
		if reg.Offline != nil {
			e.Bool("offline", true).Stringer("grace", reg.Offline.Grace)
		} else {
			e.Stringer("upstream", reg.Upstream)
		}
		if reg.Notary.URL != nil {
			e.Stringer("notary", reg.Notary.URL)
		}
		e.Msg("standing in front of")
	}
}

var errStopping = errors.New("stopping")

// ready says why no client should be sent here, nil where one may: the public
// listener is open before anybody can ask.
func (i *instance) ready(ctx context.Context) error {
	if ctx.Err() != nil {
		return errStopping
	}
	if c := i.current.Load().certificates; c != nil {
		if err := c.usable(time.Now()); err != nil {
			return err
		}
	}
	return i.remembered.ready()
}

// gated is listener for the clients of the newest configuration.
func (i *instance) gated(listener net.Listener) net.Listener {
	return &gatedListener{
		Listener: listener,
		clients:  func() *clients { return i.current.Load().clients },
		open:     i.open,
		limits:   func() config.ClientLimits { return i.current.Load().cfg.Limits },
		refused: func(peer netip.Addr, reason string) {
			i.metrics.ConnectionRefused(reason)
			i.log.Debug().Stringer("client", peer).Str("reason", reason).Msg("connection refused")
		},
	}
}

// tlsConfig asks for the certificates of the newest configuration at every
// handshake; nil for plain HTTP.
func (i *instance) tlsConfig() *tls.Config {
	if i.current.Load().certificates == nil {
		return nil
	}
	return tlsConfig(func() (*certificates, *clients) {
		p := i.current.Load()
		return p.certificates, p.clients
	})
}

// forget drops what is remembered of a repository, for the requests to come
// and the refreshes under way.
func (i *instance) forget(gun string) error {
	i.reloads.Lock() // no snapshot is carried over meanwhile
	defer i.reloads.Unlock()
	from, err := i.current.Load().registryOf(gun)
	if err != nil {
		return err
	}
	known := false
	if from.source != nil {
		known, err = from.source.Forget(gun)
		from.trust.Forget(gun) // whatever became of that
		if err != nil {
			return err
		}
	}
	if !known {
		return fmt.Errorf("%w: %q", admin.ErrUnknownGUN, gun)
	}
	i.log.Warn().Str("gun", gun).Msg("trust data forgotten, as was asked for")
	return nil
}

// registryOf is the registry whose repository gun is.
func (p *parts) registryOf(gun string) (registryParts, error) {
	at := slices.IndexFunc(p.registries, func(r registryParts) bool { return strings.HasPrefix(gun, r.name+"/") })
	if at < 0 {
		return registryParts{}, fmt.Errorf("%w: %q", admin.ErrBadGUN, gun)
	}
	return p.registries[at], nil
}

// refresh has the trust data of a repository looked at anew: a bundle with it may
// have been loaded.
func (i *instance) refresh(ctx context.Context, gun string) error {
	of, err := i.current.Load().registryOf(gun)
	switch {
	case err != nil:
		return err
	case of.trust == nil || !isRepository(strings.TrimPrefix(gun, of.name+"/")):
		return fmt.Errorf("%w: %q", admin.ErrBadGUN, gun)
	}
	return of.trust.Refresh(ctx, gun)
}

// close is called when no request is served any more.
func (i *instance) close() {
	i.reloads.Lock()
	i.closed = true
	i.reloads.Unlock()
	i.retired.Wait()
	i.current.Load().certificates.stop()
	i.caching.close()
	sweepCaches(i.current.Load(), nil)
	i.current.Load().close()
	i.audit.close()
	i.tracing.close()
}
