package notary_test

import (
	"crypto/x509"
	"io"
	"net/url"
	"testing"
	"time"

	"github.com/sealgate/sealgate/trustcache"
	"github.com/sealgate/sealgate/trustcache/notary"
	"github.com/sealgate/sealgate/trustcache/trustcachetest"
	"github.com/theupdateframework/notary/tuf/data"
)

const (
	testGUN          = trustcachetest.GUN
	releases         = trustcachetest.Releases
	metadataNotFound = trustcachetest.MetadataNotFound
)

type (
	signer    = trustcachetest.Signer
	party     = trustcachetest.Party
	authority = trustcachetest.Authority
	reply     = trustcachetest.Reply
)

// world is one that a notary.Source asks.
type world struct{ *trustcachetest.World }

func newWorld(tb testing.TB) *world {
	tb.Helper()
	return &world{trustcachetest.NewWorld(tb)}
}

func newWorldFor(tb testing.TB, gun string) *world {
	tb.Helper()
	return &world{trustcachetest.NewWorldFor(tb, gun)}
}

func lyingWorld(tb testing.TB) (w *world, old map[string][]byte) {
	tb.Helper()
	lying, old := trustcachetest.NewLyingWorld(tb)
	return &world{lying}, old
}

func (w *world) clone(tb testing.TB) *world { return &world{w.Clone(tb)} }

// source returns a source that pins the world's root key.
func (w *world) source(change ...func(*notary.Options)) *notary.Source {
	pin := w.Parties["root"].Keys[0].Canonical()
	opts := notary.Options{
		URL:       &url.URL{Scheme: "https", Host: "notary.test"},
		Transport: w.World,
		Pins:      func(string) notary.Pins { return notary.Pins{Kind: notary.RootKeys, IDs: []string{pin}} },
		Now:       w.Now,
	}
	for _, c := range change {
		c(&opts)
	}
	return notary.New(opts)
}

// fetch runs one update of the world's repository.
func (w *world) fetch(s *notary.Source, prev *trustcache.Snapshot) (*trustcache.Snapshot, error) {
	return s.Fetch(w.TB.Context(), w.GUN, prev)
}

// verified is fetch for an update that has to succeed.
func (w *world) verified(s *notary.Source, prev *trustcache.Snapshot) *trustcache.Snapshot {
	w.TB.Helper()
	snap, err := w.fetch(s, prev)
	if err != nil {
		w.TB.Fatalf("update: %v", err)
	}
	return snap
}

// cache returns a cache over the source with the world's clock.
func (w *world) cache(s trustcache.Source) *trustcache.Cache {
	c := trustcache.New(trustcache.Options{Source: s, Now: w.Now, MaxStale: 24 * time.Hour})
	w.TB.Cleanup(c.Close)
	return c
}

func newSigner(tb testing.TB) *signer {
	tb.Helper()
	return trustcachetest.NewSigner(tb)
}

func newEd25519(tb testing.TB) *signer {
	tb.Helper()
	return trustcachetest.NewEd25519(tb)
}

func newRootSigner(tb testing.TB, gun string, now time.Time) *signer {
	tb.Helper()
	return trustcachetest.NewRootSigner(tb, gun, now)
}

func newAuthority(tb testing.TB, now time.Time) *authority {
	tb.Helper()
	return trustcachetest.NewAuthority(tb, now)
}

func certificateOf(tb testing.TB, s *signer) *x509.Certificate {
	tb.Helper()
	return trustcachetest.CertificateOf(tb, s)
}

func digest(n int) trustcache.Digest      { return trustcachetest.Digest(n) }
func status(code int, body string) *reply { return trustcachetest.Status(code, body) }
func endless(filler byte) io.Reader       { return trustcachetest.Endless(filler) }
func tamper(file []byte) []byte           { return trustcachetest.Tamper(file) }
func payloadOf(file []byte) []byte        { return trustcachetest.PayloadOf(file) }
func signedPart(file []byte) []byte       { return trustcachetest.SignedPart(file) }

func envelope(tb testing.TB, payload []byte, sigs []data.Signature) []byte {
	tb.Helper()
	return trustcachetest.Envelope(tb, payload, sigs)
}

func forge(w *world, file []byte, keyID string) []byte {
	return trustcachetest.Forge(w.World, file, keyID)
}

func wantClass(tb testing.TB, err, want error) {
	tb.Helper()
	trustcachetest.WantClass(tb, err, want)
}

func wantDigest(tb testing.TB, snap *trustcache.Snapshot, tag string, n int) {
	tb.Helper()
	trustcachetest.WantDigest(tb, snap, tag, n)
}
