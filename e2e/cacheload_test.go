package e2e

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
)

// TestRegistryAndNotaryKilledUnderLoad: 64 clients pull signed tags, all that
// belongs to them, before, during and after, and none of them notices.
func TestRegistryAndNotaryKilledUnderLoad(t *testing.T) {
	t.Parallel()
	const pullers = 64
	w := ownWorld(t, registryOptions{})
	w.mustBegin(t, "team/app")
	tags := []string{"a", "b"}
	for _, tag := range tags {
		w.layered(t, "team/app", tag, 2, 20<<10)
	}
	_, coldBlobs := w.layered(t, "team/app", "cold", 1, 20<<10)
	notary := newLine(t, w.notary.addr)
	w.mustOpen(t, func(s *settings) { cached(s); s.notary, s.refresh = "https://"+notary.addr, time.Second })

	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var pulls [pullers]atomic.Int64
	var load errgroup.Group
	for i := range pullers {
		p := w.puller(t, i%2 == 0)
		load.Go(func() error {
			for n := i; ctx.Err() == nil; n++ {
				if err := p.image(context.WithoutCancel(ctx), "team/app", tags[n%len(tags)]); err != nil {
					return err
				}
				pulls[i].Add(1)
			}
			return nil
		})
	}
	everybodyPulls := func(what string) {
		var before [pullers]int64
		for i := range pulls {
			before[i] = pulls[i].Load()
		}
		eventually(t, time.Minute, func() error {
			for i := range pulls {
				if pulls[i].Load() < before[i]+2 {
					return fmt.Errorf("%s: client %d has pulled %d times", what, i, pulls[i].Load()-before[i])
				}
			}
			return nil
		})
	}
	everybodyPulls("all is well")

	notary.cut()
	w.registry.kill()
	eventually(t, w.refresh+10*time.Second, func() error { // the age at which trust is stale has come
		if a := w.manifest(t, "team/app", "a"); a.status != 200 || !strings.Contains(a.header.Get("Warning"), "stale") {
			return fmt.Errorf("want it with a warning that it is stale, got %v", a)
		}
		return nil
	})
	everybodyPulls("registry and Notary are gone")
	wantRefused(t, w.manifest(t, "team/app", "cold"), 503, "UNAVAILABLE", "is not in the cache and the registry cannot be reached")
	wantRefused(t, w.get(t, "/v2/team/app/blobs/"+coldBlobs[1]), 503, "UNAVAILABLE", "is not in the cache and the registry cannot be reached")
	wantRefused(t, w.manifest(t, "team/app", "unsigned"), 404, "MANIFEST_UNKNOWN", noTrustData(w, "team/app", "unsigned"))

	next := w.registry.again(t)
	w.atEnd(func() { next.stop(5 * time.Second) })
	w.registry = next
	notary.restore(t)
	p := w.puller(t, false)
	eventually(t, 20*time.Second, func() error { return p.image(t.Context(), "team/app", "cold") })
	eventually(t, 20*time.Second, func() error {
		if a := w.manifest(t, "team/app", "a"); a.status != 200 || a.header.Get("Warning") != "" {
			return fmt.Errorf("still %v", a)
		}
		return nil
	})
	everybodyPulls("both are back")
	stop()
	if err := load.Wait(); err != nil {
		t.Errorf("%v\n%s", err, w.gate.tail())
	}
	var sum int64
	for i := range pulls {
		sum += pulls[i].Load()
	}
	measured(t, pullers, sum)
}

