package state_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/sealgate/sealgate/trustcache/state"
)

// climb raises the timestamp n times, or a role of its own, and returns the
// last version accepted. What it loads never goes back.
func climb(s *state.Store, role string, n int, accepted func(version int)) error {
	ctx, last := context.Background(), [3]int{}
	for done := 0; done < n; {
		old, err := s.Load(ctx, testGUN)
		if err != nil {
			return err
		}
		if less(rank(old), last) {
			return fmt.Errorf("went back from %v to %v", last, rank(old))
		}
		last = rank(old)
		next := at()
		if old != nil && old.Root != nil {
			next = old
		}
		version := newest(old, role) + 1
		switch err := s.Save(ctx, testGUN, old, raised(next, role, version)); {
		case errors.Is(err, state.ErrConflict):
			continue
		case err != nil:
			return err
		}
		accepted(version)
		done++
	}
	return nil
}

// TestWritersRace: several stores on one driver, as processes are, each with
// several goroutines. The end is the highest that anybody accepted.
func TestWritersRace(t *testing.T) {
	for name, d := range each(t) {
		t.Run(name, func(t *testing.T) {
			var wg sync.WaitGroup
			var mu sync.Mutex
			highest := map[string]int{}
			for i := range 3 {
				s := open(d)
				for _, role := range []string{"timestamp", fmt.Sprintf("targets/%d", i)} {
					wg.Go(func() {
						err := climb(s, role, 20, func(version int) {
							mu.Lock()
							defer mu.Unlock()
							highest[role] = max(highest[role], version)
						})
						if err != nil {
							t.Error(err)
						}
					})
				}
			}
			wg.Wait()
			got := load(t, open(d))
			for role, version := range highest {
				if newest(got, role) != version {
					t.Errorf("%s is at %d, accepted was %d", role, newest(got, role), version)
				}
			}
			save(t, open(d), got)
			wantObjects(t, d, 1, "-known")
		})
	}
}

// TestForgetRaces with those who save: what was forgotten does not come back,
// and every epoch begins with nothing.
func TestForgetRaces(t *testing.T) {
	d := emptyDriver(t)
	var wg sync.WaitGroup
	for range 3 {
		s := open(d)
		wg.Go(func() {
			if err := climb(s, "timestamp", 50, func(int) {}); err != nil {
				t.Error(err)
			}
		})
	}
	s := open(d)
	for epoch := 1; epoch <= 20; epoch++ {
		must(t, s.Forget(t.Context(), testGUN))
		if got := load(t, s); int(got.Epoch) != epoch {
			t.Fatalf("%d times forgotten, and there is %+v", epoch, got)
		}
	}
	wg.Wait()
	save(t, open(d), at("timestamp", 1000))
	if got := objects(t, d, setsTop); len(got) != 1 {
		t.Errorf("%d sets are left", len(got))
	}
}
