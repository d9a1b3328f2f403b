package notary

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/theupdateframework/notary/tuf/data"
)

// envelope is a metadata file taken apart and not yet believed.
type envelope struct {
	Signed     json.RawMessage
	Signatures []data.Signature
}

// openEnvelope takes a metadata file apart after capping its nesting and its
// signatures. The canonical-JSON package of the TUF library recurses without
// bound, so nothing deeper than the limit may reach it; its own signature type
// is only decoded once their number is known to be small.
func (s *Source) openEnvelope(raw []byte) (*envelope, error) {
	if err := scan(raw, s.opts.Limits.Depth); err != nil {
		return nil, err
	}
	var outer struct {
		Signed     json.RawMessage `json:"signed"`
		Signatures json.RawMessage `json:"signatures"`
	}
	if err := json.Unmarshal(raw, &outer); err != nil {
		return nil, fmt.Errorf("not a signed file: %w", err)
	}
	if len(outer.Signed) == 0 || outer.Signed[0] != '{' {
		return nil, errors.New(`not a signed file: no object "signed"`)
	}
	signatures, err := readSignatures(outer.Signatures, s.opts.Limits.Signatures)
	return &envelope{Signed: outer.Signed, Signatures: signatures}, err
}

// readSignatures reads them one by one: decoded at once, millions of empty
// ones would take fifty times the memory of the file.
func readSignatures(list json.RawMessage, most int) ([]data.Signature, error) {
	dec := json.NewDecoder(bytes.NewReader(list))
	if start, err := dec.Token(); err != nil || start != json.Delim('[') {
		return nil, errors.New(`not a signed file: no list "signatures"`)
	}
	var signatures []data.Signature
	for dec.More() {
		if len(signatures) == most {
			return nil, fmt.Errorf("more than %d signatures", most)
		}
		var sig data.Signature
		if err := dec.Decode(&sig); err != nil {
			return nil, fmt.Errorf("malformed signature: %w", err)
		}
		signatures = append(signatures, sig)
	}
	return signatures, nil
}

// scan checks in one pass, without recursion and without allocating, that raw
// is one JSON object nested at most depth deep. It leaves the finer points of
// the syntax to encoding/json, which has a bound of its own.
func scan(raw []byte, depth int) error {
	if len(raw) == 0 || raw[0] != '{' {
		return errors.New("not a JSON object")
	}
	level := 0
	for i := 0; i < len(raw); i++ {
		switch raw[i] {
		case '"':
			end := stringEnd(raw, i)
			if end < 0 {
				return errors.New("JSON string without an end")
			}
			i = end
		case '{', '[':
			if level++; level > depth {
				return fmt.Errorf("JSON nested deeper than %d", depth)
			}
		case '}', ']':
			if level--; level < 0 {
				return errors.New("JSON brackets do not match")
			}
		}
	}
	if level != 0 {
		return errors.New("JSON brackets do not match")
	}
	return nil
}

// stringEnd returns the index of the quote that ends the string starting at i.
func stringEnd(raw []byte, i int) int {
	for i++; i < len(raw); i++ {
		switch raw[i] {
		case '\\':
			i++
		case '"':
			return i
		}
	}
	return -1
}
