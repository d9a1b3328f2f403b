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
	"strings"
	"sync"
	"time"

	"github.com/sealgate/sealgate/config"
)

// selfSigned issues a certificate from the CA and a new one in good time.
type selfSigned struct {
	ca     *tls.Certificate
	caPath string // of its certificate
	hosts  []string

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

// usable is about the CA: certificates from it are made when they are needed.
func (s *selfSigned) usable(now time.Time) error {
	if err := validAt(s.ca, now); err != nil {
		return fmt.Errorf("the CA in state-dir is %w: move %s and %s away to have new ones made", err, caFile, caKeyFile)
	}
	return nil
}

// howToTrust says for each client what makes it trust the CA, for a registry as
// clients type it: listen tells which port some will have to type.
func howToTrust(ca string, reg config.Registry, listen string) []string {
	host := reg.Hosts[0]
	if host == config.AnyHost {
		host = reg.Name
	}
	lines := []string{
		fmt.Sprintf("dockerd, podman, skopeo: install -D -m 0644 %s /etc/docker/certs.d/%s/ca.crt", ca, host),
		fmt.Sprintf("docker trust, and docker with content trust: install -D -m 0644 %s ~/.docker/tls/%s/ca.crt", ca, host),
		"containerd: what sealgate doctor --emit containerd prints",
		fmt.Sprintf("all others, by the system's store: install -m 0644 %s /usr/local/share/ca-certificates/sealgate.crt && update-ca-certificates", ca),
	}
	if _, port, err := net.SplitHostPort(listen); err == nil && port != "443" && port != "0" && !strings.Contains(host, ":") {
		lines = append(lines, fmt.Sprintf("where the port is typed with the name, it belongs in the name of the directory: %s:%s", host, port))
	}
	return lines
}

const (
	caFile    = "ca.pem"
	caKeyFile = "ca-key.pem"
	caLife    = 10 * 365 * 24 * time.Hour
	leafLife  = 90 * 24 * time.Hour
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
		parent, signer = ca.Leaf, ca.PrivateKey
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		return nil, err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, nil
}
