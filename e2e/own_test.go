package e2e

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// passwordFile is a file with user's password.
func (w *world) passwordFile(t *testing.T, password string) string {
	t.Helper()
	file := filepath.Join(w.dir, "password")
	if err := os.WriteFile(file, []byte(password+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// asAlice are credentials for proxy.yaml.
func (w *world) asAlice(t *testing.T) string {
	t.Helper()
	return fmt.Sprintf("{username: %s, password-file: %s}", alice.name, w.passwordFile(t, alice.password))
}

// realm is the host of the world's token service.
func (w *world) realm() string {
	host, _, _ := strings.Cut(strings.TrimPrefix(w.tokens.realm, "https://"), "/")
	return host
}

// realms are a line of proxy.yaml that allows the world's token service.
func (w *world) realms() string { return "realms: [" + w.realm() + "]\n" }

// wantOpen fails unless a client without credentials sees the signed tag, and
// no other, and is never asked who it is.
func wantOpen(t *testing.T, w *world, image pushed) {
	t.Helper()
	guessed := registryUser{name: "alice", password: "guessed"}
	for _, user := range []*registryUser{nil, &guessed} {
		if a := w.do(t, request{path: "/v2/", user: user}); a.status != http.StatusOK {
			t.Fatalf("/v2/: got %v", a)
		}
		wantServed(t, w.do(t, request{path: "/v2/team/app/manifests/signed", user: user}), image)
		wantServed(t, w.do(t, request{path: "/v2/team/app/manifests/" + image.digest, user: user}), image)
		wantRefused(t, w.do(t, request{path: "/v2/team/app/manifests/unsigned", user: user}), 404, "MANIFEST_UNKNOWN", noTrustData(w, "team/app", "unsigned"))
		wantTags(t, tagsIn(t, w.do(t, request{path: "/v2/team/app/tags/list", user: user})), "signed")
	}
}

// wantLocked fails unless the signed tag is a 502 without a challenge.
func wantLocked(t *testing.T, w *world, message string) {
	t.Helper()
	a := w.manifest(t, "team/app", "signed")
	wantRefused(t, a, http.StatusBadGateway, "UNKNOWN", message)
	if a.header.Get("WWW-Authenticate") != "" {
		t.Errorf("a challenge: %v", a)
	}
}

// closedWorld is a registry for alice alone, a signed and an unsigned tag, and
// no Sealgate yet.
func closedWorld(t *testing.T) (*world, pushed) {
	t.Helper()
	w, image := oneSignedTag(t, registryOptions{user: &alice})
	w.mustSay(t, "team/app", "unsigned", "unsigned words")
	return w, image
}

func TestAPasswordOfSealgatesOwn(t *testing.T) {
	w, image := closedWorld(t)
	w.mustOpen(t, func(s *settings) { s.credentials = w.asAlice(t) })
	wantOpen(t, w, image)
	for _, c := range clients {
		t.Run(c.name, func(t *testing.T) {
			wantPulled(t, c, w, w.tag("team/app", "signed"), image)
			wantDenied(t, c, w, w.tag("team/app", "unsigned"), noTrustData(w, "team/app", "unsigned"))
		})
	}
	t.Run("that changes", func(t *testing.T) {
		w.passwordFile(t, "guessed")
		a := w.get(t, "/v2/team/app/manifests/sha256:"+strings.Repeat("0", 64))
		wantRefused(t, a, http.StatusBadGateway, "UNKNOWN", "refuses the credentials that sealgate has for it")
		w.passwordFile(t, alice.password)
		wantOpen(t, w, image)
	})
}

func TestCredentialsThatDockerKnows(t *testing.T) {
	w, image := closedWorld(t)
	auth := base64.StdEncoding.EncodeToString([]byte(alice.name + ":" + alice.password))
	const helper = "#!/bin/sh\nread host\n[ \"$1 $host\" = \"get %s\" ] || { echo 'credentials not found in native keychain'; exit 1; }\n" +
		"echo '{\"Username\": \"alice\", \"Secret\": \"wonderland\"}'\n"
	for _, test := range []struct{ name, config, script string }{
		{"under the upstream's address", fmt.Sprintf(`{"auths": {%q: {"auth": %q}}}`, w.registry.addr, auth), ""},
		{"under the registry's name", fmt.Sprintf(`{"auths": {%q: {"auth": %q}}}`, w.listen, auth), ""},
		{"from a credential helper", fmt.Sprintf(`{"credHelpers": {%q: "e2e"}}`, w.registry.addr), fmt.Sprintf(helper, w.registry.addr)},
		{"from the credential store", `{"credsStore": "e2e"}`, fmt.Sprintf(helper, w.listen)},
	} {
		t.Run(test.name, func(t *testing.T) {
			env := w.dockerConfig(t, test.config, test.script)
			w.mustOpen(t, func(s *settings) { s.credentials, s.env = "docker-config", env })
			defer w.gate.stop(10 * time.Second)
			wantOpen(t, w, image)
		})
	}
	for _, test := range []struct{ name, config, script, message, log string }{
		{"of somebody else", fmt.Sprintf(`{"auths": {"other.example.com": {"auth": %q}}}`, auth), "", "wants some where it has none", ""},
		{"from a helper that fails", `{"credsStore": "e2e"}`, "#!/bin/sh\necho wonderland; exit 1\n", "the credentials of sealgate's own cannot be read", "the credential helper that config.json names failed"},
		{"from a helper that is not there", `{"credsStore": "none"}`, "", "the credentials of sealgate's own cannot be read", "is not installed"},
		{"from a file in bad form", `{"auths": "wonderland`, "", "the credentials of sealgate's own cannot be read", "cannot be read or parsed"},
	} {
		t.Run(test.name, func(t *testing.T) {
			env := w.dockerConfig(t, test.config, test.script)
			w.mustOpen(t, func(s *settings) { s.credentials, s.env = "docker-config", env })
			defer w.gate.stop(10 * time.Second)
			wantLocked(t, w, test.message)
			if log := w.gate.output(); !strings.Contains(log, test.log) || strings.Contains(log, "wonderland") {
				t.Errorf("the log is\n%s", log)
			}
		})
	}
}

// dockerConfig is an environment with this config.json, and with script as the
// credential helper "e2e".
func (w *world) dockerConfig(t *testing.T, config, script string) []string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	if script != "" {
		if err := os.WriteFile(filepath.Join(dir, "docker-credential-e2e"), []byte(script), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return []string{"DOCKER_CONFIG=" + dir, "PATH=" + dir + ":" + os.Getenv("PATH")}
}

func TestTokensForCredentialsOfSealgatesOwn(t *testing.T) {
	w, image := tokenWorld(t, registryOptions{})
	auth := base64.StdEncoding.EncodeToString([]byte(alice.name + ":" + alice.password))
	for _, test := range []struct {
		name        string
		credentials string
		env         []string
	}{
		{"a password file", w.asAlice(t), nil},
		{"what docker knows", "docker-config", w.dockerConfig(t, fmt.Sprintf(`{"auths": {%q: {"auth": %q}}}`, w.registry.addr, auth), "")},
	} {
		t.Run(test.name, func(t *testing.T) {
			w.mustOpen(t, func(s *settings) { s.credentials, s.env, s.more = test.credentials, test.env, w.realms() })
			defer w.gate.stop(10 * time.Second)
			before := len(w.tokens.Asked())
			wantOpen(t, w, image)
			wantPulled(t, client{name: "crane", pull: cranePull}, w, w.tag("team/app", "signed"), image)
			asked := w.tokens.Asked()[before:]
			if len(asked) != 1 || asked[0].User != alice.name || strings.Join(asked[0].Scopes, " ") != pullTeam {
				t.Errorf("the token service was asked %+v, want one token", asked)
			}
		})
	}
	t.Run("an identity token", func(t *testing.T) {
		identity := w.identityToken(t)
		env := w.dockerConfig(t, fmt.Sprintf(`{"auths": {%q: {"auth": "YWxpY2U6", "identitytoken": %q}}}`, w.registry.addr, identity), "")
		w.mustOpen(t, func(s *settings) { s.credentials, s.env, s.more = "docker-config", env, w.realms() })
		defer w.gate.stop(10 * time.Second)
		wantOpen(t, w, image)
		if asked := w.tokens.Asked(); asked[len(asked)-1].Method != http.MethodPost {
			t.Errorf("the token service was asked %+v", asked[len(asked)-1])
		}
	})
	t.Run("everybody's", func(t *testing.T) {
		w.mustOpen(t, func(s *settings) { s.credentials, s.more = "anonymous", w.realms() })
		defer w.gate.stop(10 * time.Second)
		wantServed(t, w.manifest(t, "public/app", "signed"), image)
		wantLocked(t, w, "wants some where it has none")
	})
	t.Run("a realm that nobody allowed", func(t *testing.T) {
		w.mustOpen(t, func(s *settings) { s.credentials = w.asAlice(t) })
		defer w.gate.stop(10 * time.Second)
		before := len(w.tokens.Asked())
		wantLocked(t, w, "its token server is not among those that realms allows")
		if len(w.tokens.Asked()) != before || !strings.Contains(w.gate.output(), w.realm()+`\": where that is right, add it to realms`) {
			t.Errorf("asked %+v, and the log is\n%s", w.tokens.Asked()[before:], w.gate.output())
		}
	})
}

// identityToken is what "docker login" keeps of a token service that has them.
func (w *world) identityToken(t *testing.T) string {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, w.tokens.realm+"?offline_token=true&service=e2e", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.SetBasicAuth(alice.name, alice.password)
	resp, err := w.ca.transport(false).RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var answer struct {
		RefreshToken string `json:"refresh_token"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil || answer.RefreshToken == "" {
		t.Fatalf("no refresh token: %v", err)
	}
	return answer.RefreshToken
}

// Tokens live for two seconds here; what is served goes on for longer.
func TestTokensThatExpireAreReplaced(t *testing.T) {
	t.Parallel()
	tokens := teamTokens()
	tokens.Lifetime = 2 * time.Second
	w, image := tokenWorldWith(t, registryOptions{}, tokens)
	w.mustOpen(t, func(s *settings) { s.credentials, s.more, s.authTTL = w.asAlice(t), w.realms(), 0 })
	before := len(w.tokens.Asked())
	for end := time.Now().Add(7 * time.Second); time.Now().Before(end); {
		wantServed(t, w.manifest(t, "team/app", image.digest), image)
	}
	if asked := len(w.tokens.Asked()) - before; asked < 3 || asked > 8 {
		t.Errorf("%d tokens in seven seconds", asked)
	}
}

func TestANotaryServerThatWantsCredentials(t *testing.T) {
	w, image := tokenWorld(t, registryOptions{notaryTokens: true})
	own := w.asAlice(t)
	w.mustOpen(t, func(s *settings) { s.credentials, s.more = own, w.realms() })
	wantRefused(t, w.manifest(t, "team/app", "signed"), http.StatusServiceUnavailable, "UNAVAILABLE", "refuses to answer")
	w.gate.stop(10 * time.Second)

	w.mustOpen(t, func(s *settings) { s.credentials, s.more, s.notaryMore = own, w.realms(), ", credentials: "+own })
	wantOpen(t, w, image)
	// What Sealgate may read of Notary clients may not read through it.
	metadata := "/v2/" + w.gun("team/app") + "/_trust/tuf/root.json"
	if a := w.get(t, metadata); a.status == http.StatusOK || a.header.Get("WWW-Authenticate") != "" {
		t.Errorf("trust data: got %v", a)
	}
	w.gate.stop(10 * time.Second)

	w.mustOpen(t, func(s *settings) { s.credentials, s.notaryMore = own, ", credentials: "+own })
	a := w.manifest(t, "team/app", "signed")
	wantRefused(t, a, http.StatusServiceUnavailable, "UNAVAILABLE", "its token server is not among those that realms allows")
	if !strings.Contains(w.gate.output(), "where that is right, add it to realms") {
		t.Errorf("the log is\n%s", w.gate.output())
	}
}

// No password, token or Authorization is in anything that Sealgate says.
func TestSecretsAreNotTold(t *testing.T) {
	w, image := tokenWorld(t, registryOptions{notaryTokens: true})
	w.mustOpen(t, func(s *settings) {
		withAdmin(t, s)
		s.credentials, s.notaryMore, s.more, s.level = w.asAlice(t), ", credentials: "+w.asAlice(t), w.realms(), "trace"
	})
	wantOpen(t, w, image)
	w.do(t, request{path: "/v2/team/app/manifests/signed", user: &bob})
	w.passwordFile(t, "looking-glass")
	w.get(t, "/v2/public/app/manifests/signed")
	w.gate.hangup(t, "configuration reloaded")
	w.get(t, "/v2/team/app/manifests/sha256:"+strings.Repeat("0", 64))
	said := map[string]string{"the log": w.gate.output()}
	for _, path := range []string{"/metrics", "/healthz", "/readyz", "/"} {
		said[path] = w.gate.mustWatch(t, path).body
	}
	for _, argv := range [][]string{{"check"}, {"inspect", w.gun("team/app")}, {"inspect", w.gun("team/app") + ":signed"}, {"inspect", "--json", w.gun("none")}} {
		out, err := run(nil, append([]string{suite.sealgate, argv[0], "--config", w.config}, argv[1:]...)...)
		said[strings.Join(argv, " ")] = fmt.Sprint(out, err)
	}
	secret := regexp.MustCompile(alice.password + "|looking-glass|" + bob.password + `|eyJ[A-Za-z0-9_-]{8}|(Basic|Bearer) [A-Za-z0-9+/=_-]{8}|YWxpY2U6`)
	for what, text := range said {
		if found := secret.FindString(text); found != "" || text == "" {
			t.Errorf("%s tells %q:\n%s", what, found, text)
		}
	}
	if !strings.Contains(said["the log"], "its token server refused the credentials that sealgate has") {
		t.Errorf("the log does not say what went wrong:\n%s", said["the log"])
	}
}
