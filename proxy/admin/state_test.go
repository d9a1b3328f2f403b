package admin_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/sealgate/sealgate/proxy/admin"
	"github.com/sealgate/sealgate/trustcache"
)

type fakeState struct {
	trust     []admin.TrustState
	manifests admin.ManifestStats
	caches    []admin.CacheState
	flights   admin.FlightStats
	expiry    time.Time
}

func (s *fakeState) Trust() []admin.TrustState      { return s.trust }
func (s *fakeState) Manifests() admin.ManifestStats { return s.manifests }
func (s *fakeState) Caches() []admin.CacheState     { return s.caches }
func (s *fakeState) Flights() admin.FlightStats     { return s.flights }
func (s *fakeState) Connections() int               { return 0 }
func (s *fakeState) CertificateExpiry() time.Time   { return s.expiry }

var epoch = time.Unix(1_900_000_000, 0)

// trustOf is a registry with n repositories in use; the i-th used expires i
// hours after epoch, so that the one used last expires first.
func trustOf(name string, n int) admin.TrustState {
	return admin.TrustState{Registry: name, InUse: func(most int) []trustcache.Use {
		if most > 100 {
			panic("more are copied than can be shown")
		}
		var uses []trustcache.Use
		for i := range min(n, most) {
			uses = append(uses, trustcache.Use{
				GUN: fmt.Sprintf("%s/app-%d", name, i),
				Roles: []trustcache.RoleExpiry{
					{Role: "timestamp", Expires: epoch.Add(time.Duration(i) * time.Hour)},
					{Role: "targets", Expires: epoch.Add(time.Duration(1000+i) * time.Hour)},
				},
				Contact: epoch.Add(-time.Minute),
				Ends:    epoch.Add(time.Duration(i) * time.Hour),
			})
		}
		return uses
	}}
}

func collect(t *testing.T, state admin.State) *prometheus.Registry {
	t.Helper()
	reg := prometheus.NewPedanticRegistry()
	must(t, reg.Register(admin.NewStateCollector(state)))
	return reg
}

func TestCachesAreReportedByRegistry(t *testing.T) {
	one, two := trustOf("one", 0), trustOf("two", 0)
	one.Stats = trustcache.Stats{Known: 6, Fresh: 3, Stale: 2, Ended: 1, Bytes: 4096, Unknown: 7, Hits: 10, Misses: 4}
	two.InUse = nil
	reg := collect(t, &fakeState{
		trust:     []admin.TrustState{one, two},
		manifests: admin.ManifestStats{Entries: 5, Bytes: 500, Hits: 50, Misses: 6},
		caches: []admin.CacheState{{Registry: "one", Bytes: 900, PinnedBytes: 80, Objects: 7, Links: 8, LastSweep: epoch, SweepDuration: time.Second,
			Failures: 3, Damaged: 6, Evicted: 4, EvictedBytes: 5}, {Registry: "two"}},
		flights: admin.FlightStats{Flights: 1, Readers: 2, Spooled: 30},
		expiry:  epoch,
	})
	checkValues(t, reg, []want{
		{"sealgate_certificate_expiry_timestamp_seconds", nil, float64(epoch.Unix())},
		{"sealgate_trust_snapshots", []string{"registry", "one", "state", "fresh"}, 3},
		{"sealgate_trust_snapshots", []string{"registry", "one", "state", "stale"}, 2},
		{"sealgate_trust_snapshots", []string{"registry", "one", "state", "ended"}, 1},
		{"sealgate_trust_snapshots", []string{"registry", "two", "state", "fresh"}, 0},
		{"sealgate_trust_cache_bytes", []string{"registry", "one"}, 4096},
		{"sealgate_trust_cache_unknown_repositories", []string{"registry", "one"}, 7},
		{"sealgate_trust_cache_requests_total", []string{"registry", "one", "result", "hit"}, 10},
		{"sealgate_trust_cache_requests_total", []string{"registry", "one", "result", "miss"}, 4},
		{"sealgate_cache_bytes", []string{"registry", "one"}, 900},
		{"sealgate_cache_pinned_bytes", []string{"registry", "one"}, 80},
		{"sealgate_cache_objects", []string{"registry", "one"}, 7},
		{"sealgate_cache_links", []string{"registry", "one"}, 8},
		{"sealgate_cache_last_sweep_timestamp_seconds", []string{"registry", "one"}, float64(epoch.Unix())},
		{"sealgate_cache_last_sweep_timestamp_seconds", []string{"registry", "two"}, -1}, // none yet
		{"sealgate_cache_last_sweep_duration_seconds", []string{"registry", "one"}, 1},
		{"sealgate_cache_failures_total", []string{"registry", "one"}, 3},
		{"sealgate_cache_damaged_total", []string{"registry", "one"}, 6},
		{"sealgate_cache_evictions_total", []string{"registry", "one"}, 4},
		{"sealgate_cache_evicted_bytes_total", []string{"registry", "one"}, 5},
		{"sealgate_cache_flights", nil, 1},
		{"sealgate_cache_flight_readers", nil, 2},
		{"sealgate_cache_spooled_bytes", nil, 30},
		{"sealgate_manifest_cache_bytes", nil, 500},
		{"sealgate_manifest_cache_entries", nil, 5},
		{"sealgate_manifest_cache_requests_total", []string{"result", "hit"}, 50},
		{"sealgate_manifest_cache_requests_total", []string{"result", "miss"}, 6},
		{"sealgate_trust_earliest_expiry_timestamp_seconds", []string{"registry", "one"}, -1}, // nothing in use
	})
}

