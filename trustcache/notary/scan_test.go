package notary

import (
	"bytes"
	"encoding/json"
	"io"
	"strings"
	"testing"
)

func TestScanCapsNesting(t *testing.T) {
	nest := func(open, shut string, n int) string { return strings.Repeat(open, n) + "1" + strings.Repeat(shut, n) }
	for _, c := range []struct {
		name, text string
		good       bool
	}{
		{"as deep as allowed", `{"a":` + nest("[", "]", 7) + `}`, true},
		{"one too deep", `{"a":` + nest("[", "]", 8) + `}`, false},
		{"objects as deep as allowed", nest(`{"a":`, "}", 8), true},
		{"objects one too deep", nest(`{"a":`, "}", 9), false},
		{"brackets in a string", `{"a":"` + strings.Repeat("[", 100) + `"}`, true},
		{"brackets in a key", `{"` + strings.Repeat("{", 100) + `":1}`, true},
		{"an escaped quote before brackets in a string", `{"a":"\"` + strings.Repeat("[", 100) + `"}`, true},
		{"an escaped backslash ends no string", `{"a":"\\\"` + strings.Repeat("[", 100) + `"}`, true},
		{"an escaped backslash, then the end, then deep", `{"a":"\\",` + `"b":` + nest("[", "]", 8) + `}`, false},
		{"a quote written as its number", `{"a":"\u0022` + strings.Repeat("[", 100) + `"}`, true},
		{"deep after many shallow ones", `{"a":[` + strings.Repeat("[],", 100) + nest("[", "]", 7) + `]}`, false},
		{"many shallow ones", `{"a":[` + strings.Repeat("[],", 100) + `1]}`, true},
		{"nothing", ``, false},
		{"a list", `[]`, false},
		{"a space first", ` {}`, false},
		{"a string without an end", `{"a":"`, false},
		{"a string that ends in a backslash", `{"a":"\`, false},
		{"an object without an end", `{`, false},
		{"one bracket too many", `{}}`, false},
		{"brackets that close first", `{}]]]][[[[`, false},
		{"seven megabytes of [", `{"a":` + strings.Repeat("[", 7<<20), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := scan([]byte(c.text), 8); (err == nil) != c.good {
				t.Errorf("scan says %v", err)
			}
		})
	}
}

func TestScanAllocatesNothing(t *testing.T) {
	text := []byte(`{"a":[` + strings.Repeat(`{"b":"c\"d"},`, 1000) + `1]}`)
	if n := testing.AllocsPerRun(10, func() {
		if err := scan(text, 8); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// depthOf measures nesting with encoding/json's tokens up to the first error.
func depthOf(raw []byte) (deepest int, err error) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	level := 0
	for {
		token, err := dec.Token()
		if err == io.EOF {
			return deepest, nil
		}
		if err != nil {
			return deepest, err
		}
		switch token {
		case json.Delim('{'), json.Delim('['):
			level++
			deepest = max(deepest, level)
		case json.Delim('}'), json.Delim(']'):
			level--
		}
	}
}

// FuzzScan: what scan accepts never nests deeper than the limit, and valid
// JSON objects within the limit are accepted.
func FuzzScan(f *testing.F) {
	for _, seed := range []string{
		`{}`, `{"a":[[[[[[[1]]]]]]]}`, `{"a":[[[[[[[[1]]]]]]]]}`, `{"a":"\"[[[[[[[[[["}`, `{"\\":{"b":"]"}}`, `{"a":"`, `{}]]]][[[[`, `{]`,
		`{"signed":{"_type":"Root"},"signatures":[{"keyid":"a","method":"ecdsa","sig":"AAAA"}]}`, `[]`, ` {}`, `{"a":"\u005c"}`, "{\"\xff\":[]}",
	} {
		f.Add([]byte(seed))
	}
	const limit = 8
	f.Fuzz(func(t *testing.T, raw []byte) {
		err := scan(raw, limit)
		deepest, syntax := depthOf(raw)
		if err == nil && deepest > limit {
			t.Errorf("accepted with nesting %d", deepest)
		}
		if err != nil && len(raw) > 0 && raw[0] == '{' && json.Valid(raw) && syntax == nil && deepest <= limit {
			t.Errorf("valid, nested %d deep, and refused: %v", deepest, err)
		}
	})
}
