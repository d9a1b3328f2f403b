package notary_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/distribution/distribution/v3/registry/storage/driver/inmemory"
	"github.com/sealgate/sealgate/trustcache"
	"github.com/theupdateframework/notary/tuf/data"
)

// The tests of this file and of conformance_keys_test.go are what TUF's own
// conformance suite asks for and no other test here showed. Which of its tests
// is shown by which of ours is in docs/tuf-conformance.md.

// TestARootIsKeptByteForByte: the snapshot names a root by the hash of the file,
// so what is remembered is the file as it came and not another writing of it.
func TestARootIsKeptByteForByte(t *testing.T) {
	w, _ := lyingWorld(t)
	disk := inmemory.New()
	odd := func(file []byte) []byte { return append(file, " \n\t"...) }
	for range 2 { // the first root, and one that was followed
		w.Spoil["root"] = odd
		w.PublishRoot()
		w.Publish()
		w.verified(w.source(storedOn(t, disk)), nil)
		if kept := w.onDisk(disk).Root; !bytes.Equal(kept, w.Files["root.json"]) || !bytes.HasSuffix(kept, []byte(" \n\t")) {
			t.Errorf("remembered %d bytes ending in %q", len(kept), kept[len(kept)-5:])
		}
	}
}

// TestADamagedRememberedRootIsNotUsed: nothing is asked of the server, for
// there is nothing to judge its answers by.
func TestADamagedRememberedRootIsNotUsed(t *testing.T) {
	seed, _ := lyingWorld(t)
	for name, harm := range map[string]func(w *world, file []byte) []byte{
		"no version": func(_ *world, file []byte) []byte {
			return bytes.Replace(file, []byte(`"version"`), []byte(`"versiom"`), 1)
		},
		"another signature": func(w *world, file []byte) []byte { return forge(w, file, w.Parties["root"].Keys[0].Public.ID()) },
		"no signature":      func(_ *world, file []byte) []byte { return append(signedPart(file), `,"signatures":[]}`...) },
		"changed":           func(_ *world, file []byte) []byte { return tamper(file) },
		"half of it":        func(_ *world, file []byte) []byte { return file[:len(file)/2] },
		"another repository's": func(w *world, _ []byte) []byte {
			return newWorldFor(w.TB, "registry.example.com/acme/other").Raw["root"]
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := seed.clone(t)
			kept := newStore()
			w.verified(w.source(keptIn(kept)), nil)
			good, err := kept.Load(w.GUN)
			must(t, err)
			bad := *good
			bad.Root = harm(w, bytes.Clone(good.Root))
			must(t, kept.MemoryStore.Save(w.GUN, good, &bad))
			w.Asked()
			_, err = w.fetch(w.source(keptIn(kept)), nil)
			wantClass(t, err, trustcache.ErrMalicious)
			w.wantAsked()
		})
	}
}

// TestUnknownFieldsAreSignedAndIgnored in every file, in a key and in a role:
// they belong to what was signed and say nothing here.
func TestUnknownFieldsAreSignedAndIgnored(t *testing.T) {
	// Each inserts into the first place of the signed part that has such an object.
	insert := func(before, text string) func([]byte) []byte {
		return func(p []byte) []byte {
			if !bytes.Contains(p, []byte(before)) {
				t.Fatalf("no %s in %s", before, p)
			}
			return bytes.Replace(p, []byte(before), []byte(text+before), 1)
		}
	}
	top := insert(`"_type"`, `"Custom":{"b":[1,2],"a":null},`)
	for _, c := range []struct {
		name, role string
		edit       func([]byte) []byte
	}{
		{"root", "root", top},
		{"timestamp", "timestamp", top},
		{"snapshot", "snapshot", top},
		{"targets", "targets", top},
		{releases, releases, top},
		{"a key of the root", "root", insert(`"keytype"`, `"extra-field":{"a":1},`)},
		{"keyid_hash_algorithms of a key of the root", "root", insert(`"keytype"`, `"keyid_hash_algorithms":["md5"],`)},
		{"a role of the root", "root", insert(`"keyids"`, `"another-field":"value",`)},
		{"a key of a delegation", "targets", insert(`"keytype"`, `"keyid_hash_algorithms":["md5"],`)},
		{"a delegation", "targets", insert(`"keyids"`, `"another-field":"value",`)},
		{"what a snapshot says of a file", "snapshot", insert(`"hashes"`, `"another-field":"value",`)},
		{"a tag", releases, insert(`"hashes"`, `"another-field":"value",`)},
	} {
		t.Run(c.name, func(t *testing.T) {
			w, _ := lyingWorld(t)
			s := w.source()
			snap := w.verified(s, nil)
			w.Edit[c.role] = c.edit
			w.Sign(releases, "latest", 2)
			w.PublishRoot()
			w.Publish()
			wantDigest(t, w.verified(s, snap), "latest", 2)
			wantDigest(t, w.verified(w.source(), nil), "latest", 2)

			// They were signed: another value is another file.
			w.Edit[c.role] = nil
			w.Spoil[c.role] = func(file []byte) []byte {
				return bytes.Replace(file, payloadOf(file), c.edit(payloadOf(file)), 1)
			}
			w.PublishRoot()
			w.Publish()
			_, err := w.fetch(w.source(), nil)
			wantClass(t, err, trustcache.ErrMalicious)
		})
	}
}

