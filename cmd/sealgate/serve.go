package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	stdlog "log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/KimMachineGun/automemlimit/memlimit"
	"github.com/rs/zerolog"
	"github.com/sealgate/sealgate/config"
	"github.com/sealgate/sealgate/trustcache/guard"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
)

func serveCommand(logs *logFlags, stderr io.Writer) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Stand in front of the registries of the configuration",
		Long: `Stand in front of the registries of the configuration. The log goes to standard
error, one JSON object a line.

Signals:
  SIGHUP           read the configuration again and go over to it, whole or, where
                   it has a mistake, not at all
  SIGTERM, SIGINT  be not ready, take no new connection, wait drain-timeout for
                   the requests under way, and exit; a second one ends at once

Under systemd (Type=notify) it says when it is ready, reloads and stops.

Listeners for the operator, where they are configured:
  admin.listen     the status page with its API (docs/status.md), /metrics,
                   /healthz and /readyz, read only
  admin.control    reload, forget, log level and profiles on a unix socket, by
                   default control.sock in state-dir; see "sealgate forget"

Exit codes: 0 stopped, every request was answered; 1 it could not start, failed,
or cut requests off at the end of drain-timeout; 2 bad usage or configuration.`,
		Args: noReference,
	}
	path := configFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		log, err := logs.logger(stderr, "json")
		if err != nil {
			return err
		}
		cfg, err := loadConfig(*path)
		if err != nil {
			return err
		}
		if err := serve(cmd.Context(), *path, cfg, log); err != nil {
			log.Error().Err(err).Msg("failed")
			return &exitError{code: exitFailed}
		}
		return nil
	}
	return cmd
}

// serve runs until ctx ends, then drains and returns nil. path is where cfg
// was read from and is read again at a reload.
func serve(ctx context.Context, path string, cfg *config.Config, log zerolog.Logger) error {
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP) // first: else it ends the process
	defer signal.Stop(hangups)
	log = adjustable(log)
	limitMemory(log, memlimit.FromCgroup)
	defer runtime.KeepAlive(headroom())
	inst, err := newInstance(cfg, log)
	if err != nil {
		return err
	}
	defer inst.close()
	listener, err := net.Listen("tcp", cfg.Listen)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	defer listener.Close()
	challenges, err := openChallenges(inst)
	if err != nil {
		return err
	}
	if challenges != nil {
		defer challenges.Close()
	}
	manager := supervisor{log}
	reload := func() error { return manager.reloading(func() error { return inst.reloadFrom(path) }) }
	group, ctx := errgroup.WithContext(ctx)
	ready := func() error { return inst.ready(ctx) }
	side, err := openOperatorSide(cfg.Admin, inst, ready, reload)
	if err != nil {
		return err
	}
	defer side.close()
	inst.announce()
	log.Info().Str("version", version).Str("address", address(cfg, listener)).Str("mode", string(cfg.ContentTrust.Mode)).Msg("serving")

	group.Go(inst.guarded("server", func() error { return reloadAt(ctx, hangups, reload) }))
	drained, done := context.WithCancel(context.Background())
	group.Go(inst.guarded("server", func() error {
		defer done() // the operator watches until the last request is answered
		return runServer(ctx, inst.gated(listener), inst)
	}))
	if challenges != nil {
		group.Go(inst.guarded("server", func() error { return runChallenges(ctx, challenges, inst) }))
	}
	inst.listens()
	manager.ready()
	group.Go(inst.guarded("server", func() error {
		<-ctx.Done()
		manager.stopping(inst.current.Load().cfg.DrainTimeout)
		return nil
	}))
	group.Go(inst.guarded("server", func() error { return side.run(drained) }))
	group.Go(inst.guarded("clock", func() error {
		guard.Loop(drained, func(ctx context.Context) { inst.remembered.keepTime(ctx, log) }, inst.panicked("clock"))
		return nil
	}))
	group.Go(inst.guarded("expiry", func() error {
		guard.Loop(ctx, inst.watchExpiry, inst.panicked("expiry"))
		return nil
	}))
	return group.Wait()
}

