package main

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/sealgate/sealgate/config"
)

func TestDefaultsOfConnections(t *testing.T) {
	for _, test := range []struct {
		name        string
		limits      config.ClientLimits
		descriptors int
		want        connectionLimits
	}{
		{"half of few", config.ClientLimits{}, 1024, connectionLimits{512, 384}},
		{"all but 4,096 of many", config.ClientLimits{}, 20_000, connectionLimits{15_904, 11_928}},
		{"no more than memory bears", config.ClientLimits{}, math.MaxInt32, connectionLimits{32_768, 24_576}},
		{"next to none", config.ClientLimits{}, 0, connectionLimits{1, 1}},
		{"what is configured, whatever there is", config.ClientLimits{Connections: 100, ConnectionsPerClient: 7}, 50, connectionLimits{100, 7}},
		{"a share of what is configured", config.ClientLimits{Connections: 100}, 20_000, connectionLimits{100, 75}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := newConnectionLimits(test.limits, test.descriptors); got != test.want {
				t.Errorf("got %+v, want %+v", got, test.want)
			}
		})
	}
}

func TestWhoCountsAsOneClient(t *testing.T) {
	exempt := networks("10.0.0.0/8", "2001:db8:1::/48")
	for address, want := range map[string]string{
		"192.0.2.7":       "192.0.2.7/32",
		"2001:db8:2:3::4": "2001:db8:2:3::/64",
		"2001:db8:2:3::5": "2001:db8:2:3::/64",
		"10.1.2.3":        "",
		"2001:db8:1::9":   "",
	} {
		got := countedClient(netip.MustParseAddr(address), exempt)
		if got.IsValid() != (want != "") || got.IsValid() && got.String() != want {
			t.Errorf("%s counts as %s, want %q", address, got, want)
		}
	}
	if got := countedClient(netip.Addr{}, nil); got.IsValid() {
		t.Errorf("an address that is not known counts as %s", got)
	}
}

// Behind a proxy it is the client that counts; nobody can be made to pay for
// another by a header.
func TestRequestsCountForTheirClient(t *testing.T) {
	c := clients{proxies: networks("10.0.0.0/24"), exempt: networks("192.0.2.128/25")}
	for _, test := range []struct{ peer, forwarded, want string }{
		{"10.0.0.1:1", "192.0.2.9", "192.0.2.9/32"},
		{"10.0.0.1:1", "192.0.2.7, 192.0.2.9", "192.0.2.9/32"},
		{"10.0.0.1:1", "2001:db8::7", "2001:db8::/64"},
		{"10.0.0.1:1", "192.0.2.200", "invalid Prefix"},
		{"10.0.0.1:1", "unknown", "10.0.0.1/32"}, // the proxy's own fault
	} {
		r := httptest.NewRequest(http.MethodGet, "/v2/", nil)
		r.RemoteAddr, r.Header["X-Forwarded-For"] = test.peer, []string{test.forwarded}
		if got := c.of(r).Counted.String(); got != test.want {
			t.Errorf("%s through %s counts as %s, want %s", test.forwarded, test.peer, got, test.want)
		}
	}
	direct := httptest.NewRequest(http.MethodGet, "/v2/", nil)
	direct.RemoteAddr, direct.Header["X-Forwarded-For"] = "198.51.100.7:1", []string{"192.0.2.9"}
	if got := (&clients{}).of(direct).Counted.String(); got != "198.51.100.7/32" {
		t.Errorf("without a proxy it counts as %s", got)
	}
}

// A configuration's limits hold at the front door.
func TestRequestsAreLimitedAsConfigured(t *testing.T) {
	s := serveLines(t, t.TempDir(), "tls: {self-signed: {}}\nlimits: {requests-per-second: 1, burst: 2}")
	client := s.client(t, true, &tls.Config{})
	s.wantServed(t, client)
	s.wantServed(t, client)
	if status, body, err := s.ask(client); err != nil || status != http.StatusTooManyRequests {
		t.Errorf("got %d %s, %v", status, body, err)
	}
	s.reload(t, "tls: {self-signed: {}}\nlimits: {requests-per-second: 1, burst: 2, exempt: [127.0.0.1/32]}")
	s.wantServed(t, client)
}

// dialFrom connects from an address of this machine.
func (s *publicServer) dialFrom(t *testing.T, from string) net.Conn {
	t.Helper()
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	conn, err := dialer.Dial("tcp", s.address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// wantClosed fails unless the server closes conn.
func wantClosed(t *testing.T, conn net.Conn) {
	t.Helper()
	conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	if n, err := conn.Read(make([]byte, 1)); n != 0 || err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the connection was not closed: read %d bytes, %v", n, err)
	}
}

// wantAnswer fails unless a request on conn is answered.
func wantAnswer(t *testing.T, conn net.Conn) {
	t.Helper()
	fmt.Fprint(conn, "GET /v2/ HTTP/1.1\r\nHost: a\r\n\r\n")
	finishAnswer(t, conn)
}

func finishAnswer(t *testing.T, conn net.Conn) {
	t.Helper()
	conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("got %d", resp.StatusCode)
	}
}

