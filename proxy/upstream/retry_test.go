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
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// lines is a server and the connections to it, all in memory, so that they can
// die on command and time can be fake.
type lines struct {
	server   *http.Server
	accepted chan net.Conn
	closed   chan struct{}
	mu       sync.Mutex
	open     []*line
}

// line is the client's end of a connection.
type line struct {
	net.Conn
	dead chan struct{} // closed: nothing comes any more, and nothing arrives
	once sync.Once
}

func (l *line) die() { l.once.Do(func() { close(l.dead) }) }

func (l *line) Read(p []byte) (int, error) {
	n, err := l.Conn.Read(p)
	select {
	case <-l.dead:
		if err == nil {
			return l.Read(p) // it is lost
		}
	default:
	}
	return n, err
}

func (l *line) Write(p []byte) (int, error) {
	select {
	case <-l.dead:
		return len(p), nil
	default:
		return l.Conn.Write(p)
	}
}

func (l *lines) Accept() (net.Conn, error) {
	select {
	case conn := <-l.accepted:
		return conn, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *lines) Close() error { close(l.closed); return nil }

func (*lines) Addr() net.Addr { return &net.TCPAddr{} }

func (l *lines) dial(context.Context, string, string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	l.accepted <- theirs
	made := &line{Conn: ours, dead: make(chan struct{})}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open = append(l.open, made)
	return made, nil
}

// dialled is how many connections there were.
func (l *lines) dialled() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.open)
}

// wired serves handler in memory to a transport with these options. It is for
// use in a synctest bubble.
func wired(t *testing.T, opts Options, certificate *httptest.Server, handler http.HandlerFunc) (*lines, *Transport) {
	t.Helper()
	l := &lines{accepted: make(chan net.Conn), closed: make(chan struct{})}
	l.server = &http.Server{Handler: handler, TLSConfig: certificate.TLS.Clone(), ErrorLog: stdlog.New(io.Discard, "", 0)}
	l.server.TLSConfig.NextProtos = []string{"h2", "http/1.1"}
	var served sync.WaitGroup
	served.Go(func() { _ = l.server.ServeTLS(l, "", "") })
	opts.RootCAs = x509.NewCertPool()
	opts.RootCAs.AddCert(certificate.Certificate())
	tr := NewTransport(opts)
	tr.base.DialContext = l.dial
	t.Cleanup(func() {
		tr.CloseIdleConnections()
		_ = l.server.Close()
		for _, line := range l.open {
			_ = line.Close()
		}
		served.Wait()
	})
	return l, tr
}

// certificateOf is a server that is there for its certificate.
func certificateOf(t *testing.T) *httptest.Server {
	t.Helper()
	server := httptest.NewUnstartedServer(nil)
	server.EnableHTTP2 = true
	server.StartTLS()
	server.Close()
	return server
}

func send(t *testing.T, tr *Transport, method string, body io.Reader) (*http.Response, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "https://example.com/", body)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := tr.RoundTrip(req)
	if err == nil {
		Discard(resp)
	}
	return resp, err
}

func TestAnHTTP2ConnectionThatDiedIsNoticedAndAReadTriedOnAnother(t *testing.T) {
	certificate := certificateOf(t)
	for _, method := range []string{http.MethodGet, http.MethodHead} {
		synctest.Test(t, func(t *testing.T) {
			l, tr := wired(t, Options{}, certificate, func(http.ResponseWriter, *http.Request) {})
			if _, err := send(t, tr, method, nil); err != nil {
				t.Fatal(err)
			}
			l.open[0].die()
			start := time.Now()
			resp, err := send(t, tr, method, nil)
			if took := time.Since(start); err != nil || resp.StatusCode != 200 || l.dialled() != 2 || took > pingAfter+pingTimeout {
				t.Errorf("got %v, %v on %d connections after %s", resp, err, l.dialled(), took)
			}
		})
	}
}

