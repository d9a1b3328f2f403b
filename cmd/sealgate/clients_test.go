package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"
	"github.com/sealgate/sealgate/config"
	"go.uber.org/goleak"
)

func networks(texts ...string) []netip.Prefix {
	var all []netip.Prefix
	for _, text := range texts {
		all = append(all, netip.MustParsePrefix(text))
	}
	return all
}

func TestWhoAClientIs(t *testing.T) {
	proxies, inside := networks("10.0.0.0/24", "fd00::/64"), networks("192.0.2.0/24", "2001:db8::/32")
	for _, test := range []struct {
		name      string
		clients   clients
		peer      string
		forwarded []string
		address   string
		refused   string // part of why; "" for not at all
	}{
		{"nobody is refused without rules", clients{}, "198.51.100.7:1", nil, "198.51.100.7", ""},
		{"X-Forwarded-For of a client counts for nothing", clients{allow: inside}, "198.51.100.7:1", []string{"192.0.2.1"}, "198.51.100.7", "no connection may come"},
		{"a client in an allowed network", clients{allow: inside}, "192.0.2.9:1", nil, "192.0.2.9", ""},
		{"IPv4 in the clothes of IPv6", clients{allow: inside}, "[::ffff:192.0.2.9]:1", nil, "192.0.2.9", ""},
		{"IPv6 with a zone", clients{allow: networks("fe80::/10")}, "[fe80::1%eth0]:1", nil, "fe80::1", ""},
		{"an address that cannot be read", clients{allow: inside}, "somewhere", nil, "somewhere", "no connection may come"},
		{"through the proxy", clients{proxies: proxies, allow: inside}, "10.0.0.1:1", []string{"192.0.2.9"}, "192.0.2.9", ""},
		{"through the proxy from elsewhere", clients{proxies: proxies, allow: inside}, "10.0.0.1:1", []string{"198.51.100.7"}, "198.51.100.7", "198.51.100.7 is in none"},
		{"what the client wrote before the proxy", clients{proxies: proxies, allow: inside}, "10.0.0.1:1", []string{"192.0.2.9, 198.51.100.7"}, "198.51.100.7", "198.51.100.7 is in none"},
		{"the same in two lines", clients{proxies: proxies, allow: inside}, "10.0.0.1:1", []string{"192.0.2.9", "198.51.100.7"}, "198.51.100.7", "198.51.100.7 is in none"},
		{"two proxies, one behind the other", clients{proxies: proxies, allow: inside}, "10.0.0.1:1", []string{"198.51.100.7, 192.0.2.9, 10.0.0.2"}, "192.0.2.9", ""},
		{"garbage left of the client", clients{proxies: proxies, allow: inside}, "10.0.0.1:1", []string{"<script>, 192.0.2.9"}, "192.0.2.9", ""},
		{"a client with its port", clients{proxies: proxies, allow: inside}, "10.0.0.1:1", []string{"[2001:db8::1]:55"}, "2001:db8::1", ""},
		{"a proxy itself, which may not", clients{proxies: proxies, allow: inside}, "10.0.0.1:1", []string{"10.0.0.2"}, "10.0.0.2", "10.0.0.2 is in none"},
		{"no X-Forwarded-For", clients{proxies: proxies, allow: inside}, "10.0.0.1:1", nil, "10.0.0.1", "did not say"},
		{"an empty one", clients{proxies: proxies, allow: inside}, "10.0.0.1:1", []string{""}, "10.0.0.1", "did not say"},
		{"a garbled one", clients{proxies: proxies, allow: inside}, "10.0.0.1:1", []string{"192.0.2.9, unknown"}, "10.0.0.1", "did not say"},
		{"garbage between proxies", clients{proxies: proxies, allow: inside}, "10.0.0.1:1", []string{"192.0.2.9, ?, 10.0.0.2"}, "10.0.0.1", "did not say"},
		{"a garbled one where anybody may", clients{proxies: proxies}, "10.0.0.1:1", []string{"unknown"}, "10.0.0.1", ""},
		{"a peer that is no proxy any more", clients{proxies: proxies}, "10.9.9.9:1", []string{"192.0.2.9"}, "10.9.9.9", "no connection may come"},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodGet, "/v2/", nil)
			r.RemoteAddr, r.Header["X-Forwarded-For"] = test.peer, test.forwarded
			got := test.clients.of(r)
			if got.Address != test.address {
				t.Errorf("the address is %q, want %q", got.Address, test.address)
			}
			if (got.Refused == nil) != (test.refused == "") || got.Refused != nil && !strings.Contains(got.Refused.Error(), test.refused) {
				t.Errorf("refused with %v, want %q", got.Refused, test.refused)
			}
		})
	}
}

