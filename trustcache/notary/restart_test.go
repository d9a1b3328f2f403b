package notary_test

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/distribution/distribution/v3/registry/storage/driver/inmemory"
	"github.com/sealgate/sealgate/trustcache"
	"github.com/sealgate/sealgate/trustcache/notary"
	"github.com/sealgate/sealgate/trustcache/state"
	"github.com/sealgate/sealgate/trustcache/trustcachetest"
)

// stateStore is a notary.Store on package state, as the command has it.
type stateStore struct {
	tb   testing.TB
	kept *state.Store
}

// storedOn makes a source remember on disk. A source with an option of its own
// is what a process is after a restart: it has what is on disk and no more.
func storedOn(tb testing.TB, disk driver.StorageDriver) func(*notary.Options) {
	return keptIn(stateStore{tb, state.New(state.Options{Driver: disk})})
}

func (s stateStore) Load(gun string) (*notary.State, error) {
	st, err := s.kept.Load(s.tb.Context(), gun)
	if err != nil || st == nil {
		return nil, err
	}
	loaded := &notary.State{Epoch: st.Epoch, Root: st.Root, Anchor: st.Anchor, Floors: map[string][]notary.Floor{}}
	for role, floors := range st.Floors {
		for _, f := range floors {
			loaded.Floors[role] = append(loaded.Floors[role], notary.Floor(f))
		}
	}
	return loaded, nil
}

func (s stateStore) Save(gun string, old, next *notary.State) error {
	err := s.kept.Save(s.tb.Context(), gun, toKeep(old), toKeep(next))
	if errors.Is(err, state.ErrConflict) {
		return errors.Join(notary.ErrConflict, err)
	}
	return err
}

func (s stateStore) Forget(gun string) error { return s.kept.Forget(s.tb.Context(), gun) }

func toKeep(st *notary.State) *state.State {
	if st == nil {
		return nil
	}
	kept := &state.State{Epoch: st.Epoch, Root: st.Root, Anchor: st.Anchor, Floors: map[string][]state.Floor{}}
	for role, floors := range st.Floors {
		for _, f := range floors {
			kept.Floors[role] = append(kept.Floors[role], state.Floor(f))
		}
	}
	return kept
}

// onDisk returns what is remembered of the world's repository.
func (w *world) onDisk(disk driver.StorageDriver) *state.State {
	w.TB.Helper()
	st, err := state.New(state.Options{Driver: disk}).Load(w.TB.Context(), w.GUN)
	must(w.TB, err)
	return st
}

// testRestarted: no snapshot is left to stand, so nothing is served but what is
// verified anew against what was remembered, however often the process starts,
// and no lie changes that. Honest metadata afterwards is believed in one
// refresh.
func (l lie) testRestarted(t *testing.T, w *world, old map[string][]byte) {
	disk := inmemory.New()
	wantDigest(t, w.verified(w.source(storedOn(t, disk)), nil), "latest", 1)
	before := w.onDisk(disk)
	w.Pass(61 * time.Second)
	l.tell(w, old)
	var cache *trustcache.Cache
	for range 2 {
		cache = w.cache(w.source(storedOn(t, disk)))
		view, err := cache.Tag(t.Context(), w.GUN, "latest")
		if l.warm == nil { // told in a file that who remembers does not ask for
			must(t, err)
			wantDigest(t, view.Snapshot, "latest", 1)
			continue
		}
		wantClass(t, err, l.warm)
	}
	if after := w.onDisk(disk); !reflect.DeepEqual(before, after) {
		t.Errorf("remembered is %+v, was %+v", after, before)
	}

	l.endOf(w)
	w.Pass(61 * time.Second)
	view, err := cache.Tag(t.Context(), w.GUN, "latest")
	must(t, err)
	wantDigest(t, view.Snapshot, "latest", 2)
	wantDigest(t, w.verified(w.source(storedOn(t, disk)), nil), "latest", 2)
}

