package e2e

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
)

// TestARegistryThatFails: it is said what failed, with the registry's own
// Retry-After, and the registry is not asked the more for it.
func TestARegistryThatFails(t *testing.T) {
	t.Parallel()
	const clients = 20
	w, image := oneSignedTag(t, registryOptions{})
	for name, want := range map[string]struct{ tag, blob int }{
		"refuses connections": {502, 502},
		"hangs up":            {502, 502},
		"never answers":       {504, 0}, // a blob waits twice as long
		"500":                 {502, 500},
		"429":                 {429, 429},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			registry := newFailing(t, w.ca, w.registry.url)
			g := w.another(t, func(s *settings) {
				s.upstream, s.authTTL = registry.url, 0
				withAdmin(t, s)
			})
			wantServed(t, g.manifest(t, "team/app", "signed"), image)
			asked := registry.asked.Load()
			registry.fail(misbehaviours[name])

			var slowest atomic.Int64
			var all errgroup.Group
			for i := range clients {
				path, status := "/v2/team/app/manifests/signed", want.tag
				if i%2 == 0 && want.blob != 0 {
					path, status = "/v2/team/app/blobs/"+image.digest, want.blob
				}
				all.Go(func() error {
					a, took, err := g.timed(path)
					if err == nil && (a.status != status || status == 429 && a.header.Get("Retry-After") != "7") {
						err = fmt.Errorf("want %d, got %v", status, a)
					}
					for longest := slowest.Load(); int64(took) > longest && !slowest.CompareAndSwap(longest, int64(took)); longest = slowest.Load() {
					}
					return err
				})
			}
			if err := all.Wait(); err != nil {
				t.Error(err)
			}
			// One that goes away in the middle of another request is asked again, once.
			during := registry.asked.Load() - asked
			if during > 2*clients {
				t.Errorf("%d requests became %d", clients, during)
			}
			registry.well(t)
			again := eventually(t, 15*time.Second, func() error {
				if a := g.manifest(t, "team/app", "signed"); served(a, image) < 0 {
					return fmt.Errorf("still %v", a)
				}
				return nil
			})
			measured(t, clients, want.tag, time.Duration(slowest.Load()), during, again)
		})
	}
}

// TestARegistryThatIsCutOffInABlob: its client is cut off where it was, and knows
// it; nobody asks anew in its name, and nothing of it is kept.
func TestARegistryThatIsCutOffInABlob(t *testing.T) {
	t.Parallel()
	const cuts, after = 5, 2 << 20
	w, _ := oneSignedTag(t, registryOptions{})
	for _, cache := range []bool{false, true} {
		t.Run(fmt.Sprintf("cache %v", cache), func(t *testing.T) {
			t.Parallel()
			blobs := make([]string, cuts)
			for i := range blobs {
				blobs[i] = w.mustBlob(t, "team/app", int64(4<<20+i))
			}
			registry := newFailing(t, w.ca, w.registry.url)
			g := w.another(t, func(s *settings) {
				s.credentials, s.upstream = "anonymous", registry.url
				if cache {
					cached(s)
				}
			})
			asked := registry.asked.Load()
			least, most := int64(1<<62), int64(0)
			for _, blob := range blobs {
				registry.cutOnce.Store(after)
				p := g.puller(t, false)
				got := &counting{}
				if _, err := p.fetch(t.Context(), "/v2/team/app/blobs/"+blob, got); err == nil || got.n > after {
					t.Errorf("%d bytes, %v", got.n, err)
				}
				least, most = min(least, got.n), max(most, got.n)
			}
			during := registry.asked.Load() - asked
			if during > 2*cuts {
				t.Errorf("%d reads became %d requests", cuts, during)
			}
			for _, blob := range blobs {
				if err := g.puller(t, false).blob(t.Context(), "team/app", blob); err != nil {
					t.Error(err)
				}
			}
			if whole := registry.asked.Load() - asked - during; whole != cuts {
				t.Errorf("of %d blobs that were cut off %d were fetched anew", cuts, whole)
			}
			measured(t, cuts, mib(after), mib(least), mib(most), during)
		})
	}
}

type counting struct{ n int64 }

func (c *counting) Write(p []byte) (int, error) {
	c.n += int64(len(p))
	return len(p), nil
}

// mib is a number of bytes as the table has it.
func mib(n int64) string { return fmt.Sprintf("%.2f MiB", float64(n)/(1<<20)) }
