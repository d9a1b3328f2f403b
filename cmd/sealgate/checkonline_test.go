package main

import (
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sealgate/sealgate/e2e/sandbox"
)

// onlineConfig is a configuration whose storage is in dir.
func onlineConfig(dir, registry, notary, more string) string {
	return fmt.Sprintf(`tls: {plain-http: {}}
storage: {filesystem: {rootdirectory: %s}}
registries:
  - name: registry.example.com
    upstream: %s
    notary: {url: %s%s
content-trust: {mode: enforced, trust-on-first-use: true}
`, dir, registry, notary, more)
}

// answering is a server that says the same to everybody.
func answering(t *testing.T, status int, header, body string) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if header != "" {
			w.Header().Set("WWW-Authenticate", header)
		}
		w.WriteHeader(status)
		io.WriteString(w, body)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

const noMetadata = `{"errors":[{"code":"METADATA_NOT_FOUND","message":"no"}]}`

// TestCheckOnlineOfServersThatAreWell: the sandbox's registry and trust server.
func TestCheckOnlineOfServersThatAreWell(t *testing.T) {
	registry, err := sandbox.StartRegistry(t.Context(), sandbox.RegistryOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer registry.Close()
	trust, err := sandbox.StartTrustServer(t.Context(), sandbox.TrustServerOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer trust.Close()
	dir := t.TempDir()
	path := file(t, "proxy.yaml", onlineConfig(dir, registry.URL(), trust.URL(), "}"))
	code, stdout, stderr := call(t, "check", "--online", "--config", path)
	for _, says := range []string{": ok\n", " state-dir: a file was written and removed", " storage.filesystem: an object was written, read, listed and deleted",
		" registries[0].upstream: " + registry.URL() + "/v2/ answers 200 to nobody's credentials", " registries[0].notary: " + trust.URL() + " has no trust data for a name that nobody has"} {
		if code != 0 || !strings.Contains(stdout, says) {
			t.Errorf("exit %d, says nothing of %q:\n%s%s", code, says, stdout, stderr)
		}
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 1 { // the storage's
		t.Errorf("left: %v, %v", left, err)
	}
}

func TestCheckOnlineNamesWhatToChange(t *testing.T) {
	dir := t.TempDir()
	password := file(t, "password", "hunter2")
	well := answering(t, http.StatusOK, "", "")
	trust := answering(t, http.StatusNotFound, "", noMetadata)
	stranger := httptest.NewTLSServer(http.NotFoundHandler())
	defer stranger.Close()
	stranger.Config.ErrorLog = nil
	own := filepath.Join(dir, "ca.pem")
	if err := os.WriteFile(own, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: stranger.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		registry, notary, more string
		says                   string
	}{
		"a registry that nobody is at":           {"http://127.0.0.1:1", trust, "}", "registries[0].upstream: dial tcp"},
		"a CA that is not named":                 {stranger.URL, trust, "}", "name the CA of its certificate in registries[0].upstream-ca-file"},
		"a name that the certificate has not":    {strings.Replace(stranger.URL, "127.0.0.1", "localhost", 1), trust, "}\n    upstream-ca-file: " + own, "use one of the certificate's names in registries[0].upstream"},
		"a server that is no registry":           {answering(t, http.StatusTeapot, "", ""), trust, "}", "answers 418 where a registry answers 200 or 401: is registries[0].upstream one"},
		"credentials that are refused":           {answering(t, http.StatusUnauthorized, "Basic realm=r", ""), trust, "}\n    credentials: {username: robot, password-file: " + password + "}", `answers 401 to "robot" (password): change registries[0].credentials`},
		"a registry that is closed to nobody":    {answering(t, http.StatusForbidden, "", ""), trust, "}\n    credentials: anonymous", "answers 403 to nobody's credentials: change registries[0].credentials"},
		"a token server that realms do not have": {answering(t, http.StatusUnauthorized, `Bearer realm="https://elsewhere.example.com/token",service="s"`, ""), trust, "}\n    credentials: {username: robot, password-file: " + password + "}", "change registries[0].credentials or registries[0].realms"},
		"TLS where there is none":                {strings.Replace(well, "http:", "https:", 1), trust, "}", "write http:// in registries[0].upstream"},
		"a Notary of another CA":                 {well, stranger.URL, "}", "name the CA of its certificate in registries[0].notary.ca-file"},
		"an ingress's 404":                       {well, answering(t, http.StatusNotFound, "", "default backend"), "}", "is registries[0].notary.url one"},
		"a Notary that refuses":                  {well, answering(t, http.StatusUnauthorized, "", ""), ", credentials: {username: robot, password-file: " + password + "}}", `answers 401 to "robot" (password): change registries[0].notary.credentials`},
	} {
		t.Run(name, func(t *testing.T) {
			path := file(t, "proxy.yaml", onlineConfig(dir, test.registry, test.notary, test.more))
			code, stdout, stderr := call(t, "check", "--online", "--config", path)
			if code != exitFailed || !strings.Contains(stdout, test.says) || strings.Count(stdout, "FAILED") != 1 || !strings.Contains(stderr, "1 of 4 failed") {
				t.Errorf("exit %d, expected one failure, and %q:\n%s%s", code, test.says, stdout, stderr)
			}
			if strings.Contains(stdout+stderr, "hunter2") {
				t.Error("the password is printed")
			}
		})
	}
}

// TestCheckOnlineOfAPrivateRegistry: with passthrough the challenge is the clients'.
func TestCheckOnlineOfAPrivateRegistry(t *testing.T) {
	registry := answering(t, http.StatusUnauthorized, `Bearer realm="https://auth.example.com/token"`, "")
	path := file(t, "proxy.yaml", onlineConfig(t.TempDir(), registry, answering(t, http.StatusNotFound, "", noMetadata), "}"))
	if code, stdout, stderr := call(t, "check", "--online", "--config", path); code != 0 || !strings.Contains(stdout, "asks clients who they are: 401") {
		t.Errorf("exit %d\n%s%s", code, stdout, stderr)
	}
}

func TestCheckOnlineAsJSON(t *testing.T) {
	path := file(t, "proxy.yaml", onlineConfig(filepath.Join(t.TempDir(), "absent"), answering(t, http.StatusTeapot, "", ""), answering(t, http.StatusNotFound, "", noMetadata), "}"))
	code, stdout, _ := call(t, "check", "--online", "--json", "--config", path)
	var results []tried
	if err := json.Unmarshal([]byte(stdout), &results); err != nil || code != exitFailed || len(results) != 4 {
		t.Fatalf("exit %d, %v\n%s", code, err, stdout)
	}
	for i, want := range []tried{{Key: "state-dir", OK: true}, {Key: "storage.filesystem", OK: true}, {Key: "registries[0].upstream"}, {Key: "registries[0].notary", OK: true}} {
		if got := results[i]; got.Key != want.Key || got.OK != want.OK || got.Says == "" || got.Milliseconds < 0 {
			t.Errorf("%+v, expected %+v", got, want)
		}
	}
	if code, _, _ := call(t, "check", "--json", "--config", path); code != exitUsage {
		t.Errorf("--json alone: exit %d", code)
	}
}

// TestCheckOnlineOfABucket: its errors name the key and no secret.
func TestCheckOnlineOfABucket(t *testing.T) {
	bucket := answering(t, http.StatusForbidden, "", "<Error><Code>AccessDenied</Code><Message>AKHUNTER2 hunter2</Message></Error>")
	defer http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	text := strings.Replace(onlineConfig("$", answering(t, http.StatusOK, "", ""), answering(t, http.StatusNotFound, "", noMetadata), "}"), "filesystem: {rootdirectory: $}",
		"s3: {bucket: b, region: us-east-1, forcepathstyle: true, regionendpoint: "+`"`+bucket+`"`+", accesskey: AKHUNTER2, secretkey: hunter2}", 1) + "state-dir: " + t.TempDir() + "\n"
	path := file(t, "proxy.yaml", text)
	code, stdout, stderr := call(t, "check", "--online", "--config", path)
	if code != exitFailed || !strings.Contains(stdout, "storage.s3: trust state: write /sealgate/trust/probes/") || strings.Count(stdout, "FAILED") != 1 || strings.Contains(strings.ToLower(stdout+stderr), "hunter2") {
		t.Errorf("exit %d\n%s%s", code, stdout, stderr)
	}
	path = file(t, "proxy.yaml", strings.Replace(strings.Replace(text, "region: us-east-1", "region: nowhere", 1), `regionendpoint: "`+bucket+`", `, "", 1))
	if code, _, stderr := call(t, "check", "--config", path); code != exitUsage || !strings.Contains(stderr, "storage.s3: invalid region provided: nowhere") {
		t.Errorf("of a region that there is not: exit %d\n%s", code, stderr)
	}
}