func TestNamesOfCertificatesAreSafeToShow(t *testing.T) {
	for name, want := range map[string]string{
		"ci-runner 7":               "ci-runner 7",
		"a\nb\x1b[31m\u202egnp":     "a\ufffdb\ufffd[31m\ufffdgnp",
		strings.Repeat("ü", 500):    strings.Repeat("ü", 64),
		"broken \xff bytes":         "broken \ufffd bytes",
		strings.Repeat("x", 70_000): strings.Repeat("x", 64),
	} {
		if got := shownName(name); got != want {
			t.Errorf("%.20q is shown as %q, want %q", name, got, want)
		}
	}
}

// publicServer is an instance that serves on loopback, and its log.
type publicServer struct {
	*instance
	address string
	dir     string
	mu      sync.Mutex
	lines   bytes.Buffer
}

// Write takes lines of the log.
func (s *publicServer) Write(line []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lines.Write(line)
}

func (s *publicServer) log() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lines.String()
}

// config is one with these lines at its top; it answers GET /v2/ by itself.
func (s *publicServer) config(t *testing.T, lines string) *config.Config {
	t.Helper()
	cfg, err := config.Parse("proxy.yaml", []byte(lines+`
state-dir: .
registries:
  - {name: registry.example.com, hosts: ["*"], upstream: "http://127.0.0.1:1", credentials: anonymous}
content-trust: {mode: disabled}
`), s.dir)
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

func (s *publicServer) reload(t *testing.T, lines string) {
	t.Helper()
	if err := reload(s.instance, s.config(t, lines)); err != nil {
		t.Fatal(err)
	}
}

// serveLines serves with these lines of configuration until the test ends.
func serveLines(t *testing.T, dir, lines string) *publicServer {
	t.Helper()
	leaked := goleak.IgnoreCurrent()
	t.Cleanup(func() { goleak.VerifyNone(t, leaked) })
	s := &publicServer{dir: dir}
	inst, err := newInstance(s.config(t, lines), zerolog.New(s))
	if err != nil {
		t.Fatal(err)
	}
	s.instance = inst
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.address = listener.Addr().String()
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- runServer(ctx, inst.gated(listener), inst) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		inst.close()
	})
	return s
}

// client trusts the server's self-signed certificates.
func (s *publicServer) client(t *testing.T, http2 bool, tlsConfig *tls.Config) *http.Client {
	t.Helper()
	pem, err := os.ReadFile(filepath.Join(s.dir, caFile))
	if err != nil {
		t.Fatal(err)
	}
	tlsConfig.RootCAs = x509.NewCertPool()
	tlsConfig.RootCAs.AppendCertsFromPEM(pem)
	var protocols http.Protocols
	protocols.SetHTTP1(!http2)
	protocols.SetHTTP2(http2)
	transport := &http.Transport{TLSClientConfig: tlsConfig, Protocols: &protocols}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// ask returns the status of GET /v2/ and what the body says.
func (s *publicServer) ask(client *http.Client) (status int, body string, err error) {
	resp, err := client.Get("https://" + s.address + "/v2/")
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(text), err
}

func (s *publicServer) wantServed(t *testing.T, client *http.Client) {
	t.Helper()
	if status, body, err := s.ask(client); err != nil || status != http.StatusOK {
		t.Fatalf("got %d %s, %v", status, body, err)
	}
}

// wantDenied fails unless an open connection got 403, and was then closed.
func (s *publicServer) wantDenied(t *testing.T, client *http.Client, cause string) {
	t.Helper()
	status, body, err := s.ask(client)
	if err != nil || status != http.StatusForbidden || !strings.Contains(body, `"DENIED"`) {
		t.Fatalf("got %d %s, %v; want 403 DENIED", status, body, err)
	}
	if !strings.Contains(s.log(), `"reason":"client"`) || !strings.Contains(s.log(), cause) {
		t.Errorf("the log does not say %q: %s", cause, s.log())
	}
	if status, _, err := s.ask(client); err == nil {
		t.Errorf("the connection was not closed: the next request got %d", status)
	}
}

func TestConnectionsFromOtherNetworksAreClosedBeforeTLS(t *testing.T) {
	const outside = "tls: {self-signed: {}}\nclients: {allow: [192.0.2.0/24]}"
	s := serveLines(t, t.TempDir(), outside)
	conn, err := net.Dial("tcp", s.address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if n, err := conn.Read(make([]byte, 1)); n != 0 || err == nil {
		t.Errorf("read %d bytes, %v", n, err)
	}
	if got := counted(t, s.instance, "sealgate_connections_refused_total", "network"); got != 1 {
		t.Errorf("%v connections are counted as refused", got)
	}
	if !strings.Contains(s.log(), `"client":"127.0.0.1","reason":"network","message":"connection refused"`) {
		t.Error(s.log())
	}
	for _, http2 := range []bool{false, true} {
		s.reload(t, "tls: {self-signed: {}}\nclients: {allow: [127.0.0.0/8]}")
		client := s.client(t, http2, &tls.Config{})
		s.wantServed(t, client)
		s.reload(t, outside)
		s.wantDenied(t, client, "no connection may come from 127.0.0.1 any more")
	}
}

// counted is a counter's value, of the series with this label value, "" for one
// without labels.
func counted(t *testing.T, inst *instance, name, label string) float64 {
	t.Helper()
	families, err := inst.series.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			if l := m.GetLabel(); family.GetName() == name && (len(l) == 0 && label == "" || len(l) == 1 && l[0].GetValue() == label) {
				return m.GetCounter().GetValue()
			}
		}
	}
	t.Fatalf("there is no series of %s with %q", name, label)
	return 0
}

