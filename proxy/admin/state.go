package admin

import (
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/sealgate/sealgate/trustcache"
)

// maxInUse bounds the repositories that have series of their own.
const maxInUse = 100

// State is what the process holds in memory at the moment; it may be another
// after a reload. Its methods are called at every scrape, concurrently where
// scrapes overlap.
type State interface {
	// Trust returns one entry for each registry whose trust data is looked up.
	Trust() []TrustState
	// Manifests returns the cache of verified manifests, all registries'
	// together.
	Manifests() ManifestStats
	// CertificateExpiry is when the first of the certificates expires that clients
	// are shown; zero where there is none.
	CertificateExpiry() time.Time
}

// TrustState is the trust cache of one registry.
type TrustState struct {
	Registry string
	Stats    trustcache.Stats
	// InUse returns at most n repositories, those used last first; nil means
	// that there are none. See trustcache.Cache.InUse.
	InUse func(n int) []trustcache.Use
}

// ManifestStats sum up the cache of verified manifests.
type ManifestStats struct {
	Entries      int
	Bytes        int64
	Hits, Misses uint64 // since the process started
}

// StateCollector reads a State at every scrape. Register it beside Metrics.
type StateCollector struct {
	state State
	descs stateDescs
}

// NewStateCollector returns a collector of state.
func NewStateCollector(state State) *StateCollector {
	return &StateCollector{state: state, descs: describeState()}
}

// Describe implements prometheus.Collector.
func (c *StateCollector) Describe(ch chan<- *prometheus.Desc) {
	d := c.descs
	for _, desc := range []*prometheus.Desc{
		d.snapshots, d.trustBytes, d.trustUnknown, d.trustRequests,
		d.manifestBytes, d.manifestEntries, d.manifestRequests,
		d.expiry, d.lastContact, d.earliestExpiry, d.certificateExpiry,
	} {
		ch <- desc
	}
}

// Collect implements prometheus.Collector.
func (c *StateCollector) Collect(ch chan<- prometheus.Metric) {
	out := sink(ch)
	trust := c.state.Trust()
	for _, t := range trust {
		s := t.Stats
		out.gauge(c.descs.snapshots, float64(s.Fresh), t.Registry, "fresh")
		out.gauge(c.descs.snapshots, float64(s.Stale), t.Registry, "stale")
		out.gauge(c.descs.snapshots, float64(s.Ended), t.Registry, "ended")
		out.gauge(c.descs.trustBytes, float64(s.Bytes), t.Registry)
		out.gauge(c.descs.trustUnknown, float64(s.Unknown), t.Registry)
		out.counter(c.descs.trustRequests, s.Hits, t.Registry, "hit")
		out.counter(c.descs.trustRequests, s.Misses, t.Registry, "miss")
	}
	m := c.state.Manifests()
	out.gauge(c.descs.manifestBytes, float64(m.Bytes))
	out.gauge(c.descs.manifestEntries, float64(m.Entries))
	out.counter(c.descs.manifestRequests, m.Hits, "hit")
	out.counter(c.descs.manifestRequests, m.Misses, "miss")
	c.collectUses(out, trust)
	out.time(c.descs.certificateExpiry, c.state.CertificateExpiry())
}

// collectUses tells when the roles of the repositories in use expire.
func (c *StateCollector) collectUses(out sink, trust []TrustState) {
	told := map[string]bool{} // two series with the same labels would spoil a scrape
	for i, uses := range shareOut(trust) {
		var earliest time.Time
		for _, use := range uses {
			gun := clean(use.GUN)
			if told[gun] {
				continue
			}
			told[gun] = true
			out.time(c.descs.lastContact, use.Contact, gun)
			roles := map[string]bool{}
			for _, r := range use.Roles {
				if role := clean(r.Role); !roles[role] {
					roles[role] = true
					out.time(c.descs.expiry, r.Expires, gun, role)
				}
			}
			if lasting := use.Lasting().Expires; earliest.IsZero() || !lasting.IsZero() && lasting.Before(earliest) {
				earliest = lasting
			}
		}
		out.time(c.descs.earliestExpiry, earliest, trust[i].Registry)
	}
}

