package state_test

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"testing"

	"github.com/distribution/distribution/v3/registry/storage/driver/inmemory"
	"github.com/sealgate/sealgate/trustcache/state"
)

// setPath is where a set with these bytes belongs.
func setPath(epoch, sequence int, raw string) string {
	return fmt.Sprintf("%s/%x/%016x-%016x-%x", setsTop, sha256.Sum256([]byte(testGUN)), epoch, sequence, sha256.Sum256([]byte(raw)))
}

// FuzzStored puts bytes under the very name that they should have, beside a
// good set: whatever they are, what the good one says holds or nothing does.
func FuzzStored(f *testing.F) {
	full := at("timestamp", 6, "targets", 2)
	full.Anchor = []byte("anchor")
	full.Floors["targets"] = append(full.Floors["targets"], floor("targets", 1, "k", "l"))
	good := saved(f, at("timestamp", 5))
	for _, s := range []*state.State{at(), full} {
		for _, raw := range objects(f, saved(f, s), setsTop) {
			f.Add(raw)
		}
	}
	f.Add(`{"format":1,"gun":"` + testGUN + `","epoch":0,"sequence":1,"root":"cg=="}` + "\n" + `{"role":"root","version":-1,"payload":"","signers":null}`)
	f.Add(`{"format":2}`)
	f.Add(`null`)
	kept := objects(f, good, setsTop, indexTop)
	f.Fuzz(func(t *testing.T, raw string) {
		d := inmemory.New()
		put(t, d, kept)
		put(t, d, map[string]string{setPath(0, 1, raw): raw})
		got, err := open(d).Load(t.Context(), testGUN)
		if err != nil {
			if !errors.Is(err, state.ErrDamaged) {
				t.Error(err)
			}
			return
		}
		if newest(got, "timestamp") < 5 || newest(got, "root") < 1 || got.Root == nil {
			t.Errorf("loaded %+v", got)
		}
		must(t, open(d).Save(t.Context(), testGUN, got, got))
		wantObjects(t, d, 1, "-known")
	})
}
