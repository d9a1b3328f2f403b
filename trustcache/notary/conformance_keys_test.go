package notary_test

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"slices"
	"testing"

	"github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/distribution/distribution/v3/registry/storage/driver/inmemory"
	"github.com/sealgate/sealgate/trustcache"
	"github.com/sealgate/sealgate/trustcache/notary"
	"github.com/theupdateframework/notary/tuf/data"
	"github.com/theupdateframework/notary/tuf/utils"
)

// ringOf returns n keys made by make.
func ringOf(n int, make func() *signer) []*signer {
	var ring []*signer
	for range n {
		ring = append(ring, make())
	}
	return ring
}

func pick(ring []*signer, places []int) []*signer {
	var picked []*signer
	for _, i := range places {
		picked = append(picked, ring[i])
	}
	return picked
}

// rotation is one version of a role: who may sign it, how many have to, who does.
type rotation struct {
	keys      []int
	threshold int
	sigs      []int
}

// TestSequencesOfRoots: each is followed to its end, by a running process and
// after a restart, or, where its last root breaks the rules, not at all.
func TestSequencesOfRoots(t *testing.T) {
	now := newWorld(t).Now()
	ca := newAuthority(t, now)
	ring := ringOf(10, func() *signer {
		return ca.Issue(t, newSigner(t), testGUN, now.AddDate(-1, 0, 0), now.AddDate(10, 0, 0))
	})
	five, next := []int{0, 1, 2, 3, 4}, []int{0, 1, 3, 4, 5}
	for _, c := range []struct {
		name  string
		roots []rotation
		good  bool
	}{
		{"one key is replaced", []rotation{{[]int{1}, 1, []int{1}}, {[]int{2}, 1, []int{2, 1}}, {[]int{2}, 1, []int{2}}}, true},
		{"strangers sign too", []rotation{{[]int{1}, 1, []int{3, 1, 4}}, {[]int{2}, 1, []int{3, 2, 1, 4}}, {[]int{2}, 1, []int{3, 2, 4}}}, true},
		{"three of five, others each time", []rotation{{five, 3, []int{0, 2, 4}}, {five, 3, []int{0, 4, 1}}, {five, 3, []int{0, 1, 3}}, {five, 3, []int{0, 1, 3}}}, true},
		{"one of five is replaced", []rotation{{five, 3, []int{0, 2, 4}}, {next, 3, []int{0, 4, 1}}}, true},
		{"one of five is replaced in two steps", []rotation{{five, 3, []int{0, 2, 4}}, {next, 3, []int{0, 2, 4, 5}}, {next, 3, []int{0, 4, 5}}}, true},
		{"all of five are replaced", []rotation{{five, 3, []int{0, 2, 4}}, {[]int{5, 6, 7, 8, 9}, 3, []int{0, 2, 4, 5, 6, 7}}, {[]int{5, 6, 7, 8, 9}, 3, []int{5, 6, 7}}}, true},
		{"one of three becomes two of three", []rotation{{[]int{1, 2, 3}, 1, []int{1}}, {[]int{1, 2, 3}, 2, []int{1, 2}}}, true},
		{"two of three becomes one of three", []rotation{{[]int{1, 2, 3}, 2, []int{1, 2}}, {[]int{1, 2, 3}, 1, []int{1, 2}}, {[]int{1, 2, 3}, 1, []int{1}}}, true},
		{"one of one becomes two of two", []rotation{{[]int{1}, 1, []int{1}}, {[]int{1, 2}, 2, []int{1, 2}}}, true},
		{"not signed with the old key", []rotation{{[]int{1}, 1, []int{1}}, {[]int{2}, 1, []int{2, 3, 4}}}, false},
		{"not signed with the new key", []rotation{{[]int{1}, 1, []int{1}}, {[]int{2}, 1, []int{1, 3, 4}}}, false},
		{"not signed with three of the new keys", []rotation{{five, 3, []int{0, 2, 4}}, {next, 3, []int{0, 2, 4}}}, false},
		{"not signed with three of the old keys", []rotation{{five, 3, []int{0, 2, 4}}, {next, 3, []int{0, 4, 5}}}, false},
		{"the new threshold is not reached", []rotation{{[]int{1, 2, 3}, 1, []int{1}}, {[]int{1, 2, 3}, 2, []int{2}}}, false},
		{"the old threshold is not reached", []rotation{{[]int{1, 2, 3}, 2, []int{1, 2}}, {[]int{1, 2, 3}, 1, []int{1}}}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.Version["root"] = 0
			publish := func(r rotation) {
				w.Parties["root"] = &party{Keys: pick(ring, r.keys), Threshold: r.threshold}
				w.PublishRoot(pick(ring, r.sigs)...)
			}
			publish(c.roots[0])
			w.Sign("targets", "latest", 1)
			w.Publish()
			disk := inmemory.New()
			pins := pinnedAs(notary.RootKeys, pick(ring, c.roots[0].keys)...)
			running := w.source(pins, storedOn(t, disk))
			snap := w.verified(running, nil)
			first := w.Raw["root"]
			for _, r := range c.roots[1:] {
				publish(r)
			}
			w.Sign("targets", "latest", 2)
			w.Publish()

			// The running one comes last: the other must not live on its work.
			copied := copyOf(t, disk)
			for _, d := range []driver.StorageDriver{copied, disk} {
				s, prev := running, snap
				if d == copied {
					s, prev = w.source(pins, storedOn(t, copied)), nil
				}
				got, err := w.fetch(s, prev)
				want := first
				if c.good {
					must(t, err)
					wantDigest(t, got, "latest", 2)
					want = w.Raw["root"]
				} else {
					wantClass(t, err, trustcache.ErrMalicious)
				}
				if !bytes.Equal(w.onDisk(d).Root, want) {
					t.Error("another root is remembered")
				}
			}
		})
	}
}

