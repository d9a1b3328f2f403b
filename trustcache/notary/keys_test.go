package notary_test

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sealgate/sealgate/trustcache"
	"github.com/sealgate/sealgate/trustcache/notary"
	"github.com/theupdateframework/notary/tuf/data"
	"github.com/theupdateframework/notary/tuf/utils"
)

// signedBy puts that file of "latest" → digest 1 into the world whose role has
// these keys and threshold and is signed by these hands.
func signedBy(t *testing.T, role string, threshold int, keys, hands []*signer) (*world, error) {
	t.Helper()
	w := newWorld(t)
	w.Delegate(releases)
	w.Sign(releases, "latest", 1)
	w.Parties[role] = &party{Keys: keys, Threshold: threshold, Hands: hands}
	w.PublishRoot(w.Parties["root"].Keys...)
	w.Publish()
	snap, err := w.fetch(w.source(), nil)
	if err == nil {
		wantDigest(t, snap, "latest", 1)
	}
	return w, err
}

// TestSignersCountOncePerKey: N signers are N different keys, whatever the
// IDs, certificates and signatures are that they come in.
func TestSignersCountOncePerKey(t *testing.T) {
	year := func(s *signer) *signer {
		return s.Certified(t, testGUN, time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC))
	}
	a, b, stranger := newSigner(t), newSigner(t), newSigner(t)
	twin1, twin2 := year(a), year(a)
	for _, role := range []string{"targets", releases, "snapshot", "timestamp"} {
		for _, c := range []struct {
			name        string
			threshold   int
			keys, hands []*signer
			good        bool
		}{
			{"two of two keys", 2, []*signer{a, b}, []*signer{a, b}, true},
			{"two of two keys, in another order, among strangers", 2, []*signer{a, b}, []*signer{stranger, b, stranger, a}, true},
			{"a key and a certificate of another", 2, []*signer{a, year(b)}, nil, true},
			{"one of two keys", 2, []*signer{a, b}, []*signer{a}, false},
			{"one of two keys, twice", 2, []*signer{a, b}, []*signer{a, a}, false},
			{"one key in two certificates", 2, []*signer{twin1, twin2}, nil, false},
			{"one key bare and in a certificate", 2, []*signer{a, twin1}, nil, false},
			{"one key and a stranger", 2, []*signer{a, b}, []*signer{a, stranger}, false},
			{"a threshold above the number of keys", 3, []*signer{a, b}, nil, false},
			{"one of two keys where one is enough", 1, []*signer{a, b}, []*signer{b}, true},
			{"an unusable key beside a good one", 1, []*signer{a.Listed("dsa", []byte("?")), b}, []*signer{b}, true},
			{"an unusable key does not count", 2, []*signer{a.Listed("dsa", []byte("?")), b}, nil, false},
			{"ed25519", 1, []*signer{newEd25519(t)}, nil, true},
			{"no keys", 1, []*signer{}, []*signer{a}, false},
		} {
			t.Run(role+": "+c.name, func(t *testing.T) {
				_, err := signedBy(t, role, c.threshold, c.keys, c.hands)
				if c.good {
					must(t, err)
					return
				}
				wantClass(t, err, trustcache.ErrMalicious)
			})
		}
	}
}

func TestRootSignersCountOncePerKey(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	a, b := newRootSigner(t, testGUN, now), newRootSigner(t, testGUN, now)
	twin := a.CA.Issue(t, a, testGUN, now.AddDate(-1, 0, 0), now.AddDate(9, 0, 0))
	for _, c := range []struct {
		name string
		keys []*signer
		pins []*signer
		good bool
	}{
		{"two keys, both pinned", []*signer{a, b}, []*signer{a, b}, true},
		{"two keys, one pinned", []*signer{a, b}, []*signer{a}, false},
		{"one key in two certificates", []*signer{a, twin}, []*signer{a, twin}, false},
		{"one key in two certificates, pinned twice", []*signer{a, twin}, []*signer{a, a}, false},
		{"one key in two certificates and a key", []*signer{a, twin, b}, []*signer{a, twin}, false},
	} {
		for _, kind := range pinKinds() {
			t.Run(c.name+": "+string(kind), func(t *testing.T) {
				w := newWorld(t)
				w.Parties["root"] = &party{Keys: c.keys, Threshold: 2}
				w.PublishRoot()
				w.Publish()
				_, err := w.fetch(w.source(pinnedAs(kind, c.pins...)), nil)
				if c.good {
					must(t, err)
					return
				}
				wantClass(t, err, trustcache.ErrMalicious)
			})
		}
	}
}

func TestRSAKeysSign(t *testing.T) {
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	must(t, err)
	key, err := utils.RSAToPrivateKey(private)
	must(t, err)
	s := &signer{Private: key, Public: data.PublicKeyFromPrivate(key)}
	_, err = signedBy(t, releases, 1, []*signer{s}, nil)
	must(t, err)
	cert := s.Certified(t, testGUN, time.Now().AddDate(-1, 0, 0), time.Now().AddDate(10, 0, 0))
	_, err = signedBy(t, releases, 1, []*signer{cert}, nil)
	must(t, err)
}