// TestAThousandColdPullsOfOneImageReadItOnce, over both protocols; what they get
// is in memory neither as often as they are, nor whole.
func TestAThousandColdPullsOfOneImageReadItOnce(t *testing.T) {
	t.Parallel()
	const pulls, layers, size = 1000, 2, 512 << 10
	w := ownWorld(t, registryOptions{})
	w.mustBegin(t, "team/app")
	image, blobs := w.layered(t, "team/app", "signed", layers, size)
	slow := newLine(t, w.registry.addr)
	w.mustOpen(t, func(s *settings) {
		cached(s)
		s.upstream, s.refresh = "https://"+slow.addr, time.Minute
	})
	// Half of them have a connection each, the others share some.
	one := w.puller(t, false)
	var shared []puller
	for range 20 {
		shared = append(shared, w.puller(t, true))
	}
	slow.slow.Store(true) // so that all are there before the first has all
	var group errgroup.Group
	for i := range pulls {
		p := one
		if i%2 == 0 {
			p = shared[i/2%len(shared)]
		}
		group.Go(func() error { return p.image(t.Context(), "team/app", "signed") })
	}
	if err := group.Wait(); err != nil {
		t.Fatalf("%v\n%s", err, w.gate.tail())
	}
	paths := []string{"/manifests/" + image.digest}
	for _, blob := range blobs {
		paths = append(paths, "/blobs/"+blob)
	}
	eventually(t, 5*time.Second, func() error { // the access log is written after the answer
		for _, path := range paths {
			if n := w.registry.reads(path); n != 1 {
				return fmt.Errorf("the registry was asked %d times for %s", n, path)
			}
		}
		return nil
	})
	peak := w.peakMiB(t)
	measured(t, pulls, layers*size>>20, peak)
	if peak > 300 { // most of it is connections: a fifth of a mebibyte for each client
		t.Errorf("peak RSS %d MiB for %d pulls of %d MiB", peak, pulls, layers*size>>20)
	}
}

// TestABlobIsNeverInMemory: one that is larger than all the memory that serving
// it takes, read cold by some and then from the cache.
func TestABlobIsNeverInMemory(t *testing.T) {
	t.Parallel()
	const readers, size, most = 3, 128 << 20, 90 // MiB, the last
	w := ownWorld(t, registryOptions{})
	w.mustBegin(t, "team/app")
	_, blobs := w.pushLayered(t, "team/app", "large", 1, size)
	w.mustOpen(t, cached)
	for _, what := range []string{"cold", "cached"} {
		var group errgroup.Group
		for range readers {
			p := w.puller(t, false)
			group.Go(func() error { return p.blob(t.Context(), "team/app", blobs[1]) })
		}
		if err := group.Wait(); err != nil {
			t.Fatalf("%s: %v\n%s", what, err, w.gate.tail())
		}
		peak := w.peakMiB(t)
		t.Logf("%s, %d MiB for each of %d: peak RSS %d MiB", what, size>>20, readers, peak)
		if peak > most {
			t.Errorf("%s: peak RSS %d MiB for a blob of %d MiB", what, peak, size>>20)
		}
	}
	if n := w.registry.reads(blobs[1]); n != 1 {
		t.Errorf("the registry was asked %d times", n)
	}
}

// TestSIGTERMLetsColdBlobsFinish: nothing of what clients have begun to read is
// cut short.
func TestSIGTERMLetsColdBlobsFinish(t *testing.T) {
	t.Parallel()
	w := ownWorld(t, registryOptions{})
	w.mustBegin(t, "team/app")
	_, blobs := w.pushLayered(t, "team/app", "large", 2, 1<<20)
	slow := newLine(t, w.registry.addr)
	w.mustOpen(t, func(s *settings) { cached(s); s.upstream = "https://" + slow.addr })
	slow.slow.Store(true)
	const readers = 16
	begun := make(chan struct{}, readers)
	var group errgroup.Group
	for i := range readers {
		p := w.puller(t, i%4 == 0)
		group.Go(func() error {
			blob := blobs[1+i%2]
			first := &firstWrite{begun: begun}
			got, err := p.fetch(t.Context(), "/v2/team/app/blobs/"+blob, first)
			if err == nil && got != blob {
				err = errors.New("other bytes")
			}
			return err
		})
	}
	for range readers {
		<-begun
	}
	code := w.stop(30 * time.Second)
	if err := group.Wait(); err != nil {
		t.Errorf("%v\n%s", err, w.tail())
	}
	if code != 0 {
		t.Errorf("want exit code 0, got %d\n%s", code, w.tail())
	}
}

// firstWrite says once that something was written.
type firstWrite struct {
	begun chan<- struct{}
	said  bool
}

func (f *firstWrite) Write(p []byte) (int, error) {
	if !f.said {
		f.said = true
		f.begun <- struct{}{}
	}
	return len(p), nil
}
