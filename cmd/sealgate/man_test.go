package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestEveryCommandHasAManualPage(t *testing.T) {
	t.Setenv("SOURCE_DATE_EPOCH", "1700000000")
	dir, again := t.TempDir(), t.TempDir()
	for _, into := range []string{dir, again} {
		if code, _, stderr := call(t, "man", into); code != 0 {
			t.Fatal(stderr)
		}
	}
	for page, says := range map[string]string{
		"sealgate.1":                 "makes unsigned tags invisible",
		"sealgate-serve.1":           "SIGHUP           read the configuration again", // columns as they are
		"sealgate-bundle-load.1":     `fB--config\fP="proxy.yaml"`,
		"sealgate-completion-bash.1": "autocompletion",
	} {
		text, err := os.ReadFile(filepath.Join(dir, page))
		if err != nil || !strings.Contains(string(text), says) || !strings.Contains(string(text), `"Nov 2023"`) {
			t.Errorf("%s: want %q and the date, got %v\n%s", page, says, err, text)
		}
		if other, _ := os.ReadFile(filepath.Join(again, page)); string(other) != string(text) {
			t.Errorf("%s differs from one time to the next", page)
		}
	}
}

func TestManualPagesNeedADirectory(t *testing.T) {
	if code, _, stderr := call(t, "man"); code != exitUsage || !strings.Contains(stderr, "one directory is expected") {
		t.Errorf("got %d, %s", code, stderr)
	}
	if code, _, stderr := call(t, "man", filepath.Join(t.TempDir(), "none")); code != exitFailed || !strings.Contains(stderr, "no such file") {
		t.Errorf("got %d, %s", code, stderr)
	}
}

func TestShellsCompleteCommandsAndTheWordsOfFlags(t *testing.T) {
	for _, c := range []struct {
		typed []string
		want  string
	}{
		{[]string{"ins"}, "inspect\tShow what is signed"},
		{[]string{"doctor", "--emit", ""}, "containerd\ndns\ndocker\nkubernetes\npodman\n"},
		{[]string{"serve", "--log-format", ""}, "json\nconsole\n"},
		{[]string{"bundle", "s"}, "save\t"},
	} {
		code, stdout, stderr := call(t, append([]string{"__complete"}, c.typed...)...)
		if code != 0 || !strings.HasPrefix(stdout, c.want) {
			t.Errorf("%q: want %q, got %d, %q, %q", c.typed, c.want, code, stdout, stderr)
		}
	}
	if _, stdout, _ := call(t, "__complete", "ma"); strings.Contains(stdout, "man") {
		t.Error("man is for who packages, and not to be offered")
	}
}
