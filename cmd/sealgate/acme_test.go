package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	acmez "github.com/mholt/acmez/v3/acme"
	"github.com/rs/zerolog"
	"github.com/sealgate/sealgate/config"
	"github.com/sealgate/sealgate/e2e/acme"
	"go.uber.org/goleak"
)

// acmeServer is a gate whose certificates are from an ACME server, and that
// server.
type acmeServer struct {
	*publicServer
	*acme.Server
	httpListen string // "" for none
}

// freePort is one of 127.0.0.1 that nothing listens on just now, and that the
// system gives to no connection meanwhile.
func freePort(t *testing.T) int {
	t.Helper()
	var err error
	for range 20 {
		var listener net.Listener
		if listener, err = net.Listen("tcp", fmt.Sprint("127.0.0.1:", 10_000+rand.IntN(22_000))); err == nil {
			defer listener.Close()
			return listener.Addr().(*net.TCPAddr).Port
		}
	}
	t.Fatal(err)
	return 0
}

// lines is a configuration with these keys of tls.acme besides the server's.
func (s *acmeServer) lines(keys, more string) string {
	if s.httpListen != "" {
		keys += ", http-listen: " + strconv.Quote(s.httpListen)
	}
	return fmt.Sprintf("listen: %s\ntls: {acme: {directory: %q, ca-file: %q, %s}}\n%s", s.address, s.Directory, s.CAFile, keys, more)
}

// serveACME serves until the test ends. Only one of the challenges can succeed:
// where there is an HTTP listener, HTTP-01.
func serveACME(t *testing.T, life time.Duration, keys, more string, overHTTP bool) *acmeServer {
	t.Helper()
	leaked := goleak.IgnoreCurrent()
	t.Cleanup(func() {
		goleak.VerifyNone(t, leaked, goleak.IgnoreTopFunction(acme.LeakedGoroutine),
			// The library keeps one for each ACME account.
			goleak.IgnoreAnyFunction("github.com/caddyserver/certmagic.(*RingBufferRateLimiter).loop"))
	})
	s := &acmeServer{publicServer: &publicServer{dir: t.TempDir(), address: fmt.Sprint("127.0.0.1:", freePort(t))}}
	options := acme.Options{Life: life, HTTPPort: freePort(t)}
	if overHTTP {
		options.TLSPort = freePort(t)
		s.httpListen = fmt.Sprint("127.0.0.1:", options.HTTPPort)
	} else {
		_, port, _ := net.SplitHostPort(s.address)
		options.TLSPort, _ = strconv.Atoi(port)
	}
	s.Server = acme.Start(t, options)
	s.run(t, s.lines(keys, more))
	return s
}

// run serves with these lines, as serve does.
func (s *acmeServer) run(t *testing.T, lines string) {
	t.Helper()
	cfg := s.config(t, lines)
	inst, err := newInstance(cfg, zerolog.New(s))
	if err != nil {
		t.Fatal(err)
	}
	s.instance = inst
	listener, err := net.Listen("tcp", cfg.Listen)
	if err != nil {
		t.Fatal(err)
	}
	challenges, err := openChallenges(inst)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	var ended sync.WaitGroup
	ended.Go(func() {
		if err := runServer(ctx, inst.gated(listener), inst); err != nil {
			t.Error(err)
		}
	})
	if challenges != nil {
		ended.Go(func() {
			if err := runChallenges(ctx, challenges, inst); err != nil {
				t.Error(err)
			}
		})
	}
	inst.listens()
	t.Cleanup(func() {
		stop()
		ended.Wait()
		inst.close()
	})
}

// shown is the certificate that a client of host is shown, verified.
func (s *acmeServer) shown(host string) (*x509.Certificate, error) {
	conn, err := tls.Dial("tcp", s.address, &tls.Config{ServerName: host, RootCAs: s.Pool()})
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0], nil
}

// wantCertificate waits, beyond a second attempt (a minute after the first), for a certificate of host that is not like the one
// before.
func (s *acmeServer) wantCertificate(t *testing.T, host string, before *x509.Certificate) *x509.Certificate {
	t.Helper()
	var err error
	for end := time.Now().Add(90 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		var cert *x509.Certificate
		if cert, err = s.shown(host); err == nil && !cert.Equal(before) {
			return cert
		}
	}
	t.Fatalf("no certificate of %s: %v\n%s", host, err, s.log())
	return nil
}

func (s *acmeServer) readiness() error { return s.ready(context.Background()) }

