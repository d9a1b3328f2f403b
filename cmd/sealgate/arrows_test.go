package main

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/sealgate/sealgate/"

// arrows says which of our packages each package may import. Imports point
// inward and never back; a package that is not listed has no business here
// until somebody decides what it may see.
var arrows = map[string][]string{
	"cmd/sealgate":              {"*"},
	"config":                    nil,
	"config/clients":            nil,
	"proxy":                     {"proxy/content", "proxy/upstream", "rewrite", "trustcache", "trustcache/guard"},
	"proxy/admin":               {"trustcache"},
	"proxy/bundle":              {"proxy/content", "trustcache"},
	"proxy/content":             {"trustcache/guard"},
	"proxy/upstream":            {"trustcache/guard"},
	"rewrite":                   nil,
	"trustcache":                {"trustcache/guard"},
	"trustcache/guard":          nil,
	"trustcache/notary":         {"trustcache"},
	"trustcache/state":          nil,
	"trustcache/trustcachetest": {"trustcache"},
	"deploy/release":            nil,
	"e2e":                       {"*"},
	"e2e/sandbox":               {"*"},
	"e2e/acme":                  nil,
	"e2e/testdata/say":          nil,
	"e2e/bench":                 {"*"},
	"e2e/pages":                 nil,
}

// libraries says who alone may import a library that nothing else should see.
var libraries = map[string][]string{
	"github.com/theupdateframework/notary":  {"trustcache/notary", "trustcache/trustcachetest", "e2e", "e2e/sandbox"},
	"github.com/prometheus/client_golang":   {"proxy/admin", "cmd/sealgate"},
	"github.com/caddyserver/certmagic":      {"cmd/sealgate"},
	"go.opentelemetry.io/otel/sdk":          {"cmd/sealgate"},
	"go.opentelemetry.io/otel/exporters":    {"cmd/sealgate"},
	"github.com/letsencrypt/pebble":         {"e2e/acme", "e2e/pages"},
	"github.com/KimMachineGun/automemlimit": {"cmd/sealgate"},
	"github.com/spf13/cobra":                {"cmd/sealgate"},
	"github.com/DeRuina/timberjack":         {"cmd/sealgate"},
	"github.com/BurntSushi/toml":            {"config/clients"},
	"github.com/CycloneDX/cyclonedx-go":     {"deploy/release"},
	"golang.org/x/crypto/x509roots":         {"deploy/release"},
}

// testsOnly are imported by tests and linked into no program.
var testsOnly = []string{"trustcache/trustcachetest", "e2e/acme"}

func TestImportsPointInward(t *testing.T) {
	root := filepath.Join("..", "..")
	seen := map[string]bool{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && strings.HasPrefix(d.Name(), ".") && path != root {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		dir, err := filepath.Rel(root, filepath.Dir(path))
		if err != nil {
			return err
		}
		pkg := filepath.ToSlash(dir)
		seen[pkg] = true
		allowed, known := arrows[pkg]
		if !known {
			t.Errorf("%s: package %q is not in the table of arrows", path, pkg)
		}
		for _, imported := range imports(t, path) {
			checkImport(t, path, pkg, imported, allowed)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for pkg := range arrows {
		if _, err := os.Stat(filepath.Join(root, pkg)); err == nil && !seen[pkg] && pkg != "e2e" {
			t.Errorf("no file of package %q was looked at", pkg)
		}
	}
}

func imports(t *testing.T, path string) []string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, spec := range file.Imports {
		name, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, name)
	}
	return list
}

func checkImport(t *testing.T, path, pkg, imported string, allowed []string) {
	t.Helper()
	if ours, ok := strings.CutPrefix(imported, module); ok && !slices.Contains(allowed, "*") && !slices.Contains(allowed, ours) {
		t.Errorf("%s: %s must not import %s", path, pkg, ours)
	}
	if ours, ok := strings.CutPrefix(imported, module); ok && slices.Contains(testsOnly, ours) {
		t.Errorf("%s: %s is for files that end in _test.go", path, ours)
	}
	for library, users := range libraries {
		if (imported == library || strings.HasPrefix(imported, library+"/")) && !slices.Contains(users, pkg) {
			t.Errorf("%s: %s must not import %s", path, pkg, library)
		}
	}
}