func TestTheEndOfWhatWasLoadedIsToldOfOfflineRegistries(t *testing.T) {
	offline, other := trustOf("offline", 0), trustOf("other", 0)
	uses := []trustcache.Use{{GUN: "offline/app", Ends: epoch}, {GUN: "offline/none"}}
	offline.Offline, offline.InUse = true, func(int) []trustcache.Use { return uses }
	other.InUse = func(int) []trustcache.Use { return []trustcache.Use{{GUN: "other/app", Ends: epoch}} }
	reg := collect(t, &fakeState{trust: []admin.TrustState{offline, other}})
	if series := gather(t, reg)["sealgate_offline_end_timestamp_seconds"].GetMetric(); len(series) != 1 {
		t.Errorf("%d series", len(series))
	}
	checkValues(t, reg, []want{{"sealgate_offline_end_timestamp_seconds", []string{"gun", "offline/app"}, float64(epoch.Unix())}})
}

func TestExpiryIsToldOfTheRepositoriesUsedLast(t *testing.T) {
	soon := trustOf("one", 3)
	uses := soon.InUse(3)
	uses[1].Roles = []trustcache.RoleExpiry{{Role: "targets/releases", Expires: epoch.Add(-time.Hour)}}
	uses[2].Contact, uses[2].Roles = time.Time{}, []trustcache.RoleExpiry{{Role: "timestamp"}}
	soon.InUse = func(int) []trustcache.Use { return uses }
	calm := trustOf("two", 2)
	reg := collect(t, &fakeState{trust: []admin.TrustState{soon, calm}})
	at := float64(epoch.Unix())
	if series := gather(t, reg)["sealgate_trust_expiry_timestamp_seconds"].GetMetric(); len(series) != 2+1+0+2*2 {
		t.Errorf("expiries: %v", series)
	}
	checkValues(t, reg, []want{
		{"sealgate_trust_expiry_timestamp_seconds", []string{"gun", "one/app-0", "role", "timestamp"}, at},
		{"sealgate_trust_expiry_timestamp_seconds", []string{"gun", "one/app-0", "role", "targets"}, at + 1000*3600},
		{"sealgate_trust_expiry_timestamp_seconds", []string{"gun", "one/app-1", "role", "targets/releases"}, at - 3600},
		{"sealgate_trust_expiry_timestamp_seconds", []string{"gun", "one/app-2", "role", "timestamp"}, -1}, // not known
		{"sealgate_trust_last_contact_timestamp_seconds", []string{"gun", "one/app-0"}, at - 60},
		{"sealgate_trust_last_contact_timestamp_seconds", []string{"gun", "one/app-2"}, -1},
		{"sealgate_trust_earliest_expiry_timestamp_seconds", []string{"registry", "one"}, at - 3600},
		{"sealgate_trust_earliest_expiry_timestamp_seconds", []string{"registry", "two"}, at + 1000*3600}, // not the timestamp
	})
}

