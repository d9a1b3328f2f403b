package e2e

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"
)

// outageWorld has one signed tag, team/app:signed, and lines to both servers.
func outageWorld(t *testing.T, change func(*settings)) (w *world, image pushed, registry, notary *line) {
	t.Helper()
	w = ownWorld(t, registryOptions{})
	w.mustBegin(t, "team/app")
	image = w.mustSay(t, "team/app", "signed", "words")
	w.mustSign(t, "team/app", "signed", image)
	registry, notary = newLine(t, w.registry.addr), newLine(t, w.notary.addr)
	w.mustOpen(t, func(s *settings) {
		s.upstream, s.notary = "https://"+registry.addr, "https://"+notary.addr
		s.refresh, s.authTTL = time.Second, time.Second
		if change != nil {
			change(s)
		}
	})
	return w, image, registry, notary
}

// wantRetryAfter fails unless the answer says when to come back, in seconds.
func wantRetryAfter(t *testing.T, a answer) {
	t.Helper()
	if n, err := strconv.Atoi(a.header.Get("Retry-After")); err != nil || n < 1 {
		t.Errorf("want Retry-After in seconds, got %q", a.header.Get("Retry-After"))
	}
}

func TestUnreachableNotaryIs503AndThenRecovers(t *testing.T) {
	w, image, _, notary := outageWorld(t, nil)
	notary.cut()
	for _, tag := range []string{"signed", "unsigned"} {
		a := w.manifest(t, "team/app", tag)
		wantRefused(t, a, 503, "UNAVAILABLE", "")
		wantRetryAfter(t, a)
		if a.message() == "" || strings.Contains(a.message(), "no trust data") {
			t.Errorf("want a message that says why nobody can know, got %q", a.message())
		}
	}
	wantRefused(t, w.get(t, "/v2/team/app/tags/list"), 503, "UNAVAILABLE", "")
	wantServed(t, w.manifest(t, "team/app", image.digest), image)

	notary.restore(t)
	eventually(t, 15*time.Second, func() error {
		if a := w.manifest(t, "team/app", "signed"); a.status != 200 {
			return fmt.Errorf("still %v", a)
		}
		return nil
	})
}

func TestVerifiedTrustStandsWhileNotaryIsAwayUntilMaxStale(t *testing.T) {
	t.Parallel()
	const maxStale = 6 * time.Second
	w, image, _, notary := outageWorld(t, func(s *settings) { s.maxStale = maxStale })
	wantServed(t, w.manifest(t, "team/app", "signed"), image)
	notary.cut()
	cut, last := time.Now(), time.Duration(0)
	time.Sleep(2 * time.Second) // past refresh
	stale := w.manifest(t, "team/app", "signed")
	wantServed(t, stale, image)
	if stale.header.Get("Warning") == "" {
		t.Errorf("want a Warning header on an answer from stale trust, got %v", stale.header)
	}
	eventually(t, maxStale, func() error {
		a := w.manifest(t, "team/app", "signed")
		if a.status == 200 {
			last = time.Since(cut)
			return fmt.Errorf("still served %v after the last contact", last)
		}
		wantRefused(t, a, 503, "UNAVAILABLE", "")
		wantRetryAfter(t, a)
		return nil
	})
	notary.restore(t)
	again := eventually(t, 15*time.Second, func() error {
		if a := w.manifest(t, "team/app", "signed"); a.status != 200 {
			return fmt.Errorf("still %v", a)
		}
		return nil
	})
	measured(t, maxStale, last, again)
}

func TestTrustDataThatDisappearsIs503AndNotUnsigned(t *testing.T) {
	w, image := oneSignedTag(t, registryOptions{})
	w.mustOpen(t, nil)
	wantServed(t, w.manifest(t, "team/app", "signed"), image)
	w.notary.stop(5 * time.Second)
	w.notary = must(startNotary(w.dir, w.notary.addr, w.ca))(t) // with an empty memory

	took := eventually(t, w.refresh+slack, func() error {
		a := w.manifest(t, "team/app", "signed")
		if a.status == 200 {
			return fmt.Errorf("still served")
		}
		wantRefused(t, a, 503, "UNAVAILABLE", "disappeared")
		return nil
	})
	wantRefused(t, w.manifest(t, "team/app", "unsigned"), 503, "UNAVAILABLE", "disappeared")
	wantRefused(t, w.get(t, "/v2/team/app/tags/list"), 503, "UNAVAILABLE", "disappeared")
	wantServed(t, w.manifest(t, "team/app", image.digest), image)
	if w.alarms() == nil {
		t.Errorf("no alarm\n%s", w.tail())
	}
	measured(t, took, w.refresh)
}

func TestUnreachableRegistryIs502AndThenRecovers(t *testing.T) {
	w, image, registry, _ := outageWorld(t, nil)
	registry.cut()
	for _, path := range []string{"/v2/team/app/manifests/signed", "/v2/team/app/manifests/" + image.digest, "/v2/team/app/blobs/" + image.digest} {
		if a := w.get(t, path); a.status != 502 {
			t.Errorf("%s: want 502, got %v", path, a)
		}
	}
	registry.restore(t)
	wantServed(t, w.manifest(t, "team/app", "signed"), image)
}

func TestClientsSayThatNotaryIsUnreachable(t *testing.T) {
	w, _, _, notary := outageWorld(t, nil)
	notary.cut()
	for _, c := range clients {
		if c.name != "docker" && c.name != "crane" { // the others repeat the request for a minute and more
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			_, err := c.pull(t, w, w.tag("team/app", "signed"))
			if err == nil || strings.Contains(err.Error(), "manifest unknown") {
				t.Fatalf("want a failure that is not \"manifest unknown\", got %v", err)
			}
		})
	}
}
