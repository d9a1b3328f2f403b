package proxy

import (
	"regexp"
	"strings"
	"testing"

	"github.com/distribution/reference"
)

// The grammars that stand in the specifications, as regular expressions.
var (
	specName   = regexp.MustCompile(`^[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*$`) // OCI distribution-spec v1.1
	specTag    = regexp.MustCompile(`^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$`)
	specDigest = regexp.MustCompile(`^(?:sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$`)
)

// grammarSeeds are at the edges of each rule.
var grammarSeeds = []string{
	"", "a", "0", "A", "a/b", "/a", "a/", "a//b", "a.b", "a..b", "a.", ".a", "a_b", "a__b", "a___b", "a-b", "a----b", "-a", "a-", "a._b", "a_.b", "a-_b",
	"a\n", "\na", "a b", "é", "a:b", "_", "_a", "v1.0-rc.1", "latest", ".x", "-x", "__", strings.Repeat("a", 128), strings.Repeat("a", 129),
	strings.Repeat("a", 255), strings.Repeat("a", 256),
	"sha256:" + strings.Repeat("0", 64), "sha256:" + strings.Repeat("0", 63), "sha256:" + strings.Repeat("0", 65), "sha256:" + strings.Repeat("A", 64),
	"sha512:" + strings.Repeat("f", 128), "sha512:" + strings.Repeat("f", 64), "sha256:" + strings.Repeat("g", 64), "sha1:" + strings.Repeat("0", 40),
}

func FuzzGrammars(f *testing.F) {
	for _, s := range grammarSeeds {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if got, want := validName(s), len(s) <= reference.RepositoryNameTotalLengthMax && specName.MatchString(s); got != want {
			t.Errorf("name %q: %v, the specification says %v", s, got, want)
		}
		if got, want := validTag(s), specTag.MatchString(s); got != want {
			t.Errorf("tag %q: %v, the specification says %v", s, got, want)
		}
		if got, want := validDigest(s), specDigest.MatchString(s); got != want {
			t.Errorf("digest %q: %v, the specification says %v", s, got, want)
		}
	})
}
