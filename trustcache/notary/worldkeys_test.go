package notary_test

import (
	"crypto/rand"
	"crypto/x509"
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
// ten years around now.
func newRootSigner(tb testing.TB, gun string, now time.Time) *signer {
	tb.Helper()
	return newSigner(tb).certified(tb, gun, now.AddDate(-1, 0, 0), now.AddDate(10, 0, 0))
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
