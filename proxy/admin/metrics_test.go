package admin_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
	"github.com/sealgate/sealgate/proxy/admin"
	"github.com/sealgate/sealgate/trustcache"
)

// everything makes every metric have a series.
func everything(t *testing.T) *prometheus.Registry {
	m, reg := newMetrics(t)
	m.Request(admin.RequestOutcome{Registry: registry, Route: "tags", Decision: "pass", Reason: "unsigned", Status: 200,
		From: "store", WouldDeny: true, WouldChange: true, SignedLengthDiffers: true, Panicked: true})
	m.TrustRefresh(registry, trustcache.Refresh{})
	m.Reloaded(nil)
	_, err := m.Transport(registry, admin.NotaryServer, answers(200, nil)).RoundTrip(httptest.NewRequest("GET", "/", nil))
	must(t, err)
	trust := trustOf(registry, 1)
	trust.Offline = true
	must(t, reg.Register(admin.NewStateCollector(&fakeState{
		trust: []admin.TrustState{trust}, caches: []admin.CacheState{{Registry: registry, LastSweep: epoch}}, expiry: epoch,
	})))
	return reg
}

func TestMetricNamesTypesAndLabels(t *testing.T) {
	const (
		counter   = dto.MetricType_COUNTER
		gauge     = dto.MetricType_GAUGE
		histogram = dto.MetricType_HISTOGRAM
	)
	table := map[string]struct {
		kind   dto.MetricType
		labels string // sorted
	}{
		"sealgate_offline_end_timestamp_seconds":                {gauge, "gun"},
		"sealgate_build_info":                                   {gauge, "go_version version"},
		"sealgate_requests_total":                               {counter, "code decision registry route"},
		"sealgate_request_duration_seconds":                     {histogram, "route"},
		"sealgate_response_bytes_total":                         {counter, "route"},
		"sealgate_decisions_total":                              {counter, "decision reason registry"},
		"sealgate_would_deny_total":                             {counter, "reason registry"},
		"sealgate_would_change_total":                           {counter, "registry"},
		"sealgate_signed_length_mismatches_total":               {counter, "registry"},
		"sealgate_cache_requests_total":                         {counter, "from registry route"},
		"sealgate_cache_response_bytes_total":                   {counter, "from registry"},
		"sealgate_audit_failures_total":                         {counter, ""},
		"sealgate_cache_spool_failures_total":                   {counter, ""},
		"sealgate_cache_bytes":                                  {gauge, "registry"},
		"sealgate_cache_pinned_bytes":                           {gauge, "registry"},
		"sealgate_cache_objects":                                {gauge, "registry"},
		"sealgate_cache_links":                                  {gauge, "registry"},
		"sealgate_cache_last_sweep_timestamp_seconds":           {gauge, "registry"},
		"sealgate_cache_last_sweep_duration_seconds":            {gauge, "registry"},
		"sealgate_cache_failures_total":                         {counter, "registry"},
		"sealgate_cache_damaged_total":                          {counter, "registry"},
		"sealgate_cache_evictions_total":                        {counter, "registry"},
		"sealgate_cache_evicted_bytes_total":                    {counter, "registry"},
		"sealgate_cache_flights":                                {gauge, ""},
		"sealgate_cache_flight_readers":                         {gauge, ""},
		"sealgate_cache_spooled_bytes":                          {gauge, ""},
		"sealgate_connections":                                  {gauge, ""},
		"sealgate_connections_evicted_total":                    {counter, ""},
		"sealgate_connections_refused_total":                    {counter, "reason"},
		"sealgate_certificate_expiry_timestamp_seconds":         {gauge, ""},
		"sealgate_acme_orders_total":                            {counter, "result"},
		"sealgate_trace_spans_total":                            {counter, "result"},
		"sealgate_panics_total":                                 {counter, "where"},
		"sealgate_trust_refreshes_total":                        {counter, "registry result"},
		"sealgate_trust_refresh_duration_seconds":               {histogram, "registry"},
		"sealgate_trust_standing_total":                         {counter, "registry"},
		"sealgate_upstream_request_duration_seconds":            {histogram, "code registry server"},
		"sealgate_config_reloads_total":                         {counter, "result"},
		"sealgate_config_last_reload_successful":                {gauge, ""},
		"sealgate_config_last_reload_success_timestamp_seconds": {gauge, ""},
		"sealgate_trust_snapshots":                              {gauge, "registry state"},
		"sealgate_trust_cache_bytes":                            {gauge, "registry"},
		"sealgate_trust_cache_unknown_repositories":             {gauge, "registry"},
		"sealgate_trust_cache_requests_total":                   {counter, "registry result"},
		"sealgate_manifest_cache_bytes":                         {gauge, ""},
		"sealgate_manifest_cache_entries":                       {gauge, ""},
		"sealgate_manifest_cache_requests_total":                {counter, "result"},
		"sealgate_trust_expiry_timestamp_seconds":               {gauge, "gun role"},
		"sealgate_trust_last_contact_timestamp_seconds":         {gauge, "gun"},
		"sealgate_trust_earliest_expiry_timestamp_seconds":      {gauge, "registry"},
	}
	families := gather(t, everything(t))
	for name, want := range table {
		family := families[name]
		if family == nil {
			t.Errorf("%s is missing", name)
			continue
		}
		if family.GetType() != want.kind {
			t.Errorf("%s is a %s, not a %s", name, family.GetType(), want.kind)
		}
		if len(family.GetHelp()) < 20 {
			t.Errorf("%s: help %q", name, family.GetHelp())
		}
		for _, series := range family.GetMetric() {
			var labels []string
			for _, l := range series.GetLabel() {
				labels = append(labels, l.GetName())
			}
			slices.Sort(labels)
			if got := strings.Join(labels, " "); got != want.labels {
				t.Errorf("%s has the labels %q, not %q", name, got, want.labels)
			}
		}
	}
	for name := range families {
		if _, known := table[name]; strings.HasPrefix(name, "sealgate_") && !known {
			t.Errorf("%s is not in the table", name)
		}
	}
	for _, name := range []string{"go_goroutines", "process_start_time_seconds"} {
		if families[name] == nil {
			t.Errorf("%s is missing", name)
		}
	}
}

