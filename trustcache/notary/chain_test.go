package notary_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sealgate/sealgate/trustcache"
	"github.com/sealgate/sealgate/trustcache/notary"
	"github.com/theupdateframework/notary/tuf/utils"
)

// underRoot is a world whose root is signed by that key, with "latest" in it.
func underRoot(t *testing.T, keys ...*signer) *world {
	t.Helper()
	w := newWorld(t)
	w.Version["root"] = 0
	w.Parties["root"].Keys = keys
	w.PublishRoot()
	w.Sign("targets", "latest", 1)
	w.Publish()
	return w
}

// TestWhichCertificatesLeadToAPinnedAuthority: a certificate of a root key, and
// the authority that is pinned.
func TestWhichCertificatesLeadToAPinnedAuthority(t *testing.T) {
	now := newWorld(t).Now()
	from, until := now.AddDate(0, -1, 0), now.AddDate(0, 1, 0)
	const gun = testGUN
	ca, other := newAuthority(t, now), newAuthority(t, now)
	issuing := ca.Under(t, from, until)
	deep := issuing.Under(t, from, until)
	key := newSigner(t)
	leaf := issuing.Issue(t, key, gun, from, until)
	ofOther := other.Issue(t, key, gun, from, until)
	for _, c := range []struct {
		name string
		root *signer
		pin  *authority
		want error
	}{
		{"directly", ca.Issue(t, key, gun, from, until), ca, nil},
		{"through one that comes with it", leaf, ca, nil},
		{"through two that come with it", deep.Issue(t, key, gun, from, until), ca, nil},
		{"through two in another order", key.Bundled(t, slices.Concat([]*x509.Certificate{certificateOf(t, deep.Issue(t, key, gun, from, until))}, []*x509.Certificate{issuing.Cert, deep.Cert})...), ca, nil},
		{"with authorities that have nothing to do with it", key.Bundled(t, certificateOf(t, leaf), other.Cert, issuing.Cert), ca, nil},
		{"to the issuing authority alone", key.Bundled(t, certificateOf(t, leaf)), issuing, nil},
		{"through one that does not come with it", key.Bundled(t, certificateOf(t, leaf)), ca, trustcache.ErrMalicious},
		{"through two of which one does not come with it", key.Bundled(t, certificateOf(t, deep.Issue(t, key, gun, from, until)), issuing.Cert), ca, trustcache.ErrMalicious},
		{"to another authority of the same name", ofOther, ca, trustcache.ErrMalicious},
		{"to another, with the pinned one beside it", key.Bundled(t, certificateOf(t, ofOther), ca.Cert), ca, trustcache.ErrMalicious},
		{"to another, which comes with it", key.Bundled(t, certificateOf(t, ofOther), other.Cert), ca, trustcache.ErrMalicious},
		{"its own", key.Certified(t, gun, from, until), ca, trustcache.ErrMalicious},
		{"with more beside it than are looked at", key.Bundled(t, slices.Concat([]*x509.Certificate{certificateOf(t, leaf)}, slices.Repeat([]*x509.Certificate{issuing.Cert}, 9))...), ca, trustcache.ErrMalicious},
		{"of another key of the same issuer", newSigner(t).Listed(leaf.Public.Algorithm(), leaf.Public.Public()), ca, trustcache.ErrMalicious},
		{"for another repository", issuing.Issue(t, key, gun+"2", from, until), ca, trustcache.ErrMalicious},
		{"an issuer that is no authority", notAnAuthority(t, ca, now).Issue(t, key, gun, from, until), ca, trustcache.ErrMalicious},
		{"it has expired", ca.Issue(t, key, gun, from, now), ca, trustcache.ErrExpired},
		{"the one between has expired", ca.Under(t, from, now.Add(-time.Second)).Issue(t, key, gun, from, until), ca, trustcache.ErrExpired},
		{"the one between is not yet valid", ca.Under(t, now.Add(time.Hour), until).Issue(t, key, gun, from, until), ca, trustcache.ErrMalicious},
		{"it is valid in an hour", ca.Issue(t, key, gun, now.Add(time.Hour), until), ca, nil}, // as the clocks of two machines may differ
	} {
		t.Run(c.name, func(t *testing.T) {
			w := underRoot(t, c.root)
			s := w.source(pinnedAs(notary.CA, c.pin.Signer))
			snap, err := w.fetch(s, nil)
			if c.want != nil {
				wantClass(t, err, c.want)
				return
			}
			must(t, err)
			wantDigest(t, snap, "latest", 1)
			wantDigest(t, w.verified(s, snap), "latest", 1)
		})
	}
}

