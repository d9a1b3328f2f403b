package notary

import (
	"slices"
	"strings"
)

// prefixes are the beginnings of the target names that a role may sign, sorted
// and without those that another one covers: so many may be listed in a file
// that trying them one by one for each tag would take hours.
type prefixes []string

// newPrefixes returns the same prefixes in that form.
func newPrefixes(list []string) prefixes {
	sorted := slices.Sorted(slices.Values(list))
	p := make(prefixes, 0, len(sorted))
	for _, prefix := range sorted {
		if !p.cover(prefix) {
			p = append(p, prefix)
		}
	}
	return exact(p)
}

// cover says whether name begins with one of the prefixes. Whatever sorts
// between a prefix and a name that begins with it begins with it too, and was
// left out; so only the last prefix that does not sort after name can be it.
func (p prefixes) cover(name string) bool {
	i, found := slices.BinarySearch(p, name)
	return found || i > 0 && strings.HasPrefix(name, p[i-1])
}

// restrict returns those of a child's prefixes that p covers, as Notary does:
// a child's prefix that is wider than its parent's is void, not cut.
func (p prefixes) restrict(child []string) prefixes {
	return newPrefixes(slices.DeleteFunc(slices.Clone(child), func(prefix string) bool { return !p.cover(prefix) }))
}
