package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestContentTrustWithTokensOfOneService: registry and Notary want tokens of the
// same service, and Sealgate reads trust data as a user of its own. Docker's
// content trust client, with no trust server set, gets the trust data that its
// user may see, and nobody else does.
func TestContentTrustWithTokensOfOneService(t *testing.T) {
	w, image := tokenWorld(t, registryOptions{notaryTokens: true})
	password := filepath.Join(w.dir, "password")
	if err := os.WriteFile(password, []byte(alice.password+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	w.mustOpen(t, func(s *settings) {
		s.more += "    realms: [localhost]\n"
		s.notaryMore = ", credentials: {username: " + alice.name + ", password-file: " + password + "}"
	})
	d := mustDockerd(t)
	docker := func(user *registryUser) func(arguments ...string) (string, error) {
		config := t.TempDir()
		if err := trustByCLI(config, w); err != nil {
			t.Fatal(err)
		}
		env := append(trusting(w), "DOCKER_HOST=unix://"+d.socket, "DOCKER_CONFIG="+config, "DOCKER_CONTENT_TRUST=1")
		if user != nil {
			mustRun(t, env, "docker", "login", "--username", user.name, "--password", user.password, w.listen)
		}
		return func(arguments ...string) (string, error) {
			return run(env, append([]string{"docker"}, arguments...)...)
		}
	}
	signed, unsigned := w.tag("team/app", "signed"), w.tag("team/app", "unsigned")
	defer d.forget(signed)
	alices := docker(&alice)
	if out, err := alices("pull", signed); err != nil || !strings.Contains(out, image.digest) {
		t.Errorf("alice does not get what is signed: %v\n%s", err, out)
	}
	if _, err := alices("pull", unsigned); err == nil || !strings.Contains(err.Error(), "No valid trust data for unsigned") {
		t.Errorf("alice and what is unsigned: %v", err)
	}
	if out, err := alices("trust", "inspect", w.gun("team/app")); err != nil || !strings.Contains(out, `"signed"`) {
		t.Errorf("alice does not see who signed: %v\n%s", err, out)
	}
	for name, user := range map[string]*registryUser{"bob": &bob, "nobody": nil} {
		as := docker(user)
		if _, err := as("pull", signed); err == nil {
			t.Errorf("%s gets what is alice's", name)
		}
		if out, err := as("trust", "inspect", w.gun("team/app")); err == nil && strings.Contains(out, `"signed"`) {
			t.Errorf("%s sees what is signed in what is alice's:\n%s", name, out)
		}
	}
	if out, err := docker(nil)("pull", w.tag("public/app", "signed")); err != nil || !strings.Contains(out, image.digest) {
		t.Errorf("nobody does not get what is everybody's: %v\n%s", err, out)
	}
	d.forget(w.tag("public/app", "signed"))
	if log := w.gate.output(); strings.Contains(log, alice.password) || strings.Contains(log, bob.password) {
		t.Error("a password is in the log")
	}
}
