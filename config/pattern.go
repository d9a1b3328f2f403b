package config

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"
)

// MatchPattern reports whether pattern matches the GUN, component by component.
// A pattern is a GUN, which matches itself, or ends in the component "*", which
// stands for one or more whole components: r/prod/* matches r/prod/a and
// r/prod/a/b, but neither r/prod nor r/production/a. Any other use of "*", and
// an empty component on either side, matches nothing.
func MatchPattern(pattern, gun string) bool {
	if Specificity(pattern) < 0 {
		return false
	}
	want, got := strings.Split(pattern, "/"), strings.Split(gun, "/")
	if slices.Contains(got, "") {
		return false
	}
	if last := len(want) - 1; want[last] == "*" {
		return len(got) > last && slices.Equal(want[:last], got[:last])
	}
	return slices.Equal(want, got)
}

// Specificity orders the patterns that match one GUN: of two, the one with the
// greater number decides. An exact name beats every wildcard, and a longer
// wildcard a shorter one; no two different patterns that match the same GUN are
// equal. What is not a pattern has -1.
func Specificity(pattern string) int {
	components := strings.Split(pattern, "/")
	last := len(components) - 1
	if slices.Contains(components, "") || strings.Contains(strings.Join(components[:last], ""), "*") {
		return -1
	}
	switch {
	case components[last] == "*" && last > 0:
		return last
	case strings.Contains(components[last], "*"):
		return -1
	}
	return math.MaxInt
}

// Matcher finds the pattern that decides for a GUN: the exact name, else the
// longest wildcard that matches. It is not changed once it is made.
type Matcher[V any] struct {
	exact map[string]V
	below map[string]V // by what comes before "/*"
}

// NewMatcher takes values by pattern. What is no pattern matches nothing.
func NewMatcher[V any](patterns map[string]V) Matcher[V] {
	m := Matcher[V]{exact: map[string]V{}, below: map[string]V{}}
	for pattern, v := range patterns {
		if Specificity(pattern) < 0 {
			continue
		}
		if prefix, wild := strings.CutSuffix(pattern, "/*"); wild {
			m.below[prefix] = v
		} else {
			m.exact[pattern] = v
		}
	}
	return m
}

// Find returns the value of the pattern that decides for the GUN, false where
// none matches. It allocates nothing.
func (m Matcher[V]) Find(gun string) (v V, ok bool) {
	if v, ok = m.exact[gun]; ok || len(m.below) == 0 || gun == "" || gun[0] == '/' || gun[len(gun)-1] == '/' || strings.Contains(gun, "//") {
		return v, ok
	}
	for i := strings.LastIndexByte(gun, '/'); i > 0 && !ok; i = strings.LastIndexByte(gun[:i], '/') {
		v, ok = m.below[gun[:i]]
	}
	return v, ok
}

// component is one component of a repository's name, as the OCI distribution
// specification v1.1 ("Pulling manifests") has it.
var component = regexp.MustCompile(`^[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*$`)

// checkPattern says what is wrong with a pattern over the repositories of the
// registries of these names.
func checkPattern(pattern string, registries []string) error {
	name, repository, _ := strings.Cut(pattern, "/")
	if !slices.Contains(registries, name) {
		return fmt.Errorf("no registry %s is configured: a pattern is the name of a configured registry, %q and a repository or wildcard, such as %q",
			quote(name), "/", "registry.example.com/prod/*")
	}
	if repository == "" {
		return fmt.Errorf("a repository is missing: write %s for every repository of this registry", quote(name+"/*"))
	}
	components := strings.Split(repository, "/")
	for i, c := range components {
		switch {
		case c == "*" && i == len(components)-1:
		case strings.Contains(c, "*"):
			return errors.New(`"*" may stand only as the whole last component, where it matches one or more components, as in "registry.example.com/prod/*"`)
		case !component.MatchString(c):
			return fmt.Errorf("%s is not a component of a repository's name: expected lower-case letters and digits, with single separators between them (a tag or digest is not part of it)", quote(c))
		}
	}
	if name == "docker.io" && len(components) == 1 && components[0] != "*" {
		return fmt.Errorf("no repository of Docker Hub has one component: write %s if the official image is meant", quote("docker.io/library/"+repository))
	}
	return nil
}