// notAnAuthority signs certificates with one that says it may not.
func notAnAuthority(t *testing.T, ca *authority, now time.Time) *authority {
	leaf := ca.Issue(t, newSigner(t), "CA", now.AddDate(-1, 0, 0), now.AddDate(1, 0, 0))
	return &authority{Signer: leaf, Cert: certificateOf(t, leaf), Root: ca, Line: []*x509.Certificate{certificateOf(t, leaf)}}
}

// TestWithoutAuthoritiesTheSystemsDoNotCount: the TLS library takes those of
// the system where it is given none.
func TestWithoutAuthoritiesTheSystemsDoNotCount(t *testing.T) {
	w := newWorld(t)
	ca := w.Parties["root"].Keys[0].CA
	file := t.TempDir() + "/ca.pem"
	must(t, os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.Cert.Raw}), 0o600))
	t.Setenv("SSL_CERT_FILE", file)
	w.Publish()
	for name, p := range map[string]notary.Pins{"nil": {Kind: notary.CA}, "none": {Kind: notary.CA, Roots: x509.NewCertPool()}} {
		t.Run(name, func(t *testing.T) {
			_, err := w.fetch(w.source(pinning(p)), nil)
			wantClass(t, err, trustcache.ErrMalicious)
		})
	}
}

// TestAPinnedCertificateVouchesWhileItIsValid: of the certificate, and of all
// that lead to a pinned authority, the first that expires ends it, for what is
// remembered as for a first root; and for roots that descend from it, unless
// they satisfy the pins themselves.
func TestAPinnedCertificateVouchesWhileItIsValid(t *testing.T) {
	for _, c := range []struct {
		name  string
		kind  notary.PinKind
		chain [3]time.Duration // root certificate, the one between, the authority
	}{
		{"a certificate", notary.CertIDs, [3]time.Duration{time.Hour, 2 * time.Hour, 2 * time.Hour}},
		{"a certificate that outlives its authorities", notary.CertIDs, [3]time.Duration{time.Hour, time.Minute, time.Minute}},
		{"a certificate of a pinned authority", notary.CA, [3]time.Duration{time.Hour, 2 * time.Hour, 2 * time.Hour}},
		{"an authority between", notary.CA, [3]time.Duration{2 * time.Hour, time.Hour, 2 * time.Hour}},
		{"a pinned authority", notary.CA, [3]time.Duration{2 * time.Hour, 2 * time.Hour, time.Hour}},
	} {
		t.Run(c.name, func(t *testing.T) {
			now := newWorld(t).Now()
			from := now.AddDate(0, -1, 0)
			ca := &authority{Signer: newSigner(t).Authority(t, "CA", from, now.Add(c.chain[2]))}
			key := ca.First(t).Under(t, from, now.Add(c.chain[1])).Issue(t, newSigner(t), testGUN, from, now.Add(c.chain[0]))
			w := underRoot(t, key)
			kept := newStore()
			pins := pinnedAs(c.kind, key)
			s := w.source(pins, keptIn(kept))
			snap := w.verified(s, nil)
			ends := now.Add(time.Hour)
			if at, role := snap.Expires(); !at.Equal(ends) || role != "root" {
				t.Errorf("stands until %s (%s), expected %s", at, role, ends)
			}
			// The next root is of keys that nothing pins, and good for years.
			w.Rotate("root", newRootSigner(t, w.GUN, now))
			w.Sign("targets", "latest", 2)
			w.Publish()
			snap = w.verified(s, snap)
			if at, _ := snap.Expires(); !at.Equal(ends) {
				t.Errorf("the one that descends stands until %s, expected %s", at, ends)
			}
			w.Pass(time.Hour - time.Nanosecond)
			w.PublishTimestamp()
			w.verified(s, snap)
			if !s.Accepts(snap) {
				t.Error("not accepted before the end")
			}
			w.Pass(time.Nanosecond)
			w.PublishTimestamp()
			for _, prev := range []*trustcache.Snapshot{snap, nil} {
				_, err := w.fetch(s, prev)
				wantClass(t, err, trustcache.ErrExpired)
				for _, part := range []string{"trust-pinning." + string(c.kind), w.GUN, ends.Format(time.RFC3339)} {
					if !strings.Contains(err.Error(), part) {
						t.Errorf("%q says nothing of %q", err, part)
					}
				}
			}
			if s.Accepts(snap) {
				t.Error("accepted after the end")
			}
			renewed := w.source(pinnedAs(c.kind, w.Parties["root"].Keys[0]), keptIn(kept))
			wantDigest(t, w.verified(renewed, snap), "latest", 2)
		})
	}
}

