package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestTheDockerfileCopiesAllThatIsCompiled: a package that is not copied, or that
// .dockerignore keeps out, ends whoever builds an image of their own, and the
// Compose file with them.
func TestTheDockerfileCopiesAllThatIsCompiled(t *testing.T) {
	copied := linesAfter(t, "Dockerfile", "COPY ")
	for i, line := range copied {
		copied[i], _, _ = strings.Cut(line, " ")
	}
	let := linesAfter(t, ".dockerignore", "!")
	for _, pkg := range compiled(t, "cmd/sealgate", nil) {
		if !holds(copied, pkg) {
			t.Errorf("the Dockerfile copies no %s", pkg)
		}
		if !holds(let, pkg) {
			t.Errorf(".dockerignore keeps %s out", pkg)
		}
	}
}

// linesAfter are the lines of a file at the top that begin with prefix, without it.
func linesAfter(t *testing.T, name, prefix string) (list []string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", name))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if rest, found := strings.CutPrefix(strings.TrimSpace(line), prefix); found {
			list = append(list, rest)
		}
	}
	return list
}

func holds(dirs []string, pkg string) bool {
	return slices.ContainsFunc(dirs, func(dir string) bool { return pkg == dir || strings.HasPrefix(pkg, dir+"/") })
}

// compiled adds pkg, and ours that it imports, to seen.
func compiled(t *testing.T, pkg string, seen []string) []string {
	t.Helper()
	if slices.Contains(seen, pkg) {
		return seen
	}
	seen = append(seen, pkg)
	files, err := filepath.Glob(filepath.Join("..", "..", pkg, "*.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%s has no files: %v", pkg, err)
	}
	for _, path := range files {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		for _, imported := range imports(t, path) {
			if ours, ok := strings.CutPrefix(imported, module); ok {
				seen = compiled(t, ours, seen)
			}
		}
	}
	return seen
}
