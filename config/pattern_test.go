package config

import (
	"strings"
	"testing"
)

func TestMatchPattern(t *testing.T) {
	for _, test := range []struct {
		pattern, gun string
		want         bool
	}{
		{"r/prod/app", "r/prod/app", true},
		{"r/prod/app", "r/prod/app/x", false},
		{"r/prod/app", "r/prod/ap", false},
		{"registry/te", "registry/team/app", false},
		{"registry/te/*", "registry/team/app", false},
		{"r/prod/*", "r/prod/a", true},
		{"r/prod/*", "r/prod/a/b", true},
		{"r/prod/*", "r/prod", false},
		{"r/prod/*", "r/production/a", false},
		{"r/*", "r/a", true},
		{"r/*", "r", false},
		{"r:5000/*", "r:5000/a", true},
		{"r/*", "r:5000/a", false},
		{"r/*", "r.evil.example/a", false},
		// What is not a pattern, or not a GUN, matches nothing.
		{"*", "r", false},
		{"*", "r/a", false},
		{"*/a", "r/a", false},
		{"r/*/app", "r/a/app", false},
		{"r/*/app", "r/*/app", false},
		{"r/pro*", "r/prod", false},
		{"r/pro*", "r/pro*", false},
		{"r/**", "r/a/b", false},
		{"", "", false},
		{"r/", "r/", false},
		{"r/", "r/a", false},
		{"/*", "/a", false},
		{"r/*", "r/", false},
		{"r/*", "r//a", false},
		{"r/*", "r/a/", false},
	} {
		if got := MatchPattern(test.pattern, test.gun); got != test.want {
			t.Errorf("MatchPattern(%q, %q) = %v", test.pattern, test.gun, got)
		}
	}
}

func TestTheExactNameThenTheLongestWildcardDecides(t *testing.T) {
	patterns := map[string]int{"r/*": 1, "r/prod/*": 2, "r/prod/team/*": 3, "r/prod/team/app": 4, "r/prod/*/app": 5, "*": 6}
	for gun, want := range map[string]string{
		"r/a":               "r/*",
		"r/prod":            "r/*",
		"r/prod/a":          "r/prod/*",
		"r/prod/team":       "r/prod/*",
		"r/prod/team/b":     "r/prod/team/*",
		"r/prod/team/app":   "r/prod/team/app",
		"r/prod/team/app/x": "r/prod/team/*",
		"s/prod/team/app":   "",
	} {
		if got, ok := bestMatch(patterns, gun); got != want || ok != (want != "") {
			t.Errorf("bestMatch(%q) = %q, %v, want %q", gun, got, ok, want)
		}
	}
}

func FuzzMatchPattern(f *testing.F) {
	f.Add("r/prod/*", "r/prod/a/b")
	f.Add("r/prod/app", "r/prod/app")
	f.Add("r/*/app", "r/a/app")
	f.Add("registry/te*", "registry/team/app")
	f.Add("r/*", "r/*")
	f.Fuzz(func(t *testing.T, pattern, gun string) {
		if checkPattern(pattern, []string{"r"}) == nil && Specificity(pattern) < 0 {
			t.Fatalf("%q is accepted in a file, but is no pattern", pattern)
		}
		if !MatchPattern(pattern, gun) || strings.Contains(gun, "*") { // which is no name
			return
		}
		prefix, wild := strings.CutSuffix(pattern, "*")
		switch {
		case strings.Contains(prefix, "*"), Specificity(pattern) < 0:
			t.Fatalf("%q is no pattern, but matches %q", pattern, gun)
		case !wild && pattern != gun:
			t.Fatalf("%q matches %q", pattern, gun)
		case wild && (!strings.HasSuffix(prefix, "/") || !strings.HasPrefix(gun, prefix) || len(gun) == len(prefix)):
			t.Fatalf("%q matches %q", pattern, gun)
		case wild && MatchPattern(gun, gun) && Specificity(gun) <= Specificity(pattern):
			t.Fatalf("the wildcard %q decides before the name %q", pattern, gun)
		}
	})
}

// bestMatch looks at all patterns for the one that decides for the GUN: the exact
// name, else the longest wildcard that matches. It is "" and false where none
// does.
func bestMatch[V any](patterns map[string]V, gun string) (pattern string, ok bool) {
	for p := range patterns {
		if MatchPattern(p, gun) && (!ok || Specificity(p) > Specificity(pattern)) {
			pattern, ok = p, true
		}
	}
	return pattern, ok
}
