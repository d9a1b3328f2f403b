package state_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sealgate/sealgate/trustcache/state"
)

// machine is a clock that is set by hand, and what it was told.
type machine struct {
	time  time.Time
	jumps []time.Duration
}

func (m *machine) now() time.Time { return m.time }

func (m *machine) pass(d time.Duration) { m.time = m.time.Add(d) }

func (m *machine) open(tb testing.TB, path string) *state.Clock {
	tb.Helper()
	c, err := state.OpenClock(path, m.now, func(back time.Duration) { m.jumps = append(m.jumps, back) })
	must(tb, err)
	return c
}

func (m *machine) wantJumps(tb testing.TB, want ...time.Duration) {
	tb.Helper()
	if !slices.Equal(m.jumps, want) {
		tb.Errorf("told of %v, expected %v", m.jumps, want)
	}
	m.jumps = nil
}

func noon() *machine { return &machine{time: time.Date(2026, 3, 1, 12, 0, 0, 5, time.UTC)} }

func wantTime(tb testing.TB, c *state.Clock, want time.Time) {
	tb.Helper()
	if got := c.Now(); !got.Equal(want) {
		tb.Errorf("it is %s, expected %s", got, want)
	}
}

func TestTimeDoesNotGoBack(t *testing.T) {
	m := noon()
	c := m.open(t, filepath.Join(t.TempDir(), "state", "clock"))
	start := m.time
	m.pass(time.Hour)
	wantTime(t, c, m.time)
	m.pass(-10 * time.Minute) // as clocks are set right
	wantTime(t, c, start.Add(time.Hour))
	m.wantJumps(t)
	m.pass(-2 * time.Minute)
	wantTime(t, c, start.Add(time.Hour))
	m.wantJumps(t, 12*time.Minute)
	m.pass(2 * time.Minute)
	wantTime(t, c, start.Add(61*time.Minute)) // at half the speed
	m.wantJumps(t)
	m.pass(-30 * time.Minute) // another one
	wantTime(t, c, start.Add(61*time.Minute))
	m.wantJumps(t, 41*time.Minute)
	m.pass(82 * time.Minute)
	wantTime(t, c, m.time) // caught up with
	m.pass(time.Second)
	wantTime(t, c, m.time)
	m.pass(-11 * time.Minute)
	c.Now()
	m.wantJumps(t, 11*time.Minute)
}

// TestTimeDoesNotGoBackOverARestart, and a crash forgets no more than since
// the last Save.
func TestTimeDoesNotGoBackOverARestart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "clock")
	m := noon()
	c := m.open(t, path)
	m.pass(time.Hour)
	must(t, c.Save())
	highest := m.time
	m.pass(time.Minute) // never saved
	c.Now()
	m.pass(-24 * time.Hour)
	c = m.open(t, path)
	m.wantJumps(t, 23*time.Hour+59*time.Minute)
	wantTime(t, c, highest)
	must(t, c.Save())
	m.wantJumps(t)
	m.pass(25 * time.Hour)
	wantTime(t, m.open(t, path), m.time)
	m.wantJumps(t)
	info, err := os.Stat(path)
	must(t, err)
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode %o", info.Mode())
	}
	if left, err := os.ReadDir(filepath.Dir(path)); len(left) != 1 {
		t.Errorf("%v, %v are in the directory", left, err)
	}
}

// TestTimeOfTheFarFuture: the way out is the one that is documented.
func TestTimeOfTheFarFuture(t *testing.T) {
	path := filepath.Join(t.TempDir(), "clock")
	m := noon()
	right := m.time
	m.pass(10 * 365 * 24 * time.Hour)
	m.open(t, path)
	m.time = right
	if c := m.open(t, path); !c.Now().After(right.AddDate(9, 0, 0)) {
		t.Errorf("it is %s", c.Now())
	}
	m.wantJumps(t, 10*365*24*time.Hour)
	must(t, os.Remove(path))
	wantTime(t, m.open(t, path), right)
	m.wantJumps(t)
}

func TestADamagedClockIsAnError(t *testing.T) {
	path := filepath.Join(t.TempDir(), "clock")
	noon().open(t, path)
	good, err := os.ReadFile(path)
	must(t, err)
	spoiled := [][]byte{nil, good[:10], append(slices.Clone(good), 'x')}
	for i := range good {
		flipped := slices.Clone(good)
		flipped[i] ^= 1
		spoiled = append(spoiled, flipped)
	}
	for _, raw := range spoiled {
		must(t, os.WriteFile(path, raw, 0o600))
		_, err := state.OpenClock(path, nil, nil)
		if err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "remove the file") {
			t.Errorf("%q: %v", raw, err)
		}
	}
	must(t, os.WriteFile(path, good, 0o600))
	_, err = state.OpenClock(path, nil, nil)
	must(t, err)
}

func TestAClockThatCannotBeStored(t *testing.T) {
	path := filepath.Join(t.TempDir(), "clock")
	must(t, os.WriteFile(path, nil, 0o600))
	if _, err := state.OpenClock(filepath.Join(path, "clock"), nil, nil); err == nil || errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	must(t, os.Remove(path))
	m := noon()
	c := m.open(t, path)
	must(t, os.Remove(path))
	must(t, os.MkdirAll(filepath.Join(path, "in the way"), 0o700))
	if err := c.Save(); err == nil || !strings.Contains(err.Error(), path) {
		t.Error(err)
	}
}

// TestTwoProcessesOfOneMachine: neither lowers what the other saw.
func TestTwoProcessesOfOneMachine(t *testing.T) {
	path := filepath.Join(t.TempDir(), "clock")
	early, late := noon(), noon()
	late.pass(5 * time.Minute)
	a, b := early.open(t, path), late.open(t, path)
	must(t, b.Save())
	must(t, a.Save())
	wantTime(t, a, late.time)
	wantTime(t, early.open(t, path), late.time)
}

// TestTheMachinesOwnClock is what nil means; its monotonic reading, which a
// jump of the time does not show in, is not compared with.
func TestTheMachinesOwnClock(t *testing.T) {
	start := time.Now().Round(0)
	c, err := state.OpenClock(filepath.Join(t.TempDir(), "clock"), nil, nil)
	must(t, err)
	if got := c.Now(); got.Before(start) || got.Sub(start) > time.Minute || strings.Contains(got.String(), "m=") {
		t.Errorf("it is %s", got)
	}
}
