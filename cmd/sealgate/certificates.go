package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
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
	"slices"
	"sync"
	"time"

	"github.com/rs/zerolog"
	"github.com/sealgate/sealgate/config"
)

// certificates are what the public listener shows, as one configuration names
// them; nil stands for plain HTTP. Safe for concurrent use.
type certificates struct {
	self  *selfSigned // one of the two
	files *fileCertificates
}

// newCertificates loads what cfg names and fails where it cannot be used; nil
// for plain HTTP. It starts nothing, so that what is not wanted after all can be
// dropped: at most a CA has been made, where tls.self-signed had none yet.
//
// running are those that clients are shown at present, nil at the start. A
// certificate outside its validity is no reason not to start, where the operator
// sees the warning and clients see why, but it displaces nothing that runs: it
// is refused unless running shows the same one already.
func newCertificates(cfg *config.Config, running *certificates, log zerolog.Logger) (*certificates, error) {
	switch {
	case cfg.TLS.PlainHTTP != nil:
		return nil, nil
	case cfg.TLS.SelfSigned != nil:
		ca, path, err := loadCA(cfg.StateDir)
		if err != nil {
			return nil, err
		}
		self := &selfSigned{ca: ca, hosts: cfg.TLS.SelfSigned.Hosts}
		if _, err := self.get(nil); err != nil {
			return nil, fmt.Errorf("the CA %q cannot sign a certificate: %w", path, err)
		}
		log.Info().Str("ca", path).Msg("self-signed certificates: clients have to trust this CA")
		return &certificates{self: self}, nil
	}
	files := &fileCertificates{pairs: cfg.TLS.Files, log: log}
	if err := files.load(func(cert *tls.Certificate) bool { return running == nil || running.shows(cert) }); err != nil {
		return nil, err
	}
	return &certificates{files: files}, nil
}

// get is a tls.Config's GetCertificate.
func (c *certificates) get(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if c.self != nil {
		return c.self.get(hello)
	}
	return c.files.get(hello)
}

// usable is nil while at least one certificate is within its validity, and for
// plain HTTP.
func (c *certificates) usable(now time.Time) error {
	switch {
	case c == nil:
		return nil
	case c.self != nil:
		return c.self.usable(now)
	}
	return c.files.usable(now)
}

// shows is whether cert is one of those from files.
func (c *certificates) shows(cert *tls.Certificate) bool {
	return c.files != nil && contains(c.files.current(), cert)
}

// tlsConfig is the TLS configuration of the public listener, for as long as it
// listens: every handshake asks for the current certificates, which are never
// nil. Session tickets belong to it, so that sessions resume across a change of
// certificates, on what the client verified when it was given the ticket.
func tlsConfig(current func() *certificates) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			return current().get(hello)
		},
		NextProtos: []string{"h2", "http/1.1"},
	}
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

// usable is about the CA: certificates from it are made when they are needed.
func (s *selfSigned) usable(now time.Time) error {
	if err := validAt(s.ca, now); err != nil {
		return fmt.Errorf("the CA in state-dir is %w: move %s and %s away to have new ones made", err, caFile, caKeyFile)
	}
	return nil
}

// fileCertificates serves certificates from files and takes new ones up when
// the files change; pairs that are broken or outside their validity leave the
// ones before in place.
type fileCertificates struct {
	pairs []config.KeyPair
	log   zerolog.Logger

	mu      sync.Mutex
	certs   []*tls.Certificate // replaced as a whole, never changed
	stamp   [sha256.Size]byte  // of the files that certs are from
	checked time.Time
}

// load reads the files for the first time. Certificates outside their validity
// need accept's consent.
func (f *fileCertificates) load(accept func(*tls.Certificate) bool) error {
	files, stamp, err := f.read()
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.takeLocked(files, stamp, accept)
}

