package admin_test

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"github.com/sealgate/sealgate/proxy/admin"
)

// TestTheManualNamesEveryMetric: and none that does not exist, with exactly its
// labels.
func TestTheManualNamesEveryMetric(t *testing.T) {
	manual, err := os.ReadFile("../../docs/metrics.md")
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

// TestEveryAlertSeesTheFirstTime: an increase over what was not there before is
// none, so the series that such alerts count on are there from the start.
func TestEveryAlertSeesTheFirstTime(t *testing.T) {
	rules, err := os.ReadFile("../../deploy/prometheus/sealgate.rules.yaml")
	must(t, err)
	_, reg := newMetrics(t)
	must(t, reg.Register(admin.NewStateCollector(&fakeState{caches: []admin.CacheState{{Registry: registry}}})))
	families := gather(t, reg)
	increase := regexp.MustCompile(`(?m)^ +expr: increase\((\w+)(?:\{(\w+)=~?"([^"]*)"\})?\[`)
	alerts := increase.FindAllStringSubmatch(string(rules), -1)
	if len(alerts) < 6 {
		t.Fatalf("the alerts are not found: %q", alerts)
	}
	for _, alert := range alerts {
		name, label, values := alert[1], alert[2], strings.Split(alert[3], "|")
		for _, value := range values {
			if !slices.ContainsFunc(families[name].GetMetric(), func(m *dto.Metric) bool {
				return label == "" || slices.ContainsFunc(m.GetLabel(), func(l *dto.LabelPair) bool { return l.GetName() == label && l.GetValue() == value })
			}) {
				t.Errorf("no series of %s has the %s %q before the first", name, label, value)
			}
		}
	}
}