// TestThereIsNoFirstUseAfterARestart: another root is an attack, and what is
// lost or damaged on disk makes no repository unknown.
func TestThereIsNoFirstUseAfterARestart(t *testing.T) {
	seed, _ := lyingWorld(t)
	impostor, _ := lyingWorld(t)
	whole := func(t *testing.T, w *world) (*inmemory.Driver, []string) {
		disk := inmemory.New()
		w.verified(w.source(firstUse, storedOn(t, disk)), nil)
		var paths []string
		must(t, disk.Walk(t.Context(), "/", func(file driver.FileInfo) error {
			if !file.IsDir() {
				paths = append(paths, file.Path())
			}
			return nil
		}))
		return disk, paths
	}
	_, paths := whole(t, seed.clone(t))
	if len(paths) < 2 {
		t.Fatalf("only %q on disk", paths)
	}
	harms := map[string]func(t *testing.T, disk driver.StorageDriver, path string){
		"untouched": func(*testing.T, driver.StorageDriver, string) {},
		"gone":      func(t *testing.T, disk driver.StorageDriver, path string) { must(t, disk.Delete(t.Context(), path)) },
		"empty": func(t *testing.T, disk driver.StorageDriver, path string) {
			must(t, disk.PutContent(t.Context(), path, nil))
		},
		"cut": func(t *testing.T, disk driver.StorageDriver, path string) {
			raw, err := disk.GetContent(t.Context(), path)
			must(t, err)
			must(t, disk.PutContent(t.Context(), path, raw[:len(raw)/2]))
		},
	}
	for what, harm := range harms {
		for i := range paths {
			t.Run(what, func(t *testing.T) {
				w := seed.clone(t)
				disk, paths := whole(t, w) // the names differ from one to the next
				harm(t, disk, paths[i])
				maps.Copy(w.Serve, impostor.Files)
				for range 2 {
					snap, err := w.fetch(w.source(firstUse, storedOn(t, disk)), nil)
					if err == nil {
						target, _ := snap.Lookup("latest")
						t.Fatalf("a first use once more: %s", target.Digest)
					}
					if trustcache.Absent(err) {
						t.Errorf("called unknown: %v", err)
					}
				}
			})
		}
	}
}

// TestAReplicaKnowsWhatAnotherSaw: the trust server shows one of them what is
// new, and the other, which has its own memory, what was before.
func TestAReplicaKnowsWhatAnotherSaw(t *testing.T) {
	w, _ := lyingWorld(t)
	disk := inmemory.New()
	one, other := w.source(storedOn(t, disk)), w.source(storedOn(t, disk))
	snap := w.verified(other, nil)
	before := w.Keep()
	w.Sign(releases, "latest", 2)
	w.Publish()
	w.verified(one, nil)
	w.Serve["timestamp.json"] = before["timestamp"]
	for what, prev := range map[string]*trustcache.Snapshot{"with a snapshot": snap, "without one": nil} {
		if _, err := w.fetch(other, prev); !errors.Is(err, trustcache.ErrMalicious) {
			t.Errorf("%s: %v", what, err)
		}
	}
	w.Honest()
	wantDigest(t, w.verified(other, snap), "latest", 2)
}

// TestAReplicaFollowsWhatAnotherAccepted, from what that has kept, where its own
// server is down or lies: its clients do not go back and forth. It says so.
func TestAReplicaFollowsWhatAnotherAccepted(t *testing.T) {
	for name, tell := range map[string]func(w *world, before map[string][]byte){
		"its server is down": func(w *world, _ map[string][]byte) {
			w.Answer = func(string) *trustcachetest.Reply { return trustcachetest.Status(503, "") }
		},
		"its server shows what was before": func(w *world, before map[string][]byte) { w.Serve["timestamp.json"] = before["timestamp"] },
		"its server says that all is gone": func(w *world, _ map[string][]byte) {
			w.Answer = func(string) *trustcachetest.Reply { return trustcachetest.Status(404, trustcachetest.MetadataNotFound) }
		},
		"what is kept has been lost as well": nil,
	} {
		t.Run(name, func(t *testing.T) {
			w, _ := lyingWorld(t)
			disk, kept := inmemory.New(), newFiles()
			keeps := func(o *notary.Options) { o.Files = kept }
			one, other := w.source(storedOn(t, disk), keeps), w.source(storedOn(t, disk), keeps)
			snap := w.verified(other, nil)
			before := w.Keep()
			w.Sign(releases, "latest", 2)
			w.Publish()
			w.verified(one, nil)
			follows := tell != nil && name != "its server says that all is gone"
			if tell == nil {
				must(t, kept.KeepFiles(w.GUN, nil))
				w.Serve["timestamp.json"] = before["timestamp"]
			} else {
				tell(w, before)
			}
			got, err := w.fetch(other, snap)
			if err == nil || (got != nil) != follows {
				t.Fatalf("got %v, %v", got, err)
			}
			if !follows {
				return
			}
			wantDigest(t, got, "latest", 2)
			if again, err := w.fetch(other, got); err == nil || again != nil {
				t.Errorf("once more: %v, %v", again, err)
			}
			w.Answer = nil
			w.Honest()
			wantDigest(t, w.verified(other, got), "latest", 2)
		})
	}
}