// current are the certificates of the files as they were at most checkFiles ago.
func (f *fileCertificates) current() []*tls.Certificate {
	f.mu.Lock()
	defer f.mu.Unlock()
	if time.Since(f.checked) < checkFiles {
		return f.certs
	}
	f.checked = time.Now()
	files, stamp, err := f.read()
	if err == nil && stamp == f.stamp {
		return f.certs
	}
	if err == nil {
		err = f.takeLocked(files, stamp, func(cert *tls.Certificate) bool { return contains(f.certs, cert) })
	}
	if err != nil {
		f.log.Error().Err(err).Msg("changed certificate files cannot be used, the ones before stay")
	} else {
		f.log.Info().Msg("certificate files re-read")
	}
	return f.certs
}

// pairFiles are what a pair's files hold.
type pairFiles struct{ cert, key []byte }

// read returns the contents of all files, and a stamp that changes with them.
// Times and sizes would not do: two files written within one tick of the file
// system's clock can agree in both.
func (f *fileCertificates) read() ([]pairFiles, [sha256.Size]byte, error) {
	files := make([]pairFiles, len(f.pairs))
	all := sha256.New()
	for i, pair := range f.pairs {
		var err error
		if files[i].cert, err = os.ReadFile(pair.Cert); err == nil {
			files[i].key, err = os.ReadFile(pair.Key)
		}
		if err != nil {
			return nil, [sha256.Size]byte{}, fmt.Errorf("tls.files: %w", err)
		}
		for _, data := range [][]byte{files[i].cert, files[i].key} {
			one := sha256.Sum256(data)
			all.Write(one[:])
		}
	}
	return files, [sha256.Size]byte(all.Sum(nil)), nil
}

// takeLocked puts all certificates in place or, with an error, none.
func (f *fileCertificates) takeLocked(files []pairFiles, stamp [sha256.Size]byte, accept func(*tls.Certificate) bool) error {
	now := time.Now()
	certs := make([]*tls.Certificate, len(files))
	for i, pair := range f.pairs {
		cert, err := tls.X509KeyPair(files[i].cert, files[i].key)
		if err != nil {
			return fmt.Errorf("tls.files: %q with %q: %w", pair.Cert, pair.Key, err)
		}
		certs[i] = &cert
		err = validAt(&cert, now)
		if err != nil && !accept(&cert) {
			return fmt.Errorf("tls.files: %q is %w", pair.Cert, err)
		}
		if err != nil {
			f.log.Warn().Str("cert", pair.Cert).Time("not_before", cert.Leaf.NotBefore).Time("not_after", cert.Leaf.NotAfter).Msg("certificate is not valid now")
		}
	}
	f.certs, f.stamp, f.checked = certs, stamp, now
	return nil
}

// get chooses the first certificate that suits the client and is within its
// validity, else the first that suits, else the first that is valid: a client
// that refuses it can say why.
func (f *fileCertificates) get(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	certs, now := f.current(), time.Now()
	best, most := certs[0], 0
	for _, cert := range certs {
		points := 0
		if hello.SupportsCertificate(cert) == nil {
			points += 2
		}
		if validAt(cert, now) == nil {
			points++
		}
		if points > most {
			best, most = cert, points
		}
	}
	return best, nil
}

// usable looks at the files, too: a server that is not ready may see no
// handshake that would.
func (f *fileCertificates) usable(now time.Time) error {
	var first error
	for i, cert := range f.current() {
		err := validAt(cert, now)
		if err == nil {
			return nil
		}
		if first == nil {
			first = fmt.Errorf("tls.files: %q is %w", f.pairs[i].Cert, err)
		}
	}
	return first
}

// validAt is nil while cert is within its validity.
func validAt(cert *tls.Certificate, now time.Time) error {
	if leaf := cert.Leaf; now.Before(leaf.NotBefore) || now.After(leaf.NotAfter) {
		return fmt.Errorf("valid from %s to %s only", leaf.NotBefore.UTC().Format(time.RFC3339), leaf.NotAfter.UTC().Format(time.RFC3339))
	}
	return nil
}

func contains(certs []*tls.Certificate, cert *tls.Certificate) bool {
	return slices.ContainsFunc(certs, func(c *tls.Certificate) bool { return c.Leaf.Equal(cert.Leaf) })
}