func TestMetricsFollowTheNamingRules(t *testing.T) {
	families, err := everything(t).Gather()
	must(t, err)
	problems, err := promlint.NewWithMetricFamilies(families).Lint()
	must(t, err)
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

func TestRegisteringTwiceIsAnError(t *testing.T) {
	reg := prometheus.NewRegistry()
	_, err := admin.NewMetrics(reg, "1")
	must(t, err)
	if m, err := admin.NewMetrics(reg, "1"); err == nil || m != nil {
		t.Errorf("metrics %v, error %v", m, err)
	}
}

func TestEachRequestCountsUnderItsOwnWords(t *testing.T) {
	m, reg := newMetrics(t)
	mismatch := admin.RequestOutcome{Registry: registry, Route: "manifest-by-tag", Decision: "error", Reason: "upstream-mismatch", Status: 502}
	alarms := []string{"decision", "error", "reason", "upstream-mismatch", "registry", registry}
	checkValues(t, reg, []want{{"sealgate_decisions_total", alarms, 0}}) // there before the first
	m.Request(mismatch)
	checkValues(t, reg, []want{{"sealgate_decisions_total", alarms, 1}})
	signed := admin.RequestOutcome{Registry: registry, Route: "manifest-by-tag", Decision: "allow", Reason: "signed", Status: 200, Bytes: 500, Duration: time.Millisecond}
	m.Request(signed)
	signed.SignedLengthDiffers = true
	m.Request(signed)
	m.Request(admin.RequestOutcome{Registry: registry, Route: "manifest-by-tag", Decision: "deny", Reason: "unsigned", Status: 404, Bytes: 100})
	m.Request(admin.RequestOutcome{Registry: registry, Route: "blob", Decision: "pass", Status: 206, Bytes: 7})
	fromCache := admin.RequestOutcome{Registry: registry, Route: "manifest-by-digest", Decision: "pass", Status: 200, From: "store", Bytes: 40}
	m.Request(fromCache)
	m.Request(fromCache)
	checkValues(t, reg, []want{
		{"sealgate_cache_requests_total", []string{"from", "store", "registry", registry, "route", "manifest-by-digest"}, 2},
		{"sealgate_cache_response_bytes_total", []string{"from", "store", "registry", registry}, 80},
	})
	m.Request(admin.RequestOutcome{Registry: registry, Route: "blob", Decision: "pass", Bytes: -1, Duration: -time.Second}) // cut before an answer
	m.Request(admin.RequestOutcome{Route: "refused", Decision: "refuse", Reason: "unknown-host", Status: 421})
	m.Request(admin.RequestOutcome{Route: "refused", Decision: "refuse", Reason: "unknown-host", Status: 600})
	m.Request(admin.RequestOutcome{Registry: registry, Route: "tags", Decision: "pass", Reason: "unpinned", Status: 200, WouldDeny: true})
	m.Request(admin.RequestOutcome{Registry: registry, Route: "tags", Decision: "pass", Status: 200, WouldChange: true})
	m.Request(admin.RequestOutcome{Registry: registry, Route: "tags", Decision: "pass", Status: 200, WouldChange: true})
	m.Request(admin.RequestOutcome{Registry: registry, Route: "base", Decision: "error", Reason: "internal", Status: 500, Panicked: true})

	requests, decisions := "sealgate_requests_total", "sealgate_decisions_total"
	checkValues(t, reg, []want{
		{requests, []string{"code", "2xx", "decision", "allow", "registry", registry, "route", "manifest-by-tag"}, 2},
		{requests, []string{"code", "4xx", "decision", "deny", "registry", registry, "route", "manifest-by-tag"}, 1},
		{requests, []string{"code", "2xx", "decision", "pass", "registry", registry, "route", "blob"}, 1},
		{requests, []string{"code", "none", "decision", "pass", "registry", registry, "route", "blob"}, 1},
		{requests, []string{"code", "4xx", "decision", "refuse", "registry", "", "route", "refused"}, 1},
		{requests, []string{"code", "other", "decision", "refuse", "registry", "", "route", "refused"}, 1},
		{requests, []string{"code", "5xx", "decision", "error", "registry", registry, "route", "base"}, 1},
		{decisions, []string{"decision", "allow", "reason", "signed", "registry", registry}, 2},
		{decisions, []string{"decision", "deny", "reason", "unsigned", "registry", registry}, 1},
		{decisions, []string{"decision", "refuse", "reason", "unknown-host", "registry", ""}, 2},
		{decisions, []string{"decision", "pass", "reason", "unpinned", "registry", registry}, 1},
		{decisions, []string{"decision", "pass", "reason", "", "registry", registry}, -1},
		{"sealgate_request_duration_seconds", []string{"route", "manifest-by-tag"}, 4},
		{"sealgate_request_duration_seconds", []string{"route", "blob"}, 2},
		{"sealgate_response_bytes_total", []string{"route", "manifest-by-tag"}, 1100},
		{"sealgate_response_bytes_total", []string{"route", "blob"}, 7},
		{"sealgate_would_deny_total", []string{"reason", "unpinned", "registry", registry}, 1},
		{"sealgate_would_change_total", []string{"registry", registry}, 2},
		{"sealgate_signed_length_mismatches_total", []string{"registry", registry}, 1},
		{"sealgate_panics_total", []string{"where", "request"}, 1},
		{"sealgate_panics_total", []string{"where", "refresh"}, 0},
	})
	if sum := gather(t, reg)["sealgate_request_duration_seconds"]; sum != nil {
		for _, series := range sum.GetMetric() {
			if series.GetHistogram().GetSampleSum() < 0 {
				t.Errorf("a clock that was set back made a sum negative: %v", series)
			}
		}
	}
}

func TestRefreshesCountByResult(t *testing.T) {
	m, reg := newMetrics(t)
	for i, c := range []struct {
		err    error
		result string
	}{
		{nil, "ok"},
		{trustcache.ErrNoTrustData, "no-trust-data"},
		{trustcache.ErrUnpinned, "unpinned"},
		{trustcache.ErrMalicious, "malicious"},
		{trustcache.ErrExpired, "expired"},
		{trustcache.ErrVanished, "vanished"},
		{trustcache.ErrUnreachable, "unreachable"},
		{errors.New("anything else"), "other"},
	} {
		labels := []string{"registry", registry, "result", c.result}
		if c.result != "other" {
			checkValues(t, reg, []want{{"sealgate_trust_refreshes_total", labels, 0}}) // there before the first
		}
		err := c.err
		if err != nil {
			err = fmt.Errorf("while testing: %w", err)
		}
		m.TrustRefresh(registry, trustcache.Refresh{GUN: "never a label", Err: err, Duration: time.Second})
		checkValues(t, reg, []want{
			{"sealgate_trust_refreshes_total", labels, 1},
			{"sealgate_trust_refresh_duration_seconds", []string{"registry", registry}, float64(i + 1)},
		})
	}
	m.TrustRefresh(registry, trustcache.Refresh{Err: &trustcache.PanicError{}, Panic: []byte("a stack"), Standing: true})
	checkValues(t, reg, []want{
		{"sealgate_trust_refreshes_total", []string{"registry", registry, "result", "malicious"}, 2},
		{"sealgate_trust_standing_total", []string{"registry", registry}, 1},
		{"sealgate_panics_total", []string{"where", "refresh"}, 1},
	})
}

func TestReloadsAndWhenTheLastGoodOneWas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, reg := newMetrics(t)
		start := float64(time.Now().Unix())
		state := func(applied, refused, successful, at float64) {
			t.Helper()
			checkValues(t, reg, []want{
				{"sealgate_config_reloads_total", []string{"result", "applied"}, applied},
				{"sealgate_config_reloads_total", []string{"result", "refused"}, refused},
				{"sealgate_config_last_reload_successful", nil, successful},
				{"sealgate_config_last_reload_success_timestamp_seconds", nil, at},
			})
		}
		state(0, 0, 1, start)
		time.Sleep(time.Minute)
		m.Reloaded(errors.New("a bad file"))
		state(0, 1, 0, start)
		time.Sleep(time.Minute)
		m.Reloaded(nil)
		state(1, 1, 1, start+120)
	})
}

