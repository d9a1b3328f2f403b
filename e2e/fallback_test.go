package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sealgate/sealgate/e2e/sandbox"
)

// TestWhereDockerFallsBackSealgateRefuses: Docker passes in silence over a releases
// role that does not verify, or that was published and is no longer listed, to an
// older digest in targets. These are the answers in which Sealgate differs, since
// a server that holds the snapshot key can bring them about. The two tests are of
// what brings them about by mistake, and of the way out.
func TestWhereDockerFallsBackSealgateRefuses(t *testing.T) {
	t.Parallel()
	// begin has v1 signed in both, by the key of that certificate.
	begin := func(t *testing.T) (d *differential, cert string, released pushed) {
		d = newDifferential(t)
		d.step(t, "in both", d.signs("v1"),
			func() (err error) { cert, err = d.delegate(d.gun, releases); return err }, d.signs("v1", releases))
		return d, cert, d.images[d.signed%len(d.images)]
	}
	t.Run("a key that is taken away before another one has signed", func(t *testing.T) {
		d, cert, released := begin(t)
		d.mustDo(t, d.delegates(releases), d.notarys("delegation", "remove", "-p", "-y", d.gun, releases, must(canonicalID(cert))(t)))
		d.wantFallenBack(t, released)
		d.wantStanding(t, released)
		d.mustOpenAnew(t)
		why := "potential malicious behavior: targets/releases of " + d.gun
		wantRefused(t, d.manifest(t, "team/app", "v1"), http.StatusServiceUnavailable, "UNAVAILABLE", why)
		wantRefused(t, d.get(t, "/v2/team/app/tags/list"), http.StatusServiceUnavailable, "UNAVAILABLE", why)
		d.mustDo(t, func() error { return d.delegateTo(cert, d.gun, releases) }) // the owner takes it back
		d.mustAgree(t)
	})
	t.Run("a role that comes back after the publisher's snapshot has dropped it", func(t *testing.T) {
		d, cert, released := begin(t)
		d.mustDo(t, d.rotates("snapshot"), d.removes(releases), func() error { return d.delegateTo(cert, d.gun, releases) })
		d.wantFallenBack(t, released)
		d.wantStanding(t, released)
		d.mustDo(t, d.removes(releases))
		d.mustAgree(t)
	})
}

func (d *differential) mustDo(t *testing.T, does ...func() error) {
	t.Helper()
	for _, do := range does {
		if err := do(); err != nil {
			t.Fatal(err)
		}
	}
}

// wantFallenBack fails unless Docker serves v1 from targets instead of what was
// released.
func (d *differential) wantFallenBack(t *testing.T, released pushed) {
	t.Helper()
	docker, signed, err := sandbox.DockersAnswer(d.notary.url, d.transport, d.gun, "v1")
	if err != nil || !signed || docker.Role != "targets" || docker.Digest == released.digest {
		t.Fatalf("Docker does not fall back: %+v, %v, %v", docker, signed, err)
	}
}

// wantStanding fails unless the gate goes on with what it has verified, alarmed.
func (d *differential) wantStanding(t *testing.T, released pushed) {
	t.Helper()
	a := d.manifest(t, "team/app", "v1")
	wantServed(t, a, released)
	if !strings.Contains(a.header.Get("Warning"), "potential malicious behavior") || !strings.Contains(d.output(), `"alarm":true`) {
		t.Errorf("no alarm: %v", a)
	}
}

// mustAgree waits for the gate to try again, and compares.
func (d *differential) mustAgree(t *testing.T) {
	t.Helper()
	eventually(t, slack, func() error {
		if a := d.manifest(t, "team/app", "v1"); a.status != http.StatusOK || a.header.Get("Warning") != "" {
			return fmt.Errorf("still %v", a)
		}
		return nil
	})
	d.compare(t)
}

// mustOpenAnew replaces the gate by one that has seen nothing.
func (d *differential) mustOpenAnew(t *testing.T) {
	t.Helper()
	before := d.gate
	before.stop(20 * time.Second)
	d.mustOpen(t, func(s *settings) { s.refresh, s.rootKeys = before.refresh, before.rootKeys })
}
