package e2e

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestAFullDiskHoldsTrustWhereItIs: what cannot be stored is not served, and what
// is stored stands, marked.
func TestAFullDiskHoldsTrustWhereItIs(t *testing.T) {
	t.Parallel()
	w := ownWorld(t, registryOptions{})
	w.mustBegin(t, "team/app")
	older := w.mustSay(t, "team/app", "signed", "older words")
	w.mustSign(t, "team/app", "signed", older)
	dir := filepath.Join(w.dir, "gate-on-little")
	store := filepath.Join(dir, "store")
	w.tiny(t, store)
	s := must(w.defaults())(t)
	s.refresh = time.Second
	withAdmin(t, &s)
	g := must(openGate(dir, w.ca, s))(t)
	w.gate = g
	w.atEnd(func() { g.stop(20 * time.Second) })
	wantServed(t, g.manifest(t, "team/app", "signed"), older)

	empty := fill(t, store)
	newer := w.mustSay(t, "team/app", "signed", "newer words")
	w.mustSign(t, "team/app", "signed", newer)
	reads := 0
	var told time.Duration
	for begin := time.Now(); told == 0 || time.Since(begin) < told+2*time.Second; reads++ {
		a := g.manifest(t, "team/app", "signed")
		wantServed(t, a, older)
		if told == 0 && a.header.Get("Warning") != "" {
			told = time.Since(begin)
		}
		if time.Since(begin) > 30*time.Second {
			t.Fatalf("nobody is told: %v", a)
		}
		time.Sleep(10 * time.Millisecond)
	}
	if !strings.Contains(g.output(), "no space left on device") {
		t.Errorf("the log does not say why\n%s", g.tail())
	}
	ready := g.mustWatch(t, "/readyz").status

	empty()
	again := eventually(t, 20*time.Second, func() error {
		if a := g.manifest(t, "team/app", "signed"); served(a, newer) < 0 || a.header.Get("Warning") != "" {
			return fmt.Errorf("%v", a)
		}
		return nil
	})
	measured(t, reads, told, ready, again)
}

// TestKilledWhileTrustIsWritten: kill -9 as new metadata is stored, over and over.
// Each start serves what was served before or what is newer, and nothing else.
func TestKilledWhileTrustIsWritten(t *testing.T) {
	t.Parallel()
	const kills = 8
	w := ownWorld(t, registryOptions{})
	w.mustBegin(t, "team/app")
	versions := []pushed{w.mustSay(t, "team/app", "signed", "words 0")}
	w.mustSign(t, "team/app", "signed", versions[0])
	w.mustOpen(t, func(s *settings) { s.refresh, s.authTTL = 500*time.Millisecond, time.Minute })
	newest, reads := 0, 0
	look := func(a answer) {
		t.Helper()
		at := served(a, versions...)
		if at < newest {
			t.Fatalf("version %d after %d: %v\n%s", at, newest, a, w.tail())
		}
		newest, reads = at, reads+1
	}
	look(w.manifest(t, "team/app", "signed"))
	for n := range kills {
		versions = append(versions, w.mustSay(t, "team/app", "signed", fmt.Sprint("words ", n+1)))
		stored := w.storedTrust(t)
		var reader sync.WaitGroup
		var done atomic.Bool
		reader.Go(func() { // has it refresh
			for !done.Load() {
				_, _ = w.send(request{path: "/v2/team/app/manifests/signed"})
			}
		})
		w.mustSign(t, "team/app", "signed", versions[n+1])
		for end := time.Now().Add(30 * time.Second); w.storedTrust(t) == stored && time.Now().Before(end); {
			time.Sleep(100 * time.Microsecond)
		}
		time.Sleep(time.Duration(rand.Int64N(int64(5 * time.Millisecond))))
		w.crash()
		done.Store(true)
		reader.Wait()
		w.restart(t, true, nil)
		look(w.manifest(t, "team/app", "signed"))
	}
	eventually(t, 20*time.Second, func() error {
		look(w.manifest(t, "team/app", "signed"))
		if newest != kills {
			return fmt.Errorf("version %d of %d", newest, kills)
		}
		return nil
	})
	if alarms := w.alarms(); alarms != nil {
		t.Errorf("%s", alarms)
	}
	measured(t, kills, reads)
}

// storedTrust is how many files there are of trust state.
func (g *gate) storedTrust(t *testing.T) (n int) {
	t.Helper()
	_ = filepath.WalkDir(filepath.Join(filepath.Dir(g.config), "store", "sealgate", "trust"), func(string, os.DirEntry, error) error {
		n++ // one that goes meanwhile counts or does not
		return nil
	})
	return n
}