// answers is a RoundTripper that always says the same.
func answers(status int, err error) http.RoundTripper {
	return roundTripper(func(*http.Request) (*http.Response, error) {
		if err != nil {
			return nil, err
		}
		return &http.Response{StatusCode: status, Body: http.NoBody}, nil
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestUpstreamLatencyByServerAndStatusClass(t *testing.T) {
	m, reg := newMetrics(t)
	for _, c := range []struct {
		registry string
		server   admin.Server
		status   int
		err      error
		want     []string
	}{
		{registry, admin.RegistryServer, 200, nil, []string{"code", "2xx", "registry", registry, "server", "registry"}},
		{registry, admin.NotaryServer, 404, nil, []string{"code", "4xx", "registry", registry, "server", "notary"}},
		{registry, admin.NotaryServer, 0, errors.New("refused"), []string{"code", "error", "registry", registry, "server", "notary"}},
		{registry, admin.NotaryServer, 0, context.DeadlineExceeded, []string{"code", "error", "registry", registry, "server", "notary"}},
		{registry, admin.RegistryServer, 0, fmt.Errorf("gone: %w", context.Canceled), []string{"code", "canceled", "registry", registry, "server", "registry"}},
		{"invented.example.com", admin.RegistryServer, 500, nil, []string{"code", "5xx", "registry", "other", "server", "registry"}},
	} {
		before := max(value(gather(t, reg), "sealgate_upstream_request_duration_seconds", c.want...), 0)
		resp, err := m.Transport(c.registry, c.server, answers(c.status, c.err)).RoundTrip(httptest.NewRequest("GET", "/", nil))
		if !errors.Is(err, c.err) || err == nil && resp.StatusCode != c.status {
			t.Errorf("%v: answer %v, error %v", c.want, resp, err)
		}
		checkValues(t, reg, []want{{"sealgate_upstream_request_duration_seconds", c.want, before + 1}})
	}
}

func TestUpstreamLatencyIsTimeToTheHeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, reg := newMetrics(t)
		slow := roundTripper(func(*http.Request) (*http.Response, error) {
			time.Sleep(3 * time.Second)
			return &http.Response{StatusCode: 200, Body: http.NoBody}, nil
		})
		_, err := m.Transport(registry, admin.RegistryServer, slow).RoundTrip(httptest.NewRequest("GET", "/", nil))
		must(t, err)
		series := gather(t, reg)["sealgate_upstream_request_duration_seconds"].GetMetric()
		if len(series) != 1 || series[0].GetHistogram().GetSampleSum() != 3 {
			t.Errorf("series %v", series)
		}
	})
}
