package state_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/sealgate/sealgate/trustcache/state"
)

// crashes are what a process may be killed in. Each begins on what prepare
// returns.
var crashes = []struct {
	name    string
	prepare func(testing.TB) driver.StorageDriver
	act     func(context.Context, *state.Store) error
	after   []string // marks once it is done
	left    int      // sets
}{
	{"first save", nothing, raise, []string{"-known"}, 1},
	{"later save", func(tb testing.TB) driver.StorageDriver { return saved(tb, at("timestamp", 5)) }, raise, []string{"-known"}, 1},
	{"save over two sets", func(tb testing.TB) driver.StorageDriver {
		return twice(tb, at("timestamp", 5), at("timestamp", 4, "targets", 9))
	}, raise, []string{"-known"}, 1},
	{"forget", func(tb testing.TB) driver.StorageDriver { return saved(tb, at("timestamp", 5)) }, forget, []string{"-known", "1-forgotten"}, 0},
	{"forget of nothing", nothing, forget, []string{"1-forgotten"}, 0},
	{"first save after forget", func(tb testing.TB) driver.StorageDriver {
		d := saved(tb, at("timestamp", 5))
		leftover := objects(tb, d, setsTop)
		must(tb, open(d).Forget(tb.Context(), testGUN))
		put(tb, d, leftover) // a writer was slower than Forget
		return d
	}, raise, []string{"-known", "1-forgotten", "1-known"}, 1},
}

func nothing(tb testing.TB) driver.StorageDriver { return emptyDriver(tb) }

func saved(tb testing.TB, s *state.State) driver.StorageDriver {
	d := emptyDriver(tb)
	save(tb, open(d), s)
	return d
}

// raise accepts one more timestamp.
func raise(ctx context.Context, s *state.Store) error {
	old, err := s.Load(ctx, testGUN)
	if err != nil {
		return err
	}
	next := at()
	if old != nil && old.Root != nil {
		next = old
	}
	return s.Save(ctx, testGUN, old, raised(next, "timestamp", newest(old, "timestamp")+1))
}

func forget(ctx context.Context, s *state.Store) error { return s.Forget(ctx, testGUN) }

// rank orders what may be loaded: by epoch, then known, then version.
func rank(s *state.State) [3]int {
	if s == nil {
		return [3]int{}
	}
	return [3]int{int(s.Epoch), min(len(s.Root), 1), newest(s, "timestamp")}
}

func less(a, b [3]int) bool {
	for i := range a {
		if a[i] != b[i] {
			return a[i] < b[i]
		}
	}
	return false
}

// TestKilledAtEveryPoint: there is the old state or the new one, no floor is
// lower, nothing known is unknown, and whoever comes next carries on.
func TestKilledAtEveryPoint(t *testing.T) {
	for _, c := range crashes {
		t.Run(c.name, func(t *testing.T) {
			done := c.prepare(t)
			before := load(t, open(done))
			must(t, c.act(t.Context(), open(done)))
			after := load(t, open(done))
			for _, how := range []error{errUndone, errDone, errTorn} {
				points := 0
				for killed := true; killed; {
					points++
					d := c.prepare(t)
					dies := dying(d, points, how)
					err := c.act(t.Context(), open(dies))
					killed = dies.count >= points
					checkCrash(t, fmt.Sprintf("%v, number %d: ", how, points), d, err, before, after, how)
					if t.Failed() || how == errTorn {
						continue
					}
					must(t, c.act(t.Context(), open(d)))
					must(t, c.act(t.Context(), open(d)))
					if c.left > 0 {
						wantObjects(t, d, c.left, c.after...)
					}
				}
				if points < 4 {
					t.Errorf("only %d points to be killed at", points)
				}
			}
		})
	}
}

func checkCrash(t *testing.T, when string, d driver.StorageDriver, acted error, before, after *state.State, how error) {
	t.Helper()
	got, err := open(d).Load(t.Context(), testGUN)
	if how == errTorn && errors.Is(err, state.ErrDamaged) {
		return // closed, not unknown
	}
	switch {
	case err != nil:
		t.Errorf("%s%v", when, err)
	case acted == nil && rank(got) != rank(after):
		t.Errorf("%sdone, and there is %+v", when, got)
	case rank(got) != rank(before) && rank(got) != rank(after):
		t.Errorf("%sneither old nor new: %+v", when, got)
	case got != nil && got.Epoch == 0 && before != nil && newest(got, "targets") != newest(before, "targets"):
		t.Errorf("%sa floor was lost: %+v", when, got)
	}
}

