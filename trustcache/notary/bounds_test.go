package notary_test

import (
	"bytes"
	"context"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sealgate/sealgate/trustcache"
	"github.com/theupdateframework/notary/tuf/data"
)

// quickly runs one first look and fails when it takes more processor time than
// any honest one could: a hostile file costs no more than reading it.
func quickly(t *testing.T, w *world) error {
	t.Helper()
	before := processorTime(t)
	ended := make(chan error, 1)
	go func() {
		_, err := w.source().Fetch(context.Background(), w.GUN, nil)
		ended <- err
	}()
	select {
	case err := <-ended:
		if took := processorTime(t) - before; took > 5*time.Second {
			t.Errorf("took %s", took)
		}
		return err
	case <-time.After(time.Minute):
		t.Fatal("still busy after a minute")
		return nil
	}
}

// processorTime is what this process has used. Other processes do not matter.
func processorTime(t *testing.T) time.Duration {
	t.Helper()
	var used syscall.Rusage
	must(t, syscall.Getrusage(syscall.RUSAGE_SELF, &used))
	return time.Duration(used.Utime.Nano())
}

// hugeRSA is a public key of that many bits that nobody has a private key to.
func hugeRSA(t *testing.T, bits int) []byte {
	t.Helper()
	n := new(big.Int).Lsh(big.NewInt(1), uint(bits)-1)
	n.Add(n, big.NewInt(12345))
	der, err := x509.MarshalPKIXPublicKey(&rsa.PublicKey{N: n, E: 1<<31 - 1})
	must(t, err)
	return der
}

func TestAKeyOfAMillionBitsCostsNothing(t *testing.T) {
	w := newWorld(t)
	key := data.NewPublicKey(data.RSAKey, hugeRSA(t, 1<<20))
	sig := make([]byte, 1<<20/8)
	w.Parties["timestamp"].Keys = []*signer{{Private: w.Parties["timestamp"].Keys[0].Private, Public: key}}
	w.Parties["targets"].Keys = w.Parties["timestamp"].Keys
	w.PublishRoot()
	w.Spoil["targets"] = func(file []byte) []byte {
		var sigs []data.Signature
		for range 20 {
			sigs = append(sigs, data.Signature{KeyID: key.ID(), Method: data.RSAPSSSignature, Signature: sig})
		}
		return envelope(t, payloadOf(file), sigs)
	}
	w.Parties["timestamp"].Keys = w.Parties["snapshot"].Keys
	w.PublishRoot()
	w.Publish()
	wantClass(t, quickly(t, w), trustcache.ErrMalicious)
}

func TestAKeyNamedOverAndOverIsReadOnce(t *testing.T) {
	w := newWorld(t)
	cert, _ := pem.Decode(w.Parties["root"].Keys[0].Public.Public())
	one := pem.EncodeToMemory(cert)
	bundle := bytes.Repeat(one, 300<<10/len(one))
	key := data.NewPublicKey(data.ECDSAx509Key, bundle)
	w.Edit["root"] = func(p []byte) []byte {
		id := w.Parties["targets"].Keys[0].Public.ID()
		ids := strings.Repeat(fmt.Sprintf("%q,", key.ID()), 5000)
		p = bytes.Replace(p, []byte(fmt.Sprintf(`"keyids":[%q]`, id)), []byte(fmt.Sprintf(`"keyids":[%s%q]`, ids, id)), 1)
		return bytes.Replace(p, []byte(`"keys":{`), slices.Concat([]byte(fmt.Sprintf(`"keys":{%q:`, key.ID())), jsonOf(t, key), []byte(",")), 1)
	}
	w.PublishRoot()
	w.Publish()
	if len(w.Raw["root"]) > 1<<20 {
		t.Fatal(len(w.Raw["root"]))
	}
	quickly(t, w)
}

func TestAKeyNamedByManyDelegationsIsReadOnce(t *testing.T) {
	w := newWorld(t)
	cert, _ := pem.Decode(w.Parties["root"].Keys[0].Public.Public())
	one := pem.EncodeToMemory(cert)
	key := data.NewPublicKey(data.ECDSAx509Key, bytes.Repeat(one, 4<<20/len(one)))
	var roles strings.Builder
	for i := range 900 {
		fmt.Fprintf(&roles, `{"keyids":[%q],"name":"targets/r%d","paths":[],"threshold":1},`, key.ID(), i)
	}
	delegations := fmt.Sprintf(`{"keys":{%q:%s},"roles":[%s]}`, key.ID(), jsonOf(t, key), strings.TrimSuffix(roles.String(), ","))
	w.Edit["targets"] = func(p []byte) []byte { return replaceDelegations(p, delegations) }
	w.Publish()
	must(t, quickly(t, w))
}

