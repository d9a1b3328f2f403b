package notary_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sealgate/sealgate/trustcache"
)

var fuzzedRoles = []string{"timestamp", "snapshot", "targets", releases, "targets/alice", "root", "first root"}

// FuzzMetadata puts bytes in the place of one role's file, with a snapshot and
// a timestamp over it that are in order: what somebody who runs the trust
// server can do. Whatever they are, the answer is an error or the digest that
// the publisher signed.
func FuzzMetadata(f *testing.F) {
	seed, old := lyingWorld(f)
	for i, role := range fuzzedRoles {
		for _, text := range nonsense() {
			if len(text) < 64<<10 {
				f.Add(uint8(i), []byte(text))
			}
		}
		if raw := seed.Raw[role]; raw != nil {
			f.Add(uint8(i), raw)
			f.Add(uint8(i), old[role])
			f.Add(uint8(i), tamper(append([]byte(nil), raw...)))
			f.Add(uint8(i), raw[:len(raw)/2])
		}
	}
	f.Add(uint8(6), seed.Raw["root"])
	f.Fuzz(func(t *testing.T, which uint8, raw []byte) {
		w := seed.clone(t)
		role := fuzzedRoles[int(which)%len(fuzzedRoles)]
		s := w.source(pollsRoot)
		snap := w.verified(s, nil)
		w.Pass(1)
		switch role {
		case "timestamp":
			w.Serve["timestamp.json"] = raw
		case "root":
			w.Serve["2.root.json"] = raw
		case "first root":
			w.Serve["root.json"] = raw
			s, snap = w.source(), nil
		default:
			w.Use(role, raw)
			w.RepublishAbove(role)
		}
		if next, err := w.fetch(s, snap); err == nil {
			wantDigest(t, next, "latest", 1)
		} else if next != nil {
			t.Fatal("an error and a snapshot")
		} else if trustcache.Absent(err) {
			t.Fatalf("what cannot be verified is called absent: %v", err)
		}
		w.Honest()
		w.Sign(releases, "latest", 2)
		w.Publish()
		wantDigest(t, w.verified(s, snap), "latest", 2)
	})
}

// FuzzPayload is FuzzMetadata for bytes that are signed by the right keys: a
// publisher of one repository who means harm. There is no rule for what his
// tags are, only that he gets an answer.
func FuzzPayload(f *testing.F) {
	seed, _ := lyingWorld(f)
	for i, role := range fuzzedRoles[:5] {
		f.Add(uint8(i), payloadOf(seed.Raw[role]))
	}
	for _, text := range []string{
		`{}`, `{"_type":"Targets","version":1,"expires":"2030-01-01T00:00:00Z","targets":null,"delegations":{"keys":null,"roles":[null]}}`,
		`{"_type":"Snapshot","version":1,"expires":"2030-01-01T00:00:00Z","meta":null}`,
	} {
		for i := range fuzzedRoles[:5] {
			f.Add(uint8(i), []byte(text))
		}
	}
	f.Fuzz(func(t *testing.T, which uint8, payload []byte) {
		w := seed.clone(t)
		role := fuzzedRoles[int(which)%5]
		s := w.source()
		w.Edit[role] = func([]byte) []byte { return payload }
		w.Publish()
		snap, err := w.fetch(s, nil)
		if (snap == nil) != (err != nil) {
			t.Fatalf("snapshot %v, error %v", snap, err)
		}
		if err != nil && trustcache.Absent(err) {
			t.Fatalf("what cannot be verified is called absent: %v", err)
		}
	})
}

// FuzzLyingServer: whatever order truths, lies, outages, rotations and steps
// of the clock come in, a tag resolves to a digest that its publisher signed
// for it, and never to one older than one that was served before.
func FuzzLyingServer(f *testing.F) {
	f.Add([]byte{0, 0, 1, 0, 2, 5, 0, 0, 12, 200})
	f.Add([]byte{0, 0, 0, 1, 0, 2, 3, 0, 12, 61, 4, 1, 12, 61, 11, 0, 12, 61, 0, 0, 12, 61})
	f.Add([]byte{9, 0, 0, 0, 12, 61, 9, 1, 12, 61, 9, 2, 12, 61, 9, 3, 0, 0, 12, 61, 2, 0, 12, 61})
	f.Add([]byte{7, 3, 12, 61, 8, 0, 12, 61, 0, 0, 12, 61, 10, 5, 12, 61, 11, 0, 0, 0, 12, 61})
	f.Add([]byte{5, 0, 0, 0, 12, 61, 11, 0, 0, 0, 12, 255, 12, 255, 6, 2, 0, 0, 12, 61, 13, 1, 0, 0, 12, 61})
	seed, _ := lyingWorld(f)
	f.Fuzz(func(t *testing.T, script []byte) {
		if len(script) <= 120 {
			perform(t, seed, script)
		}
	})
}

