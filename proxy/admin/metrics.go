package admin

import (
	"errors"
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/sealgate/sealgate/trustcache"
)

// Metrics count what happens. The methods are safe for concurrent use, and
// each takes a registry by its configured name; one that AddRegistries was not
// told of counts as "other".
type Metrics struct {
	clients *requestMetrics

	refreshes       *prometheus.CounterVec
	refreshDuration *prometheus.HistogramVec
	standing        *prometheus.CounterVec

	upstreamDuration *prometheus.HistogramVec

	refusedConnections *prometheus.CounterVec
	evictedConnections prometheus.Counter
	orders             *prometheus.CounterVec

	spoolFailures prometheus.Counter
	auditFailures prometheus.Counter

	spans *prometheus.CounterVec

	reloads      *prometheus.CounterVec
	lastReloadOK prometheus.Gauge
	lastGood     prometheus.Gauge

	registries *words
}

// NewMetrics registers the metrics of a process of this version, those of the
// Go runtime and of the process among them. The configuration counts as loaded
// now. The error is reg's: something of the same name was there before.
func NewMetrics(reg prometheus.Registerer, version string) (*Metrics, error) {
	m := &Metrics{
		// "" is the registry of requests that named none.
		registries: newWords(0, ""),
		refreshes: counters("sealgate_trust_refreshes_total",
			"Attempts to fetch and verify trust data of a repository, counted when they end, by result: "+
				"ok, or why there is no new snapshot (malicious, rolled-back and vanished are alarms).",
			"registry", "result"),
		refreshDuration: histograms("sealgate_trust_refresh_duration_seconds",
			"How long attempts to fetch and verify trust data of a repository took, whatever their result.",
			[]float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 20, 30}, "registry"),
		standing: counters("sealgate_trust_standing_total",
			"Failed attempts to refresh trust data after which an older verified snapshot went on being used, counted when they end.",
			"registry"),
		upstreamDuration: histograms("sealgate_upstream_request_duration_seconds",
			"Time from a request to a registry or its Notary server until the header of the answer, by status class; "+
				"error: no answer came; canceled: the client went away first. Bodies are not in it.",
			[]float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60}, "registry", "server", "code"),
		refusedConnections: counters("sealgate_connections_refused_total",
			"Connections to the public listener that were closed before a byte of them was read, by reason: "+
				"network, where clients.allow does not name the peer's; proxy, where the peer is none of tls.plain-http.trusted-proxies; "+
				"client, where the peer has as many as limits.connections-per-client; full, where all of limits.connections have a request under way.",
			"reason"),
		evictedConnections: prometheus.NewCounter(prometheus.CounterOpts{Name: "sealgate_connections_evicted_total",
			Help: "Connections without a request under way that were closed to make room for new ones, as limits.connections were open."}),
		orders: counters("sealgate_acme_orders_total",
			"Certificates that the ACME server was asked for, counted when that ends, by result: obtained, renewed, or failed with the one before in place.",
			"result"),
		spoolFailures: prometheus.NewCounter(prometheus.CounterOpts{Name: "sealgate_cache_spool_failures_total",
			Help: "Blobs for which the local disk had no room: their clients read from the registry, each by itself, and nothing was kept."}),
		auditFailures: prometheus.NewCounter(prometheus.CounterOpts{Name: "sealgate_audit_failures_total",
			Help: "Requests that were answered and are not in the audit log, since it could not be written, or not fast enough."}),
		spans: counters("sealgate_trace_spans_total",
			"Spans that were sent to the collector of traces, by result: exported, or failed and lost. Those that did not fit into the queue are not in it.",
			"result"),
		reloads: counters("sealgate_config_reloads_total",
			"Reloads of the configuration that were asked for, counted when they end: applied, or refused with nothing changed.",
			"result"),
		lastReloadOK: gauge("sealgate_config_last_reload_successful",
			"Whether the last reload of the configuration was applied; 1 before the first one."),
		lastGood: gauge("sealgate_config_last_reload_success_timestamp_seconds",
			"When the configuration in use was loaded, at start or by a reload, in seconds since 1970."),
	}
	m.clients = newRequestMetrics(m.registries)
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name:        "sealgate_build_info",
		Help:        "Always 1; the labels say which version of Sealgate runs and which version of Go built it.",
		ConstLabels: prometheus.Labels{"version": version, "go_version": runtime.Version()},
	})
	build.Set(1)
	m.lastReloadOK.Set(1)
	m.lastGood.SetToCurrentTime()
	// As alarmReasons.
	for _, reason := range []string{"network", "proxy", "client", "full"} {
		m.refusedConnections.WithLabelValues(reason)
	}
	for _, result := range []string{"obtained", "renewed", "failed"} {
		m.orders.WithLabelValues(result)
	}
	m.spans.WithLabelValues("exported")
	m.spans.WithLabelValues("failed")
	m.reloads.WithLabelValues("applied")
	m.reloads.WithLabelValues("refused")

	var failed error
	for _, c := range append(m.clients.collectors(),
		build, m.refreshes, m.refreshDuration, m.standing, m.upstreamDuration, m.refusedConnections, m.evictedConnections, m.orders, m.spoolFailures, m.auditFailures, m.spans, m.reloads, m.lastReloadOK, m.lastGood,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{})) {
		failed = errors.Join(failed, reg.Register(c))
	}
	if failed != nil {
		return nil, failed
	}
	return m, nil
}