// TestAFileOfAnotherTypeIsRefused where nothing is wrong with it but the type:
// keys that two roles share must not let the file of one stand for the other.
func TestAFileOfAnotherTypeIsRefused(t *testing.T) {
	types := map[string]string{"timestamp": "Timestamp", "snapshot": "Snapshot", "targets": "Targets", releases: "Targets"}
	var lies []lie
	for role, own := range types {
		for _, other := range []string{"Root", "Timestamp", "Snapshot", "Targets", strings.ToLower(own), ""} {
			if other == own {
				continue
			}
			lies = append(lies, lie{
				name: fmt.Sprintf("%s of type %q", role, other),
				tell: func(w *world, _ map[string][]byte) {
					w.Edit[role] = func(p []byte) []byte {
						return bytes.Replace(p, []byte(`"_type":"`+own+`"`), []byte(`"_type":"`+other+`"`), 1)
					}
					evil(w, releases)
				},
				cold: trustcache.ErrMalicious, warm: trustcache.ErrMalicious,
			})
		}
	}
	for _, other := range []string{"Timestamp", "Snapshot", "Targets", "root", ""} {
		lies = append(lies, lie{
			name: fmt.Sprintf("root of type %q", other),
			tell: func(w *world, _ map[string][]byte) {
				w.Edit["root"] = func(p []byte) []byte {
					return bytes.Replace(p, []byte(`"_type":"Root"`), []byte(`"_type":"`+other+`"`), 1)
				}
				w.PublishRoot()
				evil(w, releases)
			},
			cold: trustcache.ErrMalicious, warm: trustcache.ErrMalicious,
			repair: func(w *world) { w.Version["root"]--; w.PublishRoot() },
		})
	}
	testLies(t, lies)
}

// TestAnExpiredFileThatWasReplacedIsFollowed, by a running process and after a
// restart.
func TestAnExpiredFileThatWasReplacedIsFollowed(t *testing.T) {
	const week = 7 * 24 * time.Hour
	for _, role := range []string{"root", "timestamp", "snapshot", "targets", releases} {
		t.Run(role, func(t *testing.T) {
			w, _ := lyingWorld(t)
			w.Expires[role] = w.Now().Add(week)
			w.PublishRoot()
			w.Publish()
			disk := inmemory.New()
			s := w.source(storedOn(t, disk))
			snap := w.verified(s, nil)
			w.Pass(week + 2*time.Minute)
			_, err := w.fetch(s, snap)
			wantClass(t, err, trustcache.ErrExpired)
			_, err = w.fetch(w.source(storedOn(t, disk)), nil)
			wantClass(t, err, trustcache.ErrExpired)
			w.Honest()
			w.Sign(releases, "latest", 2)
			w.PublishRoot()
			w.Publish()
			wantDigest(t, w.verified(w.source(storedOn(t, disk)), nil), "latest", 2)
			wantDigest(t, w.verified(s, snap), "latest", 2)
		})
	}
}

// TestVersionsMayBeSkipped: a tag changes many times, each change is good, and
// not all are seen.
func TestVersionsMayBeSkipped(t *testing.T) {
	w, _ := lyingWorld(t)
	s := w.source()
	snap := w.verified(s, nil)
	for n := 10; n < 21; n++ {
		w.Sign(releases, "latest", n)
		w.Sign(releases, fmt.Sprintf("new-%d", n), n)
		w.Publish()
		if n%5 == 0 {
			snap = w.verified(s, snap)
			wantDigest(t, snap, "latest", n)
			wantDigest(t, snap, fmt.Sprintf("new-%d", n), n)
		}
	}
}

func TestASHA256CountsWhateverStandsBesideIt(t *testing.T) {
	w := newWorld(t)
	sum := digest(1)
	w.Content["targets"]["latest"] = data.FileMeta{Length: 1, Hashes: data.Hashes{"sha256": sum[:], "sha512": bytes.Repeat([]byte{7}, 64), "unknown-hash": []byte("x")}}
	w.Publish()
	wantDigest(t, w.verified(w.source(), nil), "latest", 1)
}

