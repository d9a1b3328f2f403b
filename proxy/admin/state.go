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
	// Caches returns one entry for each registry with a cache.
	Caches() []CacheState
	// Flights returns what fills the caches, all registries' together.
	Flights() FlightStats
	// Connections is how many clients' connections are open.
	Connections() int
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
	// Peek returns what is known of a repository, without asking anybody; nil means
	// that nothing is. See trustcache.Cache.Peek.
	Peek func(gun string) (u trustcache.Use, known bool)
	// Offline: there is no server, and what was loaded is all there is.
	Offline bool
}

// ManifestStats sum up the cache of verified manifests.
type ManifestStats struct {
	Entries      int
	Bytes        int64
	Hits, Misses uint64 // since the process started
}

// CacheState is the content cache of one registry.
type CacheState struct {
	Registry string
	// Bytes of content, PinnedBytes of them that stay whatever their age, and
	// Objects (manifests and blobs) to which repositories have Links; as of
	// LastSweep, zero before the first, with what was added since to Bytes.
	Bytes, PinnedBytes int64
	Objects, Links     int
	LastSweep          time.Time
	SweepDuration      time.Duration
	// Failures of the storage, Damaged blobs that were removed, and what was Evicted
	// by sweeps, since the process started or the cache's settings changed.
	Failures, Damaged, Evicted, EvictedBytes uint64
}

// FlightStats sum up the blobs that are being fetched for caches.
type FlightStats struct {
	Flights int   // blobs
	Readers int64 // clients
	Spooled int64 // bytes on the local disk
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
		d.cacheBytes, d.cachePinned, d.cacheObjects, d.cacheLinks, d.cacheSwept, d.cacheSweep, d.cacheFailures, d.cacheDamaged, d.cacheEvictions, d.cacheEvicted,
		d.flights, d.flightReaders, d.spooled,
		d.connections, d.expiry, d.lastContact, d.earliestExpiry, d.offlineEnd, d.certificateExpiry,
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
	c.collectCaches(out)
	c.collectUses(out, trust)
	out.gauge(c.descs.connections, float64(c.state.Connections()))
	out.time(c.descs.certificateExpiry, c.state.CertificateExpiry())
}

func (c *StateCollector) collectCaches(out sink) {
	for _, s := range c.state.Caches() {
		out.gauge(c.descs.cacheBytes, float64(s.Bytes), s.Registry)
		out.gauge(c.descs.cachePinned, float64(s.PinnedBytes), s.Registry)
		out.gauge(c.descs.cacheObjects, float64(s.Objects), s.Registry)
		out.gauge(c.descs.cacheLinks, float64(s.Links), s.Registry)
		out.time(c.descs.cacheSwept, s.LastSweep, s.Registry)
		out.gauge(c.descs.cacheSweep, seconds(s.SweepDuration), s.Registry)
		out.counter(c.descs.cacheFailures, s.Failures, s.Registry)
		out.counter(c.descs.cacheDamaged, s.Damaged, s.Registry)
		out.counter(c.descs.cacheEvictions, s.Evicted, s.Registry)
		out.counter(c.descs.cacheEvicted, s.EvictedBytes, s.Registry)
	}
	f := c.state.Flights()
	out.gauge(c.descs.flights, float64(f.Flights))
	out.gauge(c.descs.flightReaders, float64(f.Readers))
	out.gauge(c.descs.spooled, float64(f.Spooled))
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
			if trust[i].Offline {
				out.time(c.descs.offlineEnd, use.Ends, gun)
			}
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
	uses := make([][]trustcache.Use, len(trust))
	for i, t := range trust {
		if t.InUse != nil {
			uses[i] = t.InUse(maxInUse)
		}
	}
	return shares(uses, maxInUse)
}

