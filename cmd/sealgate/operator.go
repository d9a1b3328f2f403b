package main

import (
	"context"
	"errors"
	"fmt"
	stdlog "log"
	"net"
	"net/http"
	"time"

	"github.com/rs/zerolog"
	"github.com/sealgate/sealgate/config"
	"github.com/sealgate/sealgate/proxy/admin"
	"github.com/sealgate/sealgate/trustcache/guard"
	"golang.org/x/sync/errgroup"
)

// operatorSide is what faces the operator: the admin listener and the control
// socket, each only where it is configured.
type operatorSide struct {
	servers   []*http.Server
	listeners []net.Listener
}

// openOperatorSide opens the listeners; run serves them.
func openOperatorSide(cfg config.Admin, inst *instance, ready func() error, reload func() error) (*operatorSide, error) {
	inst.series.MustRegister(admin.NewStateCollector(inst))
	side := &operatorSide{}
	if cfg.Listen != "" {
		listener, err := net.Listen("tcp", cfg.Listen)
		if err != nil {
			return nil, fmt.Errorf("admin.listen: %w", err)
		}
		pages, err := admin.NewPages(admin.PagesOptions{Watched: inst, Recent: inst.recent, Metrics: inst.metrics, Ready: ready})
		if err != nil {
			return nil, errors.Join(err, listener.Close())
		}
		side.add(listener, admin.Handler(inst.series, ready, pages), time.Minute, inst)
		inst.log.Info().Str("address", "http://"+listener.Addr().String()).Msg("admin listener: status page, /api/v1, /metrics, /healthz, /readyz")
	}
	if cfg.Control != "" {
		listener, err := admin.ListenControl(cfg.Control)
		switch {
		case errors.Is(err, errors.ErrUnsupported):
			inst.log.Warn().Err(err).Msg("no control socket")
		case err != nil:
			return nil, errors.Join(fmt.Errorf("admin.control: %w", err), side.close())
		default:
			// Profiles take as long as they are asked to.
			side.add(listener, admin.ControlHandler(&control{inst, reload}), 0, inst)
			inst.log.Info().Str("socket", cfg.Control).Msg("control socket")
		}
	}
	return side, nil
}

func (s *operatorSide) add(listener net.Listener, handler http.Handler, writeTimeout time.Duration, inst *instance) {
	s.listeners = append(s.listeners, listener)
	s.servers = append(s.servers, &http.Server{
		Handler:           inst.answering("operator", handler),
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          stdlog.New(debugLog{inst.lasting}, "", 0),
	})
}

// run serves until ctx ends or a listener fails.
func (s *operatorSide) run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	for i, server := range s.servers {
		group.Go(func() (err error) { defer guard.Catch(&err); return serveOn(server, s.listeners[i]) })
	}
	group.Go(func() (err error) {
		defer guard.Catch(&err)
		<-ctx.Done()
		return s.close()
	})
	return group.Wait()
}

// close may be called twice.
func (s *operatorSide) close() error {
	var failed error
	for i, server := range s.servers {
		err := errors.Join(server.Close(), s.listeners[i].Close())
		if !errors.Is(err, net.ErrClosed) {
			failed = errors.Join(failed, err)
		}
	}
	return failed
}

// Trust implements admin.State.
func (i *instance) Trust() []admin.TrustState {
	var all []admin.TrustState
	for _, r := range i.current.Load().registries {
		if r.trust != nil {
			all = append(all, admin.TrustState{Registry: r.name, Stats: r.trust.Stats(), InUse: r.trust.InUse, Peek: r.trust.Peek, Offline: r.offline != nil})
		}
	}
	return all
}

// Manifests implements admin.State.
func (i *instance) Manifests() admin.ManifestStats {
	return admin.ManifestStats(i.current.Load().handler.ManifestStats())
}

// Connections implements admin.State.
func (i *instance) Connections() int { return i.open.count() }

// CertificateExpiry implements admin.State.
func (i *instance) CertificateExpiry() time.Time { return i.current.Load().certificates.expiry() }

// control implements admin.Control.
type control struct {
	inst   *instance
	reload func() error
}

// Reload implements admin.Control.
func (c *control) Reload(context.Context) error { return c.reload() }

// Forget implements admin.Control.
func (c *control) Forget(_ context.Context, gun string) error { return c.inst.forget(gun) }

// Refresh implements admin.Control.
func (c *control) Refresh(ctx context.Context, gun string) error { return c.inst.refresh(ctx, gun) }

// LogLevel implements admin.Control.
func (c *control) LogLevel() zerolog.Level { return zerolog.GlobalLevel() }

// SetLogLevel implements admin.Control.
func (c *control) SetLogLevel(level zerolog.Level) {
	c.inst.log.Log().Stringer("to", level).Msg("log level changed") // at any level
	zerolog.SetGlobalLevel(level)
}