func TestAWriteIsNotTriedAgain(t *testing.T) {
	certificate := certificateOf(t)
	for _, body := range []io.Reader{nil, strings.NewReader("{}")} {
		synctest.Test(t, func(t *testing.T) {
			l, tr := wired(t, Options{}, certificate, func(http.ResponseWriter, *http.Request) {})
			if _, err := send(t, tr, http.MethodGet, nil); err != nil {
				t.Fatal(err)
			}
			l.open[0].die()
			if resp, err := send(t, tr, http.MethodPut, body); err == nil || l.dialled() != 1 {
				t.Errorf("got %v on %d connections", resp, l.dialled())
			}
		})
	}
}

func TestASilentHTTP2ConnectionThatLivesIsKept(t *testing.T) {
	certificate := certificateOf(t)
	synctest.Test(t, func(t *testing.T) {
		l, tr := wired(t, Options{HeaderTimeout: time.Hour}, certificate, func(http.ResponseWriter, *http.Request) { time.Sleep(time.Minute) })
		if resp, err := send(t, tr, http.MethodGet, nil); err != nil || resp.StatusCode != 200 || l.dialled() != 1 {
			t.Errorf("got %v, %v on %d connections", resp, err, l.dialled())
		}
	})
}

// dropping answers the first request of the first connection, and hangs up on
// every other.
func dropping(l **lines, asked *atomic.Int32) http.HandlerFunc {
	return func(http.ResponseWriter, *http.Request) {
		if asked.Add(1) == 1 {
			return
		}
		(*l).mu.Lock()
		defer (*l).mu.Unlock()
		_ = (*l).open[len((*l).open)-1].Close()
	}
}

func TestARegistryThatHangsUpIsAskedOnceMore(t *testing.T) {
	certificate := certificateOf(t)
	for _, opts := range []Options{{HTTP1: true}, {}} {
		synctest.Test(t, func(t *testing.T) {
			var l *lines
			var asked atomic.Int32
			l, tr := wired(t, opts, certificate, dropping(&l, &asked))
			if _, err := send(t, tr, http.MethodGet, nil); err != nil {
				t.Fatal(err)
			}
			resp, err := send(t, tr, http.MethodGet, nil)
			if err == nil || asked.Load() != 3 || l.dialled() != 2 {
				t.Errorf("HTTP/1.1 %t: got %v after %d requests on %d connections, want the first, one on the old connection and one on a new one", opts.HTTP1, resp, asked.Load(), l.dialled())
			}
			if resp, err := send(t, tr, http.MethodGet, nil); err == nil || asked.Load() != 4 {
				t.Errorf("HTTP/1.1 %t: got %v after %d requests: a new connection that dies is no reason to go on", opts.HTTP1, resp, asked.Load())
			}
		})
	}
}

func TestWhatTakesTooLongIsNotTriedAgain(t *testing.T) {
	certificate := certificateOf(t)
	for _, opts := range []Options{{HTTP1: true}, {}} {
		synctest.Test(t, func(t *testing.T) {
			var asked atomic.Int32
			_, tr := wired(t, opts, certificate, func(_ http.ResponseWriter, r *http.Request) {
				if asked.Add(1) > 1 {
					<-r.Context().Done()
				}
			})
			if _, err := send(t, tr, http.MethodGet, nil); err != nil {
				t.Fatal(err)
			}
			start := time.Now()
			_, err := send(t, tr, http.MethodGet, nil)
			var timeout net.Error
			if took := time.Since(start); !errors.As(err, &timeout) || !timeout.Timeout() || asked.Load() != 2 || took != 15*time.Second {
				t.Errorf("got %v after %d requests and %s", err, asked.Load(), took)
			}
		})
	}
}

func TestConnectionsAreUsedAgain(t *testing.T) {
	certificate := certificateOf(t)
	for _, opts := range []Options{{HTTP1: true}, {}} {
		synctest.Test(t, func(t *testing.T) {
			l, tr := wired(t, opts, certificate, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "body") })
			for range 20 {
				if _, err := send(t, tr, http.MethodGet, nil); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Minute)
			}
			if l.dialled() != 1 {
				t.Errorf("%d connections", l.dialled())
			}
		})
	}
}