// A proxy that ends TLS is the only one that may connect.
func TestOnlyTrustedProxiesConnect(t *testing.T) {
	behind := func(rest string) string {
		return "tls: {plain-http: {behind-tls-proxy: true, trusted-proxies: [" + rest + "]}}\nclients: {allow: [192.0.2.0/24]}"
	}
	s := serveLines(t, t.TempDir(), behind("127.0.0.1/32"))
	send := func(conn net.Conn, forwarded string) int {
		t.Helper()
		fmt.Fprintf(conn, "GET /v2/ HTTP/1.1\r\nHost: a\r\nX-Real-Ip: 192.0.2.1\r\nForwarded: for=192.0.2.1\r\n%s\r\n", forwarded)
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		return resp.StatusCode
	}
	dial := func() net.Conn {
		t.Helper()
		conn, err := net.Dial("tcp", s.address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		return conn
	}
	inside := dial()
	for range 2 { // the line of the first is written when the second is answered
		if got := send(inside, "X-Forwarded-For: 192.0.2.1\r\n"); got != http.StatusOK {
			t.Errorf("a client in the network got %d", got)
		}
	}
	for _, forwarded := range []string{"", "X-Forwarded-For: 198.51.100.7\r\n", "X-Forwarded-For: 192.0.2.1, 198.51.100.7\r\n", "X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-For: 198.51.100.7\r\n"} {
		if got := send(dial(), forwarded); got != http.StatusForbidden {
			t.Errorf("with %q: got %d", forwarded, got)
		}
	}
	if !strings.Contains(s.log(), `"client":"192.0.2.1"`) {
		t.Errorf("the client's address is not in the log: %s", s.log())
	}
	open := dial()
	send(open, "X-Forwarded-For: 192.0.2.1\r\n")
	s.reload(t, behind("10.0.0.0/8"))
	if got := send(open, "X-Forwarded-For: 192.0.2.1\r\n"); got != http.StatusForbidden {
		t.Errorf("through what is no trusted proxy any more: got %d", got)
	}
	if n, err := dial().Read(make([]byte, 1)); n != 0 || err == nil {
		t.Errorf("a stranger read %d bytes, %v", n, err)
	}
	if got := counted(t, s.instance, "sealgate_connections_refused_total", "proxy"); got != 1 {
		t.Errorf("%v connections are counted as refused", got)
	}
}

// newClientCA makes a CA of client certificates, and writes it to a file.
func newClientCA(t *testing.T, file string) *tls.Certificate {
	t.Helper()
	ca, err := issue(nil, nil, time.Hour)
	if err == nil {
		err = writePEM(file, "CERTIFICATE", ca.Certificate[0], 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

// clientCertificate is one for a client, of this CA.
func clientCertificate(t *testing.T, ca *tls.Certificate, name string, usage x509.ExtKeyUsage, life time.Duration) tls.Certificate {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(7), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: time.Now().Add(life),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{usage},
	}
	made, err := issue(nil, nil, time.Hour) // for its key
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, ca.Leaf, made.Leaf.PublicKey, ca.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: made.PrivateKey}
}

// always shows a certificate, also to a server that did not name its CA.
func always(cert tls.Certificate) *tls.Config {
	return &tls.Config{GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &cert, nil }}
}

const demanding = "tls: {self-signed: {}}\nclients: {ca-file: clients.pem}"

func TestClientsNeedACertificateThatVerifies(t *testing.T) {
	dir := t.TempDir()
	ca := newClientCA(t, filepath.Join(dir, "clients.pem"))
	other := newClientCA(t, filepath.Join(dir, "other.pem"))
	s := serveLines(t, dir, demanding)
	for _, test := range []struct {
		name   string
		config *tls.Config
		served bool
	}{
		{"a certificate of the CA", always(clientCertificate(t, ca, "ci-runner", x509.ExtKeyUsageClientAuth, time.Hour)), true},
		{"none", &tls.Config{}, false},
		{"one of another CA", always(clientCertificate(t, other, "stranger", x509.ExtKeyUsageClientAuth, time.Hour)), false},
		{"an expired one", always(clientCertificate(t, ca, "late", x509.ExtKeyUsageClientAuth, -time.Minute)), false},
		{"a server's", always(clientCertificate(t, ca, "server", x509.ExtKeyUsageServerAuth, time.Hour)), false},
	} {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			t.Run(test.name+" over "+tls.VersionName(version), func(t *testing.T) {
				config := test.config.Clone()
				config.MaxVersion = version
				status, body, err := s.ask(s.client(t, false, config))
				if (err == nil) != test.served || test.served && status != http.StatusOK {
					t.Errorf("got %d %s, %v", status, body, err)
				}
			})
		}
	}
	if log := s.log(); !strings.Contains(log, `"client_certificate":"ci-runner"`) || strings.Contains(log, "stranger") {
		t.Error(log)
	}
}

