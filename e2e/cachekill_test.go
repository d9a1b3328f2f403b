package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// killCycles says how often TestKilledWhileTheCacheIsWritten kills; by default it
// is short.
const killCycles = "SEALGATE_KILL_CYCLES"

// TestKilledWhileTheCacheIsWritten: kill -9 at random points while clients have
// the cache filled, over and over. Every blob that is served afterwards, with the
// registry gone, hashes to its digest.
func TestKilledWhileTheCacheIsWritten(t *testing.T) {
	t.Parallel()
	cycles := 4
	if text := os.Getenv(killCycles); text != "" {
		cycles = must(strconv.Atoi(text))(t)
	}
	const pullers, layers = 6, 6
	w := ownWorld(t, registryOptions{})
	w.mustBegin(t, "team/app")
	registry := newLine(t, w.registry.addr)
	w.mustOpen(t, func(s *settings) { cached(s); s.upstream = "https://" + registry.addr })

	var all []string
	kept, asked := 0, 0
	look := func(recent int) {
		blobs := all[max(0, len(all)-recent):]
		asked += len(blobs)
		kept += w.wantSound(t, registry, blobs...)
	}
	for n := range cycles {
		_, blobs := w.pushLayered(t, "team/app", fmt.Sprint("v", n), layers, rand.Int64N(400<<10))
		all = append(all, blobs...)
		w.killAmid(t, blobs, pullers, 1+rand.IntN(len(blobs)), time.Duration(rand.Int64N(int64(20*time.Millisecond))))
		w.restart(t, true, nil)
		look(10 * (layers + 1))
		if t.Failed() {
			t.Fatalf("in cycle %d\n%s", n, w.gate.tail())
		}
	}
	look(len(all))
	if kept == 0 {
		t.Errorf("of %d reads none was from the cache: nothing was shown", asked)
	}
	measured(t, cycles, asked, kept)
}

// killAmid ends the gate in the middle of clients' reading blobs, a while after
// so many of them are on the disk.
func (w *world) killAmid(t *testing.T, blobs []string, pullers, stored int, after time.Duration) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	var readers sync.WaitGroup
	for i := range pullers {
		p := w.puller(t, i%2 == 0)
		readers.Go(func() {
			for n := i; ctx.Err() == nil; n++ {
				if p.blob(ctx, "team/app", blobs[n%len(blobs)]) != nil {
					return // it was killed
				}
			}
		})
	}
	for end := time.Now().Add(time.Minute); w.onDisk(blobs) < stored && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	time.Sleep(after)
	_ = w.cmd.Process.Kill() // restart waits for its end
	stop()
	readers.Wait()
}

// onDisk counts the blobs whose bytes are in the gate's store, linked or not.
func (w *world) onDisk(blobs []string) (n int) {
	for _, digest := range blobs {
		hex := strings.TrimPrefix(digest, "sha256:")
		found, _ := filepath.Glob(filepath.Join(filepath.Dir(w.config), "store/sealgate/content/*/docker/registry/v2/blobs/sha256", hex[:2], hex, "data"))
		n += len(found)
	}
	return n
}
