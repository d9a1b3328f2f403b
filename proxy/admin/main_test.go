package admin_test

import (
	"slices"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/sealgate/sealgate/proxy/admin"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const registry = "registry.example.com"

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

// newMetrics returns metrics that know one registry, and where they are
// registered.
func newMetrics(tb testing.TB) (*admin.Metrics, *prometheus.Registry) {
	tb.Helper()
	reg := prometheus.NewPedanticRegistry()
	m, err := admin.NewMetrics(reg, "1.2.3")
	must(tb, err)
	m.AddRegistries(registry)
	return m, reg
}

// gather returns what a scrape would, by metric name.
func gather(tb testing.TB, reg prometheus.Gatherer) map[string]*dto.MetricFamily {
	tb.Helper()
	families, err := reg.Gather()
	must(tb, err)
	byName := map[string]*dto.MetricFamily{}
	for _, f := range families {
		byName[f.GetName()] = f
	}
	return byName
}

// value returns the series of this metric with exactly these labels, given as
// name, value, name, value: its value, or for a histogram the number of
// observations; -1 where there is none.
func value(families map[string]*dto.MetricFamily, name string, labels ...string) float64 {
	for _, m := range families[name].GetMetric() {
		var have []string
		for _, l := range m.GetLabel() {
			have = append(have, l.GetName(), l.GetValue())
		}
		if !slices.Equal(have, labels) {
			continue
		}
		switch families[name].GetType() {
		case dto.MetricType_COUNTER:
			return m.GetCounter().GetValue()
		case dto.MetricType_HISTOGRAM:
			return float64(m.GetHistogram().GetSampleCount())
		}
		return m.GetGauge().GetValue()
	}
	return -1
}

// want is a series and the value expected of it.
type want struct {
	name   string
	labels []string // name, value, …, sorted by name
	value  float64
}

func checkValues(t *testing.T, reg prometheus.Gatherer, wants []want) {
	t.Helper()
	families := gather(t, reg)
	for _, w := range wants {
		if got := value(families, w.name, w.labels...); got != w.value {
			t.Errorf("%s%q is %v, not %v", w.name, w.labels, got, w.value)
		}
	}
}
