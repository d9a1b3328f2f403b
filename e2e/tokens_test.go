package e2e

import (
	"context"
	"crypto/tls"
	"io"
	stdlog "log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/sealgate/sealgate/e2e/sandbox"
)

// tokenServer is the sandbox's token service, behind TLS.
type tokenServer struct {
	*sandbox.Tokens
	realm  string // URL
	bundle string // path of the certificate that its tokens are checked with
	opts   sandbox.TokenOptions
}

// newTokens makes a token service that says it is at realm; nobody serves it yet.
func newTokens(dir, realm string, o sandbox.TokenOptions) (*tokenServer, error) {
	if o.Service == "" {
		o.Service, o.Issuer = "e2e registry", "e2e tokens"
	}
	made, err := sandbox.NewTokens(o)
	if err != nil {
		return nil, err
	}
	t := &tokenServer{Tokens: made, realm: realm, bundle: filepath.Join(dir, "token-roots.pem"), opts: o}
	return t, os.WriteFile(t.bundle, t.CertificatePEM(), 0o600)
}

// auth is what a server's configuration says of the service.
func (t *tokenServer) auth() map[string]any {
	return map[string]any{"realm": t.realm, "service": t.opts.Service, "issuer": t.opts.Issuer, "rootcertbundle": t.bundle}
}

// notaryService is the token service that the Notary server asks for; nil for none.
func (o registryOptions) notaryService() *tokenServer {
	if !o.notaryTokens {
		return nil
	}
	return o.service
}

// bearing is a transport that shows a token.
type bearing struct {
	http.RoundTripper
	token string
}

func (b bearing) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+b.token)
	return b.RoundTripper.RoundTrip(r)
}

// serveTLS serves handler at address with a certificate of the authority until
// the returned function is called.
func serveTLS(ca *authority, name, address string, handler http.Handler) (stop func(), err error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, err
	}
	return serveTLSOn(l, handler, ca, name, serverHosts...)
}

// serveTLSOn is serveTLS on a listener, which it closes, with a certificate for
// hosts. Clients that do not trust the authority hang up, of which nothing is said.
func serveTLSOn(l net.Listener, handler http.Handler, ca *authority, name string, hosts ...string) (stop func(), err error) {
	cert, key, err := ca.pairFor(name, hosts...)
	if err != nil {
		l.Close()
		return nil, err
	}
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		l.Close()
		return nil, err
	}
	server := &http.Server{
		Handler:           handler,
		TLSConfig:         &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12},
		ReadHeaderTimeout: 10 * time.Second,
		ErrorLog:          stdlog.New(io.Discard, "", 0),
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.ServeTLS(l, "", "") // http.ErrServerClosed, once it is stopped
	}()
	return sync.OnceFunc(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if server.Shutdown(ctx) != nil {
			_ = server.Close()
		}
		<-done
	}), nil
}
