package config

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
)

// certificates checks that a file holds PEM certificates. Empty: no file.
func (v *validator) certificates(key, file string) {
	if file == "" {
		return
	}
	if _, err := LoadCertificates(file); err != nil {
		v.add(key, "%s", err)
	}
}

// pair checks that two files hold a certificate and its private key.
func (v *validator) pair(certKey, certFile, keyKey, keyFile string) {
	cert, err := readFile(certFile)
	if err == nil {
		_, err = parseCertificates(cert, certFile)
	}
	key, keyErr := readFile(keyFile)
	if keyErr == nil && err == nil {
		if _, pairErr := tls.X509KeyPair(cert, key); pairErr != nil {
			keyErr = fmt.Errorf("%s does not hold the private key of %s: %w", quote(keyFile), quote(certFile), pairErr)
		}
	}
	if err != nil {
		v.add(certKey, "%s", err)
	}
	if keyErr != nil {
		v.add(keyKey, "%s", keyErr)
	}
}

// LoadCertificates reads the certificates in a PEM file, of which there has to be
// one. It reads the file anew each time, for what has changed since the
// configuration was checked.
func LoadCertificates(file string) ([]*x509.Certificate, error) {
	data, err := readFile(file)
	if err != nil {
		return nil, err
	}
	return parseCertificates(data, file)
}

// parseCertificates returns the certificates in PEM text, of which there has to
// be one. What else is in it is passed over.
func parseCertificates(data []byte, file string) ([]*x509.Certificate, error) {
	var all []*x509.Certificate
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("%s holds a certificate that cannot be read: %w", quote(file), err)
		}
		all = append(all, cert)
	}
	if all == nil {
		return nil, fmt.Errorf("%s holds no certificate: expected PEM (-----BEGIN CERTIFICATE-----)", quote(file))
	}
	return all, nil
}

// readFile reads a regular file of a size that is right for certificates and
// keys; a pipe or device could keep the program waiting.
func readFile(file string) ([]byte, error) {
	info, err := os.Stat(file)
	switch {
	case err != nil:
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s is not a regular file", quote(file))
	case info.Size() > maxFile:
		return nil, fmt.Errorf("%s is larger than %s, which no file of certificates, keys or a password is", quote(file), formatSize(maxFile))
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("cannot read %s: %s", quote(file), reason(err))
	}
	return data, nil
}
