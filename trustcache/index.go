package trustcache

import (
	"hash/maphash"
	"math/bits"
)

// index finds the place of a tag in a sorted list of many in one or two looks,
// where a binary search over 10,000 takes fourteen. It costs five bytes a tag:
// open addressing with linear probing over four fifths of its slots.
type index struct {
	seed  maphash.Seed
	slots []uint32 // place in the list plus one; zero is free
}

// fewTags is how many a binary search is as quick for.
const fewTags = 32

// newIndex returns nil for few tags: they have to be searched for.
func newIndex(tags []string) *index {
	if len(tags) <= fewTags {
		return nil
	}
	x := &index{seed: maphash.MakeSeed(), slots: make([]uint32, len(tags)+len(tags)/4)}
	for i, tag := range tags {
		slot := x.home(tag)
		for x.slots[slot] != 0 {
			slot = x.next(slot)
		}
		x.slots[slot] = uint32(i) + 1
	}
	return x
}

// find looks for tag in the list that the index was made from.
func (x *index) find(tags []string, tag string) (place int, found bool) {
	for slot := x.home(tag); x.slots[slot] != 0; slot = x.next(slot) {
		if place := int(x.slots[slot]) - 1; tags[place] == tag {
			return place, true
		}
	}
	return 0, false
}

// home is the slot where the search for a tag begins.
func (x *index) home(tag string) int {
	slot, _ := bits.Mul64(maphash.String(x.seed, tag), uint64(len(x.slots)))
	return int(slot)
}

func (x *index) next(slot int) int {
	if slot++; slot < len(x.slots) {
		return slot
	}
	return 0
}

// size is its memory in bytes.
func (x *index) size() int64 {
	if x == nil {
		return 0
	}
	return int64(4*len(x.slots)) + 40
}