// TestACertificateThatItsAuthorityRenewedVouches, although the one that was seen
// first has expired.
func TestACertificateThatItsAuthorityRenewedVouches(t *testing.T) {
	now := newWorld(t).Now()
	ca := newAuthority(t, now)
	first := ca.Issue(t, newSigner(t), testGUN, now.AddDate(0, -1, 0), now.Add(time.Hour))
	w := underRoot(t, first)
	s := w.source(pinnedAs(notary.CA, first))
	snap := w.verified(s, nil)
	w.Rotate("root", ca.Issue(t, newSigner(t), testGUN, now.AddDate(0, -1, 0), now.AddDate(1, 0, 0)))
	snap = w.verified(s, snap)
	w.Pass(time.Hour)
	w.PublishTimestamp()
	wantDigest(t, w.verified(s, snap), "latest", 1)
}

// TestAnotherCertificateOfThePinnedKeyDoesNotProlongIt: whoever has the key of
// a pinned certificate can make others for it.
func TestAnotherCertificateOfThePinnedKeyDoesNotProlongIt(t *testing.T) {
	for _, kind := range []notary.PinKind{notary.CertIDs, notary.CA} {
		t.Run(string(kind), func(t *testing.T) {
			now := newWorld(t).Now()
			old := newAuthority(t, now).Issue(t, newSigner(t), testGUN, now.AddDate(-1, 0, 0), now.Add(-time.Second))
			w := underRoot(t, old, old.Certified(t, testGUN, now.AddDate(-1, 0, 0), now.AddDate(1, 0, 0)))
			_, err := w.fetch(w.source(pinnedAs(kind, old)), nil)
			wantClass(t, err, trustcache.ErrExpired)
		})
	}
}

// TestASnapshotIsNotAcceptedForLongerThanItsCertificates: its end is not moved,
// so a pin that ends before it has to be judged by an update.
func TestASnapshotIsNotAcceptedForLongerThanItsCertificates(t *testing.T) {
	now := newWorld(t).Now()
	ca := newAuthority(t, now)
	brief := ca.Under(t, now.AddDate(0, -1, 0), now.Add(time.Hour))
	key := brief.Issue(t, newSigner(t), testGUN, now.AddDate(0, -1, 0), now.AddDate(5, 0, 0))
	w := underRoot(t, key)
	kept := newStore()
	snap := w.verified(w.source(pinnedAs(notary.RootKeys, key), keptIn(kept)), nil)
	if s := w.source(pinnedAs(notary.CA, key), keptIn(kept)); s.Accepts(snap) {
		t.Error("accepted with an authority that expires first")
	}
	if s := w.source(pinnedAs(notary.CertIDs, key), keptIn(kept)); !s.Accepts(snap) {
		t.Error("not accepted with its certificate")
	}
}

// TestCertificatesOfASnapshotAreLookedUpInTheStore: where it has forgotten them
// or has others, nothing is accepted.
func TestCertificatesOfASnapshotAreLookedUpInTheStore(t *testing.T) {
	for _, kind := range []notary.PinKind{notary.CertIDs, notary.CA} {
		t.Run(string(kind), func(t *testing.T) {
			w, kept, a, _, c := rotatedTwice(t, kind)
			snap := w.verified(w.source(pinnedAs(kind, a), keptIn(kept)), nil)
			next := w.source(pinnedAs(kind, c), keptIn(kept))
			if !next.Accepts(snap) {
				t.Error("not accepted")
			}
			if w.source(pinnedAs(kind, c)).Accepts(snap) {
				t.Error("accepted without anything stored")
			}
			w.PublishRoot()
			w.Publish()
			w.verified(w.source(pinnedAs(kind, a), keptIn(kept)), nil)
			if next.Accepts(snap) {
				t.Error("accepted with a newer root stored")
			}
			state := *kept.state(t)
			state.Root = []byte("{")
			must(t, kept.Save(w.GUN, kept.state(t), &state))
			if next.Accepts(snap) {
				t.Error("accepted with nonsense stored")
			}
		})
	}
}

