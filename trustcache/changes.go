package trustcache

import "strings"

// Change is what became of one tag between two snapshots of a repository.
type Change struct {
	Tag string
	// Before and After are the digests that were signed for it; nil where it was not
	// signed, or with no sha256.
	Before, After *Digest
}

// Changes returns what differs in the tags of two snapshots of one repository,
// sorted by tag: the first n differences, and how many there are. It costs
// nothing where after was made by Renew of before.
func Changes(before, after *Snapshot, n int) (first []Change, all int) {
	if before.table == after.table {
		return nil, 0
	}
	a, b := before.table, after.table
	for i, j := 0, 0; i < len(a.tags) || j < len(b.tags); {
		var c Change
		switch order := compareAt(a.tags, b.tags, i, j); {
		case order < 0:
			c = Change{Tag: a.tags[i], Before: &a.entries[i].digest}
			i++
		case order > 0:
			c = Change{Tag: b.tags[j], After: &b.entries[j].digest}
			j++
		default:
			c = Change{Tag: a.tags[i], Before: &a.entries[i].digest, After: &b.entries[j].digest}
			i, j = i+1, j+1
			if *c.Before == *c.After {
				continue
			}
		}
		if all++; len(first) < n {
			first = append(first, c)
		}
	}
	return first, all
}

// compareAt compares the next tag of each list; the end of a list comes last.
func compareAt(a, b []string, i, j int) int {
	switch {
	case i == len(a):
		return 1
	case j == len(b):
		return -1
	}
	return strings.Compare(a[i], b[j])
}
