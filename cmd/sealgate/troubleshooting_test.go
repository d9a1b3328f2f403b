package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestTheManualOfTroubleHasEveryMessage that a client can be told by the gate, as
// its source has it, with … for what differs; and none that nobody says.
func TestTheManualOfTroubleHasEveryMessage(t *testing.T) {
	page, err := os.ReadFile("../../docs/troubleshooting.md")
	if err != nil {
		t.Fatal(err)
	}
	said, explained := messages(t), messageRows(string(page))
	if len(said) < 80 {
		t.Errorf("only %d messages were found", len(said))
	}
	for _, text := range slices.Sorted(maps.Keys(said)) {
		if !explained[text] {
			t.Errorf("%s: docs/troubleshooting.md has no row for `%s`", said[text], text)
		}
	}
	for text := range explained {
		if said[text] == "" {
			t.Errorf("docs/troubleshooting.md: nobody says `%s`", text)
		}
	}
}

// messageRows are what stands in the first column of the tables of messages.
func messageRows(page string) map[string]bool {
	rows, inTable := map[string]bool{}, false
	for line := range strings.Lines(page) {
		switch {
		case strings.HasPrefix(line, "| message |"):
			inTable = true
		case !strings.HasPrefix(line, "|"):
			inTable = false
		case inTable:
			cell, _, _ := strings.Cut(strings.TrimPrefix(line, "|"), "|")
			for _, m := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(cell, -1) {
				rows[m[1]] = true
			}
		}
	}
	return rows
}

// messages finds what clients are told in the source of the packages that say it:
// text → file.
func messages(t *testing.T) map[string]string {
	t.Helper()
	const classes = "../../trustcache/errors.go" // of errors, which others wrap
	of := readSources(t, classes)
	said := map[string]string{}
	for _, pattern := range []string{"proxy/*.go", "proxy/upstream/*.go", "trustcache/*.go", "trustcache/notary/*.go"} {
		s := readSources(t, "../../"+pattern)
		s.classes = of.values
		for path, file := range s.files {
			if path == classes {
				continue
			}
			ast.Inspect(file, func(n ast.Node) bool {
				for _, e := range s.shown(n) {
					if text := strings.ReplaceAll(verb.ReplaceAllString(s.text(e), "…"), "……", "…"); strings.Trim(text, "…:") != "" {
						said[text] = path
					}
				}
				return true
			})
		}
	}
	return said
}

// sources are the files of a package, and what its names stand for; classes are
// package trustcache's.
type sources struct {
	files           map[string]*ast.File
	values, classes map[string]ast.Expr
}

func readSources(t *testing.T, pattern string) *sources {
	t.Helper()
	s := &sources{files: map[string]*ast.File{}, values: map[string]ast.Expr{}}
	paths, err := filepath.Glob(pattern)
	if err != nil || len(paths) == 0 {
		t.Fatalf("%s: %v", pattern, err)
	}
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		s.files[path] = file
		for _, d := range file.Decls {
			if d, ok := d.(*ast.GenDecl); ok {
				s.declare(d)
			}
		}
	}
	return s
}

func (s *sources) declare(d *ast.GenDecl) {
	for _, spec := range d.Specs {
		if v, ok := spec.(*ast.ValueSpec); ok && len(v.Values) == len(v.Names) {
			for i, name := range v.Names {
				s.values[name.Name] = v.Values[i]
			}
		}
	}
}

// sayers are functions that make a refusal, or the reason of one, and which of
// their arguments says it.
var sayers = map[string]int{"notFound": 1, "unavailable": 1, "badGateway": 1, "errTooMany": 1, "loginError": 0, "unreachable": 0}

// fields hold it, too.
var fields = []string{"Message", "Why", "text"}

// shown are the expressions of a node that become part of what a client is told.
func (s *sources) shown(n ast.Node) []ast.Expr {
	switch n := n.(type) {
	case *ast.KeyValueExpr:
		if key, ok := n.Key.(*ast.Ident); ok && slices.Contains(fields, key.Name) {
			return []ast.Expr{n.Value}
		}
	case *ast.AssignStmt:
		var all []ast.Expr
		for i, left := range n.Lhs {
			if field, ok := left.(*ast.SelectorExpr); ok && slices.Contains(fields, field.Sel.Name) && len(n.Rhs) == len(n.Lhs) {
				all = append(all, n.Rhs[i])
			}
		}
		return all
	case *ast.CallExpr:
		name := nameOf(n.Fun)
		switch i, says := sayers[name]; {
		case says && len(n.Args) > i:
			return n.Args[i : i+1]
		case name == "Errorf" && len(n.Args) > 1 && s.isClass(n.Args[1]):
			return []ast.Expr{n}
		case (name == "Set" || name == "Add") && len(n.Args) == 2 && s.text(n.Args[0]) == "Warning":
			return n.Args[1:]
		}
	}
	return nil
}

// isClass tells whether e is one of the classes of errors whose text clients are
// told. The gate has its own words for those that are knowledge, and none for what
// was forgotten.
func (s *sources) isClass(e ast.Expr) bool {
	name := nameOf(e)
	return s.classes[name] != nil && !slices.Contains([]string{"ErrNoTrustData", "ErrNotLoaded", "ErrUnpinned", "ErrForgotten"}, name)
}

func nameOf(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		return e.Sel.Name
	}
	return ""
}

// verb is one of a format, with its flags.
var verb = regexp.MustCompile(`%[-+ #0-9.]*[a-z]`)

// text is what an expression says, with … for what is not in the source.
func (s *sources) text(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.BasicLit:
		if text, err := strconv.Unquote(e.Value); err == nil {
			return text
		}
	case *ast.BinaryExpr:
		return s.text(e.X) + s.text(e.Y)
	case *ast.Ident, *ast.SelectorExpr:
		for _, values := range []map[string]ast.Expr{s.classes, s.values} {
			if value := values[nameOf(e)]; value != nil {
				return s.text(value)
			}
		}
	case *ast.CallExpr:
		switch nameOf(e.Fun) {
		case "New":
			return s.text(e.Args[0])
		case "Sprintf", "Errorf":
			return s.format(e.Args)
		}
	}
	return "…"
}

// format fills in what is known of what the verbs stand for.
func (s *sources) format(args []ast.Expr) string {
	i := 0
	return verb.ReplaceAllStringFunc(s.text(args[0]), func(verb string) string {
		i++
		switch verb[len(verb)-1] {
		case 'w', 'v', 's':
			return s.text(args[i])
		case 'q':
			return `"…"`
		}
		return "…"
	})
}