func TestCertificatesOfAnACMEServer(t *testing.T) {
	for _, overHTTP := range []bool{false, true} {
		name := map[bool]string{false: "TLS-ALPN-01", true: "HTTP-01"}[overHTTP]
		t.Run(name, func(t *testing.T) {
			s := serveACME(t, 0, "domains: [gate.example.com, other.example.com]", "", overHTTP)
			first := s.wantCertificate(t, "gate.example.com", nil)
			s.wantCertificate(t, "other.example.com", nil)
			if err := s.readiness(); err != nil {
				t.Error(err)
			}
			if got := counted(t, s.instance, "sealgate_acme_orders_total", orderObtained); got != 2 {
				t.Errorf("%v orders are counted", got)
			}
			if !strings.Contains(s.log(), `"domain":"gate.example.com","renewal":false,"message":"certificate obtained"`) {
				t.Error(s.log())
			}

			// A name that is nobody's gets the first certificate, and causes no order.
			orders := s.Orders()
			conn, err := tls.Dial("tcp", s.address, &tls.Config{ServerName: "stranger.example.com", InsecureSkipVerify: true})
			if err != nil {
				t.Fatal(err)
			}
			conn.Close()
			if !conn.ConnectionState().PeerCertificates[0].Equal(first) {
				t.Error("another certificate than the first")
			}
			if got := s.Orders(); got != orders {
				t.Errorf("%d orders, and %d before", got, orders)
			}
		})
	}
}

// Challenges are asked for without a client certificate, and nobody is served
// on the way that is left open for them.
func TestChallengesPassWhereClientsNeedACertificate(t *testing.T) {
	dir := t.TempDir()
	ca := newClientCA(t, dir+"/clients.pem")
	cert := clientCertificate(t, ca, "ci-runner", x509.ExtKeyUsageClientAuth, time.Hour)
	s := serveACME(t, 0, "domains: [gate.example.com]", "clients: {ca-file: "+dir+"/clients.pem}", false)
	var err error
	for end := time.Now().Add(90 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if err = s.readiness(); err == nil {
			break
		}
	}
	if err != nil {
		t.Fatalf("%v\n%s", err, s.log())
	}
	config := always(cert)
	config.RootCAs, config.ServerName = s.Pool(), "gate.example.com"
	transport := &http.Transport{TLSClientConfig: config}
	defer transport.CloseIdleConnections()
	s.wantServed(t, &http.Client{Transport: transport})

	conn, err := tls.Dial("tcp", s.address, &tls.Config{ServerName: "gate.example.com", InsecureSkipVerify: true, NextProtos: []string{challengeProtocol}})
	if err == nil {
		defer conn.Close()
		fmt.Fprint(conn, "GET /v2/ HTTP/1.1\r\nHost: a\r\n\r\n")
		if text, _ := io.ReadAll(conn); len(text) > 0 {
			t.Errorf("served: %s", text)
		}
	}
}

func TestTheChallengeListenerAnswersNothingElse(t *testing.T) {
	s := serveACME(t, 0, "domains: [gate.example.com]", "", true)
	s.wantCertificate(t, "gate.example.com", nil)
	for _, request := range []struct{ host, path string }{
		{"gate.example.com", "/v2/"},
		{"gate.example.com", "/"},
		{"gate.example.com", "/.well-known/acme-challenge/"},
		{"gate.example.com", "/.well-known/acme-challenge/some-token"},
		{"stranger.example.com", "/.well-known/acme-challenge/some-token"},
		{"../../etc", "/.well-known/acme-challenge/passwd"},
	} {
		r, err := http.NewRequest(http.MethodGet, "http://"+s.httpListen+request.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Host, r.Close = request.host, true
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusNotFound && resp.StatusCode != http.StatusBadRequest {
			t.Errorf("%s%s: got %s", request.host, request.path, resp.Status)
		}
	}
}

func TestAnACMEServerThatIsDown(t *testing.T) {
	s := serveACME(t, 30*time.Second, "domains: [gate.example.com]", "", false)
	first := s.wantCertificate(t, "gate.example.com", nil)
	s.Cut()
	for end := time.Now().Add(30 * time.Second); counted(t, s.instance, "sealgate_acme_orders_total", orderFailed) == 0; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("no renewal has failed: %s", s.log())
		}
	}
	if cert := s.wantCertificate(t, "gate.example.com", nil); cert.NotAfter.Before(first.NotAfter) {
		t.Errorf("another certificate, until %v", cert.NotAfter)
	}
	if !strings.Contains(s.log(), "certificate cannot be obtained, one from before stays") {
		t.Error(s.log())
	}
}