// TestLiesInAnyOrder is FuzzLyingServer for a few scripts of chance.
func TestLiesInAnyOrder(t *testing.T) {
	world, _ := lyingWorld(t)
	for seed := range uint64(40) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			chance := rand.New(rand.NewPCG(seed, 1))
			script := make([]byte, 80)
			for i := range script {
				script[i] = byte(chance.Uint32())
			}
			perform(t, world, script)
		})
	}
}

// liar is a world with a script of lies and a client that remembers what it
// was served.
type liar struct {
	*world
	t      *testing.T
	cache  *trustcache.Cache
	signed int                 // the newest digest that was signed for "latest"
	served int                 // the newest that was served
	past   []map[string][]byte // what was published
}

func newLiar(t *testing.T, seed *world) *liar {
	w := seed.clone(t)
	delete(w.Content["targets"], "latest") // nothing to fall back to but what is wrong
	w.Publish()
	l := &liar{world: w, t: t, signed: 10, past: []map[string][]byte{w.Keep()}}
	l.cache = w.cache(w.source(pollsRoot))
	l.Sign(releases, "latest", l.signed)
	l.world.Publish()
	l.ask()
	if l.served != 10 {
		t.Fatal("the first answer is missing")
	}
	return l
}

// perform takes the script two bytes at a time, and asks after each. The
// bubble is there to wait for refreshes that no caller waits for.
func perform(t *testing.T, seed *world, script []byte) {
	synctest.Test(t, func(t *testing.T) {
		l := newLiar(t, seed)
		for i := 0; i+1 < len(script); i += 2 {
			l.step(script[i]%14, int(script[i+1]))
			l.ask()
			synctest.Wait()
		}
	})
}

// publish is what the publisher does: the next digest for "latest".
func (l *liar) publish() {
	l.signed++
	l.Sign(releases, "latest", l.signed)
	l.world.Publish()
	l.past = append(l.past, l.Keep())
}

func (l *liar) step(what byte, n int) {
	roles := []string{"targets", releases, "snapshot", "timestamp"}
	role := roles[n%len(roles)]
	before := l.past[n%len(l.past)]
	switch what {
	case 0:
		l.publish()
	case 1:
		l.Serve["timestamp.json"] = before["timestamp"]
	case 2: // rolled back under a new snapshot and timestamp
		if role != "timestamp" {
			l.Use(role, before[role])
			l.RepublishAbove(role)
		}
	case 3: // forged for another digest
		was := l.Content[releases]["latest"]
		l.Parties[releases].Hands = []*signer{newSigner(l.t)}
		l.Sign(releases, "latest", 1_000_000+n)
		l.world.Publish()
		l.Content[releases]["latest"] = was
	case 4:
		l.Dropped[roles[n%2]] = true
		l.PublishSnapshot()
	case 5:
		l.Expires[role] = l.Now().Add(-2 * time.Minute)
	case 6:
		l.Spoil[role] = func([]byte) []byte { return []byte(`{"signed":{},"signatures":[]}`) }
	case 7:
		codes := []int{401, 403, 404, 429, 500, 302}
		l.Answer = func(string) *reply { return status(codes[n%len(codes)], "") }
	case 8:
		l.Answer = func(string) *reply { return status(404, metadataNotFound) }
	case 9:
		if role == releases {
			l.Parties[role].Keys = []*signer{newSigner(l.t)}
			l.world.Publish()
		} else if n%5 == 4 {
			l.Rotate("root", newRootSigner(l.t, l.GUN, l.Now()))
		} else {
			l.Rotate(role, newSigner(l.t))
		}
	case 10: // mix and match
		for role, raw := range before {
			if role != "root" && n%2 == len(role)%2 {
				l.Use(role, raw)
			}
		}
		l.PublishSnapshot()
	case 11:
		l.Honest()
		l.PublishSnapshot()
	case 12:
		l.Pass(step(n))
	case 13:
		l.Version[role] += 1000 * n // fast-forward
		l.world.Publish()
	}
}

// step is up to four minutes, or, seldom, more than a month.
func step(n int) time.Duration {
	if n > 250 {
		return 40 * 24 * time.Hour
	}
	return time.Duration(n) * time.Second
}

func (l *liar) ask() {
	l.t.Helper()
	view, err := l.cache.Tag(l.t.Context(), l.GUN, "latest")
	if err != nil {
		if trustcache.Absent(err) {
			l.t.Fatalf("called absent: %v", err)
		}
		return
	}
	if ends, role := view.Expires(); !l.Now().Before(ends) {
		l.t.Fatalf("served past the expiry of %s", role)
	}
	target, ok := view.Lookup("latest")
	if !ok {
		l.t.Fatal("the tag that was always signed is hidden")
	}
	for n := l.served; n <= l.signed; n++ {
		if target.Digest == digest(n) {
			l.served = n
			return
		}
	}
	l.t.Fatalf("served %s after %d of %d", target.Digest, l.served, l.signed)
}