// TestInterruptedAtEveryPoint by another process that does the whole of what
// it wants to do.
func TestInterruptedAtEveryPoint(t *testing.T) {
	start := func() driver.StorageDriver { return saved(t, at("timestamp", 5, "targets", 1)) }
	every := func(name string, one func(t *testing.T, d driver.StorageDriver, interrupted func(do func()) *state.Store)) {
		t.Run(name, func(t *testing.T) {
			points := 0
			for reached := true; reached; {
				points++
				d := start()
				reached = false
				one(t, d, func(do func()) *state.Store {
					return open(interrupted(d, points, func() { reached = true; do() }))
				})
				if t.Failed() {
					t.Fatalf("at point %d", points)
				}
			}
			if points < 4 {
				t.Errorf("only %d points", points)
			}
		})
	}
	other := func(d driver.StorageDriver) func() {
		return func() {
			old := load(t, open(d))
			must(t, open(d).Save(t.Context(), testGUN, old, raised(old, "targets", 2)))
		}
	}
	every("load by a save", func(t *testing.T, d driver.StorageDriver, by func(func()) *state.Store) {
		got := load(t, by(other(d)))
		if newest(got, "timestamp") != 5 || newest(got, "targets") < 1 {
			t.Errorf("loaded %+v", got)
		}
	})
	every("load by a forget", func(t *testing.T, d driver.StorageDriver, by func(func()) *state.Store) {
		got := load(t, by(func() { must(t, forget(t.Context(), open(d))) }))
		if rank(got) != [3]int{0, 1, 5} && rank(got) != [3]int{1, 0, 0} {
			t.Errorf("loaded %+v", got)
		}
	})
	every("save by a save", func(t *testing.T, d driver.StorageDriver, by func(func()) *state.Store) {
		old, first := load(t, open(d)), false
		s := by(func() {
			first = newest(load(t, open(d)), "timestamp") == 5
			other(d)()
		})
		err := s.Save(t.Context(), testGUN, old, raised(old, "timestamp", 6))
		if err == nil && first {
			t.Error("saved although another had saved before")
		}
		if err != nil {
			wantConflict(t, err)
			must(t, raise(t.Context(), open(d)))
		}
		if got := load(t, open(d)); newest(got, "timestamp") < 6 {
			t.Errorf("saved without an error, and there is %+v", got)
		}
	})
	every("save by a save that it lets live", func(t *testing.T, d driver.StorageDriver, by func(func()) *state.Store) {
		old, interrupted := load(t, open(d)), false
		must(t, ignoreConflict(by(func() { interrupted = true; other(d)() }).Save(t.Context(), testGUN, old, raised(old, "timestamp", 6))))
		if got := load(t, open(d)); interrupted && newest(got, "targets") != 2 {
			t.Errorf("what the other saved is gone: %+v", got)
		}
	})
	every("save by a forget", func(t *testing.T, d driver.StorageDriver, by func(func()) *state.Store) {
		old, stored := load(t, open(d)), false
		forgotten := false
		s := by(func() {
			forgotten = true
			stored = newest(load(t, open(d)), "timestamp") == 6
			must(t, forget(t.Context(), open(d)))
		})
		err := s.Save(t.Context(), testGUN, old, raised(old, "timestamp", 6))
		if !forgotten {
			must(t, err)
			return
		}
		if got := load(t, open(d)); rank(got) != [3]int{1, 0, 0} {
			t.Errorf("forgotten, and there is %+v", got)
		}
		must(t, ignoreConflict(err))
		if err == nil && !stored {
			t.Error("saved after it was forgotten")
		}
		must(t, raise(t.Context(), open(d)))
		wantObjects(t, d, 1, "-known", "1-forgotten", "1-known")
	})
}

func ignoreConflict(err error) error {
	if errors.Is(err, state.ErrConflict) {
		return nil
	}
	return err
}
