package main

import (
	"crypto/sha256"
	"crypto/tls"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/rs/zerolog"
	"github.com/sealgate/sealgate/config"
)

// checkFiles is how often certificate files are looked at for changes.
const checkFiles = 5 * time.Second

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