// TestACertificateBundleHasOneReading: the TUF library takes the key ID from
// the first block that parses as a certificate and the signature check from
// the first block of any type.
func TestACertificateBundleHasOneReading(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	block := func(kind string, s *signer, headers map[string]string) []byte {
		b, _ := pem.Decode(s.Public.Public())
		return pem.EncodeToMemory(&pem.Block{Type: kind, Headers: headers, Bytes: b.Bytes})
	}
	publisher, attacker := newRootSigner(t, testGUN, now), newRootSigner(t, testGUN, now)
	junk := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("no certificate")})
	for name, bundle := range map[string][]byte{
		"the attacker's in a block of another type":     slices.Concat(block("TRUSTED CERTIFICATE", attacker, nil), block("CERTIFICATE", publisher, nil)),
		"the attacker's in a block with a header":       slices.Concat(block("CERTIFICATE", attacker, map[string]string{"A": "b"}), block("CERTIFICATE", publisher, nil)),
		"the publisher's in a block of another type":    slices.Concat(block("X509 CRL", publisher, nil), block("CERTIFICATE", attacker, nil)),
		"the attacker's first":                          slices.Concat(block("CERTIFICATE", attacker, nil), block("CERTIFICATE", publisher, nil)),
		"the publisher's first":                         slices.Concat(block("CERTIFICATE", publisher, nil), block("CERTIFICATE", attacker, nil)),
		"what does not parse first":                     slices.Concat(junk, block("CERTIFICATE", publisher, nil)),
		"the attacker's with the publisher's authority": slices.Concat(block("CERTIFICATE", attacker, nil), block("CERTIFICATE", publisher.CA.Signer, nil)),
		"text before the publisher's":                   slices.Concat([]byte("hello\n"), block("X", attacker, nil), block("CERTIFICATE", publisher, nil)),
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			// The bundle is the root key; the attacker signs.
			w.Parties["root"] = &party{Keys: []*signer{attacker.Listed(data.ECDSAx509Key, bundle)}, Threshold: 1}
			w.PublishRoot(w.Parties["root"].Keys...)
			w.Sign("targets", "latest", 66)
			w.Publish()
			listed := attacker.Listed(data.ECDSAx509Key, bundle)
			for _, pins := range []func(*notary.Options){
				pinnedAs(notary.RootKeys, publisher), pinnedAs(notary.CertIDs, publisher), pinnedAs(notary.CA, publisher),
				pinnedAs(notary.RootKeys, publisher.CA.Signer), pinnedAs(notary.CertIDs, publisher.CA.Signer),
			} {
				_, err := w.fetch(w.source(pins), nil)
				wantClass(t, err, trustcache.ErrMalicious)
			}
			if _, err := w.fetch(w.source(pinnedAs(notary.CertIDs, listed)), nil); err == nil && !strings.HasPrefix(name, "the attacker's with") {
				t.Error("a bundle with two readings is believed where it is pinned")
			}

			// And as the key of a delegation, whose signer would be named.
			w = newWorld(t)
			w.Delegate("targets/alice")
			w.Parties["targets/alice"].Keys = []*signer{attacker.Listed(data.ECDSAx509Key, bundle)}
			w.Sign("targets", "latest", 1)
			w.Sign("targets/alice", "latest", 1)
			w.Publish()
			snap := w.verified(w.source(), nil)
			for _, e := range snap.Evidence() {
				if slices.Contains(e.KeyIDs, publisher.Canonical()) {
					t.Errorf("%s counts as signed by the publisher", e.Role)
				}
			}
		})
	}
}

func TestAKeyIsNotWhatItsListSays(t *testing.T) {
	a, b := newSigner(t), newSigner(t)
	w := newWorld(t)
	w.Delegate(releases)
	w.Sign(releases, "latest", 1)
	// The keys of a and b change places under their IDs.
	w.Parties[releases].Keys, w.Parties[releases].Hands = []*signer{a}, []*signer{b}
	w.Edit["targets"] = func(p []byte) []byte {
		was := data.NewPublicKey(data.ECDSAKey, a.Public.Public())
		becomes := data.NewPublicKey(data.ECDSAKey, b.Public.Public())
		return bytes.Replace(p, jsonOf(t, was.Public()), jsonOf(t, becomes.Public()), 1)
	}
	w.Spoil[releases] = func(file []byte) []byte {
		return bytes.Replace(file, []byte(b.Public.ID()), []byte(a.Public.ID()), 1)
	}
	w.Publish()
	_, err := w.fetch(w.source(), nil)
	wantClass(t, err, trustcache.ErrMalicious)
}

// TestOneKeyIsOneSignerHoweverItIsEncoded: a second encoding of a key is no
// second key. Where Go refuses to read it, it is no key at all.
func TestOneKeyIsOneSignerHoweverItIsEncoded(t *testing.T) {
	a := newSigner(t)
	var plain struct {
		Algorithm pkix.AlgorithmIdentifier
		Point     asn1.BitString
	}
	_, err := asn1.Unmarshal(a.Public.Public(), &plain)
	must(t, err)
	point := func(first byte, size int) []byte {
		other := plain
		other.Point.Bytes = bytes.Clone(plain.Point.Bytes[:size])
		other.Point.Bytes[0], other.Point.BitLength = first, 8*size
		return must2(asn1.Marshal(other))
	}
	parity := plain.Point.Bytes[64] & 1
	for name, der := range map[string][]byte{
		"a compressed point":    point(2|parity, 33),
		"a hybrid point":        point(6|parity, 65),
		"a byte after it":       append(bytes.Clone(a.Public.Public()), 0),
		"a length in long form": slices.Concat([]byte{0x30, 0x82, 0, a.Public.Public()[1]}, a.Public.Public()[2:]),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := signedBy(t, releases, 2, []*signer{a, a.Listed(data.ECDSAKey, der)}, nil)
			wantClass(t, err, trustcache.ErrMalicious)
		})
	}
}