// address is where clients find the gate, as a URL.
func address(cfg *config.Config, listener net.Listener) string {
	if cfg.TLS.PlainHTTP != nil {
		return "http://" + listener.Addr().String()
	}
	return "https://" + listener.Addr().String()
}

// reloadAt reloads at each of the signals until ctx ends.
func reloadAt(ctx context.Context, hangups <-chan os.Signal, reload func() error) error {
	for {
		select {
		case <-hangups:
			_ = reload() // it says itself what came of it
		case <-ctx.Done():
			return nil
		}
	}
}

// adjustable makes the level of the log one that can change at run time.
func adjustable(log zerolog.Logger) zerolog.Logger {
	zerolog.SetGlobalLevel(log.GetLevel())
	return log.Level(zerolog.TraceLevel)
}

// runServer serves inst on listener until ctx ends, then waits for the
// requests under way. It closes the listener.
func runServer(ctx context.Context, listener net.Listener, inst *instance) error {
	requests, cutOff := context.WithCancel(context.Background())
	defer cutOff()
	limits := inst.current.Load().cfg.Limits
	server := &http.Server{
		Handler:           inst,
		BaseContext:       func(net.Listener) context.Context { return requests },
		ConnContext:       withConnection,
		ConnState:         inst.open.changed,
		TLSConfig:         inst.tlsConfig(),
		ReadHeaderTimeout: limits.HeaderTimeout,
		ReadTimeout:       60 * time.Second, // of a read; what is pushed sets its own deadline
		WriteTimeout:      2 * time.Minute,  // bodies that are passed on set their own deadline
		IdleTimeout:       limits.IdleTimeout,
		HTTP2:             &http.HTTP2Config{MaxConcurrentStreams: 64},
		MaxHeaderBytes:    int(limits.MaxHeaderBytes),
		ErrorLog:          stdlog.New(debugLog{inst.lasting}, "", 0),
		// "*" is refused by the handler like everything else that is no route.
		DisableGeneralOptionsHandler: true,
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() (err error) { defer guard.Catch(&err); return serveOn(server, listener) })
	group.Go(func() (err error) {
		defer guard.Catch(&err)
		<-ctx.Done()
		timeout := inst.current.Load().cfg.DrainTimeout
		drain, cancel := context.WithTimeout(context.Background(), timeout)
		defer cancel()
		inst.log.Info().Stringer("drain_timeout", timeout).Msg("stopping")
		if err := server.Shutdown(drain); err != nil {
			cutOff() // closing a connection does not reach every request that waits
			return errors.Join(fmt.Errorf("requests were still under way after drain-timeout (%s) and were cut off", timeout), server.Close())
		}
		return nil
	})
	err := group.Wait()
	if err == nil {
		inst.log.Info().Msg("stopped")
	}
	return err
}

// serveOn serves until the server is closed or shut down, which is no error, or
// the listener fails.
func serveOn(server *http.Server, listener net.Listener) error {
	var err error
	if server.TLSConfig != nil {
		err = server.ServeTLS(listener, "", "")
	} else {
		err = server.Serve(listener)
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// debugLog takes what net/http has to say about connections, such as failed
// handshakes: of interest to who is looking for it, but for what it says of a panic
// in a handshake or in a handler, which is a defect.
type debugLog struct{ lasting }

func (d debugLog) Write(line []byte) (int, error) {
	text := strings.TrimSpace(string(line))
	if strings.Contains(text, "panic serving") {
		d.metrics.Panicked("connection")
		d.log.Error().Str("where", "connection").Str("stack", text).Msg("panic caught")
		return len(line), nil
	}
	d.log.Debug().Msg(text)
	return len(line), nil
}