// copyOf returns a disk with the same objects.
func copyOf(t *testing.T, disk driver.StorageDriver) driver.StorageDriver {
	t.Helper()
	c := inmemory.New()
	must(t, disk.Walk(t.Context(), "/", func(file driver.FileInfo) error {
		if file.IsDir() {
			return nil
		}
		raw, err := disk.GetContent(t.Context(), file.Path())
		must(t, err)
		return c.PutContent(t.Context(), file.Path(), raw)
	}))
	return c
}

// TestRotationsOfOtherRoles: a verified parent gives the role these keys, and
// its next file is signed by those.
func TestRotationsOfOtherRoles(t *testing.T) {
	seed, _ := lyingWorld(t)
	ring := ringOf(6, func() *signer { return newSigner(t) })
	five, next := []int{0, 1, 2, 3, 4}, []int{0, 1, 3, 4, 5}
	for _, role := range []string{"timestamp", "snapshot", "targets", releases} {
		for _, c := range []struct {
			name string
			rotation
			good bool
		}{
			{"one key", rotation{[]int{2}, 1, []int{2}}, true},
			{"strangers sign too", rotation{[]int{1}, 1, []int{3, 1, 4}}, true},
			{"not signed with the new key", rotation{[]int{2}, 1, []int{1, 3, 4}}, false},
			{"one of three signers is not of the five", rotation{next, 3, []int{0, 2, 4}}, false},
			{"two of the three that are needed", rotation{next, 3, []int{0, 4}}, false},
			{"0, 2 and 4 of five", rotation{five, 3, []int{0, 2, 4}}, true},
			{"0, 4 and 1 of five", rotation{five, 3, []int{0, 4, 1}}, true},
			{"0, 1 and 3 of five", rotation{five, 3, []int{0, 1, 3}}, true},
			{"1, 2 and 3 of five", rotation{five, 3, []int{1, 2, 3}}, true},
			{"2, 3 and 4 of five", rotation{five, 3, []int{2, 3, 4}}, true},
		} {
			t.Run(role+": "+c.name, func(t *testing.T) {
				w := seed.clone(t)
				disk := inmemory.New()
				running := w.source(storedOn(t, disk))
				snap := w.verified(running, nil)
				w.Parties[role] = &party{Keys: pick(ring, c.keys), Threshold: c.threshold, Hands: pick(ring, c.sigs)}
				w.Sign(releases, "latest", 2)
				w.PublishRoot()
				w.Publish()
				copied := copyOf(t, disk)
				for what, look := range map[string]func() (*trustcache.Snapshot, error){
					"running":         func() (*trustcache.Snapshot, error) { return w.fetch(running, snap) },
					"after a restart": func() (*trustcache.Snapshot, error) { return w.fetch(w.source(storedOn(t, copied)), nil) },
				} {
					got, err := look()
					if !c.good {
						wantClass(t, err, trustcache.ErrMalicious)
						continue
					}
					if err != nil {
						t.Fatalf("%s: %v", what, err)
					}
					wantDigest(t, got, "latest", 2)
				}
			})
		}
	}
}

// TestThresholdsAreMet: a verified root, or targets, demands two keys of a role,
// and what comes is not the word of two.
func TestThresholdsAreMet(t *testing.T) {
	start := newWorld(t).Now()
	a, b, stranger := newSigner(t), newSigner(t), newSigner(t)
	twin := func(days int) *signer {
		return a.Certified(t, testGUN, start.AddDate(0, 0, -days), start.AddDate(1, 0, 0))
	}
	twin1, twin2 := twin(1), twin(2)
	var lies []lie
	for _, role := range []string{"targets", releases, "snapshot", "timestamp"} {
		for _, c := range []struct {
			name        string
			threshold   int
			keys, hands []*signer
		}{
			{"signed by one of the two that are needed", 2, []*signer{a, b}, []*signer{a}},
			{"signed twice by one of the two that are needed", 2, []*signer{a, b}, []*signer{a, a}},
			{"signed by one of the two that are needed and a stranger", 2, []*signer{a, b}, []*signer{a, stranger}},
			{"signed by one key in two certificates", 2, []*signer{twin1, twin2}, []*signer{twin1, twin2}},
			{"signed by one key, bare and in a certificate", 2, []*signer{a, twin1}, []*signer{a, twin1}},
			{"signed by all keys where more are needed", 6, []*signer{a, b}, []*signer{a, b}},
		} {
			lies = append(lies, lie{
				name: role + " " + c.name,
				tell: func(w *world, _ map[string][]byte) {
					w.Parties[role] = &party{Keys: c.keys, Threshold: c.threshold, Hands: c.hands}
					w.PublishRoot()
					evil(w, releases)
				},
				cold: trustcache.ErrMalicious, warm: trustcache.ErrMalicious,
				repair: func(w *world) {
					w.Parties[role] = &party{Keys: []*signer{a, b}, Threshold: 2}
					w.PublishRoot()
				},
			})
		}
	}
	testLies(t, lies)
}

