package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Every file in testdata but good.* holds one mistake, and in its first comments
// the problems expected of it, as "# expect: line: key: message"; $DIR stands
// for the directory of the files that a configuration names.
func TestBadFiles(t *testing.T) {
	dir := fixtures(t)
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil || len(files) < 100 {
		t.Fatalf("found %d bad files, %v", len(files), err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".yaml")
		if strings.HasPrefix(name, "good") {
			continue
		}
		t.Run(name, func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var want []string
			for line := range strings.Lines(string(data)) {
				if expect, ok := strings.CutPrefix(line, "# expect: "); ok {
					want = append(want, "proxy.yaml:"+strings.TrimSpace(expect))
				}
			}
			c, err := Parse("proxy.yaml", data, dir)
			if err == nil || c != nil {
				t.Fatalf("accepted as %+v, %v", c, err)
			}
			got := strings.ReplaceAll(err.Error(), dir, "$DIR")
			if got != strings.Join(want, "\n") {
				t.Errorf("got\n%s\nwant\n%s", got, strings.Join(want, "\n"))
			}
			if strings.Contains(got, "hunter2") || strings.Contains(got, "zzter2") {
				t.Error("the password is printed")
			}
			checkProblems(t, err)
		})
	}
}

// checkProblems checks what holds of every error of Parse.
func checkProblems(t *testing.T, err error) {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) || len(e.Problems) == 0 {
		t.Fatalf("%T is not an *Error with problems", err)
	}
	last := 1
	for _, p := range e.Problems {
		if p.Line < last {
			t.Errorf("line %d after %d: %s", p.Line, last, p)
		}
		if p.File == "" || p.Message == "" || p.Key == "" && !strings.HasPrefix(p.Message, "syntax: ") {
			t.Errorf("incomplete: %#v", p)
		}
		if strings.ContainsAny(p.String(), "\n\r") {
			t.Errorf("not one line: %q", p)
		}
		last = p.Line
	}
}

func TestParseRefusesWhatNoFileOfTestdataCanHold(t *testing.T) {
	for _, test := range []struct{ name, data, want string }{
		{"empty", "", "f:1: syntax: the configuration is empty: at least tls, registries and content-trust are needed"},
		{"not UTF-8", "listen: a\nname: \xff\n", "f:2: syntax: expected UTF-8 text without control characters"},
		{"UTF-16", "\xff\xfel\x00", "f:1: syntax: expected UTF-8 text without control characters"},
		{"larger than 1 MiB", strings.Repeat("#\n", 1<<19) + "\n", "f:1: syntax: the file is larger than 1MiB, which no configuration is"},
		{"a million brackets", strings.Repeat("[", 1<<20), "f:1: syntax: exceeded max depth of 10000"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := Parse("f", []byte(test.data), ".")
			if err == nil || err.Error() != test.want {
				t.Errorf("got %v, want %s", err, test.want)
			}
		})
	}
}

func TestLoadSaysWhyAFileCannotBeRead(t *testing.T) {
	dir := t.TempDir()
	large := filepath.Join(dir, "large.yaml")
	if err := os.WriteFile(large, []byte(strings.Repeat("#\n", 1<<20)), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ name, path, want string }{
		{"absent", filepath.Join(dir, "absent.yaml"), ": cannot read the configuration: no such file or directory"},
		{"a directory", dir, ": is a directory: name the configuration file in it"},
		{"larger than 1 MiB", large, ":1: syntax: the file is larger than 1MiB, which no configuration is"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := Load(test.path)
			if err == nil || err.Error() != test.path+test.want {
				t.Errorf("got %v, want %s", err, test.path+test.want)
			}
			var e *Error
			if !errors.As(err, &e) {
				t.Errorf("%T is not an *Error", err)
			}
		})
	}
}
