package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
)

// tiny makes directories of a gate's file systems of their own of this size,
// which hold 8 MiB, until the world ends.
func (w *world) tiny(t *testing.T, directory string) {
	t.Helper()
	if err := os.MkdirAll(directory, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", directory, "tmpfs", 0, "size=8m,mode=700"); err != nil {
		t.Fatal(err)
	}
	w.atEnd(func() { _ = syscall.Unmount(directory, syscall.MNT_DETACH) })
}

// fill leaves no byte of a file system free, and returns how to give them back.
func fill(t *testing.T, directory string) (empty func()) {
	t.Helper()
	file := filepath.Join(directory, "filler")
	f := must(os.Create(file))(t)
	defer f.Close()
	for chunk := make([]byte, 64<<10); ; {
		_, err := f.Write(chunk)
		switch {
		case err == nil:
		case errors.Is(err, syscall.ENOSPC) && len(chunk) > 1:
			chunk = chunk[:len(chunk)/2]
		case errors.Is(err, syscall.ENOSPC):
			return func() { _ = os.Remove(file) }
		default:
			t.Fatal(err)
		}
	}
}

// TestAFullDiskFailsNoPull: with no byte left for the spool, for the cache, or
// for both, everything is pulled; with room again it is kept again, and nothing
// else than what it is.
func TestAFullDiskFailsNoPull(t *testing.T) {
	t.Parallel()
	const images, pullers, size = 6, 6, 1 << 20
	for name, full := range map[string][]string{
		"the spool":               {"state"},
		"the cache":               {"store"},
		"the spool and the cache": {"state", "store"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := ownWorld(t, registryOptions{})
			w.mustBegin(t, "team/app")
			var tags, blobs, large []string
			for i := range images {
				tag := fmt.Sprint("v", i)
				_, of := w.layered(t, "team/app", tag, 2, size)
				tags, blobs, large = append(tags, tag), append(blobs, of...), append(large, of[1:]...)
			}
			registry := newLine(t, w.registry.addr)
			dir := filepath.Join(w.dir, "gate-on-little")
			for _, d := range full {
				w.tiny(t, filepath.Join(dir, d))
			}
			s := must(w.defaults())(t)
			cached(&s)
			s.upstream = "https://" + registry.addr
			w.gate = must(openGate(dir, w.ca, s))(t)
			w.atEnd(func() { w.gate.stop(20 * time.Second) })

			var pulls atomic.Int64
			pullAll := func(what string) {
				var group errgroup.Group
				for i := range pullers {
					p := w.puller(t, i%2 == 0)
					group.Go(func() error {
						for n := range tags {
							if err := p.image(t.Context(), "team/app", tags[(n+i/2)%len(tags)]); err != nil {
								return fmt.Errorf("%s: %w", what, err)
							}
							pulls.Add(1)
						}
						return nil
					})
				}
				if err := group.Wait(); err != nil {
					t.Fatalf("%v\n%s", err, w.gate.tail())
				}
			}
			w.puller(t, false).mustPull(t, "team/app", tags[0]) // trust data is there
			var empty []func()
			w.amid(t, registry, large[2:], func() {
				for _, d := range full {
					empty = append(empty, fill(t, filepath.Join(dir, d)))
				}
			})
			if resumed := strings.Contains(w.registry.output(), partServed); resumed != slices.Contains(full, "state") {
				t.Errorf("that clients went on with the rest of a blob: %v", resumed)
			}
			pullAll("full from the start")
			for _, e := range empty {
				e()
			}
			pullAll("it fills up") // 12 MiB into 8, where it is the cache
			w.wantSound(t, registry, blobs...)

			// Room again, as an operator makes it.
			w.gate.stop(20 * time.Second)
			if err := os.RemoveAll(filepath.Join(dir, "store", "sealgate", "content")); err != nil {
				t.Fatal(err)
			}
			again := must(openGate(dir, w.ca, s))(t)
			w.gate = again
			w.atEnd(func() { again.stop(20 * time.Second) })
			w.puller(t, false).mustPull(t, "team/app", tags[0])
			if kept := w.wantSound(t, registry, blobs[:3]...); kept != 3 {
				t.Errorf("of an image's three blobs %d are kept", kept)
			}
			measured(t, pulls.Load())
		})
	}
}

// amid does something while each of the blobs is on its way to a client, and
// fails the test unless all of them arrive.
func (w *world) amid(t *testing.T, registry *line, blobs []string, do func()) {
	t.Helper()
	registry.slow.Store(true)
	begun := make(chan struct{}, len(blobs))
	var group errgroup.Group
	for i, blob := range blobs {
		p := w.puller(t, i%2 == 0)
		group.Go(func() error {
			got, err := p.fetch(t.Context(), "/v2/team/app/blobs/"+blob, &firstWrite{begun: begun})
			if err == nil && got != blob {
				err = fmt.Errorf("%s: the bytes hash to %s", blob, got)
			}
			return err
		})
	}
	for range blobs {
		select {
		case <-begun:
		case <-time.After(time.Minute):
			t.Fatal("not every blob has begun")
		}
	}
	do()
	registry.slow.Store(false)
	if err := group.Wait(); err != nil {
		t.Fatalf("in the middle: %v\n%s", err, w.gate.tail())
	}
}

// wantSound cuts the registry off for a while and fails unless every blob that is
// served then is what its digest says. It returns how many are.
func (w *world) wantSound(t *testing.T, registry *line, blobs ...string) (kept int) {
	t.Helper()
	registry.cut()
	defer registry.restore(t)
	p := w.puller(t, false)
	for _, digest := range blobs {
		if keeps(t, p, "team/app", digest) {
			kept++
		}
	}
	return kept
}

// keeps tells whether a blob is, with the registry gone. Where it is, it has to
// be the right one, and where it is not, 503.
func keeps(t *testing.T, p puller, repository, digest string) bool {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	err := p.blob(ctx, repository, digest)
	var refused *refusal
	if errors.As(err, &refused) && refused.status == 503 {
		return false
	}
	if err != nil {
		t.Errorf("with the registry gone: %v", err)
	}
	return err == nil
}
