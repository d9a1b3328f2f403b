package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// sealgate runs a command of the binary under test and returns its exit code.
func sealgate(arguments ...string) (out string, code int) {
	out, err := run(nil, append([]string{suite.sealgate}, arguments...)...)
	return out, exitCode(err)
}

func TestInspectTellsVisibleHiddenAndUnknowable(t *testing.T) {
	s := shared(t)
	for _, c := range []struct {
		reference string
		code      int
		says      string
	}{
		{s.tag("team/app", "signed"), 0, s.signed.digest},
		{s.tag("team/app", "released"), 0, s.released.digest},
		{s.tag("team/app", "unsigned"), 1, noTrustData(s.world, "team/app", "unsigned")},
		{s.tag("team/app", "qa-only"), 1, "qa-only"},
		{s.tag("team/plain", "latest"), 1, "remote trust data does not exist for " + s.gun("team/plain")},
		{s.gun("team/list"), 0, s.v2.digest},
	} {
		out, code := sealgate("inspect", "--config", s.config, c.reference)
		if code != c.code || !strings.Contains(out, c.says) {
			t.Errorf("inspect %s: want exit code %d and %q, got %d and:\n%s", c.reference, c.code, c.says, code, out)
		}
	}
}

func TestInspectCannotKnowWithoutNotary(t *testing.T) {
	w, _, _, notary := outageWorld(t, nil)
	w.stop(0)
	notary.cut()
	if out, code := sealgate("inspect", "--config", w.config, w.tag("team/app", "signed")); code != 3 {
		t.Fatalf("want exit code 3, got %d and:\n%s", code, out)
	}
}

func TestInspectWritesJSON(t *testing.T) {
	s := shared(t)
	out, err := run(nil, suite.sealgate, "inspect", "--config", s.config, "--json", s.gun("team/list"))
	if err != nil || !json.Valid([]byte(out)) || !strings.Contains(out, s.v1.digest) {
		t.Fatalf("want JSON with %s, got %v and:\n%s", s.v1.digest, err, out)
	}
}

func TestCheckAcceptsAGoodConfiguration(t *testing.T) {
	s := shared(t)
	if out, code := sealgate("check", "--config", s.config); code != 0 {
		t.Fatalf("want exit code 0, got %d and:\n%s", code, out)
	}
}

func TestVersionSaysSomething(t *testing.T) {
	if out, code := sealgate("version"); code != 0 || strings.TrimSpace(out) == "" {
		t.Fatalf("want a version and exit code 0, got %d and %q", code, out)
	}
}

func TestUsageErrorsExit2(t *testing.T) {
	for _, arguments := range [][]string{{"serv"}, {"serve", "--confg", "x"}, {"serve", "--config", "/nonexistent/proxy.yaml"}, {"inspect"}} {
		if out, code := sealgate(arguments...); code != 2 {
			t.Errorf("sealgate %s: want exit code 2, got %d and:\n%s", strings.Join(arguments, " "), code, out)
		}
	}
}

// badConfiguration has one mistake on each line that ends with a mark: the key
// that the message has to name.
const badConfiguration = `listen: "not an address"                     # listen
tls:
  self-signed: {hosts: [localhost]}
state-dir: /tmp/sealgate
storage:
  filesystem: {rootdirectory: /tmp/sealgate}
registries:
  - name: registry.example.com
    upstream: ftp://origin.internal          # upstream
    credentials: whoever                     # credentials
    notary: {url: https://notary.internal}
    notry: {url: https://notary.internal}    # notry
    cache: {}                                # cache
content-trust:
  mode: enforce                              # mode
  refresh: soon                              # refresh
  max-stale: 24h
  max-stale: 25h                             # max-stale
  trust-pinning:
    root-keys:
      "registry.example.com/pr*d/app": [abcd] # registry.example.com/pr*d/app
    official-library-images: true            # official-library-images
`

func TestBadConfigurationNamesEveryProblemAndExits2(t *testing.T) {
	file := filepath.Join(t.TempDir(), "proxy.yaml")
	if err := os.WriteFile(file, []byte(badConfiguration), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, command := range []string{"serve", "check"} {
		t.Run(command, func(t *testing.T) {
			out, code := sealgate(command, "--config", file)
			if code != 2 {
				t.Errorf("want exit code 2, got %d", code)
			}
			number := 0
			for line := range strings.Lines(badConfiguration) {
				number++
				_, key, marked := strings.Cut(line, " # ")
				if !marked {
					continue
				}
				if key = strings.TrimSpace(key); !namesProblem(out, key, number) {
					t.Errorf("no line names %q with line %d", key, number)
				}
			}
			if t.Failed() {
				t.Logf("it said:\n%s", out)
			}
		})
	}
}

// namesProblem tells whether a line of out has both the key and the line number.
func namesProblem(out, key string, number int) bool {
	at := regexp.MustCompile(`(\bline |:)` + strconv.Itoa(number) + `\b`)
	for line := range strings.Lines(strings.ReplaceAll(out, `\"`, `"`)) {
		if strings.Contains(line, key) && at.MatchString(line) {
			return true
		}
	}
	return false
}
