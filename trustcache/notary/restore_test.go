package notary_test

import (
	"errors"
	"io/fs"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/sealgate/sealgate/trustcache"
	"github.com/sealgate/sealgate/trustcache/notary"
)

// files are kept in memory, and what is done to them is counted.
type files struct {
	mu   sync.Mutex
	kept map[string][]byte // of testGUN
	puts int
	fail error
}

func newFiles() *files { return &files{kept: map[string][]byte{}} }

func (f *files) PutFile(_, name string, raw []byte) (added bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fail != nil {
		return false, f.fail
	}
	_, known := f.kept[name]
	f.kept[name] = slices.Clone(raw)
	f.puts++
	return !known, nil
}

func (f *files) DropFiles(_ string, names []string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, name := range names {
		delete(f.kept, name)
	}
	return nil
}

func (f *files) File(_, name string, limit int64) ([]byte, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	raw, ok := f.kept[name]
	switch {
	case !ok:
		return nil, fs.ErrNotExist
	case int64(len(raw)) > limit:
		return nil, errors.New("too large")
	}
	return raw, nil
}

func (f *files) KeepFiles(_ string, names []string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	maps.DeleteFunc(f.kept, func(name string, _ []byte) bool { return !slices.Contains(names, name) })
	return nil
}

func (f *files) since() int {
	n := f.puts
	f.puts = 0
	return n
}

func keeping(f *files) func(*notary.Options) { return func(o *notary.Options) { o.Files = f } }

// lost is a server that nobody reaches.
func lost(string) *reply { return status(500, "") }

func TestASnapshotIsRestoredWithoutTheServer(t *testing.T) {
	w, _ := lyingWorld(t)
	kept, on := newStore(), newFiles()
	was := w.verified(w.source(keptIn(kept), keeping(on)), nil)
	at := w.Now()
	w.Pass(time.Hour)
	w.Answer = lost
	w.Asked()
	s := w.source(keptIn(kept), keeping(on))
	snap, contact, err := s.Restore(t.Context(), w.GUN)
	must(t, err)
	if asked := w.Asked(); len(asked) != 0 {
		t.Errorf("asked for %v", asked)
	}
	if !contact.Equal(at) || snap.Len() != was.Len() || len(snap.Hidden()) != len(was.Hidden()) || len(snap.Evidence()) != len(was.Evidence()) {
		t.Errorf("contact %s, %d tags, %d roles", contact, snap.Len(), len(snap.Evidence()))
	}
	for i := range was.Len() {
		before := was.At(i)
		if after := snap.At(i); after.Tag != before.Tag || after.Digest != before.Digest || !slices.Equal(after.Signers, before.Signers) {
			t.Errorf("%+v became %+v", before, after)
		}
	}
	expires, role := was.Expires()
	if e, r := snap.Expires(); !e.Equal(expires) || r != role {
		t.Errorf("expires at %s by %s", e, r)
	}

	// The first answer after it finds nothing new, and looks for a next root.
	w.Honest()
	w.verified(s, snap)
	if asked := w.Asked(); !slices.Equal(asked, []string{"2.root.json", "timestamp.json"}) {
		t.Errorf("asked for %v", asked)
	}
}

func TestNothingIsRestoredOfARepositoryThatIsNotKnown(t *testing.T) {
	w, _ := lyingWorld(t)
	kept, on := newStore(), newFiles()
	w.verified(w.source(keptIn(kept), keeping(on)), nil)
	for name, s := range map[string]*notary.Source{
		"nothing is kept":        w.source(keptIn(kept)),
		"a state without files":  w.source(keptIn(kept), keeping(newFiles())),
		"nothing was ever there": w.source(keptIn(newStore()), keeping(newFiles())),
	} {
		if snap, _, err := s.Restore(t.Context(), w.GUN); snap != nil || !errors.Is(err, trustcache.ErrNoTrustData) {
			t.Errorf("%s: %v", name, err)
		}
	}
	s := w.source(keptIn(kept), keeping(on))
	forget(t, s, w.GUN)
	if snap, _, err := s.Restore(t.Context(), w.GUN); snap != nil || !errors.Is(err, trustcache.ErrNoTrustData) {
		t.Errorf("forgotten: %v", err)
	}
}

