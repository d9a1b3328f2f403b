package state_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/sealgate/sealgate/trustcache/state"
)

// TestDamageOfOneObject, whatever it is: an error or still right, never
// unknown, never lower; and "forget" is a way out.
func TestDamageOfOneObject(t *testing.T) {
	good := saved(t, at("timestamp", 5))
	all := objects(t, good, setsTop, indexTop)
	spoil := func(what string, changed map[string]string) {
		t.Helper()
		d := emptyDriver(t)
		put(t, d, changed)
		got, err := open(d).Load(t.Context(), testGUN)
		if !errors.Is(err, state.ErrDamaged) && (err != nil || newest(got, "timestamp") != 5 || got.Root == nil) {
			t.Errorf("%s: loaded %+v, %v", what, got, err)
		}
		if err == nil {
			must(t, open(d).Save(t.Context(), testGUN, got, raised(got, "timestamp", 6)))
			wantObjects(t, d, 1, "-known")
			return
		}
		if err := open(d).Save(t.Context(), testGUN, nil, at("timestamp", 1)); !errors.Is(err, state.ErrDamaged) {
			t.Errorf("%s: saved over it: %v", what, err)
		}
		must(t, open(d).Forget(t.Context(), testGUN))
		save(t, open(d), at("timestamp", 1))
	}
	for object, content := range all {
		with := func(content string) map[string]string {
			changed := maps.Clone(all)
			changed[object] = content
			return changed
		}
		for i := range len(content) {
			flipped := []byte(content)
			flipped[i] ^= 1 << (i % 8)
			spoil(fmt.Sprintf("%s flipped at %d", object, i), with(string(flipped)))
			spoil(fmt.Sprintf("%s cut at %d", object, i), with(content[:i]))
		}
		spoil(object+" is longer", with(content+content))
		removed := maps.Clone(all)
		delete(removed, object)
		spoil(object+" removed", removed)
	}
	big := maps.Clone(all)
	for object := range objects(t, good, setsTop) {
		big[object] = strings.Repeat("x", 16<<20+1)
	}
	spoil("a set too big to be one", big)
}

// TestWholeDirectoriesAreGone: either of the two is enough to be known.
func TestWholeDirectoriesAreGone(t *testing.T) {
	for _, top := range []string{setsTop, indexTop} {
		d := saved(t, at("timestamp", 5))
		must(t, d.Delete(t.Context(), top))
		if top == setsTop {
			wantDamaged(t, open(d))
			continue
		}
		if got := load(t, open(d)); newest(got, "timestamp") != 5 {
			t.Errorf("loaded %+v", got)
		}
	}
}

// TestBytesThatSaveWouldNotWrite, though they decode and have the right hash.
func TestBytesThatSaveWouldNotWrite(t *testing.T) {
	for _, raw := range objects(t, saved(t, at("timestamp", 5)), setsTop) {
		for _, at := range []string{setPath(0, 1, raw+"\n"), setPath(0, 2, raw), setPath(1, 1, raw), setPath(0, 1, raw)} {
			d := emptyDriver(t)
			content := raw
			if at == setPath(0, 1, raw+"\n") {
				content += "\n"
			}
			put(t, d, map[string]string{at: content})
			if at == setPath(0, 1, raw) {
				load(t, open(d))
			} else {
				wantDamaged(t, open(d))
			}
		}
	}
}

// TestWhatIsTooBigIsNotRead into memory, not even to find out what it is.
func TestWhatIsTooBigIsNotRead(t *testing.T) {
	d := emptyDriver(t)
	put(t, d, map[string]string{setPath(0, 1, ""): strings.Repeat("x", 16<<20+1)})
	wantDamaged(t, open(&watched{StorageDriver: d, do: func(_ int, operation, path string) error {
		if operation == "get" {
			t.Errorf("read %s", path)
		}
		return nil
	}}))
}

// TestEpochsAreNotLost where one mark is: that of an older epoch does not make
// its sets count again. Nor where all are, as long as there is a set.
func TestEpochsAreNotLost(t *testing.T) {
	d := saved(t, at("timestamp", 5))
	must(t, open(d).Forget(t.Context(), testGUN))
	save(t, open(d), at("timestamp", 1))
	for mark := range objects(t, d, indexTop) {
		e := emptyDriver(t)
		put(t, e, objects(t, d, setsTop, indexTop))
		must(t, e.Delete(t.Context(), mark))
		if got := load(t, open(e)); got.Epoch != 1 || newest(got, "timestamp") != 1 {
			t.Errorf("without %s loaded %+v", mark, got)
		}
	}
	e := emptyDriver(t)
	put(t, e, objects(t, d, setsTop))
	for mark, content := range objects(t, d, indexTop) {
		if strings.HasSuffix(mark, "0-known") {
			put(t, e, map[string]string{mark: content})
		}
	}
	if got := load(t, open(e)); got.Epoch != 1 || newest(got, "timestamp") != 1 {
		t.Errorf("without the marks of the epoch loaded %+v", got)
	}
	for set := range objects(t, d, setsTop) {
		must(t, d.Delete(t.Context(), set))
	}
	wantDamaged(t, open(d))
}

// TestObjectsInTheWrongPlace: bytes that are whole, and not those of this name
// or of this repository.
func TestObjectsInTheWrongPlace(t *testing.T) {
	d := saved(t, at("timestamp", 5))
	other := "registry.example.com/acme/else"
	must(t, open(d).Save(t.Context(), other, nil, at("timestamp", 9)))
	sets := slices.Collect(maps.Keys(objects(t, d, setsTop)))
	for i := range sets {
		e := emptyDriver(t)
		put(t, e, objects(t, d, indexTop))
		from, to := sets[i], sets[1-i]
		moved := to[:strings.LastIndex(to, "/")] + from[strings.LastIndex(from, "/"):]
		put(t, e, map[string]string{moved: objects(t, d, setsTop)[from]})
		for _, gun := range []string{testGUN, other} {
			if got, err := open(e).Load(t.Context(), gun); !errors.Is(err, state.ErrDamaged) {
				t.Errorf("loaded %+v, %v", got, err)
			} else if strings.Contains(to, fmt.Sprintf("%x", sha256.Sum256([]byte(gun)))) && !strings.Contains(err.Error(), "it is of ") {
				t.Error(err)
			}
		}
	}
	for _, stray := range []string{"notes", "lost+found", strings.Repeat("f", 16) + "-known"} {
		for _, top := range []string{setsTop, indexTop} {
			e := emptyDriver(t)
			put(t, e, objects(t, d, setsTop, indexTop))
			for object := range objects(t, d, top) {
				put(t, e, map[string]string{object[:strings.LastIndex(object, "/")+1] + strings.ReplaceAll(stray, "+", "-"): ""})
			}
			wantDamaged(t, open(e))
		}
	}
}

// TestNothingStoredIsOfAnotherVersion: a later format is not guessed at.
func TestNothingStoredIsOfAnotherVersion(t *testing.T) {
	d := emptyDriver(t)
	raw := `{"format":2,"gun":"` + testGUN + `"}`
	put(t, d, map[string]string{setPath(0, 1, raw): raw})
	_, err := open(d).Load(context.Background(), testGUN)
	if !errors.Is(err, state.ErrDamaged) || !strings.Contains(err.Error(), "another version of sealgate") {
		t.Error(err)
	}
}
