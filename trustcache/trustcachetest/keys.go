package trustcachetest

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

// A Signer is a private key and the public key as metadata lists it: bare, or in
// a certificate.
type Signer struct {
	Private data.PrivateKey
	Public  data.PublicKey
	CA      *Authority // that its certificate leads to; nil where it has none, or its own
}

// Canonical is the ID that pins use, of the key whatever it is listed in.
func (s *Signer) Canonical() string { return s.Private.ID() }

// NewSigner returns a new ECDSA key, listed bare.
func NewSigner(tb testing.TB) *Signer {
	tb.Helper()
	private, err := utils.GenerateECDSAKey(rand.Reader)
	must(tb, err)
	return &Signer{Private: private, Public: data.PublicKeyFromPrivate(private)}
}

// NewEd25519 returns a signer of the third kind of key that Notary knows.
func NewEd25519(tb testing.TB) *Signer {
	tb.Helper()
	private, err := utils.GenerateED25519Key(rand.Reader)
	must(tb, err)
	return &Signer{Private: private, Public: data.PublicKeyFromPrivate(private)}
}

// Certified returns the same key in a certificate for commonName.
func (s *Signer) Certified(tb testing.TB, commonName string, from, until time.Time) *Signer {
	tb.Helper()
	cert, err := cryptoservice.GenerateCertificate(s.Private, data.GUN(commonName), from, until)
	must(tb, err)
	return &Signer{Private: s.Private, Public: utils.CertToKey(cert)}
}

// Authority returns the same key in the certificate of a CA.
func (s *Signer) Authority(tb testing.TB, commonName string, from, until time.Time) *Signer {
	tb.Helper()
	template, err := utils.NewCertificate(commonName, from, until)
	must(tb, err)
	template.IsCA = true
	template.KeyUsage |= x509.KeyUsageCertSign
	key := s.Private.CryptoSigner()
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	must(tb, err)
	cert, err := x509.ParseCertificate(der)
	must(tb, err)
	return &Signer{Private: s.Private, Public: utils.CertToKey(cert)}
}

// Bundled returns the same private key under a bundle of certificates.
func (s *Signer) Bundled(tb testing.TB, bundle ...*x509.Certificate) *Signer {
	tb.Helper()
	var text []byte
	for _, cert := range bundle {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})...)
	}
	return s.Listed(data.ECDSAx509Key, text)
}

// Listed returns the same private key under a public key of the caller's
// making.
func (s *Signer) Listed(algorithm string, public []byte) *Signer {
	return &Signer{Private: s.Private, Public: data.NewPublicKey(algorithm, public)}
}

// Sign signs msg under the ID of the public key as it is listed.
func (s *Signer) Sign(tb testing.TB, msg []byte) data.Signature {
	tb.Helper()
	sig, err := s.Private.Sign(rand.Reader, msg, nil)
	must(tb, err)
	return data.Signature{KeyID: s.Public.ID(), Method: s.Private.SignatureAlgorithm(), Signature: sig}
}