// TestAnUnchangedUpdateLooksAtNoCertificate while the pins stay what they are.
func TestAnUnchangedUpdateLooksAtNoCertificate(t *testing.T) {
	forEachKind(t, func(t *testing.T, kind notary.PinKind) {
		w := newWorld(t)
		w.Sign("targets", "latest", 1)
		w.Publish()
		first := w.Parties["root"].Keys[0]
		s := w.source(func(o *notary.Options) {
			o.Pins = func(string) notary.Pins { return pinsOf(kind, first) } // equal, and made anew each time
		})
		snap := w.verified(s, nil)
		w.Rotate("root", newRootSigner(t, w.GUN, w.Now()))
		snap = w.verified(s, snap)
		if n := testing.AllocsPerRun(10, func() { snap = w.verified(s, snap); w.Asked() }); n > 280 {
			t.Errorf("%v allocations", n)
		}
	})
}

// TestChainsTakeLittleTime: certificates made so that as many chains as possible
// have to be tried, none of which leads anywhere.
func TestChainsTakeLittleTime(t *testing.T) {
	now := newWorld(t).Now()
	from, until := now.AddDate(-1, 0, 0), now.AddDate(1, 0, 0)
	pin := newAuthority(t, now)
	// A mesh: each has signed every other, under one name.
	mesh := make([]*authority, 4)
	for i := range mesh {
		slow := must2(ecdsa.GenerateKey(elliptic.P384(), rand.Reader)) // whose signatures take long to check
		s := &signer{Private: must2(utils.ECDSAToPrivateKey(slow))}
		mesh[i] = (&authority{Signer: s.Authority(t, "CA", from, until)}).First(t)
	}
	var above []*x509.Certificate
	for _, by := range mesh {
		for _, s := range mesh {
			if by != s && len(above) < 8 {
				template, err := utils.NewCertificate("CA", from, until)
				must(t, err)
				template.IsCA, template.KeyUsage = true, x509.KeyUsageCertSign
				above = append(above, by.Certify(t, template, s.Signer))
			}
		}
	}
	look := func(keys int) time.Duration {
		root := make([]*signer, keys)
		for i := range root {
			leaf := mesh[i%len(mesh)].Issue(t, newSigner(t), testGUN, from, until)
			root[i] = leaf.Bundled(t, append([]*x509.Certificate{certificateOf(t, leaf)}, above...)...)
		}
		w := underRoot(t, root...)
		before := processorTime(t)
		_, err := w.fetch(w.source(pinnedAs(notary.CA, pin.Signer)), nil)
		wantClass(t, err, trustcache.ErrMalicious)
		return processorTime(t) - before
	}
	if few, many := look(8), look(60); few > 20*time.Second || many > 3*few {
		t.Errorf("%s for 8 certificates, %s for 60", few, many)
	}
}

// TestAnAuthorityWithAHugeKeyTakesLittleTime: checking one signature with it
// would take seconds.
func TestAnAuthorityWithAHugeKeyTakesLittleTime(t *testing.T) {
	const bits = 400_000
	now := newWorld(t).Now()
	from, until := now.AddDate(-1, 0, 0), now.AddDate(1, 0, 0)
	pin := newAuthority(t, now)
	template, err := utils.NewCertificate("CA", from, until)
	must(t, err)
	template.IsCA, template.KeyUsage = true, x509.KeyUsageCertSign
	public, err := x509.ParsePKIXPublicKey(hugeRSA(t, bits))
	must(t, err)
	huge := must2(x509.CreateCertificate(rand.Reader, template, pin.Cert, public, pin.Private.CryptoSigner()))
	small := must2(rsa.GenerateKey(rand.Reader, 2048))
	key := newSigner(t)
	leaf, err := utils.NewCertificate(testGUN, from, until)
	must(t, err)
	leaf.SignatureAlgorithm = x509.SHA256WithRSA // of a key that could not have made one of that length
	var cert struct {
		Signed    asn1.RawValue
		Algorithm pkix.AlgorithmIdentifier
		Signature asn1.BitString
	}
	_, err = asn1.Unmarshal(must2(x509.CreateCertificate(rand.Reader, leaf, template, key.Private.CryptoSigner().Public(), small)), &cert)
	must(t, err)
	cert.Signature = asn1.BitString{Bytes: bytes.Repeat([]byte{1}, bits/8), BitLength: bits}
	w := underRoot(t, key.Bundled(t, must2(x509.ParseCertificate(must2(asn1.Marshal(cert)))), must2(x509.ParseCertificate(huge))))
	before := processorTime(t)
	_, err = w.fetch(w.source(pinnedAs(notary.CA, pin.Signer)), nil)
	wantClass(t, err, trustcache.ErrMalicious)
	if took := processorTime(t) - before; took > time.Second {
		t.Errorf("took %s", took)
	}
}