// waitUntil waits for what another goroutine is about to do.
func waitUntil(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("not within ten seconds: " + what)
		}
	}
}

// silent is how many connections have no request under way.
func (s *publicServer) silent() int {
	s.open.mu.Lock()
	defer s.open.mu.Unlock()
	return s.open.silent.Len()
}

const withoutTLS = "tls: {plain-http: {}}\n"

func TestOneClientDoesNotTakeAllConnections(t *testing.T) {
	s := serveLines(t, t.TempDir(), withoutTLS+"limits: {connections-per-client: 2}")
	first, second := s.dialFrom(t, "127.0.0.1"), s.dialFrom(t, "127.0.0.1")
	wantAnswer(t, first)
	wantAnswer(t, second)
	wantClosed(t, s.dialFrom(t, "127.0.0.1"))
	wantAnswer(t, s.dialFrom(t, "127.0.0.2"))
	if got := counted(t, s.instance, "sealgate_connections_refused_total", "client"); got != 1 {
		t.Errorf("%v connections are counted as refused", got)
	}
	wantAnswer(t, first)

	first.Close()
	waitUntil(t, "the connection is gone", func() bool { return s.open.count() == 2 })
	wantAnswer(t, s.dialFrom(t, "127.0.0.1"))

	s.reload(t, withoutTLS+"limits: {connections-per-client: 2, exempt: [127.0.0.1/32]}")
	wantAnswer(t, s.dialFrom(t, "127.0.0.1"))
}

// What is refused costs no handshake, and says nothing of who else is there.
func TestConnectionsTooManyAreClosedBeforeTLS(t *testing.T) {
	s := serveLines(t, t.TempDir(), "tls: {self-signed: {}}\nlimits: {connections-per-client: 1}")
	for _, http2 := range []bool{false, true} {
		client := s.client(t, http2, &tls.Config{})
		s.wantServed(t, client)
		wantClosed(t, s.dialFrom(t, "127.0.0.1"))
		client.CloseIdleConnections()
		waitUntil(t, "the connection is gone", func() bool { return s.open.count() == 0 })
	}
}

func TestTheConnectionSilentForLongestMakesRoom(t *testing.T) {
	s := serveLines(t, t.TempDir(), withoutTLS+"limits: {connections: 3, exempt: [127.0.0.0/8]}")
	used, silent := s.dialFrom(t, "127.0.0.1"), s.dialFrom(t, "127.0.0.1")
	header := s.dialFrom(t, "127.0.0.1")
	fmt.Fprint(header, "GET /v2/ HTTP/1.1\r\nX-Slow: ") // is no request yet
	waitUntil(t, "three are open", func() bool { return s.open.count() == 3 })
	wantAnswer(t, used) // and so not silent for longest any more
	waitUntil(t, "it is silent", func() bool { return s.silent() == 3 })

	for _, first := range []net.Conn{silent, header, used} {
		wantAnswer(t, s.dialFrom(t, "127.0.0.1"))
		wantClosed(t, first)
		waitUntil(t, "it is silent", func() bool { return s.silent() == 3 })
	}
	if got := counted(t, s.instance, "sealgate_connections_evicted_total", ""); got != 3 {
		t.Errorf("%v connections are counted as evicted", got)
	}
}

// A pull under way is never cut for somebody new.
func TestAConnectionWithARequestUnderWayMakesNoRoom(t *testing.T) {
	begun, finish := make(chan struct{}), make(chan struct{})
	s := &publicServer{instance: &instance{open: newConnections(func() { t.Error("a connection was closed") })}}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { begun <- struct{}{}; <-finish }))
	server.Config.ConnState = s.open.changed
	refused := make(chan string, 1)
	server.Listener = &gatedListener{
		Listener: server.Listener, clients: func() *clients { return &clients{} }, open: s.open,
		limits:  func() config.ClientLimits { return config.ClientLimits{Connections: 2, ConnectionsPerClient: 2} },
		refused: func(_ netip.Addr, reason string) { refused <- reason },
	}
	server.Start()
	defer server.Close()
	s.address = server.Listener.Addr().String()
	busy := []net.Conn{s.dialFrom(t, "127.0.0.1"), s.dialFrom(t, "127.0.0.1")}
	for _, conn := range busy {
		fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		<-begun
	}
	wantClosed(t, s.dialFrom(t, "127.0.0.2"))
	if reason := <-refused; reason != refusedFull {
		t.Errorf("refused as %q", reason)
	}
	close(finish)
	for _, conn := range busy {
		finishAnswer(t, conn)
	}
}

// HTTP/2 has requests of its own in one connection: it is silent between them.
func TestASilentHTTP2ConnectionMakesRoom(t *testing.T) {
	const lines = "tls: {self-signed: {}}\nlimits: {connections: 1, exempt: [127.0.0.0/8]}"
	s := serveLines(t, t.TempDir(), lines)
	for range 3 {
		s.wantServed(t, s.client(t, true, &tls.Config{}))
		waitUntil(t, "it is silent", func() bool { return s.silent() == 1 })
	}
	if got := s.open.count(); got != 1 {
		t.Errorf("%d connections are open", got)
	}
}
