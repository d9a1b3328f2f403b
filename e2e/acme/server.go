// Package acme runs Pebble, Let's Encrypt's ACME server for tests, in the
// process of a test: it really asks whether a name is ours, on ports of the
// test's choice, and forgets everything at the end. It refuses no name and
// protects nothing, and so is linked into no program.
package acme

import (
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/letsencrypt/pebble/v2/ca"
	"github.com/letsencrypt/pebble/v2/db"
	"github.com/letsencrypt/pebble/v2/va"
	"github.com/letsencrypt/pebble/v2/wfe"
	"github.com/miekg/dns"
)

// LeakedGoroutine is the function in which one goroutine of each Server remains
// at the end: Pebble starts its validator without a way to stop it. Tests hand it
// to goleak.IgnoreTopFunction.
const LeakedGoroutine = "github.com/letsencrypt/pebble/v2/va.VAImpl.processTasks"

// Options say how to run a Server.
type Options struct {
	// TLSPort and HTTPPort are the ports of 127.0.0.1 on which it looks whether a
	// name is ours: those that stand for 443 and 80.
	TLSPort, HTTPPort int
	// Life is that of the certificates, in whole seconds; 0 means 90 days.
	Life time.Duration
}

// Server is an ACME server for which every name leads to 127.0.0.1. Its methods
// are safe for concurrent use.
type Server struct {
	// Directory is the URL of its directory, CAFile the path of the PEM CA that
	// its own certificate is of.
	Directory, CAFile string

	ca     *ca.CAImpl
	down   atomic.Bool
	orders atomic.Int64
}

// settings are those that Pebble takes from the environment.
var settings = map[string]string{
	"PEBBLE_VA_NOSLEEP":      "1",
	"PEBBLE_AUTHZREUSE":      "0", // every order is to look again
	"PEBBLE_WFE_NONCEREJECT": "0",
}

// Start runs a server until the test ends. Its settings stay in the environment
// of the process, since tests that run beside each other start servers.
func Start(t testing.TB, o Options) *Server {
	t.Helper()
	for name, value := range settings {
		if err := os.Setenv(name, value); err != nil {
			t.Fatal(err)
		}
	}
	silent := log.New(io.Discard, "", 0)
	store := db.NewMemoryStore()
	s := &Server{ca: ca.New(silent, store, "", "ecdsa", 0, 1, map[string]ca.Profile{"default": {ValidityPeriod: uint64(o.Life / time.Second)}})}
	validator := va.New(silent, o.HTTPPort, o.TLSPort, false, names(t), store)
	front := wfe.New(silent, store, validator, s.ca, []string{"pebble.letsencrypt.org"}, false, false, 1, 1)
	handler := front.Handler()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.down.Load() {
			panic(http.ErrAbortHandler)
		}
		if r.URL.Path == "/order-plz" && r.Method == http.MethodPost {
			s.orders.Add(1)
		}
		if r.URL.Path == wfe.DirectoryPath && o.Life > 0 {
			withoutSuggestions(w, r, handler)
			return
		}
		handler.ServeHTTP(w, r)
	}))
	server.Config.ErrorLog = silent
	server.StartTLS()
	t.Cleanup(server.Close)
	s.Directory, s.CAFile = server.URL+wfe.DirectoryPath, filepath.Join(t.TempDir(), "acme-ca.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if err := os.WriteFile(s.CAFile, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return s
}

// withoutSuggestions answers with a directory that has no place where a client
// could ask when to renew (RFC 9773). Pebble suggests a day before or after what
// it finds right, which of certificates that last seconds is any moment, the last
// one too.
func withoutSuggestions(w http.ResponseWriter, r *http.Request, pebble http.Handler) {
	answer := httptest.NewRecorder()
	pebble.ServeHTTP(answer, r)
	var directory map[string]any
	if err := json.Unmarshal(answer.Body.Bytes(), &directory); err != nil {
		panic(err) // nobody else wrote it
	}
	delete(directory, "renewalInfo")
	maps.Copy(w.Header(), answer.Header())
	w.Header().Del("Content-Length")
	w.WriteHeader(answer.Code)
	_ = json.NewEncoder(w).Encode(directory) // whoever asked is gone otherwise
}

// Cut makes every request to the server fail, Restore ends that.
func (s *Server) Cut() { s.down.Store(true) }

// Restore ends what Cut began.
func (s *Server) Restore() { s.down.Store(false) }

// Orders counts the certificates that the server was asked for.
func (s *Server) Orders() int { return int(s.orders.Load()) }

// Pool holds the root of the certificates that the server issues.
func (s *Server) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(s.ca.GetRootCert(0).Cert)
	return pool
}

// names answers for every name with 127.0.0.1, over TCP, and returns where.
func names(t testing.TB) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &dns.Server{Listener: listener, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, question *dns.Msg) {
		answer := new(dns.Msg).SetReply(question)
		if q := question.Question[0]; q.Qtype == dns.TypeA {
			answer.Answer = append(answer.Answer, &dns.A{
				Hdr: dns.RR_Header{Name: q.Name, Rrtype: dns.TypeA, Class: dns.ClassINET}, A: net.IPv4(127, 0, 0, 1),
			})
		}
		_ = w.WriteMsg(answer) // whoever asked is gone otherwise
	})}
	started, ended := make(chan struct{}), make(chan error)
	server.NotifyStartedFunc = func() { close(started) }
	go func() { ended <- server.ActivateAndServe() }()
	<-started
	t.Cleanup(func() {
		if err := server.Shutdown(); err != nil {
			t.Error(err)
		}
		<-ended
	})
	return listener.Addr().String()
}