// TestUnusualRoleNames: a name goes into a request, so that only names of
// Notary's own grammar are asked for; one other spoils the file that has it.
func TestUnusualRoleNames(t *testing.T) {
	for name, good := range map[string]bool{
		"?": false, "#": false, "/delegatedrole": false, "../delegatedrole": false, "": false, ".": false, "..": false,
		"targets/?": false, "targets/#": false, "targets//x": false, "targets/../x": false, "targets/x/": false, "targets/.": false, "targets/..": false,
		"targets/%2e%2e": false, `targets/a\b`: false, "targets/a b": false, "targets/ä": false, "targets/a\x00": false,
		"targets/" + strings.Repeat("x", 248): false,
		"targets/" + strings.Repeat("x", 247): true,
		"targets/-":                           true, "targets/_": true, "targets/0": true,
	} {
		t.Run(fmt.Sprintf("%.30q", name), func(t *testing.T) {
			w := newWorld(t)
			w.Sign("targets", "latest", 1)
			w.Delegate("targets/placeholder")
			w.Publish()
			key := w.Parties["targets/placeholder"].Keys[0].Public
			w.Use(name, w.Raw["targets/placeholder"]) // there for whoever asks
			w.Edit["targets"] = func(p []byte) []byte {
				return replaceDelegations(p, fmt.Sprintf(`{"keys":{%q:%s},"roles":[{"keyids":[%q],"name":%s,"paths":[""],"threshold":1}]}`,
					key.ID(), jsonOf(t, key), key.ID(), jsonOf(t, name)))
			}
			w.Edit["snapshot"] = func(p []byte) []byte { return bytes.Replace(p, []byte(`"targets/placeholder"`), jsonOf(t, name), 1) }
			w.Publish()
			w.Use(name, w.Raw["targets/placeholder"])
			snap, err := w.fetch(w.source(), nil)
			if !good {
				wantClass(t, err, trustcache.ErrMalicious)
				w.wantAsked("root.json", "timestamp.json", "snapshot", "targets")
				return
			}
			must(t, err)
			wantDigest(t, snap, "latest", 1)
			w.wantAsked("root.json", "timestamp.json", "snapshot", "targets", name)
			if note := noteOf(snap, name); note != "" {
				t.Errorf("not read: %s", note)
			}
		})
	}
}

// TestPathsAreBeginningsOfTags and nothing else: letters count as they are, and
// no character stands for others.
func TestPathsAreBeginningsOfTags(t *testing.T) {
	for path, covered := range map[string]bool{"": true, "v1": true, "v1.0": true, "V1": false, "*": false, "v?": false, "v1*": false, "v1.0.0": false, "1.0": false} {
		w := newWorld(t)
		w.Delegate(releases, path)
		w.Sign("targets", "v1.0", 1)
		w.Sign(releases, "v1.0", 2)
		w.Publish()
		want := 1
		if covered {
			want = 2
		}
		t.Run(path, func(t *testing.T) { wantDigest(t, w.verified(w.source(), nil), "v1.0", want) })
	}
}

// TestADelegationThatTheSnapshotDoesNotListIsNotAskedFor, though the server has
// it and targets delegates to it.
func TestADelegationThatTheSnapshotDoesNotListIsNotAskedFor(t *testing.T) {
	w := newWorld(t)
	w.Delegate(releases)
	w.Sign("targets", "latest", 1)
	w.Sign(releases, "latest", 2)
	w.Sign(releases, "v1", 3)
	w.Dropped[releases] = true
	w.Publish()
	snap := w.verified(w.source(), nil)
	wantDigest(t, snap, "latest", 1)
	wantHidden(t, snap, "v1")
	w.wantAsked("root.json", "timestamp.json", "snapshot", "targets")
}

// TestARoleThatOnlyNamesSignersLosesItsNameWhenItIsDropped from the snapshot:
// it decides no tag, so that it can neither hide nor show one by going.
func TestARoleThatOnlyNamesSignersLosesItsNameWhenItIsDropped(t *testing.T) {
	w, _ := lyingWorld(t)
	w.Sign("targets/alice", "latest", 1)
	w.Publish()
	disk := inmemory.New()
	s := w.source(storedOn(t, disk))
	snap := w.verified(s, nil)
	wantSigners(t, snap, releases, "targets/alice")
	w.Dropped["targets/alice"] = true
	w.Publish()
	for what, look := range map[string]func() *trustcache.Snapshot{
		"running":         func() *trustcache.Snapshot { return w.verified(s, snap) },
		"after a restart": func() *trustcache.Snapshot { return w.verified(w.source(storedOn(t, disk)), nil) },
	} {
		snap := look()
		wantDigest(t, snap, "latest", 1)
		wantSigners(t, snap, releases)
		if note := noteOf(snap, "targets/alice"); note == "" {
			t.Errorf("%s: nothing says that the role is gone", what)
		}
	}
}

// TestADelegationThatIsTakenBackIsGone: by targets, which alone may, with all
// that hung below it.
func TestADelegationThatIsTakenBackIsGone(t *testing.T) {
	for _, restart := range []bool{false, true} {
		t.Run(fmt.Sprintf("restart %t", restart), func(t *testing.T) {
			w, _ := lyingWorld(t)
			disk := inmemory.New()
			s := w.source(storedOn(t, disk))
			snap := w.verified(s, nil)
			wantDigest(t, snap, "latest", 1)
			w.Order = slices.DeleteFunc(w.Order, func(role string) bool { return role == releases })
			delete(w.Content, releases)
			w.Publish()
			if restart {
				s, snap = w.source(storedOn(t, disk)), nil
			}
			wantDigest(t, w.verified(s, snap), "latest", 8) // what targets says
		})
	}
}
