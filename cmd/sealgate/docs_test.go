package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/sealgate/sealgate/e2e/pages"
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
	path := file(t, "proxy.yaml", snippet)
	dir := filepath.Dir(path)
	if _, _, err := loadCA(dir); err != nil { // any pair will do
		t.Fatal(err)
	}
	for from, to := range map[string]string{caFile: "tls.crt", caKeyFile: "tls.key"} {
		if err := os.Rename(filepath.Join(dir, from), filepath.Join(dir, to)); err != nil {
			t.Fatal(err)
		}
	}
	if code, stdout, stderr := call(t, "check", "--config", path); code != 0 || strings.Contains(stdout, "control socket") {
		t.Errorf("exit %d\n%s%s\n%s", code, stdout, stderr, snippet)
	}
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
