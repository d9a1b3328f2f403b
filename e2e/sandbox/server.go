package sandbox

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"time"
)

const (
	// closeGrace is how long Close lets requests in flight finish.
	closeGrace        = time.Second
	readHeaderTimeout = 10 * time.Second
	idleTimeout       = time.Minute
	maxHeaderBytes    = 64 << 10
)

// server is what the registry and the trust server share: one listener, one
// http.Server, and the log of what reached it.
type server struct {
	scheme string
	addr   string
	http   *http.Server
	cancel context.CancelFunc
	served chan struct{} // closed when the accept loop has ended

	requests  requestLog
	closeOnce sync.Once
	closeErr  error
}

// listen serves handler on address (empty means a free port of 127.0.0.1) until
// ctx is done or close is called. With a nil ca it speaks plain http.
func listen(ctx context.Context, ca *CA, address string, handler http.Handler) (*server, error) {
	if address == "" {
		address = "127.0.0.1:0"
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen on %q: %w", address, err)
	}
	s := &server{scheme: "http", addr: listener.Addr().String(), served: make(chan struct{})}
	ctx, s.cancel = context.WithCancel(ctx)
	s.http = &http.Server{
		Handler:           s.requests.record(handler),
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ReadHeaderTimeout: readHeaderTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          log.New(io.Discard, "", 0),
	}
	if ca != nil {
		if err := s.useTLS(ca); err != nil {
			s.cancel()
			return nil, errors.Join(err, listener.Close())
		}
	}
	go s.serve(listener)
	context.AfterFunc(ctx, func() { _ = s.Close() })
	return s, nil
}

// useTLS gives the server a certificate for loopback and for the host it
// listens on.
func (s *server) useTLS(ca *CA) error {
	hosts := []string{"127.0.0.1", "::1", "localhost"}
	if host, _, err := net.SplitHostPort(s.addr); err == nil && host != hosts[0] && host != hosts[1] {
		hosts = append(hosts, host)
	}
	cert, err := ca.Issue(hosts...)
	if err != nil {
		return err
	}
	s.scheme = "https"
	s.http.TLSConfig = &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}
	return nil
}

func (s *server) serve(listener net.Listener) {
	defer close(s.served)
	// Both return http.ErrServerClosed after Close, and nothing else that
	// somebody could act on: Close is the only one who waits.
	if s.http.TLSConfig != nil {
		_ = s.http.ServeTLS(listener, "", "")
		return
	}
	_ = s.http.Serve(listener)
}

// URL is the server's base URL with host and port and no trailing slash.
func (s *server) URL() string { return s.scheme + "://" + s.addr }

// Addr is the host and port that the server listens on.
func (s *server) Addr() string { return s.addr }

// Requests returns what has reached the server, oldest first, before any
// middleware or authentication saw it. The log is bounded: the oldest entries
// go first. The slice is the caller's.
func (s *server) Requests() []Request { return s.requests.list() }

// ResetRequests empties the log.
func (s *server) ResetRequests() { s.requests.reset() }

// Close stops listening, gives requests in flight a second to finish, then
// breaks them off. It waits for the server to be gone. Calling it again, or
// from several goroutines, is safe and returns the same.
func (s *server) Close() error {
	s.closeOnce.Do(func() {
		ctx, cancel := context.WithTimeout(context.Background(), closeGrace)
		defer cancel()
		if s.http.Shutdown(ctx) != nil {
			s.closeErr = s.http.Close()
		}
		s.cancel()
		<-s.served
	})
	return s.closeErr
}
