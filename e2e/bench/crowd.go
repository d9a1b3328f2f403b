package main

import (
	"context"
	"fmt"
	"net/http"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	crowdClients = 64
	crowdBlob    = 256 << 20
)

// crowdResult is what it took to serve a crowd.
type crowdResult struct {
	what  string
	rss   int64 // peak
	reads int64 // of the registry
	took  time.Duration
}

// crowd has many clients read a large blob each at the same time, none the same
// as another where there is room for that: from a Sealgate that has none of them
// yet, and from one that has them all.
func (l *lab) crowd(ctx context.Context, r *results) error {
	r.crowdBlob = crowdBlob
	if r.settings.Short {
		r.crowdBlob = 8 << 20
	}
	distinct, err := l.room(r.crowdBlob)
	if err != nil {
		return err
	}
	r.crowdBlobs = distinct
	r.settings.progress("making %d blobs of %d MiB", distinct, r.crowdBlob>>20)
	q, err := openQuarry(l.ca, distinct, r.crowdBlob)
	if err != nil {
		return err
	}
	defer q.close()
	for _, what := range []string{"cold", "cached"} {
		result, err := l.serveCrowd(ctx, q, r.crowdBlob)
		if err != nil {
			return fmt.Errorf("%s blobs for %d clients: %w", what, crowdClients, err)
		}
		if what == "cached" && result.reads > 0 {
			return fmt.Errorf("%d blobs were not in the cache", result.reads)
		}
		result.what = what
		r.crowd = append(r.crowd, result)
		r.settings.progress("%d clients, %s blobs: peak RSS %s, %d reads of the registry, %s", crowdClients, what, mebibytes(float64(result.rss)), result.reads, result.took.Round(time.Second))
	}
	return nil
}

// serveCrowd starts a Sealgate with what the one before has left, for its
// memory's sake.
func (l *lab) serveCrowd(ctx context.Context, q *quarry, size int64) (result crowdResult, err error) {
	gate, err := l.openGate(ctx, gateOptions{name: "crowd", upstream: q.url, notary: l.notary, rootKey: l.rootKey, cached: true})
	if err != nil {
		return result, err
	}
	defer gate.stop()
	transport := l.client.Transport.(*http.Transport).Clone()
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	before, begin := q.reads.Load(), time.Now()
	group, reading := errgroup.WithContext(ctx)
	for i := range crowdClients {
		group.Go(func() error {
			n, err := l.drain(reading, client, gate.url+q.paths[i%len(q.paths)])
			if err == nil && n != size {
				err = fmt.Errorf("%d bytes of %d", n, size)
			}
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return result, err
	}
	result.reads, result.took = q.reads.Load()-before, time.Since(begin)
	if err := l.kept(ctx, len(q.paths)); err != nil {
		return result, err
	}
	result.rss, err = gate.peakRSS()
	return result, err
}

// kept waits until the crowd's Sealgate has so many blobs in its store, which is
// after its clients have them.
func (l *lab) kept(ctx context.Context, blobs int) error {
	pattern := filepath.Join(l.dir, "crowd-store/sealgate/content/*/docker/registry/v2/blobs/sha256/*/*/data")
	var there []string
	for end := time.Now().Add(5 * time.Minute); time.Now().Before(end) && ctx.Err() == nil; time.Sleep(100 * time.Millisecond) {
		there, _ = filepath.Glob(pattern) // the pattern is good
		if len(there) >= blobs {
			return nil
		}
	}
	return fmt.Errorf("%d of %d blobs are in the store", len(there), blobs)
}

// room is how many different blobs of a size the temporary directory has room
// for: each is in the spool and in the store, and half of what is free is left.
func (l *lab) room(size int64) (int, error) {
	var disk syscall.Statfs_t
	if err := syscall.Statfs(l.dir, &disk); err != nil {
		return 0, err
	}
	n := int(int64(disk.Bavail) * disk.Bsize / 2 / (2 * size))
	if n < 1 {
		return 0, fmt.Errorf("%s has no room for two blobs of %d MiB", l.dir, size>>20)
	}
	return min(n, crowdClients), nil
}
