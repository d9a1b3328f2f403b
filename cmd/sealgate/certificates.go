package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/rs/zerolog"
	"github.com/sealgate/sealgate/config"
)

// serverTLS returns the TLS configuration of the public listener, nil for
// plain HTTP.
func serverTLS(cfg *config.Config, log zerolog.Logger) (*tls.Config, error) {
	var get func(*tls.ClientHelloInfo) (*tls.Certificate, error)
	switch {
	case cfg.TLS.PlainHTTP != nil:
		return nil, nil
	case cfg.TLS.SelfSigned != nil:
		ca, path, err := loadCA(cfg.StateDir)
		if err != nil {
			return nil, err
		}
		log.Info().Str("ca", path).Msg("self-signed certificates: clients have to trust this CA")
		get = (&selfSigned{ca: ca, hosts: cfg.TLS.SelfSigned.Hosts}).get
	default:
		files := &fileCertificates{pairs: cfg.TLS.Files, log: log}
		if err := files.load(); err != nil {
			return nil, err
		}
		get = files.get
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: get, NextProtos: []string{"h2", "http/1.1"}}, nil
}

const (
	caFile    = "ca.pem"
	caKeyFile = "ca-key.pem"
	caLife    = 10 * 365 * 24 * time.Hour
	leafLife  = 90 * 24 * time.Hour
	// checkFiles is how often certificate files are looked at for changes.
	checkFiles = 5 * time.Second
)

// loadCA returns the CA of the state directory, made at the first start and
// kept from then on, and the path of its certificate.
func loadCA(stateDir string) (*tls.Certificate, string, error) {
	certPath, keyPath := filepath.Join(stateDir, caFile), filepath.Join(stateDir, caKeyFile)
	pair, err := tls.LoadX509KeyPair(certPath, keyPath)
	if err == nil {
		return &pair, certPath, nil
	}
	if errors.Is(err, os.ErrPermission) {
		return nil, "", fmt.Errorf("state-dir %s: %w", stateDir, err)
	}
	if !errors.Is(err, os.ErrNotExist) {
		return nil, "", fmt.Errorf("the CA in %s cannot be used (move it away to have a new one made): %w", stateDir, err)
	}
	for _, path := range []string{certPath, keyPath} {
		if _, err := os.Stat(path); err == nil {
			return nil, "", fmt.Errorf("%s is there without its other half: restore %s and %s, or move both away to have new ones made", path, certPath, keyPath)
		}
	}
	if err := os.MkdirAll(stateDir, 0o700); err != nil {
		return nil, "", fmt.Errorf("state-dir: %w", err)
	}
	made, err := issue(nil, nil, caLife)
	if err != nil {
		return nil, "", err
	}
	key, err := x509.MarshalPKCS8PrivateKey(made.PrivateKey)
	if err != nil {
		return nil, "", err
	}
	if err := writePEM(keyPath, "PRIVATE KEY", key, 0o600); err != nil {
		return nil, "", err
	}
	if err := writePEM(certPath, "CERTIFICATE", made.Certificate[0], 0o644); err != nil {
		return nil, "", err
	}
	return made, certPath, nil
}

// writePEM writes a whole file or none.
func writePEM(path, kind string, der []byte, mode os.FileMode) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	err = errors.Join(tmp.Chmod(mode), pem.Encode(tmp, &pem.Block{Type: kind, Bytes: der}), tmp.Sync(), tmp.Close())
	if err != nil {
		return err
	}
	return os.Rename(tmp.Name(), path)
}

// issue makes a key and a certificate for hosts, signed by ca; with a nil ca
// it makes a CA.
func issue(ca *tls.Certificate, hosts []string, life time.Duration) (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: serial,
		NotBefore:    now.Add(-time.Hour),
		NotAfter:     now.Add(life),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		Subject:      pkix.Name{CommonName: "sealgate"},

		BasicConstraintsValid: true,
	}
	for _, host := range hosts {
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, host)
		}
	}
	parent, signer := template, any(key)
	if ca == nil {
		template.IsCA, template.MaxPathLenZero = true, true
		template.KeyUsage, template.ExtKeyUsage = x509.KeyUsageCertSign, nil
		template.Subject.CommonName = "sealgate self-signed CA"
	} else {
		if parent, err = x509.ParseCertificate(ca.Certificate[0]); err != nil {
			return nil, err
		}
		signer = ca.PrivateKey
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}

// selfSigned issues a certificate from the CA and a new one in good time.
type selfSigned struct {
	ca    *tls.Certificate
	hosts []string

	mu    sync.Mutex
	leaf  *tls.Certificate
	renew time.Time
}

func (s *selfSigned) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.leaf != nil && time.Now().Before(s.renew) {
		return s.leaf, nil
	}
	leaf, err := issue(s.ca, s.hosts, leafLife)
	if err != nil {
		return nil, err
	}
	s.leaf, s.renew = leaf, time.Now().Add(leafLife/2)
	return leaf, nil
}

// fileCertificates serves certificates from files and takes new ones up when
// the files change; a broken pair leaves the good ones in place.
type fileCertificates struct {
	pairs []config.KeyPair
	log   zerolog.Logger

	mu      sync.Mutex
	certs   []*tls.Certificate
	stamp   string
	checked time.Time
}

func (f *fileCertificates) load() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	stamp := f.stampLocked()
	var certs []*tls.Certificate
	for _, pair := range f.pairs {
		cert, err := tls.LoadX509KeyPair(pair.Cert, pair.Key)
		if err != nil {
			return fmt.Errorf("tls.files %s: %w", pair.Cert, err)
		}
		if now := time.Now(); now.Before(cert.Leaf.NotBefore) || now.After(cert.Leaf.NotAfter) {
			if f.certs != nil {
				return fmt.Errorf("tls.files %s: valid from %s to %s only", pair.Cert, cert.Leaf.NotBefore.UTC().Format(time.RFC3339), cert.Leaf.NotAfter.UTC().Format(time.RFC3339))
			}
			f.log.Warn().Str("cert", pair.Cert).Time("not_before", cert.Leaf.NotBefore).Time("not_after", cert.Leaf.NotAfter).Msg("certificate is not valid now")
		}
		certs = append(certs, &cert)
	}
	f.certs, f.stamp, f.checked = certs, stamp, time.Now()
	return nil
}

// stampLocked changes when a file does.
func (f *fileCertificates) stampLocked() string {
	var stamp string
	for _, pair := range f.pairs {
		for _, path := range []string{pair.Cert, pair.Key} {
			if info, err := os.Stat(path); err == nil {
				stamp += fmt.Sprintln(info.ModTime().UnixNano(), info.Size())
			}
		}
	}
	return stamp
}

func (f *fileCertificates) changed() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if time.Since(f.checked) < checkFiles {
		return false
	}
	f.checked = time.Now()
	return f.stampLocked() != f.stamp
}

func (f *fileCertificates) get(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if f.changed() {
		if err := f.load(); err != nil {
			f.log.Error().Err(err).Msg("changed certificate files cannot be used, the ones before stay")
		} else {
			f.log.Info().Msg("certificate files re-read")
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, cert := range f.certs {
		if hello.SupportsCertificate(cert) == nil {
			return cert, nil
		}
	}
	return f.certs[0], nil
}
