package main

import (
	"context"
	"fmt"
	stdlog "log"
	"net"
	"net/http"
	"time"

	"github.com/sealgate/sealgate/trustcache/guard"
	"golang.org/x/sync/errgroup"
)

// openChallenges listens where HTTP-01 challenges are answered; nil where the
// configuration has no tls.acme.http-listen.
func openChallenges(inst *instance) (net.Listener, error) {
	acme := inst.current.Load().cfg.TLS.ACME
	if acme == nil || acme.HTTPListen == "" {
		return nil, nil
	}
	listener, err := net.Listen("tcp", acme.HTTPListen)
	if err != nil {
		return nil, fmt.Errorf("tls.acme.http-listen: %w", err)
	}
	return listener, nil
}

// runChallenges serves challenges and nothing else, above all no registry in
// plaintext, until ctx ends. It closes the listener.
func runChallenges(ctx context.Context, listener net.Listener, inst *instance) error {
	server := &http.Server{
		Handler:           inst.answering("operator", http.HandlerFunc(inst.serveChallenge)),
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      10 * time.Second,
		IdleTimeout:       10 * time.Second,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          stdlog.New(debugLog{inst.lasting}, "", 0),
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() (err error) { defer guard.Catch(&err); return serveOn(server, listener) })
	group.Go(func() (err error) {
		defer guard.Catch(&err)
		<-ctx.Done()
		return server.Close()
	})
	return group.Wait()
}

func (i *instance) serveChallenge(w http.ResponseWriter, r *http.Request) {
	c := i.current.Load().certificates
	if c == nil || c.acme == nil || !c.acme.answer(w, r) {
		http.NotFound(w, r)
	}
}
