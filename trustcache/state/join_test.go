package state

import (
	"math/rand/v2"
	"reflect"
	"testing"
)

// randomState is one of few, so that they often agree in part.
func randomState(r *rand.Rand) *State {
	s := &State{Floors: map[string][]Floor{}}
	for _, role := range []string{rootRole, "timestamp", "targets"} {
		for range 1 + r.IntN(3) {
			f := Floor{Version: 1 + r.IntN(3), Signers: [][]string{{"a"}, {"b"}, {"b", "a"}, {"a", "a"}}[r.IntN(4)]}
			f.Payload[0] = byte(r.IntN(2))
			s.Floors[role] = append(s.Floors[role], f)
		}
	}
	s.Root = []byte{byte(r.IntN(2))}
	s.Anchor = [][]byte{nil, {7}, {8}}[r.IntN(3)]
	return canonical(s)
}

// TestJoin is that of a semilattice, so that the order in which processes write
// and read does not matter, and takes nothing away.
func TestJoin(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	same := func(what string, a, b *State) {
		t.Helper()
		if !reflect.DeepEqual(a, b) || !equal(a, b) {
			t.Fatalf("%s:\n%+v\n%+v", what, a, b)
		}
	}
	for range 500 {
		a, b, c := randomState(r), randomState(r), randomState(r)
		ab := join(a, b)
		same("canonical", ab, canonical(ab))
		same("idempotent", join(a, a), a)
		same("commutative", ab, join(b, a))
		same("associative", join(ab, c), join(a, join(b, c)))
		same("absorbing", join(ab, a), ab)
		if !covers(ab, a, b) {
			t.Fatalf("%+v does not cover\n%+v", ab, a)
		}
		if covers(a, b) != equal(ab, a) {
			t.Fatalf("%+v covers\n%+v", a, b)
		}
		for _, s := range []*State{a, b} {
			if err := lowered(s, ab); err != nil {
				t.Fatal(err)
			}
			for role, floors := range s.Floors {
				for _, f := range floors {
					wantFloor(t, ab.Floors[role], f)
				}
			}
		}
	}
}

// wantFloor looks for f or a higher one of its signers.
func wantFloor(t *testing.T, floors []Floor, f Floor) {
	t.Helper()
	for _, g := range floors {
		if reflect.DeepEqual(f, g) || reflect.DeepEqual(f.Signers, g.Signers) && g.Version > f.Version {
			return
		}
	}
	t.Fatalf("%+v is not in %+v", f, floors)
}
