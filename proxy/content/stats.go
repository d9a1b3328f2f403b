package content

import (
	"errors"
	"sync"
	"time"
)

// StoreStats sum up a store for whoever watches it. What is of the last sweep
// is zero before the first.
type StoreStats struct {
	Bytes       int64 // of content, as of the last sweep, and added since
	PinnedBytes int64 // of Bytes, as of the last sweep
	Objects     int   // manifests and blobs, each once, as of the last sweep
	Links       int   // of repositories to these, as of the last sweep

	LastSweep     time.Time // when the last one that was whole ended
	SweepDuration time.Duration

	// Since the store was made:
	Hits, Misses uint64 // of Manifest and Blob
	Failures     uint64 // reads, writes, renewals and sweeps that the driver failed
	Damaged      uint64 // blobs removed because their bytes were others
	Evicted      uint64 // links removed by age or for MaxSize
	EvictedBytes uint64
}

// counts are the numbers of a store.
type counts struct {
	mu    sync.Mutex
	stats StoreStats
	put   int64 // bytes since the store was made
}

// read counts a read by its error.
func (c *counts) read(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case err == nil:
		c.stats.Hits++
	case errors.Is(err, ErrNotCached):
		c.stats.Misses++
	default:
		c.stats.Failures++
	}
}

// failed counts what a driver has failed.
func (c *counts) failed(err error) {
	if err == nil || errors.Is(err, ErrUncacheable) || errors.Is(err, ErrDigest) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stats.Failures++
}

func (c *counts) damaged() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stats.Damaged++
}

// swept takes over what a sweep has found; where it failed, only what it did.
// put is how many bytes had been when it began.
func (c *counts) swept(did Swept, put int64, at time.Time, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stats.Evicted += uint64(did.Expired + did.Evicted)
	c.stats.EvictedBytes += uint64(did.Freed)
	if err != nil {
		c.stats.Failures++
		return
	}
	c.stats.Bytes, c.stats.PinnedBytes = did.Bytes+c.put-put, did.PinnedBytes
	c.stats.Objects, c.stats.Links = did.Objects, did.Links
	c.stats.LastSweep, c.stats.SweepDuration = at, did.Took
}

// bytesPut is how many bytes were put since the store was made.
func (c *counts) bytesPut() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.put
}

// Stats returns the present numbers.
func (s *Store) Stats() StoreStats {
	s.counts.mu.Lock()
	defer s.counts.mu.Unlock()
	return s.counts.stats
}

// added counts bytes, and wakes Run where they may have passed the bound.
func (s *Store) added(bytes int64) {
	s.counts.mu.Lock()
	s.counts.put += bytes
	s.counts.stats.Bytes += bytes
	over := s.o.MaxSize > 0 && s.counts.stats.Bytes > s.o.MaxSize
	s.counts.mu.Unlock()
	if !over {
		return
	}
	select {
	case s.wake <- struct{}{}:
	default:
	}
}