// TestEveryKindOfKeySigns, bare or, as root keys always are, in a certificate;
// and a signature of the same kind over something else does not count.
func TestEveryKindOfKeySigns(t *testing.T) {
	start := newWorld(t).Now()
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	must(t, err)
	key := must2(utils.RSAToPrivateKey(private))
	ofRSA := &signer{Private: key, Public: data.PublicKeyFromPrivate(key)}
	ofECDSA := newSigner(t)
	certified := func(s *signer) *signer {
		return s.Certified(t, testGUN, start.AddDate(-1, 0, 0), start.AddDate(10, 0, 0))
	}
	for _, c := range []struct {
		name, role string
		key        *signer
	}{
		{"ecdsa", "targets", ofECDSA}, {"rsa", "targets", ofRSA}, {"ed25519", "targets", newEd25519(t)},
		{"ecdsa-x509", releases, certified(ofECDSA)}, {"rsa-x509", releases, certified(ofRSA)},
		{"ecdsa-x509", "root", certified(ofECDSA)}, {"rsa-x509", "root", certified(ofRSA)},
	} {
		t.Run(c.role+" "+c.name, func(t *testing.T) {
			w, _ := lyingWorld(t)
			s := w.source()
			snap := w.verified(s, nil)
			before := w.Parties[c.role].Keys
			w.Parties[c.role] = &party{Keys: append(slices.Clone(before), c.key), Threshold: 2}
			w.Sign(releases, "latest", 2)
			w.PublishRoot()
			w.Publish()
			snap = w.verified(s, snap)
			wantDigest(t, snap, "latest", 2)

			w.Sign(releases, "latest", 66)
			w.Spoil[c.role] = func(file []byte) []byte {
				return resigned(t, file, c.key, c.key.Sign(t, []byte("something else")))
			}
			w.PublishRoot()
			w.Publish()
			_, err := w.fetch(s, snap)
			wantClass(t, err, trustcache.ErrMalicious)
		})
	}
}

// resigned puts sigs into the place of the signature of s.
func resigned(tb testing.TB, file []byte, s *signer, sigs ...data.Signature) []byte {
	tb.Helper()
	var signed data.Signed
	must(tb, json.Unmarshal(file, &signed))
	others := slices.DeleteFunc(signed.Signatures, func(sig data.Signature) bool { return sig.KeyID == s.Public.ID() })
	return envelope(tb, payloadOf(file), append(others, sigs...))
}

// TestASignatureMoreHarmsNothing: one that is bad beside as many good ones as
// are needed, and a good one that is repeated, as Notary's clients have it.
func TestASignatureMoreHarmsNothing(t *testing.T) {
	for _, role := range []string{"root", "targets", releases, "snapshot", "timestamp"} {
		for name, sigs := range map[string]func(key *signer, good data.Signature) []data.Signature{
			"over something else": func(key *signer, _ data.Signature) []data.Signature {
				return []data.Signature{key.Sign(t, []byte("something else"))}
			},
			"empty": func(_ *signer, good data.Signature) []data.Signature {
				good.Signature = nil
				return []data.Signature{good}
			},
			"of no method": func(_ *signer, good data.Signature) []data.Signature {
				good.Method = "none"
				return []data.Signature{good}
			},
			"repeated": func(_ *signer, good data.Signature) []data.Signature { return []data.Signature{good, good, good} },
		} {
			t.Run(role+": "+name, func(t *testing.T) {
				w := newWorld(t)
				w.Delegate(releases)
				w.Sign(releases, "latest", 1)
				one := w.Parties[role].Keys[0]
				second := newSigner(t)
				if role == "root" {
					second = newRootSigner(t, w.GUN, w.Now())
				}
				w.Parties[role].Keys = []*signer{one, second}
				w.Spoil[role] = func(file []byte) []byte {
					return resigned(t, file, second, sigs(second, second.Sign(t, payloadOf(file)))...)
				}
				w.PublishRoot()
				w.Publish()
				wantDigest(t, w.verified(w.source(), nil), "latest", 1)
			})
		}
	}
}
