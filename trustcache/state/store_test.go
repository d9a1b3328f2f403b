package state_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/distribution/distribution/v3/registry/storage/driver/filesystem"
	"github.com/sealgate/sealgate/trustcache/state"
)

func onDisk(directory string) driver.StorageDriver {
	return filesystem.New(filesystem.DriverParameters{RootDirectory: directory, MaxThreads: 100})
}

// TestWhatIsSavedIsLoaded after a restart, on each driver, and replaces what
// was there.
func TestWhatIsSavedIsLoaded(t *testing.T) {
	for name, d := range each(t) {
		t.Run(name, func(t *testing.T) {
			if got := load(t, open(d)); got != nil {
				t.Fatalf("never seen, and there is %+v", got)
			}
			first := at("timestamp", 7, "targets/releases", 3)
			first.Anchor = []byte("where the root descends from")
			save(t, open(d), first)
			if got := load(t, open(d)); !reflect.DeepEqual(got, first) {
				t.Errorf("loaded %+v, saved %+v", got, first)
			}
			second := raised(first, "timestamp", 8)
			save(t, open(d), second)
			if got := load(t, open(d)); !reflect.DeepEqual(got, second) {
				t.Errorf("loaded %+v, saved %+v", got, second)
			}
			wantObjects(t, d, 1, "-known")
			if got, err := open(d).Load(t.Context(), "registry.example.com/acme/else"); got != nil || err != nil {
				t.Errorf("another repository has %+v, %v", got, err)
			}
		})
	}
}

func TestSaveStoresNothingOverWhatAnotherStored(t *testing.T) {
	d := emptyDriver(t)
	a, b := open(d), open(d)
	save(t, a, at("timestamp", 1))
	one := load(t, b)
	save(t, a, raised(one, "timestamp", 2))
	before := objects(t, d, setsTop, indexTop)
	wantConflict(t, b.Save(t.Context(), testGUN, one, raised(one, "targets", 9)))
	wantConflict(t, b.Save(t.Context(), testGUN, one, one)) // though nothing changes
	wantConflict(t, b.Save(t.Context(), testGUN, nil, one))
	if !maps.Equal(before, objects(t, d, setsTop, indexTop)) {
		t.Error("a conflict has changed what is stored")
	}
}

func TestNothingIsWrittenWhereNothingChanges(t *testing.T) {
	d := emptyDriver(t)
	save(t, open(d), at("timestamp", 1))
	s := open(&watched{StorageDriver: d, do: func(_ int, operation, _ string) error {
		if operation == "put" || operation == "delete" {
			return errUndone
		}
		return nil
	}})
	same := at("timestamp", 1)
	same.Floors["timestamp"][0].Signers = []string{"k", "k"} // says the same
	same.Anchor = same.Root
	must(t, s.Save(t.Context(), testGUN, load(t, s), same))
}

// TestWhatIsUnchangedIsNotReadAgain: names are listed, since another replica
// may have written; what they stand for is in memory, as far as its bound goes.
func TestWhatIsUnchangedIsNotReadAgain(t *testing.T) {
	d := emptyDriver(t)
	save(t, open(d), at("timestamp", 1))
	for _, bound := range []int64{0, 1} {
		reads := 0
		s := state.New(state.Options{MaxMemory: bound, Driver: &watched{StorageDriver: d, do: func(_ int, operation, _ string) error {
			if operation == "get" {
				reads++
			}
			return nil
		}}})
		for range 5 {
			load(t, s)
		}
		if want := map[int64]int{0: 1, 1: 5}[bound]; reads != want {
			t.Errorf("within %d bytes read %d times, expected %d", bound, reads, want)
		}
	}
}

// TestAFloorIsLostOnlyToWhoeverKnewIt: a rotation of keys drops it.
func TestAFloorIsLostOnlyToWhoeverKnewIt(t *testing.T) {
	d := emptyDriver(t)
	before := at("targets", 1<<30)
	save(t, open(d), before)
	rotated := at("targets", 1)
	rotated.Floors["targets"][0].Signers = []string{"another"}
	save(t, open(d), rotated)
	if got := load(t, open(d)); !reflect.DeepEqual(got, rotated) {
		t.Errorf("loaded %+v, saved %+v", got, rotated)
	}
}

