package admin

import (
	"slices"
	"strings"
	"time"

	"github.com/sealgate/sealgate/trustcache"
)

// The answers of the API, which the pages show as well. Fields are only ever
// added; docs/status.md describes them.

// Status is the process at one look.
type Status struct {
	Process
	Ready    bool    `json:"ready"`
	NotReady string  `json:"not_ready,omitempty"` // why
	Reload   *Reload `json:"last_reload,omitempty"`

	Registries   []Registry    `json:"registries"`
	Manifests    Manifests     `json:"manifests"`
	Fetches      Fetches       `json:"fetches"`
	Certificates []Certificate `json:"certificates"`
	Alarms       []Alarm       `json:"alarms"`
}

// Registry is one registry of the configuration.
type Registry struct {
	Name     string `json:"name"`
	Mode     string `json:"mode"`
	Upstream string `json:"upstream,omitempty"` // hosts
	Notary   string `json:"notary,omitempty"`
	Offline  bool   `json:"offline,omitempty"`
	Trust    *Trust `json:"trust,omitempty"` // where trust data is looked up
	Cache    *Cache `json:"cache,omitempty"` // where content is kept
}

// Trust sums up the trust data of a registry in memory.
type Trust struct {
	// Repositories with verified trust data: Fresh, Stale and Ended together.
	Repositories int `json:"repositories"`
	Fresh        int `json:"fresh"`
	Stale        int `json:"stale"`
	Ended        int `json:"ended"`
	// Failing is how many of them the last refresh brought nothing for, Idle how many
	// of the stale ones nobody has asked for lately.
	Failing     int       `json:"failing"`
	Idle        int       `json:"idle"`
	LastContact time.Time `json:"last_contact,omitzero"` // of any of them
	Unknown     int       `json:"unknown"`               // names remembered for a moment as having none
	Bytes       int64     `json:"bytes"`
	Hits        uint64    `json:"hits"`
	Misses      uint64    `json:"misses"`
}

// Cache is the content cache of a registry.
type Cache struct {
	Bytes       int64     `json:"bytes"`
	MaxBytes    int64     `json:"max_bytes,omitempty"` // 0: no bound
	PinnedBytes int64     `json:"pinned_bytes"`
	Objects     int       `json:"objects"`
	LastSweep   time.Time `json:"last_sweep,omitzero"`
	Failures    uint64    `json:"failures"`
	Damaged     uint64    `json:"damaged"`
	// Served counts manifests and blobs by where they came from, since the process
	// started.
	Served Served `json:"served"`
}

// Served counts by origin; see docs/log.md, from.
type Served struct {
	Memory   uint64 `json:"memory"`
	Store    uint64 `json:"store"`
	Flight   uint64 `json:"flight"`
	Upstream uint64 `json:"upstream"`
}

// Here is what did not need the registry.
func (s Served) Here() uint64 { return s.Memory + s.Store }

// There is what did.
func (s Served) There() uint64 { return s.Flight + s.Upstream }

// Manifests is the cache of verified manifests in memory.
type Manifests struct {
	Entries int    `json:"entries"`
	Bytes   int64  `json:"bytes"`
	Hits    uint64 `json:"hits"`
	Misses  uint64 `json:"misses"`
}

// Fetches are the blobs that are being fetched for caches.
type Fetches struct {
	Blobs        int   `json:"blobs"`
	Readers      int64 `json:"readers"`
	SpooledBytes int64 `json:"spooled_bytes"`
}

// maxRepositories bounds how many repositories of each registry are looked
// through. The cache of trust data holds far fewer by its own bound on bytes.
const maxRepositories = 100_000

// viewer makes the views.
type viewer struct {
	watched Watched
	recent  *Recent
	metrics *Metrics
	ready   func() error
}

func (v *viewer) status() Status {
	s := Status{Process: v.watched.Process(), Ready: true, Registries: []Registry{}, Certificates: v.certificates(), Alarms: v.recent.Alarms()}
	if err := v.ready(); err != nil {
		s.Ready, s.NotReady = false, err.Error()
	}
	if reload := v.watched.LastReload(); !reload.Time.IsZero() {
		s.Reload = &reload
	}
	for _, set := range v.watched.Registries() {
		s.Registries = append(s.Registries, v.registry(set))
	}
	s.Manifests = Manifests(v.watched.Manifests())
	flights := v.watched.Flights()
	s.Fetches = Fetches{flights.Flights, flights.Readers, flights.Spooled}
	return s
}

// certificates are those that clients are shown, the first to expire first.
func (v *viewer) certificates() []Certificate {
	list := append([]Certificate{}, v.watched.Certificates()...)
	slices.SortFunc(list, func(a, b Certificate) int { return a.NotAfter.Compare(b.NotAfter) })
	return list
}

func (v *viewer) registry(set RegistrySettings) Registry {
	r := Registry{Name: set.Name, Mode: set.Mode, Upstream: set.Upstream, Notary: set.Notary, Offline: set.Offline}
	for _, t := range v.watched.Trust() {
		if t.Registry == set.Name {
			r.Trust = trustOf(t)
		}
	}
	for _, c := range v.watched.Caches() {
		if c.Registry == set.Name {
			r.Cache = &Cache{
				Bytes: c.Bytes, MaxBytes: set.MaxCache, PinnedBytes: c.PinnedBytes, Objects: c.Objects,
				LastSweep: c.LastSweep, Failures: c.Failures, Damaged: c.Damaged, Served: v.metrics.served(set.Name),
			}
		}
	}
	return r
}

func trustOf(t TrustState) *Trust {
	s := t.Stats
	trust := &Trust{
		Repositories: s.Known, Fresh: s.Fresh, Stale: s.Stale, Ended: s.Ended,
		Unknown: s.Unknown, Bytes: s.Bytes, Hits: s.Hits, Misses: s.Misses,
	}
	for _, use := range usesOf(t) {
		if use.Contact.After(trust.LastContact) {
			trust.LastContact = use.Contact
		}
		switch {
		case use.Failure != nil:
			trust.Failing++
		case use.Condition == trustcache.Stale:
			trust.Idle++
		}
	}
	return trust
}

func usesOf(t TrustState) []trustcache.Use {
	if t.InUse == nil {
		return nil
	}
	return t.InUse(maxRepositories)
}

// contains is whether one of texts has q in it, whatever the case.
func contains(q string, texts ...string) bool {
	q = strings.ToLower(q)
	return slices.ContainsFunc(texts, func(text string) bool { return strings.Contains(strings.ToLower(text), q) })
}
