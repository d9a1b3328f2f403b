package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	testFunc = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`)
	// A proof is a test, the first of a cell or paragraph after the package
	// that it and those after it are in.
	proof = regexp.MustCompile("(?:`((?:\\w+/)*\\w+)` )?\\b((?:Test|Fuzz)[A-Z]\\w*)")
)

// TestDocumentsNameTestsThatExist: a promise that is shown by no test is none.
func TestDocumentsNameTestsThatExist(t *testing.T) {
	known := map[string]map[string]bool{} // tests by package
	for name, atLeast := range map[string]int{"security.md": 200, "tuf-conformance.md": 80, "reliability.md": 20} {
		found := 0
		for _, cell := range strings.FieldsFunc(document(t, name), func(r rune) bool { return r == '|' || r == '\n' }) {
			pkg := ""
			for _, m := range proof.FindAllStringSubmatch(cell, -1) {
				found++
				if m[1] != "" {
					pkg = m[1]
				}
				if known[pkg] == nil {
					known[pkg] = testsOf(t, pkg)
				}
				if !known[pkg][m[2]] {
					t.Errorf("docs/%s: there is no %s in package %q (the package stands before the first test of a cell or line)", name, m[2], pkg)
				}
			}
		}
		if found < atLeast {
			t.Errorf("docs/%s: only %d tests were found in it, expected %d or more", name, found, atLeast)
		}
	}
}

func TestEveryInvariantHasAProof(t *testing.T) {
	security := document(t, "security.md")
	for n := 1; n <= 21; n++ {
		row := fmt.Sprintf("\n| I%d |", n)
		_, after, found := strings.Cut(security, row)
		line, _, _ := strings.Cut(after, "\n")
		if !found || strings.Contains(after, row) || !proof.MatchString(line) {
			t.Errorf("docs/security.md: I%d must have one row, with a test in it", n)
		}
	}
}

// TestEveryTestOfTheConformanceSuiteHasARow and no other one.
func TestEveryTestOfTheConformanceSuiteHasARow(t *testing.T) {
	rows := regexp.MustCompile("(?m)^\\| `(test_\\w+)` \\|").FindAllStringSubmatch(document(t, "tuf-conformance.md"), -1)
	seen := map[string]bool{}
	for _, row := range rows {
		if seen[row[1]] {
			t.Errorf("%s has two rows", row[1])
		}
		seen[row[1]] = true
	}
	if len(seen) != 53 {
		t.Errorf("%d tests have a row, expected 53", len(seen))
	}
}

func document(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// testsOf returns the names of the tests of a package of this module; none for
// a package that is not there.
func testsOf(t *testing.T, pkg string) map[string]bool {
	t.Helper()
	tests := map[string]bool{}
	files, err := filepath.Glob(filepath.Join("..", "..", filepath.FromSlash(pkg), "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range files {
		source, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range testFunc.FindAllStringSubmatch(string(source), -1) {
			tests[m[1]] = true
		}
	}
	return tests
}