// shares takes the first of each list in turn until there are most.
func shares(uses [][]trustcache.Use, most int) [][]trustcache.Use {
	counts := make([]int, len(uses))
	for taken, more := 0, true; more; {
		more = false
		for i := range uses {
			if counts[i] < len(uses[i]) && taken < most {
				counts[i]++
				taken++
				more = true
			}
		}
	}
	cut := make([][]trustcache.Use, len(uses))
	for i := range uses {
		cut[i] = uses[i][:counts[i]]
	}
	return cut
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
	cacheBytes, cachePinned, cacheObjects, cacheLinks  *prometheus.Desc
	cacheSwept, cacheSweep                             *prometheus.Desc
	cacheDamaged                                       *prometheus.Desc
	cacheFailures, cacheEvictions, cacheEvicted        *prometheus.Desc
	flights, flightReaders, spooled                    *prometheus.Desc
	expiry, lastContact, earliestExpiry, offlineEnd    *prometheus.Desc
	connections, certificateExpiry                     *prometheus.Desc
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
		trustUnknown: d("sealgate_trust_cache_unknown_repositories", "Repositories remembered for a moment as having no usable trust data.", "registry"),
		trustRequests: d("sealgate_trust_cache_requests_total",
			"Lookups of trust data: hit when answered from memory, miss when Notary had to be asked.", "registry", "result"),
		manifestBytes:    d("sealgate_manifest_cache_bytes", "Size of the verified manifests in memory."),
		manifestEntries:  d("sealgate_manifest_cache_entries", "Verified manifests in memory."),
		manifestRequests: d("sealgate_manifest_cache_requests_total", "Lookups of signed manifests: hit when in memory, miss when the registry had to be asked.", "result"),
		cacheBytes:       d("sealgate_cache_bytes", "Size of the content in the registry's cache, as of the last sweep, and what was added since.", "registry"),
		cachePinned:      d("sealgate_cache_pinned_bytes", "Size of the content that stays whatever its age, as of the last sweep.", "registry"),
		cacheObjects:     d("sealgate_cache_objects", "Manifests and blobs in the registry's cache, each once, as of the last sweep.", "registry"),
		cacheLinks:       d("sealgate_cache_links", "Manifests and blobs in the registry's cache, once for each repository, as of the last sweep.", "registry"),
		cacheSwept:       d("sealgate_cache_last_sweep_timestamp_seconds", "When the last sweep of the registry's cache ended that was whole, in seconds since 1970; not there before.", "registry"),
		cacheSweep:       d("sealgate_cache_last_sweep_duration_seconds", "How long the last whole sweep of the registry's cache took.", "registry"),
		cacheFailures:    d("sealgate_cache_failures_total", "Reads, writes and sweeps of the registry's cache that the storage failed: clients were served all the same.", "registry"),
		cacheDamaged:     d("sealgate_cache_damaged_total", "Blobs that were found damaged in the registry's cache, and removed.", "registry"),
		cacheEvictions:   d("sealgate_cache_evictions_total", "Manifests and blobs of repositories that left the registry's cache by their age or for its size.", "registry"),
		cacheEvicted:     d("sealgate_cache_evicted_bytes_total", "Size of the content that left the registry's cache by its age or for its size.", "registry"),
		flights:          d("sealgate_cache_flights", "Blobs that are being fetched for caches, or written to them."),
		flightReaders:    d("sealgate_cache_flight_readers", "Clients that read blobs which are being fetched."),
		spooled:          d("sealgate_cache_spooled_bytes", "Bytes of blobs being fetched on the local disk."),
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
		offlineEnd: d("sealgate_offline_end_timestamp_seconds",
			"When a repository of an offline registry is served no longer unless a newer bundle is loaded, its grace counted in, in seconds since 1970. "+
				"Of the same repositories as sealgate_trust_expiry_timestamp_seconds.",
			"gun"),
		connections: d("sealgate_connections", "Connections to the public listener that are open."),
		certificateExpiry: d("sealgate_certificate_expiry_timestamp_seconds",
			"When the first of the TLS certificates expires that clients are shown, in seconds since 1970; not there without one."),
	}
}
