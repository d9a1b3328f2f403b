package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Every goroutine of sealgate begins under package guard: a panic in one that
// does not would end the process, and every pull with it. Timers that do no more
// than cancel need none.
func TestEveryGoroutineIsGuarded(t *testing.T) {
	root := filepath.Join("..", "..")
	seen := 0
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (strings.HasPrefix(d.Name(), ".") && path != root || d.Name() == "e2e" || d.Name() == "deploy" || path == filepath.Join(root, "trustcache", "guard") || d.Name() == "trustcachetest"):
			return filepath.SkipDir
		case !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go"):
			return nil
		}
		files := token.NewFileSet()
		file, err := parser.ParseFile(files, path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		for start, is := range starts(file) {
			seen++
			if !is {
				t.Errorf("%s: this goroutine does not begin with guard.Catch, Tell, Run or Loop, or inst.guarded", files.Position(start))
			}
		}
		return nil
	})
	if err != nil || seen < 30 {
		t.Fatalf("%d goroutines were found, %v", seen, err)
	}
}

// starts finds where a file starts goroutines, and whether they are guarded.
func starts(file *ast.File) map[token.Pos]bool {
	found := map[token.Pos]bool{}
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GoStmt:
			found[n.Pos()] = guarded(n.Call.Fun)
		case *ast.CallExpr:
			called, ok := n.Fun.(*ast.SelectorExpr)
			if !ok || len(n.Args) == 0 {
				return true
			}
			f := n.Args[len(n.Args)-1]
			switch called.Sel.Name {
			case "Go", "TryGo", "DoChan":
				found[n.Pos()] = guarded(f)
			case "AfterFunc":
				found[n.Pos()] = guarded(f) || cancels(f)
			}
		}
		return true
	})
	return found
}

// guarded is whether a function, as it is started, begins under guard: but for
// declarations and what it defers, there is nothing before.
func guarded(f ast.Expr) bool {
	switch f := f.(type) {
	case *ast.CallExpr:
		called, ok := f.Fun.(*ast.SelectorExpr)
		return ok && called.Sel.Name == "guarded"
	case *ast.FuncLit:
		for _, statement := range f.Body.List {
			if usesGuard(statement) {
				return true
			}
			switch statement.(type) {
			case *ast.DeclStmt, *ast.DeferStmt:
			default:
				return false
			}
		}
	}
	return false
}

func usesGuard(n ast.Node) (uses bool) {
	ast.Inspect(n, func(n ast.Node) bool {
		if s, ok := n.(*ast.SelectorExpr); ok {
			x, ok := s.X.(*ast.Ident)
			uses = uses || ok && x.Name == "guard" && slices.Contains([]string{"Catch", "Tell", "Run", "Loop"}, s.Sel.Name)
		}
		return !uses
	})
	return uses
}

// cancels is whether a function only ends something: it is a context's cancel, or
// calls one.
func cancels(f ast.Expr) bool {
	names := []string{"cancel", "stop", "stalled"}
	switch f := f.(type) {
	case *ast.Ident:
		return slices.Contains(names, f.Name)
	case *ast.SelectorExpr:
		return slices.Contains(names, f.Sel.Name)
	case *ast.FuncLit:
		if len(f.Body.List) != 1 {
			return false
		}
		call, ok := f.Body.List[0].(*ast.ExprStmt)
		if !ok {
			return false
		}
		called, ok := call.X.(*ast.CallExpr)
		return ok && cancels(called.Fun)
	}
	return false
}

func TestAGoroutineWithoutAGuardIsFound(t *testing.T) {
	for code, want := range map[string]bool{
		"go func() { work() }()": false,
		"go work()":              false,
		"go func() { work(); defer guard.Tell(nil) }()": false,
		"group.Go(work)": false,
		"group.Go(func() error { return work() })":                          false,
		"flights.DoChan(key, func() (any, error) { return nil, nil })":      false,
		"time.AfterFunc(late, work)":                                        false,
		"time.AfterFunc(late, func() { cancel(); work() })":                 false,
		"go func() { defer guard.Tell(nil); work() }()":                     true,
		"go func() { defer done(); guard.Loop(ctx, work, nil) }()":          true,
		"group.Go(func() (err error) { defer guard.Catch(&err); work() })":  true,
		"group.Go(inst.guarded(here, work))":                                true,
		"time.AfterFunc(late, func() { cancel(nil) })":                      true,
		"context.AfterFunc(ctx, stop)":                                      true,
		"group.Go(func() { var o o; o.err = guard.Run(work); ended <- o })": true,
	} {
		file, err := parser.ParseFile(token.NewFileSet(), "x.go", "package x\nfunc f() {\n"+code+"\n}", 0)
		if err != nil {
			t.Fatal(err)
		}
		found := starts(file)
		if len(found) != 1 {
			t.Errorf("%s: %d goroutines were found", code, len(found))
		}
		for _, is := range found {
			if is != want {
				t.Errorf("%s: guarded %v, want %v", code, is, want)
			}
		}
	}
}