func TestSaveRefusesWhatNoVerifierMayAskFor(t *testing.T) {
	d := emptyDriver(t)
	save(t, open(d), at("timestamp", 5))
	lowerRoot := at("timestamp", 6)
	lowerRoot.Floors["root"] = []state.Floor{floor("root", 0, "another")}
	forked := at("timestamp", 6)
	forked.Floors["root"] = append(forked.Floors["root"], floor("another root", 1, "r"))
	forked.Floors["root"][1].Version = 1
	rootless := at("timestamp", 6)
	rootless.Root = nil
	huge := at("timestamp", 6)
	huge.Root = make([]byte, 13<<20)
	for want, next := range map[string]*state.State{
		`the floor of "timestamp" would go back from version 5 to 4`: at("timestamp", 4),
		"the root would go back from version 1 to 0":                 lowerRoot,
		"two different roots of version 1":                           forked,
		"no root":                                                    rootless,
		"no root with its version":                                   {Root: []byte("r")},
		`"targets/\xff" is not UTF-8`:                                at("timestamp", 6, "targets/\xff", 1),
		"bytes where":                                                huge,
	} {
		s := open(d)
		err := s.Save(t.Context(), testGUN, load(t, s), next)
		if err == nil || errors.Is(err, state.ErrConflict) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v where %q was expected", err, want)
		}
	}
	if got := newest(load(t, open(d)), "timestamp"); got != 5 {
		t.Errorf("the floor is %d", got)
	}
}

func TestForgetBeginsANewEpoch(t *testing.T) {
	d := emptyDriver(t)
	here, replica := open(d), open(d)
	save(t, here, at("timestamp", 5))
	before := load(t, replica)
	must(t, here.Forget(t.Context(), testGUN))
	wantObjects(t, d, 0, "-known", "1-forgotten")
	wantConflict(t, replica.Save(t.Context(), testGUN, before, raised(before, "timestamp", 6)))
	for _, s := range []*state.Store{here, replica, open(d)} {
		if got := load(t, s); !reflect.DeepEqual(got, &state.State{Epoch: 1}) {
			t.Errorf("forgotten, and there is %+v", got)
		}
	}
	save(t, replica, at("timestamp", 1)) // a first use: lower versions
	if got := load(t, here); got.Epoch != 1 || newest(got, "timestamp") != 1 {
		t.Errorf("loaded %+v", got)
	}
	wantObjects(t, d, 1, "-known", "1-forgotten", "1-known")
}

// TestForgetOfNothing is a new epoch as well: what was unknown before it may
// have been looked at before it.
func TestForgetOfNothing(t *testing.T) {
	d := emptyDriver(t)
	s := open(d)
	for epoch := range uint64(3) {
		before := load(t, s)
		must(t, s.Forget(t.Context(), testGUN))
		wantConflict(t, s.Save(t.Context(), testGUN, before, at("timestamp", 1)))
		if got := load(t, open(d)); got == nil || got.Epoch != epoch+1 || got.Root != nil {
			t.Errorf("loaded %+v", got)
		}
	}
}

// TestTwoRootsOfOneVersion, both verified, stored by two that wrote at once:
// nobody here can say which is right.
func TestTwoRootsOfOneVersion(t *testing.T) {
	other := at("timestamp", 1)
	other.Root = []byte("another root")
	other.Floors["root"][0].Payload[0]++
	d := twice(t, at("timestamp", 1), other)
	wantDamaged(t, open(d))
	must(t, open(d).Forget(t.Context(), testGUN))
	save(t, open(d), other)
}

// twice is a driver on which two processes saved at the same moment.
func twice(tb testing.TB, a, b *state.State) driver.StorageDriver {
	tb.Helper()
	d, e := emptyDriver(tb), emptyDriver(tb)
	save(tb, open(d), a)
	save(tb, open(e), b)
	put(tb, d, objects(tb, e, setsTop))
	return d
}

