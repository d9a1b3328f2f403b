package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"os"
	"path/filepath"
	"strings"
	"testing"
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
	ca, _, err := loadCA(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	cert, err := issue(ca, []string{host}, life)
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

func TestChangedCertificateFilesAreTakenUp(t *testing.T) {
	dir := t.TempDir()
	pair := config.KeyPair{Cert: filepath.Join(dir, "tls.crt"), Key: filepath.Join(dir, "tls.key")}
	writePair(t, pair, "one.example", time.Hour)
	files := &fileCertificates{pairs: []config.KeyPair{pair}, log: zerolog.Nop()}
	if err := files.load(); err != nil {
		t.Fatal(err)
	}
	hello := func(host string) *tls.ClientHelloInfo {
		return &tls.ClientHelloInfo{ServerName: host, SupportedVersions: []uint16{tls.VersionTLS13}, SignatureSchemes: []tls.SignatureScheme{tls.ECDSAWithP256AndSHA256}}
	}
	serves := func(host string) bool {
		files.checked = time.Time{} // as if the interval had passed
		cert, err := files.get(hello(host))
		if err != nil {
			t.Fatal(err)
		}
		return hello(host).SupportsCertificate(cert) == nil
	}
	if !serves("one.example") {
		t.Fatal("the first certificate is not served")
	}
	if err := os.WriteFile(pair.Cert, []byte("not a certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	if !serves("one.example") {
		t.Error("a broken pair displaced the good one")
	}
	writePair(t, pair, "two.example", -time.Minute)
	if !serves("one.example") {
		t.Error("an expired certificate displaced a good one")
	}
	writePair(t, pair, "two.example", time.Hour)
	if !serves("two.example") {
		t.Error("the new certificate is not served")
	}
}
