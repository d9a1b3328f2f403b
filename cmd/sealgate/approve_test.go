package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// commandLines are the lines of a script that are no comment.
func commandLines(script string) (lines []string) {
	for line := range strings.Lines(script) {
		if !strings.HasPrefix(line, "#") {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	return lines
}

func TestApprovePrintsTheCommandsThatSign(t *testing.T) {
	t.Setenv("DOCKER_CONFIG", t.TempDir()) // nobody's credentials
	const pinned = `trust-pinning: {root-keys: {"registry.example.com/demo/*": [%s]}}`
	for _, tc := range []struct {
		name, trust, image string
		code               int
		commands           []string // begin and end of each
		says               []string
	}{
		{"an unsigned tag", pinned, "registry.example.com/demo/app:nightly", 0,
			[]string{"addhash -p registry.example.com/demo/app nightly … --sha256 "}, []string{"sha256:", "bytes", "media type", `no trust data for tag "nightly"`}},
		{"a repository that is new at Notary", pinned, "demo/never-signed:latest", 0,
			[]string{"init -p registry.example.com/demo/never-signed", "addhash -p registry.example.com/demo/never-signed latest … --sha256 "}, []string{"remote trust data does not exist"}},
		{"a repository that nothing pins", `trust-pinning: {}`, "demo/app:nightly", 0,
			[]string{"addhash -p registry.example.com/demo/app nightly … --sha256 "}, []string{"No pin covers registry.example.com/demo/app", "no pin covers"}},
		{"a tag that is signed so already", pinned, "demo/app:1.0", 0, nil, []string{"nothing is left to do", "targets/releases"}},
		{"a tag that moved, in the role that decides", pinned, "demo/app:latest", 0,
			[]string{"addhash -p registry.example.com/demo/app latest … --sha256 … -r targets/releases"}, []string{"signed now  another: sha256:"}},
		{"roles without targets", pinned + `, policies: [{match: "registry.example.com/demo/*", roles: [targets/prod]}]`, "demo/app:nightly", 0,
			[]string{"addhash -p registry.example.com/demo/app nightly … --sha256 … -r targets/prod"}, []string{"The repository has no role targets/prod yet", "delegation add -p registry.example.com/demo/app targets/prod SIGNER.pem --all-paths"}},
		{"signers who are required", pinned + `, signers: {qa: {role: targets/qa}, sec: {keys: ["` + strings.Repeat("ab", 32) + `"]}}, policies: [{match: "registry.example.com/demo/*", required-signers: [qa, sec]}]`, "demo/app:nightly", 0,
			[]string{"addhash -p registry.example.com/demo/app nightly … --sha256 ", "addhash -p registry.example.com/demo/app nightly … --sha256 … -r targets/qa"}, []string{"also demands the signer sec"}},
		{"a tag that is exempt", pinned + `, policies: [{match: "registry.example.com/demo/*", exempt-tags: ["night*"]}]`, "demo/app:nightly", 0,
			[]string{"addhash -p registry.example.com/demo/app nightly … --sha256 "}, []string{"A policy exempts this tag"}},
		{"a tag that there is not", pinned, "demo/app:absent", exitFailed, nil, []string{"has no such tag"}},
		{"a repository that there is not", pinned, "demo/absent:1", exitFailed, nil, []string{"has no such tag"}},
		{"no tag", pinned, "demo/app", exitUsage, nil, []string{"a tag is expected"}},
		{"a digest", pinned, "demo/app@sha256:" + strings.Repeat("ab", 32), exitUsage, nil, []string{"REPO or REPO:TAG is expected"}},
		{"a name that is none", pinned, "demo/App:1", exitUsage, nil, []string{"is not a repository"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			path := inspectWorld(t, "{mode: enforced, "+tc.trust+"}")
			code, stdout, stderr := call(t, "approve", "--config", path, tc.image)
			if code != tc.code {
				t.Errorf("exit %d, want %d", code, tc.code)
			}
			for _, want := range tc.says {
				if !strings.Contains(stdout+stderr, want) {
					t.Errorf("does not say %q", want)
				}
			}
			got := commandLines(stdout)
			if len(got) != len(tc.commands) {
				t.Fatalf("got %q, want %d commands", got, len(tc.commands))
			}
			for i, command := range got {
				before := "notary -s https://127.0.0.1:"
				after := " --tlscacert " + filepath.Join(filepath.Dir(path), "ca.pem") + " -d ~/.docker/trust "
				if !strings.HasPrefix(command, before) || !inOrder(command, append([]string{after}, strings.Split(tc.commands[i], "…")...)) {
					t.Errorf("got %s, want %s", command, tc.commands[i])
				}
			}
			if t.Failed() {
				t.Log(stdout, stderr)
			}
		})
	}
}

// inOrder says whether text ends after these pieces, in this order; what follows
// a last piece that ends in a blank is one word.
func inOrder(text string, pieces []string) bool {
	for _, piece := range pieces {
		_, rest, found := strings.Cut(text, piece)
		if !found {
			return false
		}
		text = rest
	}
	last := pieces[len(pieces)-1]
	return text == "" || strings.HasSuffix(last, " ") && !strings.Contains(text, " ")
}

func TestApproveKnowsWhatItDoesNotKnow(t *testing.T) {
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	path := inspectWorld(t, `{mode: enforced, trust-pinning: {root-keys: {"registry.example.com/*": [`+strings.Repeat("ab", 32)+`]}}}`)
	code, stdout, stderr := call(t, "approve", "--config", path, "demo/app:nightly")
	if code != exitFailed || stdout != "" || !strings.Contains(stderr, "cannot be known") {
		t.Errorf("trust data that does not verify: exit %d\n%s\n%s", code, stdout, stderr)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(text), "\n")
	for i, line := range lines {
		if strings.Contains(line, "notary:") {
			lines[i] = "    notary: {url: \"https://127.0.0.1:1\"}"
		}
	}
	if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, stdout, stderr := call(t, "approve", "--config", path, "demo/app:nightly"); code != exitFailed || stdout != "" || !strings.Contains(stderr, "cannot be known") {
		t.Errorf("a Notary server that is away: exit %d\n%s\n%s", code, stdout, stderr)
	}
}

func TestWordsOfACommandStayWords(t *testing.T) {
	for word, want := range map[string]string{
		"a": "a", "https://n.example:4443/x": "https://n.example:4443/x", "/a b/ca.pem": "'/a b/ca.pem'", "it's": `'it'\''s'`, "$(x)": "'$(x)'", "~/x": "'~/x'", dockerTrust: dockerTrust, ";": "';'",
	} {
		if got := shell([]string{"c", word}); got != "c "+want {
			t.Errorf("%q: got %s", word, got)
		}
	}
	if got := plain("a\nrm -rf\x1b[2J\u202e"); strings.ContainsAny(got, "\n\x1b\u202e") || !slices.Equal([]byte(got[:2]), []byte("a?")) {
		t.Errorf("got %q", got)
	}
}
