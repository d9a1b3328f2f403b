package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"
	"github.com/sealgate/sealgate/config"
)

func TestSelfSignedCAIsKept(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	first, path, err := loadCA(dir)
	if err != nil {
		t.Fatal(err)
	}
	second, _, err := loadCA(dir)
	if err != nil || !bytes.Equal(first.Certificate[0], second.Certificate[0]) {
		t.Fatalf("the second start made another CA: %v", err)
	}
	leaf, err := (&selfSigned{ca: second, hosts: []string{"127.0.0.1", "registry.example.com"}}).get(nil)
	if err != nil {
		t.Fatal(err)
	}
	pem, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	cert, err := x509.ParseCertificate(leaf.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, host := range []string{"127.0.0.1", "registry.example.com"} {
		if _, err := cert.Verify(x509.VerifyOptions{DNSName: host, Roots: pool}); err != nil {
			t.Errorf("%s: %v", host, err)
		}
	}
	if info, err := os.Stat(filepath.Join(dir, caKeyFile)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the CA's key has mode %v (%v), want 0600", info.Mode(), err)
	}
}

func TestHalfACAIsNotReplaced(t *testing.T) {
	dir := t.TempDir()
	if _, _, err := loadCA(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, caKeyFile)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := loadCA(dir); err == nil || !strings.Contains(err.Error(), "other half") {
		t.Errorf("got %v", err)
	}
}

// writePair writes a certificate for host and its key.
func writePair(t *testing.T, pair config.KeyPair, host string, life time.Duration) {
	t.Helper()
	cert, err := issue(nil, nil, 24*time.Hour)
	if err == nil {
		cert, err = issue(cert, []string{host}, life)
	}
	if err != nil {
		t.Fatal(err)
	}
	key, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	if err := writePEM(pair.Cert, "CERTIFICATE", cert.Certificate[0], 0o600); err != nil {
		t.Fatal(err)
	}
	if err := writePEM(pair.Key, "PRIVATE KEY", key, 0o600); err != nil {
		t.Fatal(err)
	}
}

// newPair writes a pair of its own.
func newPair(t *testing.T, host string, life time.Duration) config.KeyPair {
	t.Helper()
	dir := t.TempDir()
	pair := config.KeyPair{Cert: filepath.Join(dir, "tls.crt"), Key: filepath.Join(dir, "tls.key")}
	writePair(t, pair, host, life)
	return pair
}

func withFiles(pairs ...config.KeyPair) *config.Config {
	return &config.Config{TLS: config.TLS{Files: pairs}}
}

func mustCertificates(t *testing.T, cfg *config.Config, running *certificates) *certificates {
	t.Helper()
	c, err := newCertificates(cfg, running, zerolog.Nop(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// shown is the certificate that a client of host gets.
func shown(t *testing.T, c *certificates, host string) *x509.Certificate {
	t.Helper()
	cert, err := c.get(&tls.ClientHelloInfo{ServerName: host, SupportedVersions: []uint16{tls.VersionTLS13}, SignatureSchemes: []tls.SignatureScheme{tls.ECDSAWithP256AndSHA256}})
	if err != nil {
		t.Fatal(err)
	}
	return cert.Leaf
}

// inFile is the certificate that a pair's file holds.
func inFile(t *testing.T, pair config.KeyPair) *x509.Certificate {
	t.Helper()
	cert, err := tls.LoadX509KeyPair(pair.Cert, pair.Key)
	if err != nil {
		t.Fatal(err)
	}
	return cert.Leaf
}

func TestChangedCertificateFilesAreTakenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pair := newPair(t, "one.example", time.Hour)
		one := inFile(t, pair)
		c := mustCertificates(t, withFiles(pair), nil)
		if !shown(t, c, "one.example").Equal(one) {
			t.Fatal("the first certificate is not shown")
		}

		time.Sleep(checkFiles)
		if err := os.WriteFile(pair.Cert, []byte("not a certificate"), 0o600); err != nil {
			t.Fatal(err)
		}
		if !shown(t, c, "one.example").Equal(one) {
			t.Error("a broken pair displaced the good one")
		}

		time.Sleep(checkFiles)
		if err := os.Remove(pair.Key); err != nil {
			t.Fatal(err)
		}
		if !shown(t, c, "one.example").Equal(one) {
			t.Error("half a pair displaced the good one")
		}

		time.Sleep(checkFiles)
		writePair(t, pair, "two.example", -time.Minute)
		if !shown(t, c, "one.example").Equal(one) {
			t.Error("an expired certificate displaced a good one")
		}

		time.Sleep(checkFiles)
		writePair(t, pair, "two.example", time.Hour)
		if !shown(t, c, "two.example").Equal(inFile(t, pair)) {
			t.Error("the new certificate is not shown")
		}

		two := inFile(t, pair)
		writePair(t, pair, "three.example", time.Hour)
		time.Sleep(checkFiles - time.Nanosecond)
		if !shown(t, c, "two.example").Equal(two) {
			t.Error("the files are looked at before it is time")
		}
		time.Sleep(time.Nanosecond)
		if !shown(t, c, "three.example").Equal(inFile(t, pair)) {
			t.Error("the new certificate is not shown once it is time")
		}
	})
}

// A pair that expired while it was shown must not hold back the renewal of the
// others.
func TestRenewalBesideAnExpiredPair(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one, two := newPair(t, "one.example", time.Hour), newPair(t, "two.example", 3*time.Hour)
		c := mustCertificates(t, withFiles(one, two), nil)
		time.Sleep(2 * time.Hour)
		writePair(t, two, "two.example", 24*time.Hour)
		if !shown(t, c, "two.example").Equal(inFile(t, two)) {
			t.Error("the renewed certificate is not shown")
		}
		if !shown(t, c, "one.example").Equal(inFile(t, one)) {
			t.Error("the expired certificate is not shown any more")
		}
		if next := mustCertificates(t, withFiles(two, one), c); next.usable(time.Now()) != nil {
			t.Error("a reload that keeps the expired pair cannot be used")
		}
	})
}

