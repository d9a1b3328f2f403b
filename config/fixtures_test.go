package config

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// fixtures makes a directory with the files that configurations in tests name:
// ca.pem, tls.crt with tls.key, other.key (of another certificate), broken.pem;
// authority.pem and expired.pem, which are of CAs (ca.pem is of a server that
// stands for itself), and mixed.pem with all three; password, password.empty,
// which is a newline, and password.lines.
func fixtures(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	write := func(name, kind string, der []byte) []byte {
		data := pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
		return data
	}
	newKey := func(name string) *ecdsa.PrivateKey {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		der, err := x509.MarshalECPrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		write(name, "EC PRIVATE KEY", der)
		return key
	}
	key := newKey("tls.key")
	newKey("other.key")
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"},
		NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1<<32, 0), DNSNames: []string{"localhost"},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	write("tls.crt", "CERTIFICATE", der)
	write("broken.pem", "CERTIFICATE", der[:40])
	authority := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "signing CA"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1<<32, 0),
	}
	expired := *authority
	expired.NotAfter = time.Unix(1<<30, 0)
	var mixed []byte
	mixed = append(mixed, write("ca.pem", "CERTIFICATE", der)...)
	for name, template := range map[string]*x509.Certificate{"authority.pem": authority, "expired.pem": &expired} {
		der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
		if err != nil {
			t.Fatal(err)
		}
		mixed = append(mixed, write(name, "CERTIFICATE", der)...)
	}
	for name, text := range map[string]string{
		"mixed.pem": string(mixed), "password": "hunter2\n", "password.empty": "\n", "password.lines": "hunter2\nzzter2\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}
