package e2e

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestWarmedTagsArePulledWhenRegistryAndNotaryAreGone though the server was never
// asked for them, and though what it keeps is too old and too large by far: only
// what was not warmed leaves.
func TestWarmedTagsArePulledWhenRegistryAndNotaryAreGone(t *testing.T) {
	t.Parallel()
	w, image, registry, notary := outageWorld(t, func(s *settings) {
		s.credentials = "anonymous"
		s.more = "redirects: follow\ncache: {max-size: 1KiB, ttl: 100ms}\n"
	})
	index := must(w.push("team/app", "many", must(indexSaying("many"))(t)))(t)
	w.mustSign(t, "team/app", "many", index)
	w.mustBegin(t, "team/other")
	other := w.mustSay(t, "team/other", "pulled", "other words")
	w.mustSign(t, "team/other", "pulled", other)
	must(cranePull(t, w, w.tag("team/other", "pulled")))(t)

	out, code := sealgate("cache", "warm", "--config", w.config, w.tag("team/app", "signed"), w.tag("team/app", "m*"), w.tag("team/app", "unsigned"))
	for _, says := range []string{w.tag("team/app", "signed") + " " + image.digest, w.tag("team/app", "many") + " " + index.digest, "no trust data for tag \"unsigned\""} {
		if code != 1 || !strings.Contains(out, says) {
			t.Errorf("exit code %d, says nothing of %q:\n%s", code, says, out)
		}
	}

	registry.cut()
	notary.cut()
	w.restart(t, false, nil) // which sweeps
	eventually(t, slack, func() error {
		if a := w.get(t, "/v2/team/other/manifests/"+other.digest); a.status != 503 {
			return fmt.Errorf("what was only pulled is still there: %v", a.status)
		}
		return nil
	})
	wantServed(t, w.manifest(t, "team/app", "signed"), image)
	wantServed(t, w.manifest(t, "team/app", "many"), index)
	for _, c := range clients {
		if c.name != "crane" && c.name != "skopeo" {
			continue
		}
		for tag, want := range map[string]pushed{"signed": image, "many": index} {
			if digests, err := c.pull(t, w, w.tag("team/app", tag)); err != nil || !strings.Contains(fmt.Sprint(digests), want.digest) {
				t.Errorf("%s pulled %v, %v, want %s", c.name, digests, err, want.digest)
			}
		}
	}
	dir := filepath.Join(t.TempDir(), "image")
	if _, err := run(trusting(w), "crane", "pull", "--platform", "linux/s390x", "--format", "oci", w.tag("team/app", "many"), dir); err != nil {
		t.Error(err)
	}

	if out, code := sealgate("cache", "unpin", "--config", w.config, w.tag("team/app", "*")); code != 0 {
		t.Errorf("unpin: exit code %d\n%s", code, out)
	}
	w.restart(t, false, nil)
	eventually(t, 30*time.Second, func() error { // a sweep comes first
		if a := w.manifest(t, "team/app", "signed"); a.status != 503 {
			return fmt.Errorf("what was let go of is still there: %v", a.status)
		}
		return nil
	})
}

// TestOneWarmingIsForAllReplicas that share a bucket, one that joins later too.
func TestOneWarmingIsForAllReplicas(t *testing.T) {
	t.Parallel()
	c := newCluster(t, registryOptions{})
	index := must(c.push("team/app", "many", must(indexSaying("for all"))(t)))(t)
	c.mustSign(t, "team/app", "many", index)
	cached := func(s *settings) {
		s.credentials = "anonymous"
		s.more = "redirects: follow\ncache: {}\n"
	}
	one := c.join(t, cached)
	if out, err := run(one.env, suite.sealgate, "cache", "warm", "--config", one.config, c.tag("team/app", "many")); err != nil || !strings.Contains(out, index.digest+": pinned, 3 manifests") {
		t.Fatalf("%s: %v", out, err)
	}
	c.registry.stop(slack)
	c.notary.stop(slack)
	c.join(t, cached)
	for _, g := range c.replicas {
		wantServed(t, g.manifest(t, "team/app", "many"), index)
	}
	if digests, err := skopeoCopy(t, c.world, c.tag("team/app", "many")); err != nil || digests[0] != index.digest {
		t.Errorf("pulled %v, %v, want %s", digests, err, index.digest)
	}
}
