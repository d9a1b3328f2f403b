package admin_test

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestTheManualNamesEveryMetric: and none that does not exist, with exactly its
// labels.
func TestTheManualNamesEveryMetric(t *testing.T) {
	manual, err := os.ReadFile("../../docs/operations.md")
	must(t, err)
	families := gather(t, everything(t))
	row := regexp.MustCompile("(?m)^\\| (`sealgate_[^|]*)\\|([^|]*)\\|")
	word := regexp.MustCompile("`([a-z_]+)`")
	documented := map[string]bool{}
	for _, m := range row.FindAllStringSubmatch(string(manual), -1) {
		var labels []string
		for _, l := range word.FindAllStringSubmatch(m[2], -1) {
			labels = append(labels, l[1])
		}
		slices.Sort(labels)
		for _, name := range word.FindAllStringSubmatch(m[1], -1) {
			family := families[name[1]]
			if family == nil {
				t.Errorf("there is no metric %s", name[1])
				continue
			}
			documented[name[1]] = true
			var real []string
			for _, l := range family.GetMetric()[0].GetLabel() {
				real = append(real, l.GetName())
			}
			slices.Sort(real)
			if !slices.Equal(labels, real) {
				t.Errorf("%s is documented with the labels %v and has %v", name[1], labels, real)
			}
		}
	}
	for name := range families {
		if strings.HasPrefix(name, "sealgate_") && !documented[name] {
			t.Errorf("%s is not in the manual", name)
		}
	}
}