// TestDamagedFilesRestoreNothing, or what they held: every byte flipped, every
// file cut short or lost. A download makes up for it.
func TestDamagedFilesRestoreNothing(t *testing.T) {
	w, _ := lyingWorld(t)
	kept, on := newStore(), newFiles()
	was := w.verified(w.source(keptIn(kept), keeping(on)), nil)
	try := func(name string, raw []byte) {
		t.Helper()
		damaged := newFiles()
		maps.Copy(damaged.kept, on.kept)
		if raw == nil {
			delete(damaged.kept, name)
		} else {
			damaged.kept[name] = raw
		}
		s := w.source(keptIn(kept), keeping(damaged))
		snap, _, err := s.Restore(t.Context(), w.GUN)
		if err == nil { // a role that only names signers
			for i := range was.Len() {
				if got, ok := snap.Lookup(was.At(i).Tag); !ok || got.Digest != was.At(i).Digest {
					t.Fatalf("%s: %q is %v", name, was.At(i).Tag, got)
				}
			}
		} else if trustcache.Absent(err) && name != "timestamp" {
			t.Fatalf("%s: reported as absent: %v", name, err)
		}
		wantDigest(t, w.verified(s, snap), "latest", 1)
	}
	for name, raw := range on.kept {
		try(name, nil)
		try(name, []byte{})
		step := max(len(raw)/40, 1)
		for i := 0; i < len(raw); i += step {
			flipped := slices.Clone(raw)
			flipped[i] ^= 1
			try(name, flipped)
			try(name, raw[:i])
		}
	}
}

// TestOlderFilesAreNotRestored: what somebody puts back is below the floors.
func TestOlderFilesAreNotRestored(t *testing.T) {
	w, _ := lyingWorld(t)
	kept, on := newStore(), newFiles()
	s := w.source(keptIn(kept), keeping(on))
	snap := w.verified(s, nil)
	old := maps.Clone(on.kept)
	w.Sign(releases, "latest", 2)
	w.Publish()
	w.verified(s, snap)
	maps.Copy(on.kept, old)
	restored, _, err := w.source(keptIn(kept), keeping(on)).Restore(t.Context(), w.GUN)
	wantClass(t, err, trustcache.ErrMalicious)
	if restored != nil {
		t.Error("restored")
	}
	if state := kept.state(t); state.Floors[releases][0].Version != w.Version[releases] {
		t.Error("the floors went back")
	}
}

func TestWhatWasKeptIsJudgedByThePinsAndThePolicyOfToday(t *testing.T) {
	w, _ := lyingWorld(t)
	kept, on := newStore(), newFiles()
	w.verified(w.source(keptIn(kept), keeping(on)), nil)
	w.Answer = lost
	for name, pin := range map[string]func(*notary.Options){
		"other pins": pinned("ff"), "no pins": func(o *notary.Options) { o.Pins = nil },
	} {
		if _, _, err := w.source(keptIn(kept), keeping(on), pin).Restore(t.Context(), w.GUN); err == nil {
			t.Errorf("%s: restored", name)
		}
	}
	snap, _, err := w.source(keptIn(kept), keeping(on), under(notary.Policy{Roles: []string{"targets"}})).Restore(t.Context(), w.GUN)
	must(t, err)
	wantDigest(t, snap, "latest", 8)
}

func TestWhatHasExpiredIsRestoredOnlyWhereThatIsAllowed(t *testing.T) {
	for _, role := range []string{"timestamp", "snapshot", "targets", releases, "root"} {
		t.Run(role, func(t *testing.T) {
			w, _ := lyingWorld(t)
			w.Expires[role] = w.Now().Add(time.Hour)
			if role == "root" {
				w.PublishRoot()
			}
			w.Publish()
			kept, on := newStore(), newFiles()
			w.verified(w.source(keptIn(kept), keeping(on)), nil)
			w.Pass(2 * time.Hour)
			w.Answer = lost
			_, _, err := w.source(keptIn(kept), keeping(on)).Restore(t.Context(), w.GUN)
			wantClass(t, err, trustcache.ErrExpired)
			lenient := w.source(keptIn(kept), keeping(on), func(o *notary.Options) { o.AllowExpired = true })
			snap, _, err := lenient.Restore(t.Context(), w.GUN)
			must(t, err)
			wantDigest(t, snap, "latest", 1)
			w.Honest()
			_, err = w.fetch(lenient, snap)
			wantClass(t, err, trustcache.ErrExpired) // what is fetched may not be expired
		})
	}
}

