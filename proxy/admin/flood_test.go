package admin_test

import (
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/sealgate/sealgate/proxy/admin"
	"github.com/sealgate/sealgate/trustcache"
)

func countSeries(tb testing.TB, reg prometheus.Gatherer) int {
	n := 0
	for _, family := range gather(tb, reg) {
		n += len(family.GetMetric())
	}
	return n
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// The gate hands over fixed words only. Should a client's string ever slip
// through, this is what it could do.
func TestInventedWordsMakeNoSeries(t *testing.T) {
	m, reg := newMetrics(t)
	real := admin.RequestOutcome{Registry: registry, Route: "manifest-by-tag", Decision: "allow", Reason: "signed", Status: 200}
	m.Request(real)
	flood := func(from, n int) {
		for i := from; i < from+n; i++ {
			word := fmt.Sprintf("invented-%d\xff", i)
			if i%2 == 0 {
				word = fmt.Sprintf("invented-%d", i)
			}
			m.Request(admin.RequestOutcome{Registry: word, Route: word, Decision: word, Reason: word, Status: i % 700,
				WouldDeny: true, WouldChange: true, SignedLengthDiffers: true})
			m.TrustRefresh(word, trustcache.Refresh{GUN: word, Err: fmt.Errorf("%s", word), Standing: true})
			m.Transport(word, admin.RegistryServer, answers(200, nil)).RoundTrip(nil)
		}
	}
	flood(0, 5_000)
	series, bytes := countSeries(t, reg), heap()
	flood(5_000, 100_000)
	if now := countSeries(t, reg); now != series {
		t.Errorf("%d series became %d", series, now)
	}
	if grown := heap() - bytes; grown > 1<<20 {
		t.Errorf("the heap has grown by %d bytes", grown)
	}
	if series > 1500 {
		t.Errorf("%d series", series)
	}
	m.Request(real)
	checkValues(t, reg, []want{
		{"sealgate_requests_total", []string{"code", "2xx", "decision", "allow", "registry", registry, "route", "manifest-by-tag"}, 2},
		{"sealgate_would_change_total", []string{"registry", "other"}, 105_000},
		{"sealgate_trust_refreshes_total", []string{"registry", "other", "result", "other"}, 105_000},
	})
}

func TestRegistriesOfAReloadAreKnownAndThoseOfBeforeStayKnown(t *testing.T) {
	m, reg := newMetrics(t)
	request := func(name string) {
		m.Request(admin.RequestOutcome{Registry: name, Route: "base", Decision: "pass", Status: 200})
	}
	request("new.example.com")
	m.AddRegistries("new.example.com")
	request("new.example.com")
	request(registry)
	for _, name := range []string{"other", "new.example.com", registry} {
		checkValues(t, reg, []want{{"sealgate_requests_total", []string{"code", "2xx", "decision", "pass", "registry", name, "route", "base"}, 1}})
	}
}

func TestARegistryNameThatIsNotUTF8IsNoLabel(t *testing.T) {
	m, reg := newMetrics(t)
	m.AddRegistries("bad\xff")
	m.Request(admin.RequestOutcome{Registry: "bad\xff", Route: "base", Decision: "pass", Status: 200})
	checkValues(t, reg, []want{{"sealgate_requests_total", []string{"code", "2xx", "decision", "pass", "registry", "other", "route", "base"}, 1}})
}

func TestNoRequestIsLostWhenManyCountAtOnce(t *testing.T) {
	m, reg := newMetrics(t)
	routes := []string{"base", "manifest-by-tag", "blob", "tags"}
	const workers, reasons = 8, 50 // new combinations come up while others are looked up
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for i := range reasons * len(routes) {
				m.Request(admin.RequestOutcome{Registry: registry, Route: routes[i%len(routes)], Decision: "deny", Reason: fmt.Sprint("reason-", i/len(routes)), Status: 404})
			}
		})
	}
	wg.Wait()
	for _, route := range routes {
		checkValues(t, reg, []want{{"sealgate_requests_total", []string{"code", "4xx", "decision", "deny", "registry", registry, "route", route}, workers * reasons}})
	}
	for i := range reasons {
		checkValues(t, reg, []want{{"sealgate_decisions_total", []string{"decision", "deny", "reason", fmt.Sprint("reason-", i), "registry", registry}, workers * 4}})
	}
}

func warm() admin.RequestOutcome {
	return admin.RequestOutcome{Registry: registry, Route: "manifest-by-tag", Decision: "allow", Reason: "signed", Status: 200, Bytes: 1234, Duration: 300 * time.Microsecond}
}

func TestAWarmRequestAllocatesNothing(t *testing.T) {
	m, _ := newMetrics(t)
	o := warm()
	m.Request(o)
	if n := testing.AllocsPerRun(100, func() { m.Request(o) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkRequest(b *testing.B) {
	m, _ := newMetrics(b)
	o := warm()
	// The usual number of combinations, so that the map is no trivial one.
	for _, route := range []string{"base", "manifest-by-tag", "manifest-by-digest", "blob", "tags", "trust"} {
		for _, reason := range []string{"", "unsigned", "unreachable", "signed", "not-in-registry"} {
			m.Request(admin.RequestOutcome{Registry: registry, Route: route, Decision: "allow", Reason: reason, Status: 200})
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		m.Request(o)
	}
}

func BenchmarkRequestParallel(b *testing.B) {
	m, _ := newMetrics(b)
	o := warm()
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			m.Request(o)
		}
	})
}
