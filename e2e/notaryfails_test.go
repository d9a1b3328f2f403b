package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestANotaryServerThatFails: what was verified is served, marked, and what never
// was is 503 and not "unsigned"; the server is not asked the more for it.
func TestANotaryServerThatFails(t *testing.T) {
	t.Parallel()
	w, image := oneSignedTag(t, registryOptions{})
	for name, how := range misbehaviours {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			notary := newFailing(t, w.ca, w.notary.url)
			g := w.another(t, func(s *settings) {
				s.notary = notary.url
				withAdmin(t, s)
			})
			wantServed(t, g.manifest(t, "team/app", "signed"), image)
			asked := notary.asked.Load()
			notary.fail(how)
			begin := time.Now()

			// What is verified, until it is marked and for a while after.
			var slowest, marked time.Duration
			reads := 0
			for ; marked == 0 || time.Since(begin) < marked+2*time.Second; reads++ {
				a, took, err := g.timed("/v2/team/app/manifests/signed")
				if err != nil || served(a, image) < 0 {
					t.Fatalf("after %v: %v, %v", time.Since(begin), a, err)
				}
				slowest = max(slowest, took)
				if marked == 0 && strings.Contains(a.header.Get("Warning"), "stale") {
					marked = time.Since(begin)
				}
				if time.Since(begin) > 30*time.Second {
					t.Fatalf("not marked as stale: %v", a)
				}
				time.Sleep(10 * time.Millisecond) // a client among others
			}
			during := notary.asked.Load() - asked
			if seconds := int64(time.Since(begin).Seconds()); during > 3+2*seconds {
				t.Errorf("Notary was asked %d times in %d seconds", during, seconds)
			}
			stale := fmt.Sprintf(`sealgate_trust_snapshots{registry=%q,state="stale"}`, g.settings.name)
			if got := g.metric(t, stale); got != "1" {
				t.Errorf("%s is %q", stale, got)
			}

			// What never was verified.
			a, took, err := g.timed("/v2/team/none/manifests/latest")
			if err != nil {
				t.Fatal(err)
			}
			wantRefused(t, a, 503, "UNAVAILABLE", "")
			wantRetryAfter(t, a)
			if strings.Contains(a.message(), "no trust data") || took > 40*time.Second {
				t.Errorf("after %v: %v", took, a)
			}
			if !strings.Contains(g.output(), `"trust refresh failed"`) || g.alarms() != nil {
				t.Errorf("the log says nothing, or that it is an alarm\n%s", g.tail())
			}

			notary.well(t)
			again := eventually(t, 15*time.Second, func() error {
				if a := g.manifest(t, "team/app", "signed"); served(a, image) < 0 || a.header.Get("Warning") != "" {
					return fmt.Errorf("still %v", a)
				}
				return nil
			})
			eventually(t, 15*time.Second, func() error {
				if a := g.manifest(t, "team/none", "latest"); a.status != 404 || a.code() != "MANIFEST_UNKNOWN" {
					return fmt.Errorf("still %v", a)
				}
				return nil
			})
			measured(t, reads, slowest, marked, during, took, a.header.Get("Retry-After"), again)
		})
	}
}
