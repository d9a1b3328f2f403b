package trustcachetest

import (
	"context"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sealgate/sealgate/trustcache"
)

// honest are the demands on a source that are about more than one lie.
func honest() []Check {
	checks := []Check{
		{"what is signed is visible, for as long as all that decides is valid", visible},
		{"a publication is seen in one update", published},
		{"a delegation that was never published is empty", unpublished},
		{"a repository that never was has no trust data", neverWas},
		{"what expires between two updates", expires},
		{"a fork of a root that is known", forked},
		{"what one source saw, another on the same store does not go back on", shared},
	}
	for _, role := range []string{"root", "targets", Releases, "snapshot", "timestamp"} {
		checks = append(checks, Check{role + " rotates", func(tb testing.TB, install Install) { rotates(tb, install, role) }})
		if role != "root" {
			checks = append(checks, Check{role + " is back from versions that nobody can reach", func(tb testing.TB, install Install) { fastForwarded(tb, install, role) }})
		}
	}
	for _, prefix := range []string{"root.json", "timestamp.json", "snapshot.", "targets.", Releases + "."} {
		checks = append(checks, Check{"no more of " + prefix + " comes before the caller's time is over", func(tb testing.TB, install Install) { slow(tb, install, prefix) }})
	}
	return checks
}

func visible(tb testing.TB, install Install) {
	w, _ := NewLyingWorld(tb)
	w.Sign("targets", "only-targets", 3)
	w.Sign("targets/alice", "only-alice", 4)
	w.Expires[Releases] = w.Now().Add(48 * time.Hour)
	w.Publish()
	snap := w.fetched(install(tb, w)(), nil)
	WantDigest(tb, snap, "latest", 1) // Releases before targets
	WantDigest(tb, snap, "only-targets", 3)
	WantDigest(tb, snap, "v1", 7)
	if target, ok := snap.Lookup("only-alice"); ok {
		tb.Errorf("a tag of a role that does not decide is visible through %s", target.Role)
	}
	if target, ok := snap.Lookup("v4"); ok {
		tb.Errorf("a tag that nobody signed is visible through %s", target.Role)
	}
	if ends, _ := snap.Expires(); !ends.Equal(w.Expires[Releases]) {
		tb.Errorf("the snapshot expires at %s, expected %s, with %s", ends, w.Expires[Releases], Releases)
	}
}

func published(tb testing.TB, install Install) {
	w, _ := NewLyingWorld(tb)
	start := install(tb, w)
	s := start()
	before := w.fetched(s, nil)
	w.Sign(Releases, "latest", 2)
	w.Sign(Releases, "v4", 4)
	delete(w.Content[Releases], "v3")
	delete(w.Content["targets"], "v3")
	w.Publish()
	for _, snap := range []*trustcache.Snapshot{w.fetched(s, before), w.fetched(s, nil), w.fetched(start(), nil)} {
		WantDigest(tb, snap, "latest", 2)
		WantDigest(tb, snap, "v4", 4)
		if _, ok := snap.Lookup("v3"); ok {
			tb.Error("a tag that was taken back is visible")
		}
	}
	WantDigest(tb, before, "latest", 1) // whoever holds it sees what he saw
}

func unpublished(tb testing.TB, install Install) {
	w := NewWorld(tb)
	w.Delegate(Releases)
	w.Idle[Releases] = true
	w.Sign("targets", "latest", 1)
	w.Publish()
	s := install(tb, w)()
	snap := w.fetched(s, nil)
	WantDigest(tb, snap, "latest", 1)
	delete(w.Idle, Releases)
	w.Sign(Releases, "latest", 2)
	w.Publish()
	WantDigest(tb, w.fetched(s, snap), "latest", 2)
}

func neverWas(tb testing.TB, install Install) {
	w := NewWorld(tb)
	start := install(tb, w)
	w.Answer = func(string) *Reply { return Status(http.StatusNotFound, MetadataNotFound) }
	s := start()
	w.refused(s, nil, trustcache.ErrNoTrustData)
	w.refused(start(), nil, trustcache.ErrNoTrustData) // which is nothing to remember
	w.Honest()
	w.Sign("targets", "latest", 1)
	w.Publish()
	WantDigest(tb, w.fetched(s, nil), "latest", 1)
}

// expires: the server goes on serving what it had, which was good.
func expires(tb testing.TB, install Install) {
	for _, role := range []string{"root", "targets", Releases, "snapshot", "timestamp"} {
		w, _ := NewLyingWorld(tb)
		w.Expires[role] = w.Now().Add(time.Hour)
		w.PublishRoot()
		w.Publish()
		start := install(tb, w)
		s := start()
		snap := w.fetched(s, nil)
		w.Pass(time.Hour + timestampGrace + time.Second)
		w.refused(s, snap, trustcache.ErrExpired)
		w.refused(start(), nil, trustcache.ErrExpired)
		w.Honest()
		w.Sign(Releases, "latest", 2)
		w.PublishRoot()
		w.Publish()
		WantDigest(tb, w.fetched(s, snap), "latest", 2)
	}
}

