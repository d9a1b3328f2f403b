package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// pinKinds are a repository whose root certificate an authority has issued, a
// pin of every kind that is right for it, and one that is not.
type pinKinds struct {
	*world
	image        pushed
	right, wrong struct{ key, cert, ca string }
}

func newPinKinds(t *testing.T) *pinKinds {
	t.Helper()
	p := &pinKinds{world: ownWorld(t, registryOptions{})}
	signing, other := must(newAuthority(t.TempDir()))(t), must(newAuthority(t.TempDir()))(t)
	gun := p.gun("team/app")
	if err := p.beginUnder(signing, gun); err != nil {
		t.Fatal(err)
	}
	p.image = p.mustSay(t, "team/app", "signed", "words")
	p.mustSign(t, "team/app", "signed", p.image)
	p.right.key, p.right.cert, p.right.ca = must(p.rootKey())(t), must(p.certID(gun))(t), signing.file
	p.wrong.key, p.wrong.cert, p.wrong.ca = p.right.cert, p.right.key, other.file // each ID in the other's list
	return p
}

// covering is a pin for this world's repository alone, and for all.
func covering(s *settings, value string) (exact, wild map[string]string) {
	return map[string]string{s.name + "/team/app": value}, map[string]string{s.name + "/*": value}
}

// TestEveryKindOfPin against a root that the notary client has made, with its
// gate in front: what is pinned right is served, what is pinned wrong is not,
// and one kind decides.
func TestEveryKindOfPin(t *testing.T) {
	t.Parallel()
	p := newPinKinds(t)
	for _, test := range []struct {
		name   string
		pin    func(*settings)
		refuse string // the kind of pin that decides against the root; "" where it is served
	}{
		{"the key", func(s *settings) { s.rootKeys, _ = covering(s, p.right.key) }, ""},
		{"another key", func(s *settings) { s.rootKeys, _ = covering(s, p.wrong.key) }, "root-keys"},
		{"the certificate", func(s *settings) { s.certIDs, _ = covering(s, p.right.cert) }, ""},
		{"another certificate", func(s *settings) { s.certIDs, _ = covering(s, p.wrong.cert) }, "cert-ids"},
		{"its authority", func(s *settings) { s.caFiles, _ = covering(s, p.right.ca) }, ""},
		{"another authority of the same name", func(s *settings) { s.caFiles, _ = covering(s, p.wrong.ca) }, "ca"},
		{"a wrong certificate for all before the right key", func(s *settings) {
			s.rootKeys, _ = covering(s, p.right.key)
			_, s.certIDs = covering(s, p.wrong.cert)
		}, "cert-ids"},
		{"the right certificate for all before a wrong key", func(s *settings) {
			s.rootKeys, _ = covering(s, p.wrong.key)
			_, s.certIDs = covering(s, p.right.cert)
		}, ""},
		{"a wrong key for all before the right authority", func(s *settings) {
			s.caFiles, _ = covering(s, p.right.ca)
			_, s.rootKeys = covering(s, p.wrong.key)
		}, "root-keys"},
		{"the right key for all before a wrong authority, first use on", func(s *settings) {
			s.caFiles, _ = covering(s, p.wrong.ca)
			_, s.rootKeys = covering(s, p.right.key)
			s.firstUse = true
		}, ""},
		{"a wrong authority, first use on", func(s *settings) {
			_, s.caFiles = covering(s, p.wrong.ca)
			s.firstUse = true
		}, "ca"},
	} {
		t.Run(test.name, func(t *testing.T) {
			p.mustOpen(t, func(s *settings) {
				s.rootKeys = nil
				test.pin(s)
			})
			defer p.stop(20 * time.Second)
			a := p.manifest(t, "team/app", "signed")
			if test.refuse == "" {
				wantServed(t, a, p.image)
				return
			}
			wantRefused(t, a, 503, "UNAVAILABLE", "potential malicious behavior: ")
			wantRetryAfter(t, a)
			if !strings.Contains(a.message(), "trust-pinning."+test.refuse+" ") {
				t.Errorf("says nothing of %s: %q", test.refuse, a.message())
			}
		})
	}
}

// TestAnAuthoritysFileIsReadAtAReload, the configuration being the same.
func TestAnAuthoritysFileIsReadAtAReload(t *testing.T) {
	p := newPinKinds(t)
	file := filepath.Join(p.dir, "pinned.pem")
	replace := func(with string) { copyFile(t, file, with) }
	replace(p.right.ca)
	p.mustOpen(t, func(s *settings) { s.rootKeys, s.caFiles = nil, map[string]string{s.name + "/*": file} })
	wantServed(t, p.manifest(t, "team/app", "signed"), p.image)
	replace(p.wrong.ca)
	p.hangup(t, "configuration reloaded")
	wantRefused(t, p.manifest(t, "team/app", "signed"), 503, "UNAVAILABLE", "potential malicious behavior: ")
	replace(p.right.ca)
	p.hangup(t, "configuration reloaded")
	wantServed(t, p.manifest(t, "team/app", "signed"), p.image)
	if err := os.WriteFile(file, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	p.hangup(t, "reload refused")
	wantServed(t, p.manifest(t, "team/app", "signed"), p.image)
}

// copyFile makes file hold what another one holds.
func copyFile(t *testing.T, file, from string) {
	t.Helper()
	if err := os.WriteFile(file, must(os.ReadFile(from))(t), 0o600); err != nil {
		t.Fatal(err)
	}
}