// At a start without the ACME server there is a listener, and a reason why
// nobody should be sent to it.
func TestAStartWithoutTheACMEServer(t *testing.T) {
	s := serveACME(t, 0, "domains: [gate.example.com]", "", false)
	s.wantCertificate(t, "gate.example.com", nil)
	s.Cut()
	s.reload(t, s.lines("domains: [new.example.com]", ""))
	for end := time.Now().Add(30 * time.Second); s.readiness() == nil || !strings.Contains(s.readiness().Error(), "no valid certificate"); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("ready: %v; %s", s.readiness(), s.log())
		}
	}
	if _, err := s.shown("new.example.com"); err == nil {
		t.Error("there is a certificate")
	}
	s.Restore()
	s.reload(t, s.lines("domains: [gate.example.com, new.example.com]", "")) // tries at once
	s.wantCertificate(t, "new.example.com", nil)
	if err := s.readiness(); err != nil {
		t.Error(err)
	}
}

// TestReloadsKeepCertificates that are good: from memory where nothing of tls
// changes, from the state directory else.
func TestReloadsKeepCertificates(t *testing.T) {
	s := serveACME(t, 0, "domains: [gate.example.com]", "", false)
	first := s.wantCertificate(t, "gate.example.com", nil)
	before := s.current.Load().certificates
	s.reload(t, s.lines("domains: [gate.example.com]", "drain-timeout: 1s"))
	if s.current.Load().certificates != before {
		t.Error("a reload of something else made other certificates")
	}
	s.Cut() // so that nothing can come from there
	for _, keys := range []string{"domains: [gate.example.com, more.example.com]", "domains: [gate.example.com], email: ops@example.com"} {
		s.reload(t, s.lines(keys, ""))
		if got, err := s.shown("gate.example.com"); err != nil || !got.Equal(first) {
			t.Errorf("%s: another certificate, %v", keys, err)
		}
	}
	other := acme.Start(t, acme.Options{TLSPort: 1, HTTPPort: 1})
	other.Cut()
	s.reload(t, strings.NewReplacer(s.Directory, other.Directory, s.CAFile, other.CAFile).Replace(s.lines("domains: [gate.example.com, new.example.com]", "")))
	for range 2 {
		if got, err := s.shown("gate.example.com"); err != nil || !got.Equal(first) {
			t.Errorf("with another server, which has issued none yet: another certificate, %v", err)
		}
		if err := s.readiness(); err != nil {
			t.Error(err)
		}
		s.reload(t, strings.NewReplacer(s.Directory, other.Directory, s.CAFile, other.CAFile).Replace(s.lines("domains: [gate.example.com]", "")))
	}
	s.reload(t, "listen: "+s.address+"\ntls: {self-signed: {}}")
	if _, err := s.shown("gate.example.com"); err == nil {
		t.Error("still the ACME server's certificate")
	}
	s.reload(t, s.lines("domains: [gate.example.com]", ""))
	if got, err := s.shown("gate.example.com"); err != nil || !got.Equal(first) {
		t.Errorf("back again: another certificate, %v", err)
	}
}

func TestFilesAreShownUntilTheACMEServerHasIssued(t *testing.T) {
	pair := newPair(t, "gate.example.com", time.Hour)
	server := acme.Start(t, acme.Options{TLSPort: 1, HTTPPort: 1})
	server.Cut()
	s := &acmeServer{publicServer: &publicServer{dir: t.TempDir(), address: fmt.Sprint("127.0.0.1:", freePort(t))}, Server: server}
	s.run(t, fmt.Sprintf("listen: %s\ntls: {files: {cert: %q, key: %q}}", s.address, pair.Cert, pair.Key))
	s.reload(t, s.lines("domains: [gate.example.com, other.example.com]", ""))
	for _, host := range []string{"gate.example.com", "other.example.com", "stranger.example.com"} {
		conn, err := tls.Dial("tcp", s.address, &tls.Config{ServerName: host, InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		conn.Close()
		if !conn.ConnectionState().PeerCertificates[0].Equal(inFile(t, pair)) {
			t.Errorf("%s: another certificate", host)
		}
	}
	if err := s.readiness(); err != nil {
		t.Error(err)
	}
}

// The library invents an address where there is none, and the server refuses it.
func TestNoContactIsInvented(t *testing.T) {
	for email, want := range map[string]string{"": "[]", "ops@example.com": "[mailto:ops@example.com]"} {
		settings := config.ACME{Domains: []string{"gate.example.com"}, Email: email}
		template, err := acmeTemplate(&config.Config{Listen: ":8443", TLS: config.TLS{ACME: &settings}})
		if err != nil {
			t.Fatal(err)
		}
		account, err := template.NewAccountFunc(t.Context(), nil, acmez.Account{Contact: []string{"mailto:default"}})
		if got := fmt.Sprint(account.Contact); err != nil || got != want {
			t.Errorf("with email %q the contact is %s, %v", email, got, err)
		}
	}
}