// forked: whoever has stolen the first root key and all others shows a second
// history to those who know the first.
func forked(tb testing.TB, install Install) {
	w, _ := NewLyingWorld(tb)
	start := install(tb, w)
	fork := w.Clone(tb)
	s := start()
	snap := w.fetched(s, nil)
	w.Rotate("root", NewRootSigner(tb, w.GUN, w.Now()))
	snap = w.fetched(s, snap)
	fork.Rotate("root", NewRootSigner(tb, w.GUN, w.Now()))
	for range 3 { // its versions are higher
		evil(fork, Releases)
	}
	maps.Copy(w.Serve, fork.Files)
	w.refused(s, snap, trustcache.ErrMalicious)
	w.refused(s, nil, trustcache.ErrMalicious)
	w.refused(start(), nil, trustcache.ErrMalicious)
	Lie{}.End(w)
	WantDigest(tb, w.fetched(s, snap), "latest", 2)
}

// shared: the server shows one what is new, and the other what was before.
func shared(tb testing.TB, install Install) {
	w, _ := NewLyingWorld(tb)
	start := install(tb, w)
	one, other := start(), start()
	snap := w.fetched(other, nil)
	before := w.Keep()
	w.Sign(Releases, "latest", 2)
	w.Publish()
	WantDigest(tb, w.fetched(one, nil), "latest", 2)
	w.Serve["timestamp.json"] = before["timestamp"]
	accepted, err := other.Fetch(tb.Context(), w.GUN, snap)
	if accepted != nil && err != nil { // what the first has accepted, and nothing else
		WantDigest(tb, accepted, "latest", 2)
		accepted = nil
	}
	w.judge(accepted, err, trustcache.ErrMalicious)
	w.refused(other, nil, trustcache.ErrMalicious)
	w.Honest()
	WantDigest(tb, w.fetched(other, snap), "latest", 2)
}

// rotates: a new key is followed in one update by who knew the old one, also
// after a restart, and what only the old one signs is not believed any more.
func rotates(tb testing.TB, install Install, role string) {
	w, _ := NewLyingWorld(tb)
	start := install(tb, w)
	s, idle := start(), start()
	snap := w.fetched(s, nil)
	was := w.Parties[role].Keys
	w.Sign(Releases, "latest", 2)
	w.rekey(role)
	WantDigest(tb, w.fetched(idle, nil), "latest", 2)
	snap = w.fetched(s, snap)
	WantDigest(tb, snap, "latest", 2)
	if role != "root" {
		w.Parties[role].Hands = was
		evil(w, Releases)
		w.refused(s, snap, trustcache.ErrMalicious)
		w.refused(start(), nil, trustcache.ErrMalicious)
	}
}

func (w *World) rekey(role string) {
	switch role {
	case Releases:
		w.Parties[role].Keys = []*Signer{NewSigner(w.TB)}
		w.Publish()
	case "root":
		w.Rotate(role, NewRootSigner(w.TB, w.GUN, w.Now()))
	default:
		w.Rotate(role, NewSigner(w.TB))
	}
}

// fastForwarded: whoever had the keys signed versions that nobody can reach.
// Small numbers are a rollback until the keys are rotated, and then they are not.
func fastForwarded(tb testing.TB, install Install, role string) {
	for _, restart := range []bool{false, true} {
		w, _ := NewLyingWorld(tb)
		start := install(tb, w)
		w.Version[role] = 1 << 40
		w.Publish()
		s := start()
		snap := w.fetched(s, nil)
		w.Version[role] = 5
		w.Sign(Releases, "latest", 2)
		w.Publish()
		w.refused(s, snap, trustcache.ErrMalicious)
		for _, role := range []string{"targets", Releases, "snapshot", "timestamp"} {
			w.Parties[role].Keys = []*Signer{NewSigner(tb)}
			w.Version[role] = 0
		}
		w.PublishRoot()
		w.Publish()
		if restart {
			s, snap = start(), nil
		}
		WantDigest(tb, w.fetched(s, snap), "latest", 2)
	}
}

// slow: a server that does not go on costs a caller no more than his own time.
func slow(tb testing.TB, install Install, prefix string) {
	w, _ := NewLyingWorld(tb)
	s := install(tb, w)()
	ctx, cancel := context.WithCancel(tb.Context())
	defer cancel()
	w.hangs(prefix, cancel)
	snap, err := s.Fetch(ctx, w.GUN, nil)
	w.judge(snap, err, trustcache.ErrUnreachable)
	w.Honest()
	WantDigest(tb, w.fetched(s, nil), "latest", 1)
}

// hangs has the files whose names begin so answered with a few bytes and nothing
// more, and ends the request's context then.
func (w *World) hangs(prefix string, cancel context.CancelFunc) {
	w.Answer = func(name string) *Reply {
		if !strings.HasPrefix(name, prefix) {
			return nil
		}
		r := Status(http.StatusOK, `{"signed":`)
		r.Stall = true
		cancel()
		return r
	}
}
