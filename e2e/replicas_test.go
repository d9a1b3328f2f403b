package e2e

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/sealgate/sealgate/e2e/sandbox"
)

// served is what an answer serves: one of images, by its place, or -1 for none.
func served(a answer, images ...pushed) int {
	for i, image := range images {
		if a.status == 200 && sha256Of(a.body) == image.digest {
			return i
		}
	}
	return -1
}

// alarms are the lines of a gate's log, since it was started last, that are one.
func (g *gate) alarms() (lines []string) {
	for line := range strings.Lines(g.output()) {
		if strings.Contains(line, `"alarm":true`) {
			lines = append(lines, line)
		}
	}
	return lines
}

// wantEverywhere waits until each replica serves image as the tag team/app:signed.
func (c *cluster) wantEverywhere(t *testing.T, image pushed, replicas ...*gate) {
	t.Helper()
	for _, g := range replicas {
		eventually(t, slack, func() error {
			if a := g.manifest(t, "team/app", "signed"); served(a, image) < 0 {
				return fmt.Errorf("%s: %v", g.listen, a)
			}
			return nil
		})
	}
}

// TestReplicasNeverGoBack: three of them on one bucket, one of which is shown older
// metadata by its Notary server, while all are killed and started again at
// random. No client sees an older image, and no floor goes back.
func TestReplicasNeverGoBack(t *testing.T) {
	t.Parallel()
	c := newCluster(t, registryOptions{})
	older := c.mustSay(t, "team/app", "signed", "older words")
	c.mustSign(t, "team/app", "signed", older)
	lies := newLiar(t, c.ca, c.notary.url)
	c.join(t, nil)
	c.join(t, nil)
	lied := c.join(t, func(s *settings) { s.notary = "https://" + lies.addr })
	c.wantEverywhere(t, older, c.replicas...)
	old := lies.timestampOf(t, c.ca, c.notary.url, c.gun("team/app"))

	newer := c.mustSay(t, "team/app", "signed", "newer words")
	c.mustSign(t, "team/app", "signed", newer)
	c.wantEverywhere(t, newer, c.replicas...)
	before := c.bucket.remembered(t, c.gun("team/app"))
	lies.shown.Store(&old)

	front := c.front()
	var clients sync.WaitGroup
	var done atomic.Bool
	var pulled atomic.Int64
	for range 3 {
		clients.Go(func() {
			for !done.Load() {
				a, err := front.send(request{path: "/v2/team/app/manifests/signed"})
				if err != nil {
					continue // of a replica that was killed
				}
				if served(a, newer) < 0 {
					t.Errorf("served is %v", a)
					return
				}
				pulled.Add(1)
			}
		})
	}
	const kills = 6
	for range kills {
		g := c.replicas[rand.IntN(len(c.replicas))]
		g.crash()
		if err := g.comeBack(); err != nil {
			t.Error(err)
		}
	}
	eventually(t, 10*time.Second, func() error {
		if a := lied.manifest(t, "team/app", "signed"); served(a, newer) < 0 || lied.alarms() == nil {
			return fmt.Errorf("the one that is lied to is not alarmed, and serves %v", a)
		}
		return nil
	})
	done.Store(true)
	clients.Wait()
	if pulled.Load() == 0 || lies.asked.Load() == 0 {
		t.Errorf("%d reads, %d lies", pulled.Load(), lies.asked.Load())
	}
	wantNoneBack(t, before, c.bucket.remembered(t, c.gun("team/app")))

	newest := c.mustSay(t, "team/app", "signed", "newest words")
	c.mustSign(t, "team/app", "signed", newest)
	c.wantEverywhere(t, newest, c.replicas...) // the one that is lied to follows the others
	for _, g := range c.replicas {
		if g != lied && g.alarms() != nil {
			t.Errorf("a replica with an honest Notary server is alarmed: %s", g.alarms())
		}
		if out := g.output(); strings.Contains(out, "HUNTER2") || strings.Contains(out, "zzter2") {
			t.Errorf("a secret of the bucket is logged")
		}
	}
	measured(t, len(c.replicas), kills, lies.asked.Load(), pulled.Load())
}