// TestAFastForwardIsRecoveredFromAfterARestart, in one update: the keys that
// signed the versions nobody can reach were rotated while the process was down.
func TestAFastForwardIsRecoveredFromAfterARestart(t *testing.T) {
	for _, role := range []string{"targets", releases, "snapshot", "timestamp"} {
		t.Run(role, func(t *testing.T) {
			w, _ := lyingWorld(t)
			disk := inmemory.New()
			w.Version[role] = 1 << 40
			w.Publish()
			w.verified(w.source(storedOn(t, disk)), nil)

			w.Version[role] = 5
			w.Sign(releases, "latest", 2)
			w.Publish()
			_, err := w.fetch(w.source(storedOn(t, disk)), nil)
			wantClass(t, err, trustcache.ErrMalicious)

			rotateAll(w)
			w.Publish()
			wantDigest(t, w.verified(w.source(storedOn(t, disk)), nil), "latest", 2)
			w.verified(w.source(storedOn(t, disk)), nil) // and what it stored is in order
		})
	}
}

func TestSlowAnswersAfterARestartEndWithTheDeadline(t *testing.T) {
	for _, name := range []string{"timestamp.json", "snapshot.", "targets.", releases + "."} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, _ := lyingWorld(t)
				disk := inmemory.New()
				w.verified(w.source(storedOn(t, disk)), nil)
				w.Answer = func(asked string) *reply {
					if strings.HasPrefix(asked, name) {
						return &reply{Status: http.StatusOK, Body: strings.NewReader(`{"signed":`), Stall: true}
					}
					return nil
				}
				ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
				defer cancel()
				start := time.Now()
				_, err := w.source(storedOn(t, disk)).Fetch(ctx, w.GUN, nil)
				wantClass(t, err, trustcache.ErrUnreachable)
				if took := time.Since(start); took != 20*time.Second {
					t.Errorf("took %s", took)
				}
			})
		})
	}
}

// TestWhatHasExpiredStaysSoWhenTheClockIsSetBack while the process is down, and
// what has not goes on.
func TestWhatHasExpiredStaysSoWhenTheClockIsSetBack(t *testing.T) {
	w, _ := lyingWorld(t)
	w.Expires[releases] = w.Now().Add(time.Hour)
	w.Publish()
	disk, file := inmemory.New(), filepath.Join(t.TempDir(), "clock")
	alarms := 0
	restarted := func() *notary.Source {
		clock, err := state.OpenClock(file, w.Now, func(time.Duration) { alarms++ })
		must(t, err)
		return w.source(storedOn(t, disk), func(o *notary.Options) { o.Now = clock.Now })
	}
	w.verified(restarted(), nil)
	w.Pass(2 * time.Hour)
	_, err := w.fetch(restarted(), nil)
	wantClass(t, err, trustcache.ErrExpired)
	if alarms != 0 {
		t.Errorf("%d alarms before the clock was set back", alarms)
	}

	w.Pass(-2 * time.Hour)
	_, err = w.fetch(restarted(), nil)
	wantClass(t, err, trustcache.ErrExpired)
	if alarms != 1 {
		t.Errorf("%d alarms for one jump", alarms)
	}
	w.Honest()
	w.Sign(releases, "latest", 2)
	w.Publish()
	wantDigest(t, w.verified(restarted(), nil), "latest", 2)
}
