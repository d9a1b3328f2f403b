package main

import (
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/sealgate/sealgate/e2e/pages"
	"go.yaml.in/yaml/v3"
)

// TestTheManualOfTheLogHasEveryLine that this command and the gate write.
func TestTheManualOfTheLogHasEveryLine(t *testing.T) {
	manual, err := os.ReadFile("../../docs/log.md")
	if err != nil {
		t.Fatal(err)
	}
	message := regexp.MustCompile(`(?:Msg\(|text :?= (?:log\.\w+\(\), )?)"([^"]+)"`)
	written := 0
	for _, pattern := range []string{"*.go", "../../proxy/*.go"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range files {
			if strings.HasSuffix(path, "_test.go") {
				continue
			}
			source, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range message.FindAllStringSubmatch(string(source), -1) {
				written++
				if !strings.Contains(string(manual), "`"+m[1]+"`") && !strings.Contains(string(manual), `"message":"`+m[1]+`"`) {
					t.Errorf("%s: the line %q is not in docs/log.md", path, m[1])
				}
			}
		}
	}
	if written < 20 {
		t.Errorf("only %d lines were found", written)
	}
}

// TestTheSnippetOfTheReadmeIsAConfiguration that can be watched and steered.
func TestTheSnippetOfTheReadmeIsAConfiguration(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(readme), "```yaml\n")
	snippet, _, found := strings.Cut(after, "```")
	if !found {
		t.Fatal("there is no snippet")
	}
	snippet = strings.ReplaceAll(snippet, "\n   ", "\n")
	snippet = strings.Replace(strings.TrimPrefix(snippet, "   "), "<canonical root key ID>", strings.Repeat("ab", 32), 1)
	for _, line := range []string{"admin: {listen:", "storage:"} {
		if !strings.Contains(snippet, "\n"+line) {
			t.Errorf("no %s", line)
		}
	}
	path := filepath.Join(certified(t), "proxy.yaml")
	if err := os.WriteFile(path, []byte(snippet), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, stdout, stderr := call(t, "check", "--config", path); code != 0 || strings.Contains(stdout, "control socket") {
		t.Errorf("exit %d\n%s%s\n%s", code, stdout, stderr, snippet)
	}
}

// TestTheSnippetsOfTheManualAreConfigurations, each with what it leaves out from a
// plain one. A snippet that begins with an indented key is about the first registry.
func TestTheSnippetsOfTheManualAreConfigurations(t *testing.T) {
	const root = "../.."
	files, err := pages.Files(root)
	if err != nil {
		t.Fatal(err)
	}
	checked := 0
	for _, page := range files {
		if strings.HasPrefix(page, "deploy/") { // what is in values.yaml has a schema of its own
			continue
		}
		blocks, err := pages.Read(root, page)
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range blocks {
			if b.Language == "yaml" && b.NotRun == "" {
				checked++
				t.Run(fmt.Sprintf("%s:%d", page, b.Line), func(t *testing.T) { checkSnippet(t, b.Text) })
			}
		}
	}
	if checked < 8 {
		t.Errorf("only %d snippets were found", checked)
	}
}

// aroundSnippets is what snippets are about.
const aroundSnippets = `
listen: 127.0.0.1:8443
tls: {files: {cert: tls.crt, key: tls.key}}
storage: {filesystem: {rootdirectory: /var/lib/sealgate}}
registries:
  - {name: registry.example.com, upstream: "https://origin.internal:5000", notary: {url: "https://notary.internal:4443"}}
content-trust:
  mode: enforced
  trust-pinning: {root-keys: {"registry.example.com/*": ["<key ID>"]}}
`

// checkSnippet has "sealgate check" look at a configuration with the snippet in it.
func checkSnippet(t *testing.T, snippet string) {
	t.Helper()
	if strings.HasPrefix(snippet, " ") {
		snippet = "registries:\n  - name: registry.example.com\n" + snippet
	}
	whole, part := map[string]any{}, map[string]any{}
	for text, into := range map[string]*map[string]any{aroundSnippets: &whole, snippet: &part} {
		if err := yaml.Unmarshal([]byte(strings.NewReplacer("<key ID>", strings.Repeat("ab", 32), "<canonical root key ID>", strings.Repeat("ab", 32)).Replace(text)), into); err != nil {
			t.Fatal(err)
		}
	}
	registry := whole["registries"].([]any)[0].(map[string]any)
	trust := whole["content-trust"].(map[string]any)
	maps.Copy(whole, part)
	if registries, ok := part["registries"].([]any); ok {
		merged := maps.Clone(registry)
		maps.Copy(merged, registries[0].(map[string]any))
		registries[0] = merged
		trust["trust-pinning"] = map[string]any{"root-keys": map[string]any{merged["name"].(string) + "/*": []string{strings.Repeat("ab", 32)}}}
	}
	if own, ok := part["content-trust"].(map[string]any); ok {
		maps.Copy(trust, own)
		whole["content-trust"] = trust
	}
	text, err := yaml.Marshal(whole)
	if err != nil {
		t.Fatal(err)
	}
	dir := certified(t)
	path := filepath.Join(dir, "proxy.yaml")
	text = regexp.MustCompile(`/var/(lib|log)/sealgate`).ReplaceAll(text, []byte(dir))
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if code, stdout, stderr := call(t, "check", "--config", path); code != 0 {
		t.Errorf("exit %d\n%s%s\n%s", code, stdout, stderr, text)
	}
}

// certified is a directory with tls.crt and tls.key, and a password.
func certified(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	if _, _, err := loadCA(dir); err != nil { // any pair will do
		t.Fatal(err)
	}
	for from, to := range map[string]string{caFile: "tls.crt", caKeyFile: "tls.key"} {
		if err := os.Rename(filepath.Join(dir, from), filepath.Join(dir, to)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "harbor-robot"), []byte("a password"), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestTheManualsCommandsAreRunOrSayWhyNot: package e2e runs them, where it is let;
// this is to say at once what a page lacks for that (e2e/pages has the rules). A fence that does not say
// what is in it could be anything, commands too.
func TestTheManualsCommandsAreRunOrSayWhyNot(t *testing.T) {
	const root = "../.."
	tests := allTests(t, root)
	files, err := pages.Files(root)
	if err != nil {
		t.Fatal(err)
	}
	run := 0
	for _, page := range files {
		blocks, err := pages.Read(root, page)
		if err != nil {
			t.Error(err)
			continue
		}
		for _, b := range blocks {
			run += len(b.Steps)
			if b.Language == "" {
				t.Errorf("%s:%d: the fence has to say what is in it: sh, text, yaml …", page, b.Line-1)
			}
			for _, name := range regexp.MustCompile(`\bTest[A-Z]\w+`).FindAllString(b.NotRun, -1) {
				if !tests[name] {
					t.Errorf("%s:%d: there is no %s", page, b.Line-1, name)
				}
			}
		}
	}
	if run < 4 {
		t.Errorf("only %d blocks of commands were found", run)
	}
}

// allTests are the names of all tests below the root.
func allTests(t *testing.T, root string) map[string]bool {
	t.Helper()
	tests := map[string]bool{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		source, err := os.ReadFile(path)
		for _, m := range testFunc.FindAllStringSubmatch(string(source), -1) {
			tests[m[1]] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return tests
}