// TestAReplicaThatJoinsCannotBeRolledBack: it has never seen anything, and its
// Notary server has nothing but what is older.
func TestAReplicaThatJoinsCannotBeRolledBack(t *testing.T) {
	t.Parallel()
	c := newCluster(t, registryOptions{})
	older := c.mustSay(t, "team/app", "signed", "older words")
	c.mustSign(t, "team/app", "signed", older)
	lies := newLiar(t, c.ca, c.notary.url)
	old := lies.timestampOf(t, c.ca, c.notary.url, c.gun("team/app"))
	newer := c.mustSay(t, "team/app", "signed", "newer words")
	c.mustSign(t, "team/app", "signed", newer)
	first := c.join(t, nil)
	c.wantEverywhere(t, newer, first)
	lies.shown.Store(&old)

	believes := func(s *settings) { s.notary = "https://" + lies.addr }
	second := c.join(t, believes) // from what the first has kept
	for range 3 {
		if a := second.manifest(t, "team/app", "signed"); served(a, newer) < 0 {
			t.Errorf("the second serves %v", a)
		}
		time.Sleep(500 * time.Millisecond) // past some refreshes
	}
	if err := c.bucket.driver(t).Delete(t.Context(), "/sealgate/trust/files"); err != nil {
		t.Fatal(err)
	}
	third := c.join(t, believes) // with nothing kept but what it must not go back from
	for range 3 {
		wantRefused(t, third.manifest(t, "team/app", "signed"), 503, "UNAVAILABLE", "potential malicious behavior")
	}
	lies.shown.Store(nil)
	c.wantEverywhere(t, newer, third)
}

// TestForgetReachesEveryReplica within a refresh, and also one whose Notary
// server does not answer: what it has verified stands no longer.
func TestForgetReachesEveryReplica(t *testing.T) {
	t.Parallel()
	c := newCluster(t, registryOptions{})
	image := c.mustSay(t, "team/app", "signed", "words")
	c.mustSign(t, "team/app", "signed", image)
	notary := newLine(t, c.notary.addr)
	first, second := c.join(t, nil), c.join(t, nil)
	away := c.join(t, func(s *settings) { s.notary = "https://" + notary.addr })
	c.wantEverywhere(t, image, first, second, away)
	notary.cut()
	time.Sleep(1100 * time.Millisecond) // a refresh: it stands
	if a := away.manifest(t, "team/app", "signed"); served(a, image) < 0 || a.header.Get("Warning") == "" {
		t.Fatalf("before: %v", a)
	}
	if out, code := sealgate("forget", "--config", first.config, c.gun("team/app")); code != 0 {
		t.Fatalf("exit code %d: %s", code, out)
	}
	eventually(t, slack, func() error {
		a := away.manifest(t, "team/app", "signed")
		if a.status != 503 {
			return fmt.Errorf("still %v", a)
		}
		return nil
	})
	c.wantEverywhere(t, image, first, second) // anew, by the pin
	notary.restore(t)
	c.wantEverywhere(t, image, away)
	if now := c.bucket.remembered(t, c.gun("team/app")); now == nil || now.Epoch != 1 || now.Root == nil {
		t.Errorf("remembered is %+v", now)
	}
}

