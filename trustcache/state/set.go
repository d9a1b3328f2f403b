package state

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"unicode/utf8"
)

// Bounds of what is stored. A set of a root and an anchor of 1 MiB each and of
// 1,000 roles has about 3 MiB.
const (
	maxSet    = 16 << 20 // bytes of one set
	maxStored = 64 << 20 // bytes of all sets of a GUN
)

// set is one immutable object: a whole state, and when it was written.
type set struct {
	name  setName
	state *State // canonical
	size  int64  // bytes stored
}

// format is the version of the encoding: a line of JSON for the head and one
// for each floor, so that no reader ever holds more than it was given.
const format = 1

type headLine struct {
	Format   int    `json:"format"`
	GUN      string `json:"gun"`
	Epoch    uint64 `json:"epoch"`
	Sequence uint64 `json:"sequence"`
	Root     []byte `json:"root"`
	Anchor   []byte `json:"anchor,omitempty"`
}

type floorLine struct {
	Role    string   `json:"role"`
	Version int      `json:"version"`
	Payload string   `json:"payload"`
	Signers []string `json:"signers"`
}

// newSet encodes a canonical state. It refuses what would not be read back
// the same.
func newSet(gun string, sequence uint64, s *State) (*set, []byte, error) {
	if err := checkText(gun, s); err != nil {
		return nil, nil, err
	}
	raw := encode(gun, sequence, s)
	sum := sha256.Sum256(raw)
	name := setName{epoch: s.Epoch, sequence: sequence, hash: hex.EncodeToString(sum[:])}
	made, err := readSet(gun, name, raw)
	return made, raw, err
}

// checkText refuses what JSON would replace by something else.
func checkText(gun string, s *State) error {
	texts := []string{gun}
	for role, floors := range s.Floors {
		texts = append(texts, role)
		for _, f := range floors {
			texts = append(texts, f.Signers...)
		}
	}
	for _, text := range texts {
		if !utf8.ValidString(text) {
			return fmt.Errorf("%q is not UTF-8", text)
		}
	}
	return nil
}

func encode(gun string, sequence uint64, s *State) []byte {
	var b bytes.Buffer
	lines := json.NewEncoder(&b) // to a buffer, of types that always encode: no errors
	_ = lines.Encode(headLine{Format: format, GUN: gun, Epoch: s.Epoch, Sequence: sequence, Root: s.Root, Anchor: s.Anchor})
	for _, role := range slices.Sorted(maps.Keys(s.Floors)) {
		for _, f := range s.Floors[role] {
			_ = lines.Encode(floorLine{Role: role, Version: f.Version, Payload: hex.EncodeToString(f.Payload[:]), Signers: f.Signers})
		}
	}
	return b.Bytes()
}

// readSet decodes what is stored under a name. It accepts nothing but what
// encode makes, of this GUN, for this name.
func readSet(gun string, name setName, raw []byte) (*set, error) {
	if len(raw) > maxSet {
		return nil, fmt.Errorf("%d bytes where %d are the most", len(raw), maxSet)
	}
	if sum := sha256.Sum256(raw); hex.EncodeToString(sum[:]) != name.hash {
		return nil, fmt.Errorf("its %d bytes are not those that were written", len(raw))
	}
	lines := json.NewDecoder(bytes.NewReader(raw))
	var head headLine
	if err := lines.Decode(&head); err != nil {
		return nil, err
	}
	if head.Format != format {
		return nil, fmt.Errorf("of format %d where %d is expected: another version of sealgate wrote it", head.Format, format)
	}
	if head.GUN != gun {
		return nil, fmt.Errorf("it is of %q", head.GUN)
	}
	floors, err := readFloors(lines)
	if err != nil {
		return nil, err
	}
	s := canonical(&State{Epoch: head.Epoch, Root: head.Root, Anchor: head.Anchor, Floors: floors})
	if head.Epoch != name.epoch || head.Sequence != name.sequence || !bytes.Equal(encode(gun, head.Sequence, s), raw) {
		return nil, errors.New("not in the form in which sets are written")
	}
	return &set{name: name, state: s, size: int64(len(raw))}, check(s)
}

func readFloors(lines *json.Decoder) (map[string][]Floor, error) {
	floors := map[string][]Floor{}
	for {
		var line floorLine
		err := lines.Decode(&line)
		if errors.Is(err, io.EOF) {
			return floors, nil
		}
		if err != nil {
			return nil, err
		}
		f := Floor{Signers: line.Signers, Version: line.Version}
		if payload, err := hex.DecodeString(line.Payload); err != nil || copy(f.Payload[:], payload) != len(f.Payload) {
			return nil, fmt.Errorf("payload %.80q is no sha256", line.Payload)
		}
		floors[line.Role] = append(floors[line.Role], f)
	}
}
