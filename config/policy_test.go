package config

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// TestEffectivePolicies: the most specific match decides alone, and what it leaves out
// comes from above, not from a wider policy.
func TestEffectivePolicies(t *testing.T) {
	trust := &ContentTrust{Mode: Enforced, Policies: []Policy{
		{Match: "r/*", Mode: Permissive, ExemptTags: []string{"dev-*"}, RequiredSigners: []string{"qa"}},
		{Match: "r/prod/*", Roles: []string{"targets/prod"}},
		{Match: "r/prod/app", Mode: Disabled},
	}}
	above, byMatch := trust.EffectivePolicies()
	matcher := NewMatcher(byMatch)
	of := func(gun string) Policy {
		if p, ok := matcher.Find(gun); ok {
			return p
		}
		return above
	}
	for gun, want := range map[string]Policy{
		"other/a":      {Mode: Enforced},
		"r/a":          {Match: "r/*", Mode: Permissive, ExemptTags: []string{"dev-*"}, RequiredSigners: []string{"qa"}},
		"r/a/b":        {Match: "r/*", Mode: Permissive, ExemptTags: []string{"dev-*"}, RequiredSigners: []string{"qa"}},
		"r/prod":       {Match: "r/*", Mode: Permissive, ExemptTags: []string{"dev-*"}, RequiredSigners: []string{"qa"}},
		"r/prod/b":     {Match: "r/prod/*", Mode: Enforced, Roles: []string{"targets/prod"}},
		"r/prod/app":   {Match: "r/prod/app", Mode: Disabled},
		"r/prod/app/x": {Match: "r/prod/*", Mode: Enforced, Roles: []string{"targets/prod"}},
		"r":            {Mode: Enforced},
	} {
		got := of(gun)
		if got.Match != want.Match || got.Mode != want.Mode || !slices.Equal(got.Roles, want.Roles) ||
			!slices.Equal(got.ExemptTags, want.ExemptTags) || !slices.Equal(got.RequiredSigners, want.RequiredSigners) {
			t.Errorf("%s: got %+v, want %+v", gun, got, want)
		}
	}
	if n := testing.AllocsPerRun(100, func() { of("r/prod/a/b/c") }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestMatcherFindsTheBestMatch, whatever the patterns and the name.
func TestMatcherFindsTheBestMatch(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	name := func(parts ...string) string {
		n := 1 + random.IntN(4)
		chosen := make([]string, n)
		for i := range chosen {
			chosen[i] = parts[random.IntN(len(parts))]
		}
		return strings.Join(chosen, "/")
	}
	for range 20000 {
		patterns := map[string]string{}
		for range random.IntN(5) {
			p := name("a", "b", "*", "")
			patterns[p] = p
		}
		gun := name("a", "b", "c", "")
		want, known := bestMatch(patterns, gun)
		if got, ok := NewMatcher(patterns).Find(gun); got != want || ok != known {
			t.Fatalf("%q of %q: got %q, %v, want %q, %v", gun, patterns, got, ok, want, known)
		}
	}
}
