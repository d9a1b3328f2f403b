package trustcachetest

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/sealgate/sealgate/trustcache"
)

// Install makes an empty place for what outlives a source of w, and returns a
// function that starts one there. Each source that it returns is a process anew:
// it has what those before it have kept, and nothing else of theirs.
//
// The source asks w, an http.RoundTripper that stands for https://notary.test,
// and takes w.Now for the time. It pins the canonical ID of the key that root
// has when Install is called, trusts nothing on first use, and goes by Docker's
// rule: a tag in Releases, else in targets.
type Install func(tb testing.TB, w *World) (start func() trustcache.Source)

// TestSource runs every check on a source: what is signed is served, nothing
// else is ever served, each failure is of its class, in a process that remembers
// and after a restart, and once the server is honest again one update suffices.
func TestSource(t *testing.T, install Install) {
	for _, c := range Checks() {
		t.Run(c.Name, func(t *testing.T) { c.Run(t, install) })
	}
}

// A Check is one demand on a source. Run ends tb where the source does not meet
// it.
type Check struct {
	Name string
	Run  func(tb testing.TB, install Install)
}

// Checks are what TestSource runs: the life of an honest repository, and every
// one of Lies in up to three situations.
func Checks() []Check {
	checks := honest()
	for _, l := range Lies() {
		if l.Cold != nil {
			checks = append(checks, Check{l.Name + ", at first sight", l.cold})
		}
		checks = append(checks,
			Check{l.Name + ", of a known repository", l.warm},
			Check{l.Name + ", after a restart", l.restarted})
	}
	return checks
}

// cold: no snapshot, no word that nothing is signed, and the truth is believed
// afterwards.
func (l Lie) cold(tb testing.TB, install Install) {
	w, old := NewLyingWorld(tb)
	s := install(tb, w)()
	l.Tell(w, old)
	w.refused(s, nil, l.Cold)
	l.End(w)
	w.Pass(2 * time.Second)
	WantDigest(tb, w.fetched(s, nil), "latest", 2)
}

// warm: nothing new is returned to who knows the repository, with or without the
// snapshot that was returned before, and that one stays as it was.
func (l Lie) warm(tb testing.TB, install Install) {
	w, old := NewLyingWorld(tb)
	s := install(tb, w)()
	snap := w.fetched(s, nil)
	WantDigest(tb, snap, "latest", 1)
	w.Pass(61 * time.Second)
	l.Tell(w, old)
	if l.Warm == nil {
		WantDigest(tb, w.fetched(s, snap), "latest", 1)
	} else {
		w.refused(s, snap, l.Warm)
		w.refused(s, snap, l.Warm)
		w.refused(s, nil, l.Warm)
	}
	WantDigest(tb, snap, "latest", 1)
	l.End(w)
	w.Pass(2 * time.Second)
	WantDigest(tb, w.fetched(s, snap), "latest", 2)
}

// restarted: however often the process starts, and what the lie was told to is
// not kept as if it were true.
func (l Lie) restarted(tb testing.TB, install Install) {
	w, old := NewLyingWorld(tb)
	start := install(tb, w)
	WantDigest(tb, w.fetched(start(), nil), "latest", 1)
	last := w.Now()
	w.Pass(61 * time.Second)
	l.Tell(w, old)
	for range 2 {
		s := start()
		w.restored(s, last)
		if l.Warm == nil {
			WantDigest(tb, w.fetched(s, nil), "latest", 1)
			last = w.Now() // that was a good answer
		} else {
			w.refused(s, nil, l.Warm)
		}
	}
	l.End(w)
	w.Pass(2 * time.Second)
	WantDigest(tb, w.fetched(start(), nil), "latest", 2)
	WantDigest(tb, w.fetched(start(), nil), "latest", 2)
}

// fetched is a Fetch of w's repository that has to succeed.
func (w *World) fetched(s trustcache.Source, prev *trustcache.Snapshot) *trustcache.Snapshot {
	w.TB.Helper()
	snap, err := s.Fetch(w.TB.Context(), w.GUN, prev)
	switch {
	case err != nil:
		w.TB.Fatalf("update: %v", err)
	case snap == nil:
		w.TB.Fatal("neither a snapshot nor an error")
	case snap.GUN() != w.GUN:
		w.TB.Fatalf("snapshot of %q, expected %q", snap.GUN(), w.GUN)
	}
	if ends, role := snap.Expires(); !w.Now().Before(ends.Add(timestampGrace)) {
		w.TB.Fatalf("a snapshot whose %s expired at %s", role, ends)
	}
	return snap
}

// timestampGrace is how long a timestamp may be used past its expiry.
const timestampGrace = time.Minute

// refused is a Fetch that has to fail with an error of that class.
func (w *World) refused(s trustcache.Source, prev *trustcache.Snapshot, class error) {
	w.TB.Helper()
	snap, err := s.Fetch(w.TB.Context(), w.GUN, prev)
	w.judge(snap, err, class)
}

func (w *World) judge(snap *trustcache.Snapshot, err, class error) {
	w.TB.Helper()
	switch {
	case snap != nil && err != nil:
		w.TB.Fatalf("both a snapshot and an error: %v", err)
	case snap != nil:
		target, _ := snap.Lookup("latest")
		w.TB.Fatalf("a snapshot with %s for %q, expected an error of the class %q", target.Digest, "latest", class)
	}
	WantClass(w.TB, err, class)
}

// restored checks that a source that keeps snapshots restores the first digest, as
// of when it last had a good answer, or nothing.
func (w *World) restored(s trustcache.Source, last time.Time) {
	w.TB.Helper()
	r, ok := s.(trustcache.Restorer)
	if !ok {
		return
	}
	w.Asked()
	snap, contact, err := r.Restore(w.TB.Context(), w.GUN)
	if asked := w.Asked(); len(asked) > 0 {
		w.TB.Fatalf("restoring asked the server for %v", asked)
	}
	if err != nil {
		if !slices.ContainsFunc(classes(), func(class error) bool { return errors.Is(err, class) }) {
			w.TB.Fatalf("restore: %v, of no class", err)
		}
		return
	}
	WantDigest(w.TB, snap, "latest", 1)
	if !contact.Equal(last) {
		w.TB.Fatalf("last good answer at %s, expected %s", contact, last)
	}
}
