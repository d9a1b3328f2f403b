package notary_test

import (
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"testing"
	"time"

	"github.com/theupdateframework/notary/cryptoservice"
	"github.com/theupdateframework/notary/tuf/data"
	"github.com/theupdateframework/notary/tuf/utils"
)

// signer is a private key and the public key as metadata lists it: bare, or in
// a certificate.
type signer struct {
	private data.PrivateKey
	public  data.PublicKey
	ca      *authority // that its certificate leads to; nil where it is its own
}

// canonical is the ID that pins use.
func (s *signer) canonical() string { return s.private.ID() }

func newSigner(tb testing.TB) *signer {
	tb.Helper()
	private, err := utils.GenerateECDSAKey(rand.Reader)
	must(tb, err)
	return &signer{private: private, public: data.PublicKeyFromPrivate(private)}
}

// newEd25519 returns a signer of the third kind of key that Notary knows.
func newEd25519(tb testing.TB) *signer {
	tb.Helper()
	private, err := utils.GenerateED25519Key(rand.Reader)
	must(tb, err)
	return &signer{private: private, public: data.PublicKeyFromPrivate(private)}
}

// certified returns the same key in a certificate for commonName.
func (s *signer) certified(tb testing.TB, commonName string, from, until time.Time) *signer {
	tb.Helper()
	cert, err := cryptoservice.GenerateCertificate(s.private, data.GUN(commonName), from, until)
	must(tb, err)
	return &signer{private: s.private, public: utils.CertToKey(cert)}
}

// authority returns the same key in the certificate of a CA.
func (s *signer) authority(tb testing.TB, commonName string, from, until time.Time) *signer {
	tb.Helper()
	template, err := utils.NewCertificate(commonName, from, until)
	must(tb, err)
	template.IsCA = true
	template.KeyUsage |= x509.KeyUsageCertSign
	key := s.private.CryptoSigner()
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	must(tb, err)
	cert, err := x509.ParseCertificate(der)
	must(tb, err)
	return &signer{private: s.private, public: utils.CertToKey(cert)}
}

// newRootSigner returns a new key in a certificate for gun that is valid for
// ten years around now, issued by an authority that issues no other.
func newRootSigner(tb testing.TB, gun string, now time.Time) *signer {
	tb.Helper()
	return newAuthority(tb, now).issue(tb, newSigner(tb), gun, now.AddDate(-1, 0, 0), now.AddDate(10, 0, 0))
}

// authority issues certificates of root keys.
type authority struct {
	*signer
	cert *x509.Certificate
	root *authority          // the first of its line, itself perhaps
	line []*x509.Certificate // from it up to the first, without that one
}

func newAuthority(tb testing.TB, now time.Time) *authority {
	tb.Helper()
	a := &authority{signer: newSigner(tb).authority(tb, "CA", now.AddDate(-2, 0, 0), now.AddDate(20, 0, 0))}
	return a.first(tb)
}

// first makes a the first of its line.
func (a *authority) first(tb testing.TB) *authority {
	a.root, a.ca, a.cert = a, a, certificateOf(tb, a.signer)
	return a
}

// under returns an authority that a has appointed.
func (a *authority) under(tb testing.TB, from, until time.Time) *authority {
	tb.Helper()
	b := &authority{signer: newSigner(tb), root: a.root}
	b.ca = b
	template, err := utils.NewCertificate("CA under "+a.cert.Subject.CommonName, from, until)
	must(tb, err)
	template.IsCA = true
	template.KeyUsage |= x509.KeyUsageCertSign
	b.cert = a.certify(tb, template, b.signer)
	b.line = append([]*x509.Certificate{b.cert}, a.line...)
	return b
}

// issue returns the same key in a certificate of this authority, with those
// that lead to the first one.
func (a *authority) issue(tb testing.TB, s *signer, commonName string, from, until time.Time) *signer {
	tb.Helper()
	template, err := utils.NewCertificate(commonName, from, until)
	must(tb, err)
	issued := s.bundled(tb, append([]*x509.Certificate{a.certify(tb, template, s)}, a.line...)...)
	issued.ca = a.root
	return issued
}

func (a *authority) certify(tb testing.TB, template *x509.Certificate, s *signer) *x509.Certificate {
	tb.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, s.private.CryptoSigner().Public(), a.private.CryptoSigner())
	must(tb, err)
	cert, err := x509.ParseCertificate(der)
	must(tb, err)
	return cert
}

// bundled returns the same private key under a bundle of certificates.
func (s *signer) bundled(tb testing.TB, bundle ...*x509.Certificate) *signer {
	tb.Helper()
	var text []byte
	for _, cert := range bundle {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})...)
	}
	return s.listed(data.ECDSAx509Key, text)
}

func certificateOf(tb testing.TB, s *signer) *x509.Certificate {
	tb.Helper()
	block, _ := pem.Decode(s.public.Public())
	cert, err := x509.ParseCertificate(block.Bytes)
	must(tb, err)
	return cert
}

// listed returns the same private key under a public key of the caller's
// making.
func (s *signer) listed(algorithm string, public []byte) *signer {
	return &signer{private: s.private, public: data.NewPublicKey(algorithm, public)}
}

func (s *signer) sign(tb testing.TB, msg []byte) data.Signature {
	tb.Helper()
	sig, err := s.private.Sign(rand.Reader, msg, nil)
	must(tb, err)
	return data.Signature{KeyID: s.public.ID(), Method: s.private.SignatureAlgorithm(), Signature: sig}
}
