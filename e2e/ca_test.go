package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

// authority is the suite's own CA: the servers' certificates come from it, and
// the clients are told to trust it.
type authority struct {
	dir  string
	file string // the CA certificate, PEM; its directory is also a cert-dir for skopeo and podman
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(dir string) (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "sealgate e2e CA"},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(24 * time.Hour),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	a := &authority{dir: dir, file: filepath.Join(dir, "ca.crt"), cert: cert, key: key}
	return a, writePEM(a.file, "CERTIFICATE", der)
}

// serverHosts are what the suite's own servers are called.
var serverHosts = []string{"127.0.0.1", "localhost", registryName}

// serverPair writes a certificate for loopback and its key, and returns their paths.
func (a *authority) serverPair(name string) (certFile, keyFile string, err error) {
	return a.pairFor(name, serverHosts...)
}

// pairFor is serverPair for these names and IP addresses.
func (a *authority) pairFor(name string, hosts ...string) (certFile, keyFile string, err error) {
	template := &x509.Certificate{
		Subject:     pkix.Name{CommonName: name},
		NotAfter:    time.Now().Add(12 * time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, host := range hosts {
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, host)
		}
	}
	return writePair(a.dir, name, template, a.cert, a.key)
}

// signerPair writes a self-signed certificate, as a Notary delegation wants it, and its key.
func signerPair(dir, name string) (certFile, keyFile string, err error) {
	template := &x509.Certificate{
		Subject:  pkix.Name{CommonName: name},
		NotAfter: time.Now().AddDate(2, 0, 0),
	}
	return writePair(dir, name, template, nil, nil)
}

// rootCert writes a certificate for the root key of a repository, whose public
// half is in a PEM file.
func (a *authority) rootCert(certFile, publicFile, gun string) error {
	text, err := os.ReadFile(publicFile)
	if err != nil {
		return err
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return fmt.Errorf("no PEM in %s", publicFile)
	}
	public, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2),
		Subject:      pkix.Name{CommonName: gun},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().AddDate(1, 0, 0), // clients warn half a year before
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, public, a.key)
	if err != nil {
		return err
	}
	return writePEM(certFile, "CERTIFICATE", der)
}

// writePair issues template under parent, or under itself where parent is nil.
func writePair(dir, name string, template, parent *x509.Certificate, parentKey *ecdsa.PrivateKey) (certFile, keyFile string, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", "", err
	}
	if parent == nil {
		parent, parentKey = template, key
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		return "", "", err
	}
	template.SerialNumber = serial
	template.NotBefore = time.Now().Add(-time.Hour)
	template.KeyUsage = x509.KeyUsageDigitalSignature
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), parentKey)
	if err != nil {
		return "", "", err
	}
	keyDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return "", "", err
	}
	certFile, keyFile = filepath.Join(dir, name+".pem"), filepath.Join(dir, name+"-key.pem")
	if err := writePEM(certFile, "CERTIFICATE", der); err != nil {
		return "", "", err
	}
	return certFile, keyFile, writePEM(keyFile, "EC PRIVATE KEY", keyDER)
}

func writePEM(file, kind string, der []byte) error {
	return os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)
}

// transport trusts the CA and speaks HTTP/2 where http2 is true, else HTTP/1.1 only.
func (a *authority) transport(http2 bool) *http.Transport {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	var protocols http.Protocols
	protocols.SetHTTP1(!http2)
	protocols.SetHTTP2(http2)
	return &http.Transport{
		TLSClientConfig:   &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12},
		Protocols:         &protocols,
		DisableKeepAlives: true,
	}
}

// answers is a readiness check: url gives any HTTP answer at all.
func (a *authority) answers(url string) func() error {
	client := &http.Client{Transport: a.transport(false), Timeout: 5 * time.Second}
	return func() error {
		resp, err := client.Get(url)
		if err != nil {
			return fmt.Errorf("no answer from %s: %w", url, err)
		}
		return resp.Body.Close()
	}
}
