package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// aheadBy has the program's clock be ahead of the machine's by what a file says.
// It is built into a program of the test's own, since nothing in the one under test
// listens to anything but the machine.
const aheadBy = `package state

import (
	"os"
	"strings"
	"time"
)

func aheadBy() time.Time {
	text, _ := os.ReadFile(os.Getenv("E2E_CLOCK"))
	by, _ := time.ParseDuration(strings.TrimSpace(string(text)))
	return time.Now().Add(by)
}
`

// withAClock is the program under test but for the one line at which the clock of
// trust data asks the machine.
func withAClock(t *testing.T) (program string) {
	t.Helper()
	dir := t.TempDir()
	asks := must(filepath.Abs("../trustcache/state/clock.go"))(t)
	before := string(must(os.ReadFile(asks))(t))
	after := strings.Replace(before, "now = time.Now\n", "now = aheadBy\n", 1)
	if after == before {
		t.Fatal("trustcache/state/clock.go asks the machine in other words")
	}
	replaced := map[string]string{}
	for name, text := range map[string]string{asks: after, filepath.Join(filepath.Dir(asks), "e2e.go"): aheadBy} {
		replaced[name] = filepath.Join(dir, filepath.Base(name))
		if err := os.WriteFile(replaced[name], []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	overlay := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(overlay, must(json.Marshal(map[string]any{"Replace": replaced}))(t), 0o600); err != nil {
		t.Fatal(err)
	}
	program = filepath.Join(dir, "sealgate")
	mustRun(t, goEnvironment(), "go", "build", "-overlay", overlay, "-o", program, "../cmd/sealgate")
	return program
}

// TestTheClockJumps: back is an alarm and no more; ahead ends what ends by then,
// and that stays ended when the clock is set right, until the operator says so.
func TestTheClockJumps(t *testing.T) {
	t.Parallel()
	const back, ahead = -3 * time.Hour, 20 * 24 * time.Hour // a timestamp lasts for 14 days
	w, image := oneSignedTag(t, registryOptions{})
	file := filepath.Join(t.TempDir(), "ahead")
	set := func(by time.Duration) {
		if err := os.WriteFile(file, []byte(by.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	w.mustOpen(t, func(s *settings) {
		s.program, s.env, s.refresh = withAClock(t), []string{"E2E_CLOCK=" + file}, time.Second
	})
	wantServed(t, w.manifest(t, "team/app", "signed"), image)

	set(back)
	reads, marked := 0, false
	eventually(t, 20*time.Second, func() error { // until it has been noticed, and for some refreshes more
		reads++
		a := w.manifest(t, "team/app", "signed")
		wantServed(t, a, image)
		marked = marked || a.header.Get("Warning") != ""
		if len(w.alarms()) == 0 || reads < 50 {
			return fmt.Errorf("alarms: %s", w.alarms())
		}
		return nil
	})
	alarms := len(w.alarms())
	if alarms != 1 || marked || !strings.Contains(w.output(), "the clock has jumped back") {
		t.Errorf("%d alarms, marked as stale: %v\n%s", alarms, marked, w.tail())
	}
	next := w.mustSay(t, "team/app", "next", "words that are signed while the clock is wrong")
	w.mustSign(t, "team/app", "next", next)
	seen := eventually(t, 20*time.Second, func() error { // time goes on, at half the speed
		if a := w.manifest(t, "team/app", "next"); served(a, next) < 0 {
			return fmt.Errorf("%v", a)
		}
		return nil
	})

	ended := func(what string) {
		t.Helper()
		eventually(t, 20*time.Second, func() error {
			a := w.manifest(t, "team/app", "signed")
			if a.status == 200 {
				return fmt.Errorf("%s: %v", what, a)
			}
			wantRefused(t, a, 503, "UNAVAILABLE", "expired")
			return nil
		})
	}
	set(ahead)
	ended("ahead")
	set(0)
	for range 3 {
		ended("set right")
	}
	if len(w.alarms()) <= alarms {
		t.Errorf("that it was ahead is no alarm\n%s", w.tail())
	}
	if code := w.stop(20 * time.Second); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if err := os.Remove(filepath.Join(filepath.Dir(w.config), "state", "clock")); err != nil {
		t.Fatal(err)
	}
	w.restart(t, true, nil)
	again := eventually(t, 20*time.Second, func() error {
		if a := w.manifest(t, "team/app", "signed"); served(a, image) < 0 {
			return fmt.Errorf("%v", a)
		}
		return nil
	})
	measured(t, -back.Hours(), reads, alarms, seen, ahead.Hours()/24, again)
}