func TestAtMostAHundredRepositoriesHaveSeries(t *testing.T) {
	for _, c := range []struct {
		name string
		have map[string]int // repositories in use, by registry
		want map[string]int // with series
	}{
		{"few", map[string]int{"one": 3, "two": 2}, map[string]int{"one": 3, "two": 2}},
		{"exactly enough", map[string]int{"one": 100}, map[string]int{"one": 100}},
		{"one registry has many", map[string]int{"one": 100_000}, map[string]int{"one": 100}},
		{"both have many", map[string]int{"one": 500, "two": 500}, map[string]int{"one": 50, "two": 50}},
		{"a busy one leaves room for a quiet one", map[string]int{"one": 500, "two": 5}, map[string]int{"one": 95, "two": 5}},
		{"odd shares", map[string]int{"one": 500, "three": 500, "two": 500}, map[string]int{"one": 34, "three": 33, "two": 33}},
	} {
		t.Run(c.name, func(t *testing.T) {
			state := &fakeState{}
			for _, name := range []string{"one", "three", "two"} {
				if n, ok := c.have[name]; ok {
					state.trust = append(state.trust, trustOf(name, n))
				}
			}
			families := gather(t, collect(t, state))
			total := 0
			for name, n := range c.want {
				total += n
				if value(families, "sealgate_trust_last_contact_timestamp_seconds", "gun", fmt.Sprintf("%s/app-%d", name, n-1)) < 0 {
					t.Errorf("%s: fewer than %d have series", name, n)
				}
			}
			for metric, want := range map[string]int{"sealgate_trust_expiry_timestamp_seconds": 2 * total, "sealgate_trust_last_contact_timestamp_seconds": total} {
				if got := len(families[metric].GetMetric()); got != want {
					t.Errorf("%s has %d series, not %d", metric, got, want)
				}
			}
		})
	}
}

func TestTheStateIsReadAtEveryScrape(t *testing.T) {
	state := &fakeState{}
	reg := collect(t, state)
	for _, hits := range []uint64{100, 98, 104} { // counters are told as they are
		trust := trustOf("one", 1)
		trust.Stats = trustcache.Stats{Hits: hits, Misses: hits / 2, Bytes: int64(hits)}
		*state = fakeState{trust: []admin.TrustState{trust}, manifests: admin.ManifestStats{Hits: hits, Misses: hits / 2}}
		checkValues(t, reg, []want{
			{"sealgate_trust_cache_requests_total", []string{"registry", "one", "result", "hit"}, float64(hits)},
			{"sealgate_trust_cache_requests_total", []string{"registry", "one", "result", "miss"}, float64(hits / 2)},
			{"sealgate_manifest_cache_requests_total", []string{"result", "hit"}, float64(hits)},
			{"sealgate_manifest_cache_requests_total", []string{"result", "miss"}, float64(hits / 2)},
			{"sealgate_trust_cache_bytes", []string{"registry", "one"}, float64(hits)},
		})
	}
	*state = fakeState{trust: []admin.TrustState{trustOf("two", 1)}}
	checkValues(t, reg, []want{
		{"sealgate_trust_cache_bytes", []string{"registry", "one"}, -1},
		{"sealgate_trust_cache_requests_total", []string{"registry", "two", "result", "hit"}, 0},
	})
}

func TestStrangeLabelsDoNotBreakAScrape(t *testing.T) {
	use := func(gun, role string) trustcache.Use {
		return trustcache.Use{GUN: gun, Roles: []trustcache.RoleExpiry{{Role: role, Expires: epoch}, {Role: role + "\xff", Expires: epoch}}, Contact: epoch}
	}
	strange := admin.TrustState{Registry: "one\xfe", InUse: func(int) []trustcache.Use {
		return []trustcache.Use{
			use("one/bad\xff", "targets/\xc0"),
			use("one/bad\xfe", "targets/\xc1"), // the same once cleaned
			{GUN: "one/same", Roles: []trustcache.RoleExpiry{{Role: "a\xfe", Expires: epoch}, {Role: "a\xff", Expires: epoch}}},
			use("one/\"quoted\"\n{}", "timestamp"),
			use("", ""),
		}
	}}
	reg := collect(t, &fakeState{trust: []admin.TrustState{strange, {Registry: "two", InUse: strange.InUse}}})
	checkValues(t, reg, []want{
		{"sealgate_trust_expiry_timestamp_seconds", []string{"gun", "one/bad\uFFFD", "role", "targets/\uFFFD"}, float64(epoch.Unix())},
		{"sealgate_trust_expiry_timestamp_seconds", []string{"gun", "one/\"quoted\"\n{}", "role", "timestamp"}, float64(epoch.Unix())},
		{"sealgate_trust_earliest_expiry_timestamp_seconds", []string{"registry", "one\uFFFD"}, float64(epoch.Unix())},
	})
}
