package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
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
