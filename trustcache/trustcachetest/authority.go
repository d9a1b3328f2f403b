package trustcachetest

import (
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"testing"
	"time"

	"github.com/theupdateframework/notary/tuf/utils"
)

// NewRootSigner returns a new key in a certificate for gun that is valid for
// ten years around now, issued by an authority that issues no other.
func NewRootSigner(tb testing.TB, gun string, now time.Time) *Signer {
	tb.Helper()
	return NewAuthority(tb, now).Issue(tb, NewSigner(tb), gun, now.AddDate(-1, 0, 0), now.AddDate(10, 0, 0))
}

// An Authority issues certificates of root keys.
type Authority struct {
	*Signer
	Cert *x509.Certificate
	Root *Authority          // the first of its line, itself perhaps
	Line []*x509.Certificate // from it up to the first, without that one
}

// NewAuthority returns the first of its line, valid from two years before now for
// 22 years.
func NewAuthority(tb testing.TB, now time.Time) *Authority {
	tb.Helper()
	a := &Authority{Signer: NewSigner(tb).Authority(tb, "CA", now.AddDate(-2, 0, 0), now.AddDate(20, 0, 0))}
	return a.First(tb)
}

// First makes a the first of its line.
func (a *Authority) First(tb testing.TB) *Authority {
	a.Root, a.CA, a.Cert = a, a, CertificateOf(tb, a.Signer)
	return a
}

// Under returns an authority that a has appointed.
func (a *Authority) Under(tb testing.TB, from, until time.Time) *Authority {
	tb.Helper()
	b := &Authority{Signer: NewSigner(tb), Root: a.Root}
	b.CA = b
	template, err := utils.NewCertificate("CA under "+a.Cert.Subject.CommonName, from, until)
	must(tb, err)
	template.IsCA = true
	template.KeyUsage |= x509.KeyUsageCertSign
	b.Cert = a.Certify(tb, template, b.Signer)
	b.Line = append([]*x509.Certificate{b.Cert}, a.Line...)
	return b
}

// Issue returns the same key in a certificate of this authority, with those
// that lead to the first one.
func (a *Authority) Issue(tb testing.TB, s *Signer, commonName string, from, until time.Time) *Signer {
	tb.Helper()
	template, err := utils.NewCertificate(commonName, from, until)
	must(tb, err)
	issued := s.Bundled(tb, append([]*x509.Certificate{a.Certify(tb, template, s)}, a.Line...)...)
	issued.CA = a.Root
	return issued
}

// Certify returns a certificate of s by this authority, made after template.
func (a *Authority) Certify(tb testing.TB, template *x509.Certificate, s *Signer) *x509.Certificate {
	tb.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, a.Cert, s.Private.CryptoSigner().Public(), a.Private.CryptoSigner())
	must(tb, err)
	cert, err := x509.ParseCertificate(der)
	must(tb, err)
	return cert
}

// CertificateOf is the first certificate that the signer is listed in.
func CertificateOf(tb testing.TB, s *Signer) *x509.Certificate {
	tb.Helper()
	block, _ := pem.Decode(s.Public.Public())
	cert, err := x509.ParseCertificate(block.Bytes)
	must(tb, err)
	return cert
}
