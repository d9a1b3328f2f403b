package admin

import (
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// How many different words are accepted for a label before the rest becomes
// "other". The gate has about half as many of each.
const (
	maxRoutes    = 16
	maxDecisions = 8
	maxReasons   = 64
	maxOrigins   = 8
)

// RequestOutcome is what became of one request of a client. The strings are
// fixed words of the gate and configured names, never parts of a request.
type RequestOutcome struct {
	// Registry is the name of the registry, "" where the request named none.
	Registry string
	// Route is the kind of route, Decision what was decided (allow, deny, pass,
	// refuse or error), Reason why, "" where nothing had to be said.
	Route, Decision, Reason string
	// Status of the answer; 0 where none was sent.
	Status int
	// Bytes of the body that were sent: 0 for HEAD.
	Bytes int64
	// Duration from the request's arrival until its answer was written.
	Duration time.Duration
	// From is where a manifest or blob of a registry with a cache came from (memory,
	// store, flight or upstream), "" where that is no question.
	From string
	// WouldDeny and WouldChange: permissive mode let pass, for Reason, what
	// enforced mode would have denied, or answered with other content.
	WouldDeny, WouldChange bool
	// SignedLengthDiffers: bytes of the signed digest have another length than
	// the signed one.
	SignedLengthDiffers bool
	// Panicked: serving it panicked, and the panic was caught.
	Panicked bool
}

// requestMetrics are the metrics of clients' requests. Every request passes
// here, so the series of a combination of labels are looked up once and kept.
type requestMetrics struct {
	requests      *prometheus.CounterVec
	duration      *prometheus.HistogramVec
	bytes         *prometheus.CounterVec
	decisions     *prometheus.CounterVec
	wouldDeny     *prometheus.CounterVec
	wouldChange   *prometheus.CounterVec
	lengthDiffers *prometheus.CounterVec
	panics        *prometheus.CounterVec
	from          *prometheus.CounterVec
	fromBytes     *prometheus.CounterVec

	routes, decided, reasons *words
	origins                  *words // of what was served
	known                    *words // the registries

	mu     sync.Mutex // serialises the growing of series
	series atomic.Pointer[map[requestLabels]*requestSeries]
}

// alarmReasons are the reasons of an access line that is an alarm. Their series
// exist before the first: an alert on an increase misses the step from no series
// to 1. Those of trust data are results of refreshes. Read only.
var alarmReasons = []string{"upstream-mismatch", "upstream-two-readings"}

type requestLabels struct{ registry, route, decision, reason, code, from string }

// requestSeries are the series that one kind of outcome counts in.
type requestSeries struct {
	requests  prometheus.Counter
	duration  prometheus.Observer
	bytes     prometheus.Counter
	decisions prometheus.Counter // nil without a reason
	from      prometheus.Counter // nil without a cache
	fromBytes prometheus.Counter // likewise
}

func newRequestMetrics(registries *words) *requestMetrics {
	m := &requestMetrics{
		requests: counters("sealgate_requests_total",
			"Requests of clients, counted when answered, by kind of route, decision and status class (none: cut before an answer).",
			"registry", "route", "decision", "code"),
		duration: histograms("sealgate_request_duration_seconds",
			"Time from a client's request until its answer was written whole, by kind of route; large blobs take as long as the client reads.",
			[]float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 120, 300}, "route"),
		bytes: counters("sealgate_response_bytes_total",
			"Bytes of bodies sent to clients, counted when the request ends, by kind of route.", "route"),
		decisions: counters("sealgate_decisions_total",
			"Decisions on requests of clients by the reason given in the access log, for every request that has one.",
			"registry", "decision", "reason"),
		wouldDeny: counters("sealgate_would_deny_total",
			"Requests that permissive mode let pass and that enforced mode would have denied, by the reason for that.",
			"registry", "reason"),
		wouldChange: counters("sealgate_would_change_total",
			"Requests that permissive mode answered with the registry's content and that enforced mode would have answered with other content.",
			"registry"),
		lengthDiffers: counters("sealgate_signed_length_mismatches_total",
			"Signed tags served whose signed length differs from that of the bytes that match the signed digest.", "registry"),
		panics: counters("sealgate_panics_total",
			"Panics that were caught, by what was being done: nothing was decided by it; each is a defect and has a stack in the log.",
			"where"),
		from: counters("sealgate_cache_requests_total",
			"Manifests and blobs of registries with a cache that were served, by kind of route and where they came from: memory, store (the cache), "+
				"flight (the registry, once for all who asked at that time) or upstream (the registry).",
			"registry", "route", "from"),
		fromBytes: counters("sealgate_cache_response_bytes_total",
			"Bytes of bodies of manifests and blobs of registries with a cache sent to clients, by where they came from.", "registry", "from"),
		origins: newWords(maxOrigins),
		routes:  newWords(maxRoutes),
		decided: newWords(maxDecisions),
		reasons: newWords(maxReasons, append(alarmReasons, "")...),
		known:   registries,
	}
	for _, where := range PanicPlaces {
		m.panics.WithLabelValues(where)
	}
	return m
}