// TestAnUploadEndsAtAnotherReplica, which has never seen it.
func TestAnUploadEndsAtAnotherReplica(t *testing.T) {
	t.Parallel()
	registry, err := sandbox.StartRegistry(t.Context(), sandbox.RegistryOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer registry.Close()
	c := newCluster(t, registryOptions{})
	writes := func(s *settings) { s.upstream, s.more = registry.URL(), "push: true\n" }
	first, second := c.join(t, writes), c.join(t, writes)
	at := func(g *gate) *uploader {
		w := *c.world
		w.gate = g
		return newUploader(t, &w)
	}
	blob := strings.Repeat("0123456789abcdef", 1<<10)
	digest := sha256Of(blob)
	location := at(first).must(t, 202, "POST", "/v2/team/app/blobs/uploads/", nil)
	location = at(second).must(t, 202, "PATCH", location, strings.NewReader(blob[:100]))
	location = at(first).must(t, 202, "PATCH", location, strings.NewReader(blob[100:]))
	at(second).must(t, 201, "PUT", location+"?digest="+digest, nil)
	if a := first.get(t, "/v2/team/app/blobs/"+digest); a.body != blob {
		t.Errorf("read back: status %d and %d bytes", a.status, len(a.body))
	}
}

// TestABucketThatIsAway: what is verified stands, nothing that could not be stored
// is served, the load balancer is told, and all is well once it is back.
func TestABucketThatIsAway(t *testing.T) {
	t.Parallel()
	c := newCluster(t, registryOptions{})
	older := c.mustSay(t, "team/app", "signed", "older words")
	c.mustSign(t, "team/app", "signed", older)
	way := newLine(t, c.bucket.addr)
	g := c.join(t, func(s *settings) {
		s.storage = c.bucket.storage(way.addr)
		withAdmin(t, s)
	})
	c.wantEverywhere(t, older, g)
	check := func(env []string, code int, says string) {
		t.Helper()
		out, err := run(env, suite.sealgate, "check", "--online", "--config", g.config)
		if exitCode(err) != code || !strings.Contains(out, says) || strings.Contains(out, "HUNTER2") || strings.Contains(out, "zzter2") {
			t.Errorf("check --online: exit %d, expected %d and %q, and no secret:\n%s", exitCode(err), code, says, out)
		}
	}
	check(g.env, 0, "storage.s3: an object was written, read, listed and deleted")
	check(nil, 1, "let the system trust its CA, or name that in AWS_CA_BUNDLE")
	way.cut()
	check(g.env, 1, "storage.s3: trust state: write /sealgate/trust/probes/")
	newer := c.mustSay(t, "team/app", "signed", "newer words")
	c.mustSign(t, "team/app", "signed", newer)
	eventually(t, 15*time.Second, func() error {
		a := g.manifest(t, "team/app", "signed")
		if served(a, older) < 0 {
			t.Fatalf("served is %v", a)
		}
		if ready := g.mustWatch(t, "/readyz"); a.header.Get("Warning") == "" || ready.status != 503 {
			return fmt.Errorf("nobody is told: %v, %v", a.header, ready)
		}
		return nil
	})
	if other := g.manifest(t, "team/other", "signed"); other.status != 503 {
		t.Errorf("of what was never looked at: %v", other)
	}
	way.restore(t)
	c.wantEverywhere(t, newer, g)
	eventually(t, 15*time.Second, func() error {
		if ready := g.mustWatch(t, "/readyz"); ready.status != 200 {
			return fmt.Errorf("%v", ready)
		}
		return nil
	})

	// One that hangs keeps nobody waiting for what is verified.
	if err := c.bucket.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	time.Sleep(g.refresh)
	begin := time.Now()
	if a := g.manifest(t, "team/app", "signed"); served(a, newer) < 0 || a.header.Get("Warning") == "" || time.Since(begin) > 5*time.Second {
		t.Errorf("after %s: %v", time.Since(begin), a)
	}
	if err := c.bucket.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	eventually(t, 15*time.Second, func() error {
		if a := g.manifest(t, "team/app", "signed"); served(a, newer) < 0 || a.header.Get("Warning") != "" {
			return fmt.Errorf("%v", a)
		}
		return nil
	})
}

// TestReplicasShareWhatTheyCache: what was pulled through one is served by another
// that has never asked the registry, and cannot.
func TestReplicasShareWhatTheyCache(t *testing.T) {
	t.Parallel()
	c := newCluster(t, registryOptions{})
	image, blobs := c.layered(t, "team/app", "signed", 2, 6<<20) // more than one part of an upload
	registry := newLine(t, c.registry.addr)
	keeps := func(s *settings) {
		s.credentials, s.upstream = "anonymous", "https://"+registry.addr
		s.more = "redirects: follow\ncache: {ttl: 168h}\n" // a bucket's size is for its owner to bound
	}
	first, second := c.join(t, keeps), c.join(t, keeps)
	first.puller(t, false).mustPull(t, "team/app", "signed")
	registry.cut()
	// What the bucket takes may be there only after the client has what it wanted.
	p := second.puller(t, false)
	eventually(t, 10*time.Second, func() error { return p.image(t.Context(), "team/app", "signed") })
	wantServed(t, second.manifest(t, "team/app", image.digest), image)
	second.crash()
	if err := second.comeBack(); err != nil {
		t.Fatal(err)
	}
	part := second.do(t, request{path: "/v2/team/app/blobs/" + blobs[1], header: http.Header{"Range": {"bytes=5242870-5242889"}}})
	if part.status != http.StatusPartialContent || len(part.body) != 20 {
		t.Errorf("want 206 with 20 bytes, got %d with %d", part.status, len(part.body))
	}
	wantRefused(t, second.get(t, "/v2/team/other/blobs/"+blobs[1]), 503, "UNAVAILABLE", "cache")
}
