package main

import (
	"context"
	"path/filepath"
	"sync"

	"github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/opencontainers/go-digest"
	"github.com/rs/zerolog"
	"github.com/sealgate/sealgate/config"
	"github.com/sealgate/sealgate/proxy/admin"
	"github.com/sealgate/sealgate/proxy/content"
	"github.com/sealgate/sealgate/trustcache/guard"
)

// spoolDirectory is where blobs are while they are fetched, in the state directory.
const spoolDirectory = "spool"

// caching is what the caches of all registries share, over reloads.
type caching struct {
	log       zerolog.Logger
	metrics   *admin.Metrics
	driver    driver.StorageDriver // of the whole storage
	directory string               // the state directory

	mu      sync.Mutex
	flights *content.Flights // nil until there is a cache
}

// open returns the flights that fill caches.
func (c *caching) open() (*content.Flights, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.flights != nil {
		return c.flights, nil
	}
	spool, err := content.NewDirSpool(filepath.Join(c.directory, spoolDirectory))
	if err != nil {
		return nil, err
	}
	c.flights = content.NewFlights(content.FlightsOptions{
		Spool: spool,
		OnSpoolError: func(err error) {
			c.metrics.SpoolFailed()
			c.log.Warn().Err(err).Msg("the spool cannot be written: its clients read from the registry, each by itself, and nothing is kept")
		},
		OnPanic: c.panicked,
	})
	return c.flights, nil
}

func (c *caching) panicked(p *guard.Panic) { panicked(c.log, c.metrics, "cache")(p) }

// stats are those of the flights.
func (c *caching) stats() content.FlightStats {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.flights == nil {
		return content.FlightStats{}
	}
	return c.flights.Stats()
}

// close waits until what has been fetched is kept, for a while. No request is
// served any more.
func (c *caching) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.flights != nil {
		c.flights.Close()
	}
}

// registryCache is the cache of one registry, and its sweeps.
type registryCache struct {
	of    cacheIdentity
	store *content.Store
	stop  func() // nil while nobody sweeps
	// panicked is told of panics while sweeping.
	panicked func(*guard.Panic)
}

// cacheIdentity is what makes another cache of one when it changes. An offline
// registry has no upstream, and a cache of what was loaded.
type cacheIdentity struct {
	registry, upstream string
	config.Cache
}

// cache makes the cache of a registry, or finds it among those of before.
func (c *caching) cache(reg config.Registry, before *parts) (*registryCache, error) {
	identity := cacheIdentity{registry: reg.Name, upstream: upstreamText(reg)}
	if reg.Cache != nil {
		identity.Cache = *reg.Cache
	}
	if before != nil {
		for _, r := range before.registries {
			if r.cache != nil && r.cache.of == identity {
				return r.cache, nil
			}
		}
	}
	opts := contentOptions(c.driver, reg)
	opts.Damaged = func(d digest.Digest) {
		c.log.Error().Bool("alarm", true).Str("registry", reg.Name).Stringer("digest", d).Msg("a blob in the cache was damaged and has been removed: look at the disk")
	}
	opts.Swept = func(s content.Swept, err error) { c.swept(reg.Name, s, err) }
	store, err := content.NewStore(context.Background(), opts)
	if err != nil {
		return nil, err
	}
	return &registryCache{of: identity, store: store, panicked: c.panicked}, nil
}

func (c *caching) swept(registry string, s content.Swept, err error) {
	e := c.log.Debug()
	if s.Expired+s.Evicted+s.Abandoned > 0 {
		e = c.log.Info()
	}
	if err != nil {
		c.log.Warn().Str("registry", registry).Err(err).Msg("the cache cannot be swept: it grows until it can")
		return
	}
	e.Str("registry", registry).Int("expired", s.Expired).Int("evicted", s.Evicted).Int("abandoned", s.Abandoned).Int64("freed_bytes", s.Freed).
		Int64("bytes", s.Bytes).Int64("pinned_bytes", s.PinnedBytes).Dur("duration_ms", s.Took).Msg("cache swept")
}

// sweep begins to sweep, where nobody does.
func (r *registryCache) sweep() {
	if r.stop != nil {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		guard.Loop(ctx, func(ctx context.Context) { _ = r.store.Run(ctx) }, r.panicked) // it ends with ctx alone
	}()
	r.stop = func() {
		cancel()
		<-done
		r.stop = nil
	}
}

// sweepCaches sweeps the caches of next and no longer those that only running
// has. They are nil where there are none.
func sweepCaches(running, next *parts) {
	sweeping := map[*registryCache]bool{}
	if next != nil {
		for _, r := range next.registries {
			sweeping[r.cache] = r.cache != nil
		}
	}
	if running != nil {
		for _, r := range running.registries {
			if r.cache != nil && r.cache.stop != nil && !sweeping[r.cache] {
				r.cache.stop()
			}
		}
	}
	for cache, is := range sweeping {
		if is {
			cache.sweep()
		}
	}
}

// Caches implements admin.State.
func (i *instance) Caches() []admin.CacheState {
	var all []admin.CacheState
	for _, r := range i.current.Load().registries {
		if r.cache != nil {
			s := r.cache.store.Stats()
			all = append(all, admin.CacheState{
				Registry: r.name, Bytes: s.Bytes, PinnedBytes: s.PinnedBytes, Objects: s.Objects, Links: s.Links,
				LastSweep: s.LastSweep, SweepDuration: s.SweepDuration,
				Failures: s.Failures, Damaged: s.Damaged, Evicted: s.Evicted, EvictedBytes: s.EvictedBytes,
			})
		}
	}
	return all
}

// Flights implements admin.State.
func (i *instance) Flights() admin.FlightStats { return admin.FlightStats(i.caching.stats()) }
