package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestKeysRotateUnderLoad: each key of a repository in turn, and each time the tag
// is signed for another image. Nobody gets an older one after a newer one, nor
// anything that was never signed.
func TestKeysRotateUnderLoad(t *testing.T) {
	t.Parallel()
	const clients = 16
	w, first := oneSignedTag(t, registryOptions{})
	w.mustOpen(t, func(s *settings) { s.refresh, s.authTTL = time.Second, time.Minute })
	wantServed(t, w.manifest(t, "team/app", "signed"), first)
	var mu sync.Mutex
	order := map[string]int{first.digest: 0}

	var reads atomic.Int64
	var all sync.WaitGroup
	stop := make(chan struct{})
	for i := range clients {
		p := w.puller(t, i%2 == 0)
		all.Go(func() {
			for seen := 0; ; reads.Add(1) {
				select {
				case <-stop:
					return
				case <-time.After(10 * time.Millisecond):
				}
				a, err := clientGet(p.client, p.url+"/v2/team/app/manifests/signed")
				mu.Lock()
				at, signed := order[sha256Of(a.body)]
				mu.Unlock()
				if err != nil || a.status != http.StatusOK || !signed || at < seen {
					t.Errorf("image %d after %d: %v, %v", at, seen, a, err)
					return
				}
				seen = at
			}
		})
	}
	var slowest time.Duration
	rotations := [][]string{{"targets"}, {"snapshot", "-r"}, {"timestamp", "-r"}, {"root"}}
	for n, rotation := range rotations {
		image := w.mustSay(t, "team/app", "signed", fmt.Sprint("words after the rotation of ", rotation[0]))
		mu.Lock()
		order[image.digest] = n + 1
		mu.Unlock()
		if err := w.rotate(w.gun("team/app"), rotation...); err != nil {
			t.Fatal(err)
		}
		w.mustSign(t, "team/app", "signed", image)
		slowest = max(slowest, eventually(t, w.refresh+slack, func() error {
			if a := w.manifest(t, "team/app", "signed"); served(a, image) < 0 {
				return fmt.Errorf("%s: %v", strings.Join(rotation, " "), a)
			}
			return nil
		}))
	}
	close(stop)
	all.Wait()
	if alarms := w.alarms(); alarms != nil {
		t.Errorf("%s", alarms)
	}
	measured(t, len(rotations), clients, reads.Load(), slowest, w.refresh)
}
