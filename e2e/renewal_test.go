package e2e

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/sealgate/sealgate/e2e/acme"
)

// fleet is a number of clients that pull one image over and over: the manifest
// by its tag, and every blob of it. Every other client keeps its connections,
// and every other speaks HTTP/2; the others make a connection for each request.
type fleet struct {
	stop    chan struct{}
	clients sync.WaitGroup
	pulls   atomic.Int64
	failed  atomic.Int64
}

// startFleet begins to pull; transport trusts whatever certificates there will
// be.
func startFleet(t *testing.T, clients int, url string, image pushed, transport func(http2 bool) *http.Transport) *fleet {
	f := &fleet{stop: make(chan struct{})}
	for i := range clients {
		f.clients.Go(func() {
			carrier := transport(i%4 < 2)
			carrier.DisableKeepAlives = i%2 == 0
			defer carrier.CloseIdleConnections()
			client := &http.Client{Transport: carrier, Timeout: 60 * time.Second}
			for {
				select {
				case <-f.stop:
					return
				default:
				}
				if err := pullImage(client, url, image); err != nil {
					if f.failed.Add(1) <= 5 {
						t.Errorf("client %d: %v", i, err)
					}
					continue
				}
				f.pulls.Add(1)
			}
		})
	}
	return f
}

// wantNoFailure ends the pulling.
func (f *fleet) wantNoFailure(t *testing.T, least int64) {
	t.Helper()
	close(f.stop)
	f.clients.Wait()
	if f.failed.Load() != 0 || f.pulls.Load() < least {
		t.Errorf("%d pulls were right and %d failed", f.pulls.Load(), f.failed.Load())
	}
}

// pullImage pulls signed of team/app, and compares every byte.
func pullImage(client *http.Client, url string, image pushed) error {
	fetch := func(path, digest string) (string, error) {
		resp, err := client.Get(url + "/v2/team/app/" + path)
		if err != nil {
			return "", err
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err == nil && (resp.StatusCode != http.StatusOK || sha256Of(string(body)) != digest) {
			err = fmt.Errorf("%s: %s, %d bytes that are not %s", path, resp.Status, len(body), digest)
		}
		return string(body), err
	}
	text, err := fetch("manifests/signed", image.digest)
	if err != nil {
		return err
	}
	type descriptor struct{ Digest string }
	var manifest struct {
		Config descriptor
		Layers []descriptor
	}
	if err := json.Unmarshal([]byte(text), &manifest); err != nil || len(manifest.Layers) == 0 {
		return fmt.Errorf("a manifest without layers: %w", err)
	}
	for _, blob := range append(manifest.Layers, manifest.Config) {
		if _, err := fetch("blobs/"+blob.Digest, blob.Digest); err != nil {
			return err
		}
	}
	return nil
}

// reloadNow sends SIGHUP and waits until it is counted as this result.
func (g *gate) reloadNow(t *testing.T, result string) {
	t.Helper()
	series := `sealgate_config_reloads_total{result="` + result + `"}`
	before := g.metric(t, series)
	if err := g.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	eventually(t, 20*time.Second, func() error {
		if g.metric(t, series) == before {
			return fmt.Errorf("no reload that is %s", result)
		}
		return nil
	})
}

// shows is the certificate that a new connection is shown.
func shows(t *testing.T, address string, config *tls.Config) *x509.Certificate {
	t.Helper()
	conn := must(tls.Dial("tcp", address, config))(t)
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0]
}

// TestPullsWhileCertificateFilesAreReplaced: half pairs and bad files between
// good ones, with a reload after each, and no pull fails.
func TestPullsWhileCertificateFilesAreReplaced(t *testing.T) {
	const clients, rounds = 64, 20
	w, image := oneSignedTag(t, registryOptions{})
	dir := t.TempDir()
	shown, key := filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	move := func(from, to string) {
		t.Helper()
		next := to + ".next"
		if err := errors.Join(os.WriteFile(next, must(os.ReadFile(from))(t), 0o600), os.Rename(next, to)); err != nil {
			t.Fatal(err)
		}
	}
	certFile, keyFile, err := w.ca.serverPair("round-0")
	if err != nil {
		t.Fatal(err)
	}
	move(certFile, shown)
	move(keyFile, key)
	w.mustOpen(t, func(s *settings) {
		withAdmin(t, s)
		s.tls = fmt.Sprintf("tls: {files: {cert: %s, key: %s}}", shown, key)
	})
	good := w.text(t, func(*settings) {})
	bad := []string{"listen: [", strings.Replace(good, "mode: enforced", "mode: enforce", 1), strings.Replace(good, key, key+".absent", 1)}

	f := startFleet(t, clients, w.url, image, w.ca.transport)
	for round := range rounds {
		name := fmt.Sprint("round-", round+1)
		if certFile, keyFile, err = w.ca.serverPair(name); err != nil {
			t.Fatal(err)
		}
		move(certFile, shown)
		w.reloadNow(t, "refused") // half a pair
		move(keyFile, key)
		w.reloadNow(t, "applied")
		config := w.ca.transport(false).TLSClientConfig
		config.ServerName = "127.0.0.1"
		if got := shows(t, w.listen, config).Subject.CommonName; got != name {
			t.Errorf("after the reload the certificate is that of %s, want %s", got, name)
		}
		if err := w.write(bad[round%len(bad)]); err != nil {
			t.Fatal(err)
		}
		w.reloadNow(t, "refused")
		if err := w.write(good); err != nil {
			t.Fatal(err)
		}
	}
	f.wantNoFailure(t, clients)
	measured(t, rounds, 2*rounds, f.pulls.Load())
}

