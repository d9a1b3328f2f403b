package e2e

import (
	"net/http"
	"testing"
)

// privateWorld has a registry that serves alice only, and one signed and one
// unsigned tag.
func privateWorld(t *testing.T) (*world, pushed) {
	t.Helper()
	w, image := oneSignedTag(t, registryOptions{user: &alice})
	w.mustSay(t, "team/app", "unsigned", "unsigned words")
	w.mustOpen(t, nil)
	return w, image
}

func TestStrangersGetTheRegistrysChallengeWhateverIsSigned(t *testing.T) {
	w, image := privateWorld(t)
	wantServed(t, w.do(t, request{path: "/v2/team/app/manifests/signed", user: &alice}), image) // warm
	wrong := registryUser{name: "alice", password: "guessed"}
	for _, user := range []*registryUser{nil, &wrong} {
		for _, path := range []string{
			"/v2/", "/v2/team/app/manifests/signed", "/v2/team/app/manifests/unsigned", "/v2/team/none/manifests/any",
			"/v2/team/app/tags/list", "/v2/team/none/tags/list", "/v2/team/app/manifests/" + image.digest,
		} {
			a := w.do(t, request{path: path, user: user})
			if a.status != http.StatusUnauthorized || a.header.Get("WWW-Authenticate") == "" {
				t.Errorf("%s: want 401 with a challenge, got %v", path, a)
			}
		}
		signed := w.do(t, request{path: "/v2/team/app/manifests/signed", user: user})
		unsigned := w.do(t, request{path: "/v2/team/app/manifests/unsigned", user: user})
		if signed.body != unsigned.body {
			t.Errorf("the body tells signed from unsigned:\n%s\n%s", signed.body, unsigned.body)
		}
	}
}

func TestWhoMayReadGetsSignedTagsOfAPrivateRegistry(t *testing.T) {
	w, image := privateWorld(t)
	wantServed(t, w.do(t, request{path: "/v2/team/app/manifests/signed", user: &alice}), image)
	wantRefused(t, w.do(t, request{path: "/v2/team/app/manifests/unsigned", user: &alice}), 404, "MANIFEST_UNKNOWN", noTrustData(w, "team/app", "unsigned"))
	wantTags(t, tagsIn(t, w.do(t, request{path: "/v2/team/app/tags/list", user: &alice})), "signed")
}

func TestDockerPullsFromAPrivateRegistryAfterLogin(t *testing.T) {
	w, image := privateWorld(t)
	d := mustDockerd(t)
	if _, err := d.docker("pull", w.tag("team/app", "signed")); err == nil {
		t.Fatal("pulled without having logged in")
	}
	mustRun(t, d.env(), "docker", "login", "--username", alice.name, "--password", alice.password, w.listen)
	defer func() { _, _ = d.docker("logout", w.listen) }()
	wantPulled(t, client{name: "docker", pull: dockerPull}, w, w.tag("team/app", "signed"), image)
	wantDenied(t, client{name: "docker", pull: dockerPull}, w, w.tag("team/app", "unsigned"), noTrustData(w, "team/app", "unsigned"))
}

func TestSkopeoCopiesFromAPrivateRegistryWithCredentials(t *testing.T) {
	w, _ := privateWorld(t)
	copy := func(reference string, options ...string) error {
		argv := append([]string{"skopeo", "copy", "--src-cert-dir", w.ca.dir}, options...)
		_, err := run(nil, append(argv, "docker://"+reference, "dir:"+t.TempDir())...)
		return err
	}
	if err := copy(w.tag("team/app", "signed"), "--src-creds", alice.name+":"+alice.password); err != nil {
		t.Error(err)
	}
	if err := copy(w.tag("team/app", "signed"), "--src-no-creds"); err == nil {
		t.Error("copied without credentials")
	}
	if err := copy(w.tag("team/app", "unsigned"), "--src-creds", alice.name+":"+alice.password); err == nil {
		t.Error("copied an unsigned tag")
	}
}
