package notary_test

import (
	"bytes"
	"fmt"
	"net/http"
	"runtime"
	"slices"
	"testing"

	"github.com/sealgate/sealgate/trustcache"
	"github.com/sealgate/sealgate/trustcache/notary"
)

// fleet verifies that many repositories of five tags each through one source,
// and returns what is kept of them: their snapshots, and the states in a store.
func fleet(tb testing.TB, repositories int) ([]*trustcache.Snapshot, *notary.MemoryStore) {
	tb.Helper()
	kept := notary.NewMemoryStore()
	var now *world // the one repository that is looked at: worlds are large
	s := newWorld(tb).source(keptIn(kept), firstUse, func(o *notary.Options) {
		o.Transport = roundTripper(func(req *http.Request) (*http.Response, error) { return now.RoundTrip(req) })
	})
	snaps := make([]*trustcache.Snapshot, repositories)
	for i := range snaps {
		now = newWorldFor(tb, fmt.Sprintf("registry.example.com/acme/app%d", i))
		now.Delegate(releases)
		for n := range 5 {
			now.Sign(releases, fmt.Sprintf("v1.%d.0", n), n)
		}
		now.Publish()
		snaps[i] = now.verified(s, now.verified(s, nil)) // and once unchanged, as most are
	}
	return snaps, kept
}

// TestARepositoryTakesLittleMemory, and the size that the cache's budget
// counts is that of its snapshot. The store is not in it: what it remembers
// outlives the snapshots.
func TestARepositoryTakesLittleMemory(t *testing.T) {
	const repositories = 300
	before := heap()
	snaps, kept := fleet(t, repositories)
	both := heap()
	var estimated int64
	for _, snap := range snaps {
		estimated += snap.Size() / repositories
	}
	runtime.KeepAlive(snaps)
	snaps = nil
	state := int64(heap()-before) / repositories
	runtime.KeepAlive(kept)
	all := int64(both-before) / repositories
	measured := all - state
	t.Logf("%d bytes for each repository: %d for its state, %d for its snapshot (estimated %d)", all, state, measured, estimated)
	if all > 8000 {
		t.Errorf("%d bytes for each repository", all)
	}
	if estimated > measured*13/10 || estimated < measured*7/10 {
		t.Errorf("a snapshot is estimated at %d bytes, and measured at %d", estimated, measured)
	}
}

func BenchmarkMemoryPerRepository(b *testing.B) {
	const repositories = 1000
	var size float64
	for b.Loop() {
		before := heap()
		snaps, kept := fleet(b, repositories)
		size = float64(heap()) - float64(before)
		runtime.KeepAlive(snaps)
		runtime.KeepAlive(kept)
	}
	b.ReportMetric(size/repositories, "B/repository")
}

// TestAnUnchangedUpdateVerifiesNoRoot, nor the anchor: either would cost more
// than all the rest of it.
func TestAnUnchangedUpdateVerifiesNoRoot(t *testing.T) {
	w := newWorld(t)
	w.Sign("targets", "latest", 1)
	w.Publish()
	s := w.source()
	snap := w.verified(s, nil)
	unchanged := func() float64 {
		return testing.AllocsPerRun(10, func() { snap = w.verified(s, snap); w.Asked() })
	}
	if n := unchanged(); n > 250 {
		t.Errorf("%v allocations", n)
	}
	w.Rotate("root", newRootSigner(t, w.GUN, w.Now()))
	snap = w.verified(s, snap)
	if n := unchanged(); n > 250 {
		t.Errorf("%v allocations with an anchor", n)
	}
}

// TestWhatIsKeptPinsNoFile: a role, a path or a key that is kept must not keep
// the file alive that it was read from.
func TestWhatIsKeptPinsNoFile(t *testing.T) {
	w := newWorld(t)
	w.Delegate(releases, append(manyPaths("v", 50_000), "v")...) // the last one covers them all
	w.Sign(releases, "v1", 1)
	for i := range 20_000 {
		w.Sign(releases, fmt.Sprintf("no/tag/%d", i), i)
	}
	w.Edit["targets"] = func(p []byte) []byte {
		return bytes.Replace(p, []byte(`"_type":`), slices.Concat([]byte(`"A":"`), bytes.Repeat([]byte("A"), 2<<20), []byte(`","_type":`)), 1)
	}
	w.Edit[releases] = w.Edit["targets"]
	w.Edit["root"] = func(p []byte) []byte {
		return bytes.Replace(p, []byte(`"_type":`), slices.Concat([]byte(`"A":"`), bytes.Repeat([]byte("A"), 500<<10), []byte(`","_type":`)), 1)
	}
	w.PublishRoot()
	w.Publish()
	s := w.source()
	before := heap()
	snap := w.verified(s, nil)
	grown := int64(heap()) - int64(before)
	runtime.KeepAlive(snap)
	runtime.KeepAlive(w)
	if grown > 600<<10 { // the store has the root
		t.Errorf("%d bytes kept", grown)
	}
	if snap.Size() > 10_000 {
		t.Errorf("estimated %d bytes", snap.Size())
	}
}