// TestHowOftenFilesAreWritten: not at every refresh that finds nothing new.
func TestHowOftenFilesAreWritten(t *testing.T) {
	w, old := lyingWorld(t)
	kept, on := newStore(), newFiles()
	s := w.source(keptIn(kept), keeping(on))
	snap := w.verified(s, nil)
	if n := on.since(); n != 5 || len(on.kept) != 5 { // three roles, snapshot, timestamp
		t.Errorf("%d files written, %d kept", n, len(on.kept))
	}
	for range 9 {
		w.Pass(time.Minute)
		snap = w.verified(s, snap)
	}
	if n := on.since(); n != 0 {
		t.Errorf("%d files written in nine minutes without news", n)
	}
	w.Pass(time.Minute)
	snap = w.verified(s, snap)
	if n := on.since(); n != 1 {
		t.Errorf("%d files written after ten minutes", n)
	}
	w.PublishTimestamp()
	snap = w.verified(s, snap)
	if n := on.since(); n != 1 {
		t.Errorf("%d files written for a new timestamp", n)
	}
	w.Sign(releases, "latest", 2)
	w.PublishRoles(releases)
	w.PublishSnapshot()
	w.PublishTimestamp()
	snap = w.verified(s, snap)
	if n := on.since(); n != 3 || len(on.kept) != 5 {
		t.Errorf("%d files written for a new role, %d kept", n, len(on.kept))
	}
	w.Serve["timestamp.json"] = old["timestamp"]
	_, err := w.fetch(s, snap)
	wantClass(t, err, trustcache.ErrMalicious)
	if n := on.since(); n != 0 {
		t.Errorf("%d files written by an update that failed", n)
	}
}

// TestWhatCannotBeKeptIsServedAllTheSame, and told: it is worth no more than a
// download.
func TestWhatCannotBeKeptIsServedAllTheSame(t *testing.T) {
	w, _ := lyingWorld(t)
	kept, on := newStore(), newFiles()
	var told []error
	s := w.source(keptIn(kept), keeping(on), func(o *notary.Options) {
		o.OnUnkept = func(gun string, err error) { told = append(told, err) }
	})
	snap := w.verified(s, nil)
	on.fail = errors.New("read-only file system")
	w.Sign(releases, "latest", 2)
	w.Publish()
	snap = w.verified(s, snap)
	wantDigest(t, snap, "latest", 2)
	if len(told) == 0 || !errors.Is(told[0], on.fail) {
		t.Errorf("told %v", told)
	}
	w.Pass(24 * time.Hour)
	snap = w.verified(s, snap)
	on.fail = nil
	w.verified(s, snap) // tries again
	if _, _, err := w.source(keptIn(kept), keeping(on)).Restore(t.Context(), w.GUN); err != nil && !errors.Is(err, trustcache.ErrStore) {
		t.Errorf("restore: %v", err)
	}
}

// TestAnUpdateThatFailsLeavesNoFile: a server that holds the keys of snapshot
// and timestamp cannot fill the disk with what nothing comes of.
func TestAnUpdateThatFailsLeavesNoFile(t *testing.T) {
	for _, known := range []bool{false, true} {
		w, _ := lyingWorld(t)
		kept, on := newStore(), newFiles()
		s := w.source(keptIn(kept), keeping(on))
		var snap *trustcache.Snapshot
		if known {
			snap = w.verified(s, nil)
		}
		before := slices.Sorted(maps.Keys(on.kept))
		for range 5 {
			w.Sign("targets", "latest", 5)
			w.Publish()
			w.Answer = func(name string) *reply {
				if name[0] == 't' && name[:8] == "targets/" {
					return status(404, metadataNotFound)
				}
				return nil
			}
			if _, err := w.fetch(s, snap); err == nil {
				t.Fatal("verified")
			}
			w.Answer = nil
		}
		if after := slices.Sorted(maps.Keys(on.kept)); !slices.Equal(before, after) {
			t.Errorf("known %v: %d files before and %d after", known, len(before), len(after))
		}
	}
}

// TestWhatVanishedIsNotRestored: the server's word holds over a restart.
func TestWhatVanishedIsNotRestored(t *testing.T) {
	w, _ := lyingWorld(t)
	kept, on := newStore(), newFiles()
	s := w.source(keptIn(kept), keeping(on))
	snap := w.verified(s, nil)
	w.Answer = func(string) *reply { return status(404, metadataNotFound) }
	_, err := w.fetch(s, snap)
	wantClass(t, err, trustcache.ErrVanished)
	if snap, _, err := w.source(keptIn(kept), keeping(on)).Restore(t.Context(), w.GUN); snap != nil || err == nil {
		t.Errorf("restored: %v", err)
	}
}

// TestKeptFilesWithoutAStateAreALoss, and no first use; what was forgotten is
// none.
func TestKeptFilesWithoutAStateAreALoss(t *testing.T) {
	w, _ := lyingWorld(t)
	kept, on := newStore(), newFiles()
	w.verified(w.source(keptIn(kept), keeping(on), firstUse), nil)
	lost := w.source(keptIn(newStore()), keeping(on), firstUse)
	_, err := w.fetch(lost, nil)
	wantClass(t, err, trustcache.ErrStore)
	forget(t, lost, w.GUN)
	wantDigest(t, w.verified(lost, nil), "latest", 1)
}