// resuming is a client that has a session from a connection before.
func (s *publicServer) resuming(t *testing.T, cert tls.Certificate, version uint16) func() (resumed bool, err error) {
	t.Helper()
	config := always(cert)
	config.MaxVersion, config.ClientSessionCache = version, tls.NewLRUClientSessionCache(1)
	return func() (bool, error) {
		client := s.client(t, false, config)
		defer client.CloseIdleConnections()
		resp, err := client.Get("https://" + s.address + "/v2/")
		if err != nil {
			return false, err
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			err = errors.New(resp.Status)
		}
		return resp.TLS.DidResume, err
	}
}

func TestAClientsCAThatWasTakenAway(t *testing.T) {
	dir := t.TempDir()
	ca := newClientCA(t, filepath.Join(dir, "clients.pem"))
	newClientCA(t, filepath.Join(dir, "other.pem"))
	cert := clientCertificate(t, ca, "ci-runner", x509.ExtKeyUsageClientAuth, time.Hour)
	const taken = "tls: {self-signed: {}}\nclients: {ca-file: other.pem}"
	s := serveLines(t, dir, demanding)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		t.Run("resumed sessions over "+tls.VersionName(version), func(t *testing.T) {
			s.reload(t, demanding)
			again := s.resuming(t, cert, version)
			if _, err := again(); err != nil {
				t.Fatal(err)
			}
			if resumed, err := again(); err != nil || !resumed {
				t.Fatalf("resumed %v, %v: the test has no session to resume", resumed, err)
			}
			s.reload(t, taken)
			if resumed, err := again(); err == nil {
				t.Errorf("served, resumed %v", resumed)
			}
		})
	}
	for _, http2 := range []bool{false, true} {
		t.Run(fmt.Sprint("open connections, HTTP/2 ", http2), func(t *testing.T) {
			s.reload(t, demanding)
			client := s.client(t, http2, always(cert))
			s.wantServed(t, client)
			s.reload(t, taken)
			s.wantDenied(t, client, "the client's certificate")
		})
	}
	t.Run("connections from before certificates were asked for", func(t *testing.T) {
		s.reload(t, "tls: {self-signed: {}}")
		client := s.client(t, false, &tls.Config{})
		s.wantServed(t, client)
		s.reload(t, demanding)
		s.wantDenied(t, client, "the client has no certificate")
	})
}

