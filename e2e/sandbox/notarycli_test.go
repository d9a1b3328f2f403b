package sandbox

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"path/filepath"
	"regexp"
	"sort"
	"strings"
	"testing"
	"time"
)

// notaryCLI is the real notary command with its own directory of keys.
func notaryCLI(t *testing.T, ca *CA, server *TrustServer) tool {
	t.Helper()
	dir := t.TempDir()
	return tool{
		path: needTool(t, "notary"),
		args: []string{"-d", filepath.Join(dir, "trust"), "-s", server.URL(), "--tlscacert", writeFile(t, filepath.Join(dir, "ca.pem"), ca.PEM())},
		env: []string{
			"NOTARY_ROOT_PASSPHRASE=rootrootroot", "NOTARY_TARGETS_PASSPHRASE=targetstargets",
			"NOTARY_SNAPSHOT_PASSPHRASE=snapshotsnapshot", "NOTARY_DELEGATION_PASSPHRASE=delegation",
		},
	}
}

// signerKey writes a key and a certificate for it, as a signer would make them
// with openssl.
func signerKey(t *testing.T) (keyFile, certFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: testGUN},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(365 * 24 * time.Hour),
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	must(t, err)
	der, err := x509.MarshalECPrivateKey(key)
	must(t, err)
	dir := t.TempDir()
	keyFile = writeFile(t, filepath.Join(dir, "key.pem"), pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}))
	certFile = writeFile(t, filepath.Join(dir, "cert.pem"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}))
	return keyFile, certFile
}

var listedTag = regexp.MustCompile(`(?m)^(\S+)\s+([0-9a-f]{64})\s+(\d+)\s+(targets\S*)`)

// listed is what "notary list" shows, as "tag role", sorted.
func listed(t *testing.T, notary tool) string {
	t.Helper()
	var lines []string
	for _, match := range listedTag.FindAllStringSubmatch(notary.run(t, "list", testGUN), -1) {
		lines = append(lines, match[1]+" "+match[4])
	}
	sort.Strings(lines)
	return strings.Join(lines, ", ")
}

func TestNotaryCLI(t *testing.T) {
	ca := newCA(t)
	server := startTrustServer(t, TrustServerOptions{CA: ca})
	notary := notaryCLI(t, ca, server)
	expect := func(step, want string) {
		t.Helper()
		if got := listed(t, notary); got != want {
			t.Errorf("%s: got %q, want %q", step, got, want)
		}
	}

	notary.run(t, "init", "-p", testGUN)
	notary.run(t, "addhash", "-p", testGUN, "1.0", "10", "--sha256", digestA)
	expect("addhash", "1.0 targets")

	keyFile, certFile := signerKey(t)
	notary.run(t, "key", "import", keyFile, "--role", "targets/releases")
	notary.run(t, "delegation", "add", "-p", testGUN, "targets/releases", certFile, "--all-paths")
	notary.run(t, "addhash", "-p", testGUN, "2.0", "10", "--sha256", digestA, "-r", "targets/releases")
	expect("addhash into a delegation", "1.0 targets, 2.0 targets/releases")
	if out := notary.run(t, "delegation", "list", testGUN); !strings.Contains(out, "targets/releases") {
		t.Errorf("delegation list: got %s", out)
	}

	for _, rotation := range [][]string{{"targets"}, {"snapshot", "-r"}, {"snapshot"}, {"snapshot", "-r"}, {"timestamp", "-r"}, {"root"}} {
		if out := notary.run(t, append([]string{"key", "rotate", testGUN}, rotation...)...); !strings.Contains(out, "Successfully rotated") {
			t.Errorf("key rotate %s: got %s", strings.Join(rotation, " "), out)
		}
		expect("key rotate "+strings.Join(rotation, " "), "1.0 targets, 2.0 targets/releases")
		notary.run(t, "addhash", "-p", testGUN, "rotated", "10", "--sha256", digestA)
		notary.run(t, "remove", "-p", testGUN, "rotated")
	}
	if out := notary.run(t, "lookup", testGUN, "2.0"); !strings.Contains(out, "2.0 sha256:"+digestA+" 10") {
		t.Errorf("lookup: got %s", out)
	}
	notary.run(t, "remove", "-p", testGUN, "2.0", "-r", "targets/releases")
	expect("remove", "1.0 targets")

	newcomer := notaryCLI(t, ca, server)
	if got := listed(t, newcomer); got != "1.0 targets" {
		t.Errorf("a client that saw none of this: got %q", got)
	}
	notary.run(t, "delegation", "remove", "-p", testGUN, "targets/releases", "-y")
	expect("delegation remove", "1.0 targets")
	notary.run(t, "delete", testGUN, "--remote")
	// Those who know the repository go on with what they have cached.
	if out, err := notaryCLI(t, ca, server).try(t, "list", testGUN); err == nil {
		t.Errorf("list after delete: got %s", out)
	}
}

func TestNotaryCLIReadsWhatThePublisherSigned(t *testing.T) {
	w := newTrustWorld(t, TrustServerOptions{})
	must(t, w.publisher.AddDelegation(testGUN, "targets/releases"))
	must(t, w.publisher.Sign(testGUN, "1.0", digestA, 10, "targets/releases"))
	must(t, w.publisher.RotateKey(testGUN, "root", false))
	notary := notaryCLI(t, w.ca, w.server)
	if got, want := listed(t, notary), "1.0 targets/releases"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
