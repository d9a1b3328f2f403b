package trustcache

import (
	"fmt"
	"slices"
	"testing"
)

func TestAnIndexFindsWhatIsThereAndNothingElse(t *testing.T) {
	for _, n := range []int{0, 1, fewTags, fewTags + 1, 100, 1000, 80_000} {
		tags := make([]string, n)
		for i := range tags {
			tags[i] = fmt.Sprintf("v%06d", i)
		}
		table := newTable(Contents{Targets: targetsOf(tags)})
		if indexed := table.index != nil; indexed != (n > fewTags) {
			t.Errorf("%d tags: indexed is %v", n, indexed)
		}
		for i, tag := range tags {
			if at, ok := table.search(tag); !ok || at != i {
				t.Fatalf("%d tags: %s is at %d, %v", n, tag, at, ok)
			}
		}
		for _, other := range []string{"", "v", "v00000", "v0000000", "V000000", "v999999", "latest"} {
			if _, ok := table.search(other); ok != slices.Contains(tags, other) {
				t.Errorf("%d tags: %q: %v", n, other, ok)
			}
		}
	}
}

func targetsOf(tags []string) (targets []Target) {
	for _, tag := range tags {
		targets = append(targets, Target{Tag: tag, Role: "targets", Signers: []string{"targets"}})
	}
	return targets
}