// addRegistry makes the series exist that alerts look at.
func (m *requestMetrics) addRegistry(name string) {
	for _, reason := range alarmReasons {
		m.decisions.WithLabelValues(name, "error", reason)
	}
	m.wouldChange.WithLabelValues(name)
	m.lengthDiffers.WithLabelValues(name)
}

func (m *requestMetrics) collectors() []prometheus.Collector {
	return []prometheus.Collector{m.requests, m.duration, m.bytes, m.decisions, m.wouldDeny, m.wouldChange, m.lengthDiffers, m.panics, m.from, m.fromBytes}
}

// Request counts one request of a client. It allocates nothing once the same
// combination of words was seen before.
func (m *Metrics) Request(o RequestOutcome) { m.clients.count(o) }

func (m *requestMetrics) count(o RequestOutcome) {
	s := m.find(requestLabels{o.Registry, o.Route, o.Decision, o.Reason, codeOf(o.Status), o.From})
	s.requests.Inc()
	s.duration.Observe(seconds(o.Duration))
	s.bytes.Add(float64(max(o.Bytes, 0)))
	if s.decisions != nil {
		s.decisions.Inc()
	}
	if s.from != nil {
		s.from.Inc()
		s.fromBytes.Add(float64(max(o.Bytes, 0)))
	}
	if o.WouldDeny || o.WouldChange || o.SignedLengthDiffers || o.Panicked {
		m.remark(o)
	}
}

// remark counts what few requests have.
func (m *requestMetrics) remark(o RequestOutcome) {
	registry := m.known.label(o.Registry)
	if o.WouldDeny {
		m.wouldDeny.WithLabelValues(registry, m.reasons.label(o.Reason)).Inc()
	}
	if o.WouldChange {
		m.wouldChange.WithLabelValues(registry).Inc()
	}
	if o.SignedLengthDiffers {
		m.lengthDiffers.WithLabelValues(registry).Inc()
	}
	if o.Panicked {
		m.panics.WithLabelValues("request").Inc()
	}
}

// served counts what the registry's clients were served, by where it came from.
func (m *Metrics) served(registry string) (s Served) {
	series := m.clients.series.Load()
	if series == nil {
		return s
	}
	// Several combinations of labels share a counter.
	counted := map[prometheus.Counter]bool{}
	for labels, one := range *series {
		if labels.registry != registry || one.from == nil || counted[one.from] {
			continue
		}
		counted[one.from] = true
		switch n := valueOf(one.from); labels.from {
		case "memory":
			s.Memory += n
		case "store":
			s.Store += n
		case "flight":
			s.Flight += n
		case "upstream":
			s.Upstream += n
		}
	}
	return s
}

func valueOf(c prometheus.Counter) uint64 {
	var value dto.Metric
	if c.Write(&value) != nil {
		return 0
	}
	return uint64(value.GetCounter().GetValue())
}

func (m *requestMetrics) find(l requestLabels) *requestSeries {
	if all := m.series.Load(); all != nil {
		if s := (*all)[l]; s != nil {
			return s
		}
	}
	// Only guarded labels become keys, or the map would be what grows.
	l.registry, l.route, l.decision, l.reason = m.known.label(l.registry), m.routes.label(l.route), m.decided.label(l.decision), m.reasons.label(l.reason)
	if l.from != "" {
		l.from = m.origins.label(l.from)
	}
	return m.resolve(l)
}

// resolve returns the series of l and keeps them. Readers hold no lock: the
// map that they see is never written to, a larger one takes its place.
func (m *requestMetrics) resolve(l requestLabels) *requestSeries {
	m.mu.Lock()
	defer m.mu.Unlock()
	old := m.series.Load()
	if old == nil {
		old = &map[requestLabels]*requestSeries{}
	}
	if s := (*old)[l]; s != nil {
		return s
	}
	s := &requestSeries{
		requests: m.requests.WithLabelValues(l.registry, l.route, l.decision, l.code),
		duration: m.duration.WithLabelValues(l.route),
		bytes:    m.bytes.WithLabelValues(l.route),
	}
	if l.reason != "" {
		s.decisions = m.decisions.WithLabelValues(l.registry, l.decision, l.reason)
	}
	if l.from != "" {
		s.from = m.from.WithLabelValues(l.registry, l.route, l.from)
		s.fromBytes = m.fromBytes.WithLabelValues(l.registry, l.from)
	}
	larger := maps.Clone(*old)
	larger[l] = s
	m.series.Store(&larger)
	return s
}