// TestPullsWhileAnACMEServerRenews: certificates that last for a minute and a
// half and are renewed again and again, with reloads between, and no pull fails.
// Then the server goes away, and a restart begins with the certificate that was
// kept.
func TestPullsWhileAnACMEServerRenews(t *testing.T) {
	t.Parallel() // it waits, most of the time
	const clients, least = 64, 3
	w, image := oneSignedTag(t, registryOptions{})
	_, portText, _ := strings.Cut(w.listen, ":")
	port := must(strconv.Atoi(portText))(t)
	server := acme.Start(t, acme.Options{TLSPort: port, HTTPPort: 1, Life: 90 * time.Second})
	withACME := fmt.Sprintf("tls: {acme: {domains: [gate.example.com, b.example.com, c.example.com], directory: %q, ca-file: %q}}", server.Directory, server.CAFile)
	w.mustOpen(t, func(s *settings) { withAdmin(t, s) })
	good := w.text(t, func(s *settings) { s.tls = withACME })
	// Not of tls.acme: a change of that gives up the order under way, and the next
	// attempt comes a minute later.
	other := w.text(t, func(s *settings) { s.tls, s.maxStale = withACME, 2*time.Hour })
	config := func() *tls.Config { return &tls.Config{RootCAs: server.Pool(), ServerName: "gate.example.com"} }
	if err := w.write(good); err != nil {
		t.Fatal(err)
	}
	w.reloadNow(t, "applied") // from files to the ACME server
	ready := func() error {
		if a, err := w.watch("/readyz"); err != nil || a.status != http.StatusOK {
			return fmt.Errorf("not ready: %v, %w", a, err)
		}
		return nil
	}
	eventually(t, 30*time.Second, ready)
	eventually(t, 90*time.Second, func() error { // the names get their certificates one by one
		conn, err := tls.Dial("tcp", w.listen, config())
		if err == nil {
			err = conn.Close()
		}
		return err
	})

	f := startFleet(t, clients, w.url, image, func(http2 bool) *http.Transport {
		transport := w.ca.transport(http2)
		transport.TLSClientConfig = config()
		return transport
	})
	renewals := func() int {
		n, _ := strconv.Atoi(w.metric(t, `sealgate_acme_orders_total{result="renewed"}`))
		return n
	}
	files := []string{other, "tls: {}", good, strings.Replace(good, "mode: enforced", "mode: enforce", 1)}
	first := shows(t, w.listen, config())
	for n, end := 0, time.Now().Add(4*time.Minute); renewals() < least || shows(t, w.listen, config()).Equal(first); n++ {
		if time.Now().After(end) {
			t.Fatalf("%d renewals in four minutes\n%s", renewals(), w.tail())
		}
		if err := w.write(files[n%len(files)]); err != nil {
			t.Fatal(err)
		}
		w.reloadNow(t, []string{"applied", "refused"}[n%2])
		time.Sleep(time.Second) // for the renewals
	}
	renewed := renewals()
	f.wantNoFailure(t, clients)

	if err := w.write(good); err != nil {
		t.Fatal(err)
	}
	eventually(t, 3*time.Minute, func() error { // until it lasts longer than the rest of this
		if left := time.Until(shows(t, w.listen, config()).NotAfter); left < 40*time.Second {
			return fmt.Errorf("it lasts for another %v", left)
		}
		return nil
	})
	server.Cut()
	kept := shows(t, w.listen, config())
	if code := w.stop(20 * time.Second); code != 0 {
		t.Errorf("exit code %d", code)
	}
	again := must(start("sealgate", filepath.Join(w.dir, "again.log"), nil, suite.sealgate, "serve", "--config", w.config))(t)
	w.atEnd(func() { again.stop(20 * time.Second) })
	eventually(t, 20*time.Second, ready)
	if got := shows(t, w.listen, config()); !got.Equal(kept) {
		t.Errorf("after the restart, without the server: a certificate until %v, and before one until %v\n%s", got.NotAfter, kept.NotAfter, again.tail())
	}
	if strings.Contains(w.output()+again.output(), "PRIVATE KEY") {
		t.Error("a private key is in the log")
	}
	measured(t, renewed, f.pulls.Load())
}
