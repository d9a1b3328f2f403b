package main

import (
	"crypto/x509"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sealgate/sealgate/config"
	"github.com/sealgate/sealgate/e2e/sandbox"
	"github.com/sealgate/sealgate/trustcache/notary"
)

// newCAFile writes a new authority to a file, and returns it also as a pool.
func newCAFile(t *testing.T) (path string, pool *x509.CertPool) {
	t.Helper()
	ca, err := sandbox.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	pool = x509.NewCertPool()
	pool.AppendCertsFromPEM(ca.PEM())
	return file(t, "ca.pem", string(ca.PEM())), pool
}

func TestOneKindOfPinDecides(t *testing.T) {
	wide, wideRoots := newCAFile(t)
	narrow, narrowRoots := newCAFile(t)
	find, err := newPins(config.TrustPinning{
		CertIDs:  map[string][]string{"r/a/*": {"cert a/*"}, "r/a/b/c": {"cert a/b/c"}},
		RootKeys: map[string][]string{"r/a/x": {"key a/x"}, "r/b/x": {"key b/x"}, "r/b/*": {"key b/*", "another"}, "r/b/y/*": {"key b/y/*"}},
		CA:       map[string]string{"r/*": wide, "r/a/b": narrow, "r/b/x": narrow, "r/c": narrow},
	})
	if err != nil {
		t.Fatal(err)
	}
	certs := func(id string) notary.Pins { return notary.Pins{Kind: notary.CertIDs, IDs: []string{id}} }
	keys := func(ids ...string) notary.Pins { return notary.Pins{Kind: notary.RootKeys, IDs: ids} }
	for _, test := range []struct {
		name, gun string
		want      notary.Pins
	}{
		{"the exact name of a certificate", "r/a/b/c", certs("cert a/b/c")},
		{"a wildcard of certificates", "r/a/z", certs("cert a/*")},
		{"a wildcard of certificates before a key's exact name", "r/a/x", certs("cert a/*")},
		{"a wildcard of certificates before an authority's exact name", "r/a/b", certs("cert a/*")},
		{"the exact name of a key before its wildcard", "r/b/x", keys("key b/x")},
		{"the longest wildcard of keys", "r/b/y/z", keys("key b/y/*")},
		{"a wildcard of keys, all of them", "r/b/z", keys("key b/*", "another")},
		{"a wildcard of authorities", "r/d", notary.Pins{Kind: notary.CA, Roots: wideRoots}},
		{"the exact name of an authority before its wildcard", "r/c", notary.Pins{Kind: notary.CA, Roots: narrowRoots}},
		{"a component that only begins as a pattern does", "r/ab", notary.Pins{Kind: notary.CA, Roots: wideRoots}},
		{"no pin", "s/a/b", notary.Pins{}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := find(test.gun)
			if got.Kind != test.want.Kind || !slices.Equal(got.IDs, test.want.IDs) || !got.Roots.Equal(test.want.Roots) {
				t.Errorf("got %+v, want %+v", got, test.want)
			}
		})
	}
}

// TestABadFileOfAuthoritiesFailsTheReload as a whole, also where it was good
// when the configuration was checked.
func TestABadFileOfAuthoritiesFailsTheReload(t *testing.T) {
	inst, load := newStoryInstance(t)
	good, _ := newCAFile(t)
	next := load("mode: enforced", "mode: enforced\n  max-stale: 1h", "root-keys: {", "ca: {"+`"`+storyName+`/elsewhere": "`+good+`"}`+"\n    root-keys: {")
	if err := os.WriteFile(good, []byte("nothing"), 0o600); err != nil {
		t.Fatal(err)
	}
	before := inst.current.Load()
	err := reload(inst, next)
	if err == nil || inst.current.Load() != before {
		t.Fatalf("reloaded: %v", err)
	}
	for _, part := range []string{"content-trust.trust-pinning.ca[", storyName + "/elsewhere", filepath.Base(good)} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q says nothing of %q", err, part)
		}
	}
	if w := get(inst, signedTag); w.Code != 200 {
		t.Errorf("got %d %s", w.Code, w.Body)
	}
}