// TestTwoSetsAreRead as what they say together, and become one.
func TestTwoSetsAreRead(t *testing.T) {
	a, b := at("timestamp", 5, "targets", 1), at("timestamp", 4, "targets", 2, "targets/releases", 1)
	b.Root, b.Anchor = []byte("the root, signed once more"), []byte("anchor")
	b.Floors["timestamp"] = append(b.Floors["timestamp"], floor("timestamp", 3, "k", "l"))
	want := at("timestamp", 5, "targets", 2, "targets/releases", 1)
	want.Root, want.Anchor = b.Root, b.Anchor
	want.Floors["timestamp"] = append(want.Floors["timestamp"], floor("timestamp", 3, "k", "l"))
	d := twice(t, a, b)
	got := load(t, open(d))
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("loaded %+v, expected %+v", got, want)
	}
	wantObjects(t, d, 2, "-known")
	wantConflict(t, open(d).Save(t.Context(), testGUN, a, a))
	save(t, open(d), want)
	wantObjects(t, d, 1, "-known")
	if got := load(t, open(d)); !reflect.DeepEqual(got, want) {
		t.Errorf("loaded %+v, expected %+v", got, want)
	}
}

// TestAnErrorOfTheDriver is never taken for absence.
func TestAnErrorOfTheDriver(t *testing.T) {
	broken := errors.New("input/output error")
	for _, operation := range []string{"list", "stat", "get", "put"} {
		d := saved(t, at("timestamp", 1))
		s := open(&watched{StorageDriver: d, do: func(_ int, is, _ string) error {
			if is == operation {
				return broken
			}
			return nil
		}})
		_, err := s.Load(t.Context(), testGUN)
		if operation != "put" && !errors.Is(err, broken) {
			t.Errorf("%s: Load: %v", operation, err)
		}
		err = s.Save(t.Context(), testGUN, at("timestamp", 1), at("timestamp", 2))
		if !errors.Is(err, broken) || errors.Is(err, state.ErrConflict) {
			t.Errorf("%s: Save: %v", operation, err)
		}
		err = s.Forget(t.Context(), testGUN)
		if (operation == "list" || operation == "put") && !errors.Is(err, broken) {
			t.Errorf("%s: Forget: %v", operation, err)
		}
		_, err = s.Empty(t.Context())
		if operation == "list" && !errors.Is(err, broken) {
			t.Errorf("%s: Empty: %v", operation, err)
		}
	}
}

func TestEmpty(t *testing.T) {
	d := onDisk(t.TempDir())
	is := func(want bool) {
		t.Helper()
		if got, err := open(d).Empty(t.Context()); got != want || err != nil {
			t.Errorf("%v, %v", got, err)
		}
	}
	is(true)
	must(t, open(d).Check(t.Context()))
	is(true)
	save(t, open(d), at("timestamp", 1))
	is(false)
	must(t, open(d).Forget(t.Context(), testGUN))
	is(false)
}

func TestCheckSaysWhatFails(t *testing.T) {
	broken := errors.New("no space left on device")
	for operation, want := range map[string]string{"put": "write", "get": "read", "list": "list", "delete": "delete"} {
		s := open(&watched{StorageDriver: emptyDriver(t), do: func(_ int, is, _ string) error {
			if is == operation {
				return broken
			}
			return nil
		}})
		if err := s.Check(t.Context()); !errors.Is(err, broken) || !strings.Contains(err.Error(), want+" /sealgate/trust/probes/") {
			t.Errorf("%s: %v", operation, err)
		}
	}
	must(t, open(emptyDriver(t)).Check(t.Context()))
}

// TestFilesThatWereNeverObjects: a process that is killed while it writes leaves
// one, and it goes when surely nobody writes it any more.
func TestFilesThatWereNeverObjects(t *testing.T) {
	directory := t.TempDir()
	d := onDisk(directory)
	save(t, open(d), at("timestamp", 1))
	set := slices.Sorted(maps.Keys(objects(t, d, setsTop)))[0]
	left := filepath.Join(directory, set+".0b1c.tmp")
	must(t, os.WriteFile(left, []byte("half of"), 0o600))
	save(t, open(d), at("timestamp", 2))
	if _, err := os.Stat(left); err != nil {
		t.Errorf("it may be being written: %v", err)
	}
	later := state.New(state.Options{Driver: d, Now: func() time.Time { return time.Now().Add(2 * time.Hour) }})
	save(t, later, at("timestamp", 3))
	if _, err := os.Stat(left); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("nobody writes it any more: %v", err)
	}
	wantObjects(t, d, 1, "-known")
}

