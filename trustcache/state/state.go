package state

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"slices"
)

// Floor is the newest version of a role that was accepted with certain signers.
type Floor struct {
	Signers []string // canonical key IDs; order and repetition mean nothing
	Version int
	Payload [sha256.Size]byte // of the signed part
}

// State is what is remembered of a GUN. Those who get one or hand one in do
// not modify it afterwards.
type State struct {
	// Epoch is how often the GUN has been forgotten. Load sets it, and Save
	// looks at that of what was loaded.
	Epoch uint64
	// Root is the newest verified root; empty in what Load returns of a GUN
	// that was forgotten and not seen since.
	Root []byte
	// Anchor is the root that Root descends from and that pins or a first use
	// accepted; nil where it is Root itself.
	Anchor []byte
	// Floors are those of every role, the newest first. The newest of "root"
	// is that of Root.
	Floors map[string][]Floor
}

// rootRole is the role of Root.
const rootRole = "root"

// canonical returns s in the one form in which equal states are equal.
func canonical(s *State) *State {
	c := &State{Epoch: s.Epoch, Root: s.Root, Floors: make(map[string][]Floor, len(s.Floors))}
	if len(s.Anchor) > 0 && !bytes.Equal(s.Anchor, s.Root) {
		c.Anchor = s.Anchor
	}
	for role, floors := range s.Floors {
		if len(floors) > 0 {
			c.Floors[role] = highest(floors)
		}
	}
	return c
}

// highest keeps the highest floor for each set of signers, the newest first.
// Two of one version and different payload both stay: whoever checks against
// them then refuses either, until there is a newer version.
func highest(floors []Floor) []Floor {
	sorted := make([]Floor, len(floors))
	for i, f := range floors {
		f.Signers = slices.Compact(slices.Sorted(slices.Values(f.Signers)))
		sorted[i] = f
	}
	slices.SortFunc(sorted, func(a, b Floor) int {
		return cmp.Or(cmp.Compare(b.Version, a.Version), slices.Compare(a.Signers, b.Signers), bytes.Compare(a.Payload[:], b.Payload[:]))
	})
	tops := make(map[string]int, 1) // signers → their highest version, which comes first
	kept := sorted[:0]
	for i, f := range sorted {
		signers := fmt.Sprintf("%q", f.Signers)
		version, met := tops[signers]
		switch {
		case !met:
			tops[signers] = f.Version
		case f.Version < version || equalFloors(f, kept[len(kept)-1]):
			continue
		}
		kept = append(kept, sorted[i])
	}
	return slices.Clip(kept)
}

// join returns what all of the canonical states say together; nil where there
// is none. All are of one epoch.
func join(states ...*State) *State {
	switch len(states) {
	case 0:
		return nil
	case 1:
		return states[0]
	}
	best := slices.MinFunc(states, preferRoot)
	all := &State{Epoch: best.Epoch, Root: best.Root, Anchor: best.Anchor, Floors: map[string][]Floor{}}
	for _, s := range states {
		for role, floors := range s.Floors {
			all.Floors[role] = append(all.Floors[role], floors...)
		}
	}
	for role, floors := range all.Floors {
		all.Floors[role] = highest(floors)
	}
	return all
}

// preferRoot orders states by whose root and anchor, which belong together,
// count: the highest version. Of one version, an anchor that is another root
// wins over the root itself, for the root can be judged by pins without it but
// not the other way round; what remains is settled the same way everywhere.
func preferRoot(a, b *State) int {
	return cmp.Or(
		cmp.Compare(rootVersion(b), rootVersion(a)),
		cmp.Compare(min(len(b.Anchor), 1), min(len(a.Anchor), 1)),
		bytes.Compare(a.Anchor, b.Anchor),
		bytes.Compare(a.Root, b.Root),
	)
}

// rootVersion is the version of the root of a canonical state, -1 without one.
func rootVersion(s *State) int {
	if floors := s.Floors[rootRole]; len(floors) > 0 {
		return floors[0].Version
	}
	return -1
}

// check says what makes a canonical state unusable.
func check(s *State) error {
	floors := s.Floors[rootRole]
	if len(s.Root) == 0 || len(floors) == 0 {
		return errors.New("no root with its version in it")
	}
	// Verified and yet different: the keys of the root, or a first use, were
	// played false. Which of the two is right only the publisher can say.
	for _, f := range floors[1:] {
		if f.Version == floors[0].Version && f.Payload != floors[0].Payload {
			return fmt.Errorf("two different roots of version %d were accepted", f.Version)
		}
	}
	return nil
}

// covers says whether the canonical states hold nothing that old does not say.
func covers(old *State, states ...*State) bool {
	return equal(join(append(states, old)...), old)
}

// lowered says which role next takes back without leave: no rotation of keys
// lets a version go back whose signers remain the same.
func lowered(old, next *State) error {
	if rootVersion(next) < rootVersion(old) {
		return fmt.Errorf("the root would go back from version %d to %d", rootVersion(old), rootVersion(next))
	}
	for role, floors := range next.Floors {
		for _, f := range floors {
			for _, before := range old.Floors[role] {
				if f.Version < before.Version && slices.Equal(f.Signers, before.Signers) {
					return fmt.Errorf("the floor of %q would go back from version %d to %d", role, before.Version, f.Version)
				}
			}
		}
	}
	return nil
}

// equal compares what two canonical states say.
func equal(a, b *State) bool {
	return bytes.Equal(a.Root, b.Root) && bytes.Equal(a.Anchor, b.Anchor) &&
		maps.EqualFunc(a.Floors, b.Floors, func(x, y []Floor) bool { return slices.EqualFunc(x, y, equalFloors) })
}

func equalFloors(a, b Floor) bool {
	return a.Version == b.Version && a.Payload == b.Payload && slices.Equal(a.Signers, b.Signers)
}
