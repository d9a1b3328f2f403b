package notary

import (
	"slices"
	"strings"
	"testing"

	"github.com/theupdateframework/notary/tuf/data"
)

// FuzzPaths: which target names a role and its child may sign is what the
// library says, which tries every path for every name.
func FuzzPaths(f *testing.F) {
	f.Add("a,b,ab", "a,abc,b,c,", "abcd")
	f.Add("", "", "")
	f.Add("a,a,a,aa,aab", "aab,aac,a", "aac")
	f.Add("b,ba,bb,a\x00,a\xff", "a\xff\xff,bbb", "a\xff\xffx")
	f.Fuzz(func(t *testing.T, parent, child, name string) {
		// An empty text is a role without paths, ",": one of every name.
		split := func(s string) []string {
			if s == "" {
				return nil
			}
			return strings.Split(s, ",")
		}
		p, c := split(parent), split(child)
		before := slices.Clone(c)
		outer := newPrefixes(p)
		inner := outer.restrict(c)
		if !slices.Equal(before, c) {
			t.Fatal("the caller's paths were changed")
		}
		wantOuter := data.DelegationRole{Paths: p}
		wantInner := data.DelegationRole{Paths: data.RestrictDelegationPathPrefixes(p, c)}
		for _, n := range append([]string{name, "", name + "a"}, append(p, c...)...) {
			if got, want := outer.cover(n), wantOuter.CheckPaths(n); got != want {
				t.Errorf("paths %q, name %q: %v, expected %v", p, n, got, want)
			}
			if got, want := inner.cover(n), wantInner.CheckPaths(n); got != want {
				t.Errorf("paths %q under %q, name %q: %v, expected %v", c, p, n, got, want)
			}
		}
	})
}
