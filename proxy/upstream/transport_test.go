package upstream

import (
	"context"
	"crypto/x509"
	"errors"
	"io"
	stdlog "log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"
)

// serve starts a TLS server and a transport that trusts it.
func serve(t *testing.T, opts Options, handler http.HandlerFunc) (*httptest.Server, *Transport) {
	t.Helper()
	server := httptest.NewUnstartedServer(handler)
	server.EnableHTTP2 = true
	server.Config.ErrorLog = stdlog.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(server.Close)
	opts.RootCAs = x509.NewCertPool()
	opts.RootCAs.AddCert(server.Certificate())
	tr := NewTransport(opts)
	t.Cleanup(tr.CloseIdleConnections)
	return server, tr
}

func ask(t *testing.T, tr *Transport, target string) (*http.Response, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, target, nil)
	if err != nil {
		t.Fatal(err)
	}
	return tr.RoundTrip(req)
}

func TestHTTP2IsSpokenAndNothingIsAdded(t *testing.T) {
	got := make(chan *http.Request, 1)
	server, tr := serve(t, Options{}, func(w http.ResponseWriter, r *http.Request) { got <- r })
	resp, err := ask(t, tr, server.URL)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if r := <-got; r.ProtoMajor != 2 || r.Header["Accept-Encoding"] != nil {
		t.Errorf("the server got %s with %v", r.Proto, r.Header)
	}
}

func TestHTTP1WhereItIsAskedFor(t *testing.T) {
	got := make(chan *http.Request, 1)
	server, tr := serve(t, Options{HTTP1: true}, func(w http.ResponseWriter, r *http.Request) { got <- r })
	resp, err := ask(t, tr, server.URL)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if r := <-got; r.Proto != "HTTP/1.1" || r.Header["Accept-Encoding"] != nil {
		t.Errorf("the server got %s with %v", r.Proto, r.Header)
	}
}

func TestNothingIsDecompressed(t *testing.T) {
	server, tr := serve(t, Options{}, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		_, _ = io.WriteString(w, "as it is")
	})
	resp, err := ask(t, tr, server.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, err := io.ReadAll(resp.Body); err != nil || string(body) != "as it is" || resp.Header.Get("Content-Encoding") != "gzip" {
		t.Errorf("got %q, %v, %v", body, resp.Header, err)
	}
}

func TestRedirectsAreNotFollowedByTheTransport(t *testing.T) {
	server, tr := serve(t, Options{}, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/elsewhere", http.StatusFound) })
	resp, err := ask(t, tr, server.URL)
	if err != nil {
		t.Fatal(err)
	}
	if _ = resp.Body.Close(); resp.StatusCode != http.StatusFound {
		t.Errorf("got %d", resp.StatusCode)
	}
}

func TestAHeaderThatNeverComesTimesOut(t *testing.T) {
	server, tr := serve(t, Options{HeaderTimeout: 50 * time.Millisecond}, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	_, err := ask(t, tr, server.URL)
	var timeout net.Error
	if !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Errorf("got %v, want a timeout", err)
	}
}

func TestAnUnknownAuthorityIsRefused(t *testing.T) {
	server, _ := serve(t, Options{}, func(http.ResponseWriter, *http.Request) {})
	tr := NewTransport(Options{RootCAs: x509.NewCertPool()})
	defer tr.CloseIdleConnections()
	var unknown x509.UnknownAuthorityError
	if resp, err := ask(t, tr, server.URL); !errors.As(err, &unknown) {
		t.Errorf("got %v, %v", resp, err)
	}
}

func TestACertificateForAnotherNameIsRefused(t *testing.T) {
	server, tr := serve(t, Options{}, func(http.ResponseWriter, *http.Request) {})
	var wrong x509.HostnameError
	if resp, err := ask(t, tr, strings.Replace(server.URL, "127.0.0.1", "localhost", 1)); !errors.As(err, &wrong) {
		t.Errorf("got %v, %v", resp, err)
	}
}

func TestAProxyOfTheEnvironmentIsNotUsed(t *testing.T) {
	var tr http.RoundTripper = NewTransport(Options{})
	if tr.(*Transport).base.Proxy != nil {
		t.Error("a proxy may be used")
	}
}

// raw is an upstream below net/http: it answers every request with text.
func raw(t *testing.T, text string) *url.URL {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Read(make([]byte, 4096))
			_, _ = io.WriteString(conn, text)
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() {
		_ = listener.Close()
		<-done
	})
	return &url.URL{Scheme: "http", Host: listener.Addr().String(), Path: "/"}
}

func TestSwitchingProtocolsIsRefused(t *testing.T) {
	tr := NewTransport(Options{})
	defer tr.CloseIdleConnections()
	target := raw(t, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\nrest")
	for _, header := range []http.Header{{}, {"Connection": {"Upgrade"}, "Upgrade": {"h2c"}}} {
		req := (&http.Request{Method: http.MethodGet, URL: target, Header: header}).WithContext(context.Background())
		if resp, err := tr.RoundTrip(req); resp != nil || !errors.Is(err, ErrSwitching) {
			t.Errorf("got %v, %v", resp, err)
		}
	}
}

func TestAHeaderThatIsTooLongIsRefused(t *testing.T) {
	tr := NewTransport(Options{})
	defer tr.CloseIdleConnections()
	target := raw(t, "HTTP/1.1 200 OK\r\nX: "+strings.Repeat("x", 128<<10)+"\r\n\r\n")
	if resp, err := ask(t, tr, target.String()); err == nil {
		t.Errorf("got %v", resp)
	}
}

func TestInformationalAnswersWithoutEndAreRefused(t *testing.T) {
	tr := NewTransport(Options{})
	defer tr.CloseIdleConnections()
	target := raw(t, strings.Repeat("HTTP/1.1 103 Early Hints\r\nX: "+strings.Repeat("x", 1000)+"\r\n\r\n", 200))
	if resp, err := ask(t, tr, target.String()); err == nil {
		t.Errorf("got %v", resp)
	}
}
