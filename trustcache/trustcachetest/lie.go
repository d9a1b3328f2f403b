package trustcachetest

import (
	"errors"
	"slices"
	"testing"

	"github.com/sealgate/sealgate/trustcache"
)

// A Lie is one way in which a trust server, or who stands between, does not tell
// the truth.
type Lie struct {
	Name string
	// Tell makes the world of NewLyingWorld lie. Old are the files before the
	// newest, by role.
	Tell func(w *World, old map[string][]byte)
	// Cold is the class of error that a first look gives; nil where only those
	// who remember can see the lie.
	Cold error
	// Warm is the class of error that a look gives at what was verified before,
	// also after a restart; nil where those who remember do not ask for what is
	// wrong.
	Warm error
	// Repair, where it is not nil, is done before the honest publication that
	// ends the lie.
	Repair func(w *World)
}

// End takes the lie back and publishes the second digest for "latest" in
// Releases.
func (l Lie) End(w *World) {
	w.TB.Helper()
	w.Honest()
	if l.Repair != nil {
		l.Repair(w)
	}
	w.Sign(Releases, "latest", 2)
	w.Publish()
}

// Lies are the lies of this package: what no source may believe.
func Lies() []Lie {
	return slices.Concat(Forged(), RolledBack(), Expired(), MixedUp(), WrongRoots(), Dark(), Oversize(), Nonsense())
}

// NewLyingWorld returns the world that lies are told in: a delegation that
// decides, one that does not, and two publications, so that there is something
// older. "latest" is signed in Releases with the first digest, and in targets
// with the eighth, which nobody gets who does not fall back.
func NewLyingWorld(tb testing.TB) (w *World, old map[string][]byte) {
	tb.Helper()
	w = NewWorld(tb)
	w.Delegate(Releases)
	w.Delegate("targets/alice")
	w.Sign(Releases, "latest", 9)
	w.Sign("targets", "latest", 8)
	w.Sign("targets/alice", "latest", 9)
	w.Publish()
	old = w.Keep()
	w.Sign(Releases, "latest", 1)
	for _, tag := range []string{"v1", "v2", "v3"} {
		for role := range w.Content { // the older files are shorter
			w.Sign(role, tag, 7)
		}
	}
	w.Publish()
	return w, old
}

// classes are the sentinels of which an error has one; others are within these.
func classes() []error {
	return []error{
		trustcache.ErrNoTrustData, trustcache.ErrUnpinned, trustcache.ErrMalicious,
		trustcache.ErrExpired, trustcache.ErrVanished, trustcache.ErrUnreachable, trustcache.ErrStore,
	}
}

// WantClass checks that err is of one class and of no other, and that it was
// found by looking and not by a panic of a library.
func WantClass(tb testing.TB, err, want error) {
	tb.Helper()
	if !errors.Is(err, want) {
		tb.Fatalf("error is %v, expected the class %q", err, want)
	}
	if caught := (*trustcache.PanicError)(nil); errors.As(err, &caught) {
		tb.Fatalf("%v\n%s", err, caught.Stack)
	}
	for _, other := range classes() {
		if other != want && errors.Is(err, other) && !errors.Is(want, other) {
			tb.Fatalf("error is %v, of the class %q and also of %q", err, want, other)
		}
	}
}

// WantDigest checks that tag is visible with the n-th digest.
func WantDigest(tb testing.TB, snap *trustcache.Snapshot, tag string, n int) {
	tb.Helper()
	target, ok := snap.Lookup(tag)
	if !ok || target.NoDigest || target.Digest != Digest(n) {
		tb.Fatalf("tag %q: found %v, digest %s, expected %s", tag, ok, target.Digest, Digest(n))
	}
}
