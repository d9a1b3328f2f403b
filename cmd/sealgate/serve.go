package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	stdlog "log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/rs/zerolog"
	"github.com/sealgate/sealgate/config"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
)

// drainTimeout is how long a stop waits for the requests under way.
const drainTimeout = 30 * time.Second

func serveCommand(logs *logFlags, stderr io.Writer) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Stand in front of the registries of the configuration",
		Args:  cobra.NoArgs,
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
		if err := serve(cmd.Context(), cfg, log); err != nil {
			log.Error().Err(err).Msg("failed")
			return &exitError{code: exitFailed}
		}
		return nil
	}
	return cmd
}

// serve runs until ctx ends, then drains and returns nil.
func serve(ctx context.Context, cfg *config.Config, log zerolog.Logger) error {
	for _, warning := range cfg.Warnings() {
		log.Warn().Msg(warning)
	}
	tlsConfig, err := serverTLS(cfg, log)
	if err != nil {
		return err
	}
	p, err := assemble(cfg, log)
	if err != nil {
		return err
	}
	defer p.close()
	listener, err := net.Listen("tcp", cfg.Listen)
	if err != nil {
		return err
	}
	scheme := "https"
	if tlsConfig == nil {
		scheme = "http"
	}
	for _, reg := range cfg.Registries {
		e := log.Info().Str("registry", reg.Name).Strs("hosts", reg.Hosts).Stringer("upstream", reg.Upstream)
		if reg.Notary.URL != nil {
			e.Stringer("notary", reg.Notary.URL)
		}
		e.Msg("standing in front of")
	}
	defer ignoreHangup(log)()
	log.Info().Str("version", version).Str("address", scheme+"://"+listener.Addr().String()).Str("mode", string(cfg.ContentTrust.Mode)).Msg("serving")
	return runServer(ctx, listener, tlsConfig, p.handler, log)
}

// ignoreHangup keeps SIGHUP, which asks for a reload of other servers, from
// ending this one. Call what it returns when done.
func ignoreHangup(log zerolog.Logger) (stop func()) {
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	done := make(chan struct{})
	go func() {
		for {
			select {
			case <-hangups:
				log.Error().Msg("SIGHUP: reload is not supported yet, restart instead; nothing has changed")
			case <-done:
				return
			}
		}
	}()
	return func() { signal.Stop(hangups); close(done) }
}

// runServer serves on listener until ctx ends, then waits for the requests
// under way. It closes the listener.
func runServer(ctx context.Context, listener net.Listener, tlsConfig *tls.Config, handler http.Handler, log zerolog.Logger) error {
	server := &http.Server{
		Handler:           handler,
		TLSConfig:         tlsConfig,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       60 * time.Second, // no request has a body that is read
		WriteTimeout:      2 * time.Minute,  // bodies that are passed on set their own deadline
		IdleTimeout:       2 * time.Minute,
		HTTP2:             &http.HTTP2Config{MaxConcurrentStreams: 64},
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          stdlog.New(debugLog{log}, "", 0),
		// "*" is refused by the handler like everything else that is no route.
		DisableGeneralOptionsHandler: true,
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		err := serveOn(server, listener)
		if errors.Is(err, http.ErrServerClosed) {
			return nil
		}
		return err
	})
	group.Go(func() error {
		<-ctx.Done()
		drain, cancel := context.WithTimeout(context.Background(), drainTimeout)
		defer cancel()
		log.Info().Msg("stopping")
		if err := server.Shutdown(drain); err != nil {
			return errors.Join(fmt.Errorf("requests were still under way after %s and were cut off", drainTimeout), server.Close())
		}
		return nil
	})
	err := group.Wait()
	if err == nil {
		log.Info().Msg("stopped")
	}
	return err
}

func serveOn(server *http.Server, listener net.Listener) error {
	if server.TLSConfig != nil {
		return server.ServeTLS(listener, "", "")
	}
	return server.Serve(listener)
}

// debugLog takes what net/http has to say about connections, such as failed
// handshakes: of interest to who is looking for it.
type debugLog struct{ log zerolog.Logger }

func (d debugLog) Write(line []byte) (int, error) {
	d.log.Debug().Msg(strings.TrimSpace(string(line)))
	return len(line), nil
}