func TestAValidCertificateIsShownBeforeAnExpiredOne(t *testing.T) {
	expired, other, good := newPair(t, "one.example", -time.Minute), newPair(t, "two.example", time.Hour), newPair(t, "one.example", time.Hour)
	c := mustCertificates(t, withFiles(expired, other, good), nil)
	for host, want := range map[string]config.KeyPair{"one.example": good, "two.example": other, "unknown.example": other} {
		if !shown(t, c, host).Equal(inFile(t, want)) {
			t.Errorf("%s: not %s", host, want.Cert)
		}
	}
	only := mustCertificates(t, withFiles(other, expired), nil)
	if !shown(t, only, "one.example").Equal(inFile(t, expired)) {
		t.Error("where the host has an expired certificate only, the client cannot see that it is expired")
	}
}

func TestABadPairIsRefusedAndChangesNothing(t *testing.T) {
	good, other := newPair(t, "good.example", time.Hour), newPair(t, "other.example", time.Hour)
	expired := newPair(t, "good.example", -time.Minute)
	broken := newPair(t, "good.example", time.Hour)
	if err := os.WriteFile(broken.Cert, []byte("not a certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	running := mustCertificates(t, withFiles(good), nil)
	for _, test := range []struct {
		name string
		cfg  *config.Config
		says string
	}{
		{"another certificate's key", withFiles(config.KeyPair{Cert: good.Cert, Key: other.Key}), good.Cert},
		{"no such file", withFiles(good, config.KeyPair{Cert: good.Cert, Key: "/nonexistent/tls.key"}), "/nonexistent/tls.key"},
		{"no certificate", withFiles(good, broken), broken.Cert},
		{"an expired certificate beside the good one", withFiles(good, expired), "only"},
		{"an expired certificate instead of the good one", withFiles(expired), "only"},
		{"a state-dir that cannot be", &config.Config{TLS: config.TLS{SelfSigned: &config.SelfSigned{}}, StateDir: filepath.Join(file, "state")}, file},
	} {
		t.Run(test.name, func(t *testing.T) {
			c, err := newCertificates(test.cfg, running, zerolog.Nop(), nil)
			if err == nil || c != nil || !strings.Contains(err.Error(), test.says) {
				t.Errorf("got %v, %v", c, err)
			}
			if !shown(t, running, "good.example").Equal(inFile(t, good)) {
				t.Error("what runs shows another certificate")
			}
			if err := running.usable(time.Now()); err != nil {
				t.Errorf("what runs: %v", err)
			}
		})
	}
}

func TestUsable(t *testing.T) {
	var plain *certificates
	if err := plain.usable(time.Now()); err != nil {
		t.Errorf("plain HTTP: %v", err)
	}
	synctest.Test(t, func(t *testing.T) {
		one, two := newPair(t, "one.example", time.Hour), newPair(t, "two.example", 2*time.Hour)
		first, now := mustCertificates(t, withFiles(one), nil), time.Now()
		both := mustCertificates(t, withFiles(one, two), first)
		self := mustCertificates(t, &config.Config{TLS: config.TLS{SelfSigned: &config.SelfSigned{Hosts: []string{"localhost"}}}, StateDir: t.TempDir()}, first)
		for _, test := range []struct {
			name string
			c    *certificates
			at   time.Duration
			says string // "": usable
		}{
			{"one pair", first, 0, ""},
			{"one pair at its end", first, time.Hour, ""},
			{"one pair past its end", first, time.Hour + time.Second, one.Cert},
			{"one pair before its beginning", first, -2 * time.Hour, one.Cert},
			{"one of two pairs past its end", both, time.Hour + time.Second, ""},
			{"both pairs past their end", both, 3 * time.Hour, one.Cert},
			{"a CA whose certificate was never renewed", self, leafLife + time.Hour, ""},
			{"a CA past its end", self, caLife + time.Hour, caFile},
		} {
			err := test.c.usable(now.Add(test.at))
			if (err == nil) != (test.says == "") || err != nil && !strings.Contains(err.Error(), test.says) {
				t.Errorf("%s: %v", test.name, err)
			}
		}

		// Expired at the start: not ready until the files are renewed, which
		// nobody's handshake has to find out.
		writePair(t, one, "one.example", -time.Minute)
		expired := mustCertificates(t, withFiles(one), nil)
		if expired.usable(time.Now()) == nil {
			t.Error("an expired certificate is usable")
		}
		writePair(t, one, "one.example", time.Hour)
		time.Sleep(checkFiles)
		if err := expired.usable(time.Now()); err != nil {
			t.Errorf("after the renewal: %v", err)
		}
	})
}

func TestPlainHTTPHasNoCertificates(t *testing.T) {
	c := mustCertificates(t, &config.Config{TLS: config.TLS{PlainHTTP: &config.PlainHTTP{}}}, nil)
	if c != nil {
		t.Errorf("got %+v", c)
	}
}

// tlsServer greets whoever finishes a handshake, and returns its address.
func tlsServer(t *testing.T, cfg *tls.Config) string {
	t.Helper()
	listener, err := tls.Listen("tcp", "127.0.0.1:0", cfg)
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer conn.Close()
				_, _ = conn.Write([]byte("hello")) // the client says what it got
			})
		}
	})
	t.Cleanup(func() {
		listener.Close()
		serving.Wait()
	})
	return listener.Addr().String()
}

