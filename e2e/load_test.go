package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
)

func TestManyColdPullsOfOneTagAskOnce(t *testing.T) {
	const pulls = 1000
	w, image := oneSignedTag(t, registryOptions{})
	w.mustOpen(t, func(s *settings) { s.refresh, s.authTTL = time.Minute, time.Minute })
	before := strings.Count(w.notary.output(), "/timestamp.json")
	skip := len(w.registry.requests(0))

	var g errgroup.Group
	for range pulls {
		g.Go(func() error {
			a, err := w.send(request{path: "/v2/team/app/manifests/signed"})
			if err == nil && (a.status != http.StatusOK || sha256Of(a.body) != image.digest) {
				err = fmt.Errorf("want the signed manifest, got %v", a)
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(200 * time.Millisecond) // the access log is written after the answer
	refreshes := strings.Count(w.notary.output(), "/timestamp.json") - before
	if refreshes != 1 {
		t.Errorf("want one refresh, Notary was asked for the timestamp %d times", refreshes)
	}
	fetches := 0
	for _, request := range w.registry.requests(skip) {
		if strings.HasPrefix(request, "GET ") && strings.Contains(request, "/manifests/") {
			fetches++
		}
	}
	if fetches != 1 {
		t.Errorf("want one fetch of the manifest, the registry saw %d", fetches)
	}
	measured(t, pulls, refreshes, fetches)
}