func TestTensOfThousandsOfDelegationsCostNothing(t *testing.T) {
	w := newWorld(t)
	var roles strings.Builder
	for i := range 60_000 {
		fmt.Fprintf(&roles, `{"keyids":[],"name":"targets/r%06d","paths":[],"threshold":1},`, i)
	}
	w.Edit["targets"] = func(p []byte) []byte {
		return replaceDelegations(p, `{"keys":{},"roles":[`+strings.TrimSuffix(roles.String(), ",")+`]}`)
	}
	w.Publish()
	wantClass(t, quickly(t, w), trustcache.ErrMalicious)
}

func TestManyPathsTimesManyPathsCostNothing(t *testing.T) {
	w := newWorld(t)
	w.Delegate(releases, manyPaths("a", 60_000)...)
	w.Delegate(releases+"/ci", manyPaths("b", 60_000)...)
	w.Publish()
	must(t, quickly(t, w))
}

func TestManyTagsTimesManyPathsCostNothing(t *testing.T) {
	w := newWorld(t)
	w.Delegate(releases, manyPaths("a", 200_000)...)
	for i := range 20_000 {
		w.Sign(releases, fmt.Sprintf("v%d", i), i)
	}
	w.Publish()
	must(t, quickly(t, w))
}

func manyPaths(first string, n int) []string {
	paths := make([]string, n)
	for i := range paths {
		paths[i] = fmt.Sprintf("%s%06d", first, i)
	}
	return paths
}

// TestSignaturesAreNotReadBeforeTheyAreCounted: eight megabytes of them would
// be half a gigabyte of slices.
func TestSignaturesAreNotReadBeforeTheyAreCounted(t *testing.T) {
	w := newWorld(t)
	w.Spoil["targets"] = func(file []byte) []byte {
		return slices.Concat(signedPart(file), []byte(`,"signatures":[`), bytes.Repeat([]byte("0,"), 4<<20-2000), []byte("0]}"))
	}
	w.Publish()
	var err error
	grown := allocated(func() { _, err = w.fetch(w.source(), nil) })
	wantClass(t, err, trustcache.ErrMalicious)
	if grown > 64<<20 {
		t.Errorf("%d bytes allocated", grown)
	}
}

func allocated(by func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	by()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// TestOversizeCostsNoMoreThanTheLimit: what is promised allocates nothing,
// what comes is given up at the limit.
func TestOversizeCostsNoMoreThanTheLimit(t *testing.T) {
	w, _ := lyingWorld(t)
	meta := w.Meta("targets")
	meta.Length = 1 << 40
	w.Declare["targets"] = meta
	w.PublishSnapshot()
	s := w.source()
	grown := allocated(func() {
		_, err := w.fetch(s, nil)
		wantClass(t, err, trustcache.ErrMalicious)
		w.Answer = func(string) *reply { return &reply{Status: 200, Body: endless('[')} }
		_, err = w.fetch(s, nil)
		wantClass(t, err, trustcache.ErrMalicious)
	})
	if grown > 12<<20 {
		t.Errorf("%d bytes allocated", grown)
	}
}

// TestSizeCountsWhatIsKeptForTheNextUpdate: the cache's budget is in these
// numbers.
func TestSizeCountsWhatIsKeptForTheNextUpdate(t *testing.T) {
	w := worldOf(t, 10_000)
	var kept []*trustcache.Snapshot
	look := func() uint64 {
		kept = append(kept, w.verified(w.source(), nil))
		w.Asked()
		return heap()
	}
	look()
	before := look()
	look()
	measured := int64(look()-before) / 2
	size := kept[0].Size()
	runtime.KeepAlive(kept)
	runtime.KeepAlive(w)
	t.Logf("estimated %d bytes, measured %d", size, measured)
	if size > 2*measured || measured > 2*size || size > 2_000_000 || measured > 2_500_000 {
		t.Errorf("estimated %d bytes, measured %d", size, measured)
	}
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
