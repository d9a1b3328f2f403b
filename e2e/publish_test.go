package e2e

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// dockerUser is a docker CLI of its own configuration that trusts the world's CA
// for content trust and knows no trust server.
func dockerUser(t *testing.T, w *world, d *dockerDaemon) (trusted func(arguments ...string) (string, error)) {
	t.Helper()
	config := t.TempDir()
	trust := filepath.Join(config, "tls", w.listen)
	if err := os.MkdirAll(trust, 0o700); err != nil {
		t.Fatal(err)
	}
	ca := must(os.ReadFile(w.ca.file))(t)
	if err := os.WriteFile(filepath.Join(trust, "ca.crt"), ca, 0o600); err != nil {
		t.Fatal(err)
	}
	env := []string{
		"DOCKER_HOST=unix://" + d.socket, "DOCKER_CONFIG=" + config, "DOCKER_CONTENT_TRUST=1",
		"DOCKER_CONTENT_TRUST_ROOT_PASSPHRASE=" + passphrase, "DOCKER_CONTENT_TRUST_REPOSITORY_PASSPHRASE=" + passphrase,
	}
	return func(arguments ...string) (string, error) {
		return run(env, append([]string{"docker"}, arguments...)...)
	}
}

// TestDockerContentTrustKnowsNoAddressButSealgate from the first push to
// a revocation. The CLI makes a root key of its own, so first use decides.
func TestDockerContentTrustKnowsNoAddressButSealgate(t *testing.T) {
	d := mustDockerd(t)
	w := openToWrite(t, func(s *settings) { s.rootKeys, s.firstUse = nil, true })
	docker := dockerUser(t, w, d)
	step := func(arguments ...string) string {
		t.Helper()
		out, err := docker(arguments...)
		if err != nil {
			t.Fatalf("docker %s: %v\n%s", strings.Join(arguments, " "), err, w.tail())
		}
		return out
	}
	const repository = "team/trusted"
	first, second := w.tag(repository, "1.0"), w.tag(repository, "2.0")
	for _, ref := range []string{first, second} {
		step("load", "--input", archive(t, ref, "words of "+ref))
		defer d.forget(ref)
	}

	step("push", first) // which makes the repository's trust data
	wantServed(t, w.manifest(t, repository, "1.0"), w.stored(t, repository, "1.0"))
	d.forget(first)
	step("pull", first)
	if out, err := docker("pull", second); err == nil {
		t.Fatalf("docker pulled an unsigned tag:\n%s", out)
	}

	step("trust", "key", "generate", "alice", "--dir", t.TempDir())
	keys := t.TempDir()
	cert, key, err := signerPair(keys, "bob")
	if err != nil {
		t.Fatal(err)
	}
	step("trust", "key", "load", key, "--name", "bob")
	step("trust", "signer", "add", "--key", cert, "bob", w.gun(repository))
	step("trust", "sign", second) // pushes it, too
	wantServed(t, w.manifest(t, repository, "2.0"), w.stored(t, repository, "2.0"))
	if out := step("trust", "inspect", "--pretty", w.gun(repository)); !strings.Contains(out, "bob") {
		t.Errorf("docker trust inspect shows no signer:\n%s", out)
	}

	step("trust", "revoke", "--yes", second)
	wantRefused(t, w.manifest(t, repository, "2.0"), http.StatusNotFound, "MANIFEST_UNKNOWN", `no trust data for tag "2.0"`)
	step("trust", "signer", "remove", "--force", "bob", w.gun(repository))
}

func TestTheNotaryCommandKnowsNoAddressButSealgate(t *testing.T) {
	w := openToWrite(t, nil)
	image := w.mustSay(t, "team/app", "1.0", "words by notary")
	w.mustBegin(t, "team/app")
	w.mustSign(t, "team/app", "1.0", image)
	wantServed(t, w.manifest(t, "team/app", "1.0"), image)

	for _, role := range []string{releases, "targets/releases/nested"} {
		if err := w.appoint(w.gun("team/app"), role); err != nil {
			t.Fatal(err)
		}
	}
	moved := w.mustSay(t, "team/app", "1.0", "other words by notary")
	w.mustSign(t, "team/app", "1.0", moved, releases)
	wantServed(t, w.manifest(t, "team/app", "1.0"), moved)
	w.mustSign(t, "team/app", "2.0", moved, "targets/releases/nested")
	if err := w.rotate(w.gun("team/app"), "snapshot", "-r"); err != nil { // POST snapshot.key
		t.Fatal(err)
	}
	wantServed(t, w.manifest(t, "team/app", "1.0"), moved)
	if err := w.revoke(w.gun("team/app"), "1.0", releases); err != nil {
		t.Fatal(err)
	}
	wantServed(t, w.manifest(t, "team/app", "1.0"), image) // as targets has it

	if _, err := w.cli("delete", w.gun("team/app"), "--remote"); err != nil {
		t.Fatal(err)
	}
	wantRefused(t, w.manifest(t, "team/app", "1.0"), http.StatusServiceUnavailable, "UNAVAILABLE", "trust data disappeared")
}

func TestWhatIsNotOpenedStaysClosed(t *testing.T) {
	w := openToWrite(t, func(s *settings) { s.more, s.writes = "", false })
	if err := w.begin(w.gun("team/app")); err == nil {
		t.Error("trust data was published")
	}
	if err := pushers[3].push(t, w, archive(t, w.tag("team/app", "1.0"), "words"), w.tag("team/app", "1.0")); err == nil {
		t.Error("an image was pushed")
	}
}