// TestWhatCannotBeDeleted does no harm and does not grow without changes.
func TestWhatCannotBeDeleted(t *testing.T) {
	d := emptyDriver(t)
	s := open(&watched{StorageDriver: d, do: func(_ int, operation, _ string) error {
		if operation == "delete" {
			return errors.New("permission denied")
		}
		return nil
	}})
	for range 3 {
		save(t, s, at("timestamp", 1))
	}
	for range 3 {
		save(t, s, at("timestamp", 2))
	}
	wantObjects(t, d, 2, "-known")
	save(t, open(d), at("timestamp", 2))
	wantObjects(t, d, 1, "-known")
}

// TestARunningProcessNoticesThatAllIsGone, index included: no second first use.
func TestARunningProcessNoticesThatAllIsGone(t *testing.T) {
	d := emptyDriver(t)
	s := open(d)
	save(t, s, at("timestamp", 1))
	must(t, d.Delete(context.Background(), "/sealgate"))
	wantDamaged(t, s)
	must(t, s.Forget(t.Context(), testGUN))
	must(t, d.Delete(context.Background(), "/sealgate"))
	wantDamaged(t, s)
	must(t, s.Forget(t.Context(), testGUN))
	if got := load(t, s); got.Epoch != 2 || got.Root != nil {
		t.Errorf("loaded %+v", got)
	}
	must(t, d.Delete(context.Background(), "/sealgate"))
	wantDamaged(t, s)
}

// TestEachSetIsNumberedAboveThoseItReplaces, also where it says what an older
// one said: otherwise two processes could each delete the set of the other.
func TestEachSetIsNumberedAboveThoseItReplaces(t *testing.T) {
	d := emptyDriver(t)
	one, other := at("targets", 1), at("targets", 1)
	other.Floors["targets"][0].Signers = []string{"another"}
	for i, next := range []*state.State{one, other, one, other} {
		save(t, open(d), next)
		for set := range objects(t, d, setsTop) {
			if !strings.Contains(set, fmt.Sprintf("/%016x-%016x-", 0, i+1)) {
				t.Errorf("after %d saves there is %s", i+1, set)
			}
		}
	}
}

// TestSaveOfOneStore is whole: those of one process wait for each other, and
// nothing is written that is not accepted.
func TestSaveOfOneStore(t *testing.T) {
	var written atomic.Int32
	s := open(&watched{StorageDriver: emptyDriver(t), do: func(_ int, operation, path string) error {
		if operation == "put" && strings.HasPrefix(path, setsTop) {
			written.Add(1)
		}
		runtime.Gosched()
		return nil
	}})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if err := climb(s, "timestamp", 20, func(int) {}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if written.Load() != 80 || newest(load(t, s), "timestamp") != 80 {
		t.Errorf("80 were accepted, %d written", written.Load())
	}
}

// TestAnUnchangedRefreshCostsFourLists and no more, however much is stored: with
// a bucket each is a request.
func TestAnUnchangedRefreshCostsFourLists(t *testing.T) {
	asked := map[string]int{}
	s := open(&watched{StorageDriver: saved(t, at("timestamp", 1)), do: func(_ int, operation, _ string) error {
		asked[operation]++
		return nil
	}})
	load(t, s) // reads what the process has not seen
	clear(asked)
	st := load(t, s)
	must(t, s.Save(t.Context(), testGUN, st, st))
	if want := map[string]int{"list": 4}; !maps.Equal(asked, want) {
		t.Errorf("asked %v, expected %v", asked, want)
	}
	clear(asked)
	st = load(t, s)
	must(t, s.Save(t.Context(), testGUN, st, raised(st, "timestamp", 2)))
	if want := map[string]int{"list": 6, "put": 1, "delete": 1}; !maps.Equal(asked, want) {
		t.Errorf("with something new asked %v, expected %v", asked, want)
	}
}
