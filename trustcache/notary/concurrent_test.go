package notary_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/sealgate/sealgate/trustcache/notary"
)

// TestManyRepositoriesAtOnce is for the race detector, and for the bound on
// memory: it lets one file of targets in at a time and nobody starves.
func TestManyRepositoriesAtOnce(t *testing.T) {
	worlds := map[string]*world{}
	for i := range 16 {
		gun := fmt.Sprintf("registry.example.com/acme/app%d", i)
		w := newWorldFor(t, gun)
		w.Delegate(releases)
		w.Sign(releases, "latest", i)
		w.Publish()
		worlds[gun] = w
	}
	first := worlds["registry.example.com/acme/app0"]
	s := first.source(firstUse, func(o *notary.Options) {
		o.Limits.Memory = 1 // raised to the largest file
		o.Transport = roundTripper(func(req *http.Request) (*http.Response, error) {
			gun, _, _ := strings.Cut(strings.TrimPrefix(req.URL.Path, "/v2/"), "/_trust/")
			return worlds[gun].RoundTrip(req)
		})
	})
	var wg sync.WaitGroup
	for i := range 16 {
		w := worlds[fmt.Sprintf("registry.example.com/acme/app%d", i)]
		wg.Go(func() {
			snap, err := w.fetch(s, nil)
			for range 5 {
				if err != nil {
					t.Error(err)
					return
				}
				if target, ok := snap.Lookup("latest"); !ok || target.Digest != digest(i) {
					t.Errorf("%s: %v %s", w.GUN, ok, target.Digest)
				}
				snap, err = w.fetch(s, snap)
			}
		})
	}
	wg.Wait()
}
