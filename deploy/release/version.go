package main

import (
	"regexp"
	"strings"
)

// versions are what is a word in a file's name, an image's tag and a linker's flag.
var versions = regexp.MustCompile(`\A[a-zA-Z0-9][a-zA-Z0-9.-]{0,99}\z`)

func validVersion(v string) bool { return versions.MatchString(v) }

var (
	numbered   = regexp.MustCompile(`\Av?(\d[0-9.]*)(?:-(.+))?\z`)
	afterwards = regexp.MustCompile(`\A\d+-g[0-9a-f]+(-dirty)?\z|\Adirty\z`)
)

// debianVersion writes a version so that dpkg sorts it (deb-version(7)): what
// comes before a release sorts before it, what git counts after it sorts after
// it, and a bare commit before everything.
func debianVersion(v string) string {
	m := numbered.FindStringSubmatch(v)
	if m == nil {
		return "0~" + strings.ReplaceAll(v, "-", ".")
	}
	rest := strings.ReplaceAll(m[2], "-", ".")
	switch {
	case rest == "":
		return m[1]
	case afterwards.MatchString(m[2]):
		return m[1] + "+" + rest
	}
	return m[1] + "~" + rest
}