// AddRegistries makes names known that the configuration has, at start and at
// every reload. Names of before stay known: requests may still be under way,
// and their counters must not vanish.
func (m *Metrics) AddRegistries(names ...string) {
	m.registries.add(names...)
	for _, name := range names {
		name = m.registries.label(name)
		for _, class := range trustClasses {
			m.refreshes.WithLabelValues(name, class.result)
		}
		m.refreshes.WithLabelValues(name, "ok")
		m.standing.WithLabelValues(name)
		m.clients.addRegistry(name)
	}
}

// trustClasses are the results of a refresh that failed. Read only.
var trustClasses = []struct {
	err    error
	result string
}{
	{trustcache.ErrNoTrustData, "no-trust-data"},
	{trustcache.ErrUnpinned, "unpinned"},
	{trustcache.ErrRolledBack, "rolled-back"}, // an ErrMalicious, and so before it
	{trustcache.ErrMalicious, "malicious"},
	{trustcache.ErrExpired, "expired"},
	{trustcache.ErrVanished, "vanished"},
	{trustcache.ErrRefused, "refused"}, // an ErrUnreachable
	{trustcache.ErrUnreachable, "unreachable"},
	{trustcache.ErrStore, "store"},
}

func refreshResult(err error) string {
	if err == nil {
		return "ok"
	}
	for _, class := range trustClasses {
		if errors.Is(err, class.err) {
			return class.result
		}
	}
	return other
}

// TrustRefresh counts a refresh of a repository of this registry.
func (m *Metrics) TrustRefresh(registry string, r trustcache.Refresh) {
	registry = m.registries.label(registry)
	m.refreshes.WithLabelValues(registry, refreshResult(r.Err)).Inc()
	m.refreshDuration.WithLabelValues(registry).Observe(seconds(r.Duration))
	if r.Standing {
		m.standing.WithLabelValues(registry).Inc()
	}
	if r.Panic != nil {
		m.clients.panics.WithLabelValues("refresh").Inc()
	}
}

// ConnectionRefused counts a connection that was closed before a byte of it was
// read; reason is one of the fixed words network, proxy, client and full.
func (m *Metrics) ConnectionRefused(reason string) {
	m.refusedConnections.WithLabelValues(reason).Inc()
}

// ConnectionEvicted counts a connection that was closed to make room for another.
func (m *Metrics) ConnectionEvicted() { m.evictedConnections.Inc() }

// PanicPlaces are where panics are caught. Read only.
var PanicPlaces = []string{"request", "refresh", "storage", "cache", "certificates", "reload", "clock", "expiry", "audit", "operator", "connection", "server"}

// Panicked counts a panic that was caught; where is one of PanicPlaces.
func (m *Metrics) Panicked(where string) { m.clients.panics.WithLabelValues(where).Inc() }

// CertificateOrder counts a certificate that an ACME server was asked for, by
// one of the fixed words obtained, renewed and failed.
func (m *Metrics) CertificateOrder(result string) { m.orders.WithLabelValues(result).Inc() }

// SpoolFailed counts a blob for which the local disk had no room.
func (m *Metrics) SpoolFailed() { m.spoolFailures.Inc() }

// AuditFailed counts a request that is not in the audit log.
func (m *Metrics) AuditFailed() { m.auditFailures.Inc() }

// SpansExported counts n spans that the collector of traces was sent; with an
// error it has not got them.
func (m *Metrics) SpansExported(n int, err error) {
	result := "exported"
	if err != nil {
		result = "failed"
	}
	m.spans.WithLabelValues(result).Add(float64(n))
}

// Reloaded counts a reload of the configuration that has just ended: nil means
// that it was applied, an error that it was refused.
func (m *Metrics) Reloaded(err error) {
	if err != nil {
		m.reloads.WithLabelValues("refused").Inc()
		m.lastReloadOK.Set(0)
		return
	}
	m.reloads.WithLabelValues("applied").Inc()
	m.lastReloadOK.Set(1)
	m.lastGood.SetToCurrentTime()
}

func counters(name, help string, labels ...string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
}

func histograms(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets}, labels)
}

func gauge(name, help string) prometheus.Gauge {
	return prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: help})
}

// seconds keeps a clock that was set back from spoiling a sum.
func seconds(d time.Duration) float64 { return max(d, 0).Seconds() }

// codeOf is the class of an HTTP status; "none" where none was sent.
func codeOf(status int) string {
	switch {
	case status == 0:
		return "none"
	case status < 100 || status > 599:
		return other
	}
	return [...]string{"1xx", "2xx", "3xx", "4xx", "5xx"}[status/100-1]
}