// handshake is the state of a connection over which the server's greeting came.
func handshake(address string, cache tls.ClientSessionCache) (tls.ConnectionState, error) {
	// Which certificate it is, the tests compare themselves.
	conn, err := tls.Dial("tcp", address, &tls.Config{ServerName: "gate.example", InsecureSkipVerify: true, ClientSessionCache: cache})
	if err != nil {
		return tls.ConnectionState{}, err
	}
	defer conn.Close()
	greeting, err := io.ReadAll(conn)
	if err == nil && string(greeting) != "hello" {
		err = fmt.Errorf("greeted with %q", greeting)
	}
	return conn.ConnectionState(), err
}

// forEverybody is what tlsConfig asks for where no client is refused.
func forEverybody(current *atomic.Pointer[certificates]) func() (*certificates, *clients) {
	return func() (*certificates, *clients) { return current.Load(), &clients{} }
}

func TestCertificatesAreSwappedUnderHandshakes(t *testing.T) {
	pairs := []config.KeyPair{newPair(t, "gate.example", time.Hour), newPair(t, "gate.example", time.Hour)}
	expired := newPair(t, "gate.example", -time.Minute)
	leaves := []*x509.Certificate{inFile(t, pairs[0]), inFile(t, pairs[1])}
	var current atomic.Pointer[certificates]
	current.Store(mustCertificates(t, withFiles(pairs[0]), nil))
	address := tlsServer(t, tlsConfig(forEverybody(&current)))

	var clients sync.WaitGroup
	done := make(chan struct{})
	for range 4 {
		clients.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				state, err := handshake(address, nil)
				if err != nil {
					t.Errorf("a handshake during the swaps: %v", err)
					return
				}
				if leaf := state.PeerCertificates[0]; !leaf.Equal(leaves[0]) && !leaf.Equal(leaves[1]) {
					t.Errorf("a certificate of %s", leaf.Subject)
				}
			}
		})
	}
	for i := range 50 {
		which := i % 2
		next, err := newCertificates(withFiles(pairs[which]), current.Load(), zerolog.Nop(), nil)
		if err != nil {
			t.Error(err)
			break
		}
		current.Store(next)
		if _, err := newCertificates(withFiles(pairs[which], expired), current.Load(), zerolog.Nop(), nil); err == nil {
			t.Error("an expired pair is accepted")
		}
		state, err := handshake(address, nil)
		if err != nil || !state.PeerCertificates[0].Equal(leaves[which]) {
			t.Errorf("swap %d: another certificate than the current one, or none: %v", i, err)
		}
	}
	close(done)
	clients.Wait()
}

func TestFilesChangeUnderHandshakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pair := newPair(t, "gate.example", time.Hour)
		c := mustCertificates(t, withFiles(pair), nil)
		var clients sync.WaitGroup
		for range 4 {
			clients.Go(func() {
				for range 20 {
					time.Sleep(checkFiles / 2)
					if err := shown(t, c, "gate.example").VerifyHostname("gate.example"); err != nil {
						t.Error(err)
					}
				}
			})
		}
		for range 9 {
			time.Sleep(checkFiles)
			writePair(t, pair, "gate.example", time.Hour)
		}
		clients.Wait()
		if !shown(t, c, "gate.example").Equal(inFile(t, pair)) {
			t.Error("the last certificate is not shown")
		}
	})
}

func TestSessionsResumeAcrossASwap(t *testing.T) {
	var current atomic.Pointer[certificates]
	current.Store(mustCertificates(t, withFiles(newPair(t, "gate.example", time.Hour)), nil))
	address := tlsServer(t, tlsConfig(forEverybody(&current)))
	cache := tls.NewLRUClientSessionCache(1)
	if state, err := handshake(address, cache); err != nil || state.DidResume {
		t.Fatalf("the first handshake: resumed %v, %v", state.DidResume, err)
	}
	current.Store(mustCertificates(t, withFiles(newPair(t, "gate.example", time.Hour)), current.Load()))
	if state, err := handshake(address, cache); err != nil || !state.DidResume {
		t.Errorf("after the swap: resumed %v, %v", state.DidResume, err)
	}
}