// shareOut picks the repositories that get series of their own: those used
// last of each registry in turn, until there are enough, so that a busy
// registry does not hide the others.
func shareOut(trust []TrustState) [][]trustcache.Use {
	shares := make([][]trustcache.Use, len(trust))
	for i, t := range trust {
		if t.InUse != nil {
			shares[i] = t.InUse(maxInUse)
		}
	}
	counts := make([]int, len(trust))
	for taken, more := 0, true; more; {
		more = false
		for i := range shares {
			if counts[i] < len(shares[i]) && taken < maxInUse {
				counts[i]++
				taken++
				more = true
			}
		}
	}
	for i := range shares {
		shares[i] = shares[i][:counts[i]]
	}
	return shares
}

// sink sends metrics whose labels others wrote, so that none of them can spoil
// a scrape.
type sink chan<- prometheus.Metric

func (s sink) gauge(desc *prometheus.Desc, value float64, labels ...string) {
	s.send(desc, prometheus.GaugeValue, value, labels)
}

func (s sink) counter(desc *prometheus.Desc, value uint64, labels ...string) {
	s.send(desc, prometheus.CounterValue, float64(value), labels)
}

// time leaves out a time that is not known.
func (s sink) time(desc *prometheus.Desc, t time.Time, labels ...string) {
	if !t.IsZero() {
		s.gauge(desc, float64(t.Unix()), labels...)
	}
}

func (s sink) send(desc *prometheus.Desc, kind prometheus.ValueType, value float64, labels []string) {
	for i, label := range labels {
		labels[i] = clean(label)
	}
	metric, err := prometheus.NewConstMetric(desc, kind, value, labels...)
	if err != nil {
		metric = prometheus.NewInvalidMetric(desc, err)
	}
	s <- metric
}

// clean replaces bytes that are not UTF-8.
func clean(label string) string { return strings.ToValidUTF8(label, "\uFFFD") }

// stateDescs are the metrics of a StateCollector.
type stateDescs struct {
	snapshots, trustBytes, trustUnknown, trustRequests *prometheus.Desc
	manifestBytes, manifestEntries, manifestRequests   *prometheus.Desc
	expiry, lastContact, earliestExpiry                *prometheus.Desc
	certificateExpiry                                  *prometheus.Desc
}

func describeState() stateDescs {
	d := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, labels, nil)
	}
	return stateDescs{
		snapshots: d("sealgate_trust_snapshots",
			"Repositories with verified trust data in memory: fresh (used without asking Notary), "+
				"stale (standing while Notary gives no good answer, or not asked for lately) or ended (no longer usable, and the last refresh failed).",
			"registry", "state"),
		trustBytes:   d("sealgate_trust_cache_bytes", "Estimated size of the verified trust data in memory.", "registry"),
		trustUnknown: d("sealgate_trust_cache_unknown", "Repositories remembered for a moment as having no usable trust data.", "registry"),
		trustRequests: d("sealgate_trust_cache_requests_total",
			"Lookups of trust data: hit when answered from memory, miss when Notary had to be asked.", "registry", "result"),
		manifestBytes:    d("sealgate_manifest_cache_bytes", "Size of the verified manifests in memory."),
		manifestEntries:  d("sealgate_manifest_cache_entries", "Verified manifests in memory."),
		manifestRequests: d("sealgate_manifest_cache_requests_total", "Lookups of signed manifests: hit when in memory, miss when the registry had to be asked.", "result"),
		expiry: d("sealgate_trust_expiry_timestamp_seconds",
			"When a role expires that decides for a repository, in seconds since 1970; of at most 100 repositories, those used last, "+
				"and of each at most the eight roles that expire first.",
			"gun", "role"),
		lastContact: d("sealgate_trust_last_contact_timestamp_seconds",
			"When Notary last gave a good answer for a repository, in seconds since 1970; it ages while nobody asks for the repository. "+
				"Of the same repositories as sealgate_trust_expiry_timestamp_seconds.",
			"gun"),
		earliestExpiry: d("sealgate_trust_earliest_expiry_timestamp_seconds",
			"When the first role of the registry's repositories in sealgate_trust_expiry_timestamp_seconds expires, timestamps left out, in seconds since 1970.", "registry"),
		certificateExpiry: d("sealgate_certificate_expiry_timestamp_seconds",
			"When the first of the TLS certificates expires that clients are shown, in seconds since 1970; not there without one."),
	}
}