func TestCAsOfClientsAreReadAgainWhenTheyChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "clients.pem")
		one := newClientCA(t, file)
		cas, err := loadClientCAs(file, zerolog.Nop())
		if err != nil {
			t.Fatal(err)
		}
		accepts := func(ca *tls.Certificate) bool {
			cert, err := x509.ParseCertificate(clientCertificate(t, ca, "a", x509.ExtKeyUsageClientAuth, time.Hour).Certificate[0])
			if err != nil {
				t.Fatal(err)
			}
			_, err = verifyClient([]*x509.Certificate{cert}, cas.current(), time.Now())
			return err == nil
		}
		if err := os.WriteFile(file, []byte("nothing"), 0o600); err != nil {
			t.Fatal(err)
		}
		time.Sleep(checkFiles)
		if !accepts(one) {
			t.Error("a broken file took away the CA")
		}
		two := newClientCA(t, file)
		time.Sleep(checkFiles)
		if accepts(one) || !accepts(two) {
			t.Error("the new file does not count")
		}
	})
}

// A certificate that expires on an open connection is of no use any more.
func TestACertificateThatExpiresOnAnOpenConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "clients.pem")
		ca := newClientCA(t, file)
		cas, err := loadClientCAs(file, zerolog.Nop())
		if err != nil {
			t.Fatal(err)
		}
		leaf, err := x509.ParseCertificate(clientCertificate(t, ca, "a", x509.ExtKeyUsageClientAuth, time.Minute).Certificate[0])
		if err != nil {
			t.Fatal(err)
		}
		r := httptest.NewRequest(http.MethodGet, "/v2/", nil)
		r = r.WithContext(withConnection(r.Context(), nil))
		r.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{leaf}}
		for range 2 {
			if err := cas.check(r); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(2 * time.Minute)
		if cas.check(r) == nil {
			t.Error("it still stands for the client")
		}
	})
}

// What a client writes into X-Forwarded-For stands to the left of what the proxy
// adds, and changes nothing.
func FuzzWhatAClientForwardsCountsForNothing(f *testing.F) {
	for _, seed := range []string{"", "192.0.2.1", "10.0.0.1, 10.0.0.2", ",,,", "[::1]:1", "\"a, b\"", "192.0.2.1\t"} {
		f.Add(seed)
	}
	c := clients{proxies: networks("10.0.0.0/24")}
	f.Fuzz(func(t *testing.T, written string) {
		for _, lines := range [][]string{{written, "198.51.100.7, 10.0.0.2"}, {written + ", 198.51.100.7"}, {written + ",198.51.100.7", "10.0.0.1"}} {
			if got, err := c.forwardedFor(lines); err != nil || got.String() != "198.51.100.7" {
				t.Errorf("%q: got %v, %v", lines, got, err)
			}
		}
	})
}

func TestTheLogSaysHowToTrustTheCA(t *testing.T) {
	s := serveLines(t, t.TempDir(), "tls: {self-signed: {}}")
	s.announce()
	ca := filepath.Join(s.dir, caFile)
	for _, want := range []string{
		`"ca":"` + ca + `"`,
		"install -D -m 0644 " + ca + " /etc/docker/certs.d/registry.example.com/ca.crt",
		"install -D -m 0644 " + ca + " ~/.docker/tls/registry.example.com/ca.crt",
		"sealgate doctor --emit containerd", "update-ca-certificates",
	} {
		if !strings.Contains(s.log(), strings.NewReplacer("&", `\u0026`).Replace(want)) {
			t.Errorf("%q is not in the log: %s", want, s.log())
		}
	}
}

func TestHowToTrustTheCASpeaksOfAPortThatClientsType(t *testing.T) {
	for _, tt := range []struct {
		host, listen string
		says         bool
	}{
		{"registry.example.com", "127.0.0.1:8443", true},
		{"registry.example.com", ":443", false},
		{"registry.example.com", "127.0.0.1:0", false},
		{"registry.example.com:8443", ":8443", false},
	} {
		how := strings.Join(howToTrust("ca.pem", config.Registry{Hosts: []string{tt.host}}, tt.listen), "\n")
		if got := strings.Contains(how, "the name of the directory: registry.example.com:8443"); got != tt.says {
			t.Errorf("%s, listening on %s: got\n%s", tt.host, tt.listen, how)
		}
	}
}
