package config

import (
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// decoder turns YAML nodes into a Config. It reports what is unknown or of the
// wrong type and goes on, so that the value is complete enough to be validated.
// What is written in keys.go, the table of all keys, is put together from the
// setters below.
type decoder struct {
	*report
	dir string // what relative paths are relative to
}

// setter decodes the value at path into the variable that it was made for. The
// value is never null, except as an element of a list or of a free mapping.
type setter func(path string, n *yaml.Node)

// keys are what a mapping may hold.
type keys map[string]setter

// mapping decodes a mapping whose keys are known. A key without a value counts
// as absent.
func (d *decoder) mapping(path string, n *yaml.Node, known keys) {
	d.entries(path, n, func(at, key string, value *yaml.Node) {
		set, ok := known[key]
		switch {
		case !ok:
			d.add(at, "unknown key: %s", suggestion(key, known))
		case !isNull(value):
			set(at, value)
		}
	})
}

// block is the setter of a mapping whose keys are known.
func (d *decoder) block(known keys) setter {
	return func(path string, n *yaml.Node) { d.mapping(path, n, known) }
}

// entries calls each for every key of a mapping; of a repeated key, which
// plain has reported, for the first only.
func (d *decoder) entries(path string, n *yaml.Node, each func(at, key string, value *yaml.Node)) {
	if n.Kind != yaml.MappingNode {
		d.mistyped(path, n, "a mapping of keys to values")
		return
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if !isText(key) || seen[key.Value] {
			continue // reported by plain
		}
		seen[key.Value] = true
		at := child(path, key.Value)
		d.saw(at, key.Line, isNull(value))
		each(at, key.Value, value)
	}
}

// list decodes a list, calling each for every element.
func (d *decoder) list(path string, n *yaml.Node, of string, each setter) {
	if n.Kind != yaml.SequenceNode {
		d.mistyped(path, n, "a list of "+of)
		return
	}
	for i, item := range n.Content {
		at := element(path, i)
		d.saw(at, item.Line, isNull(item))
		each(at, item)
	}
}

// mistyped reports a value of the wrong kind. It does not repeat the value.
func (d *decoder) mistyped(path string, n *yaml.Node, want string) {
	if n.Kind == yaml.AliasNode {
		return // reported by plain
	}
	d.add(path, "expected %s, got %s", want, describe(n))
}

// scalar is the text of a scalar of one of the given YAML types.
func (d *decoder) scalar(path string, n *yaml.Node, want string, tags ...string) (string, bool) {
	if n.Kind == yaml.ScalarNode && (isText(n) && slices.Contains(tags, "!!str") || slices.Contains(tags, n.Tag)) {
		return n.Value, true
	}
	if n.Kind == yaml.ScalarNode && !isNull(n) && slices.Contains(tags, "!!str") {
		want += " (in quotes, if this one is meant)"
	}
	d.mistyped(path, n, want)
	return "", false
}

// parsed is the setter of what a function reads from a string (or, where the
// type allows, from a number).
func parsed[T any](d *decoder, dst *T, want string, parse func(string) (T, error), tags ...string) setter {
	return func(path string, n *yaml.Node) {
		s, ok := d.scalar(path, n, want, append(tags, "!!str")...)
		if !ok {
			return
		}
		v, err := parse(s)
		if err != nil {
			d.add(path, "%s", err)
			return
		}
		*dst = v
	}
}

func (d *decoder) text(dst *string) setter {
	return parsed(d, dst, "a string", func(s string) (string, error) { return s, nil })
}

// path is the setter of a file's path, which comes out absolute. Empty stays
// empty.
func (d *decoder) path(dst *string) setter {
	return parsed(d, dst, "the path of a file", func(s string) (string, error) {
		if s == "" || filepath.IsAbs(s) {
			return s, nil
		}
		return filepath.Join(d.dir, s), nil
	})
}

func (d *decoder) duration(dst *time.Duration) setter {
	return parsed(d, dst, "a duration such as 30s, 5m or 24h", parseDuration, "!!int", "!!float")
}

func (d *decoder) size(dst *int64) setter {
	return parsed(d, dst, "a size such as 1048576, 64KiB or 1MiB", parseSize, "!!int", "!!float")
}

func (d *decoder) flag(dst *bool) setter {
	return func(path string, n *yaml.Node) {
		if s, ok := d.scalar(path, n, "true or false", "!!bool"); ok {
			*dst = strings.EqualFold(s, "true")
		}
	}
}

func (d *decoder) count(dst *int) setter {
	return func(path string, n *yaml.Node) {
		s, ok := d.scalar(path, n, "a whole number", "!!int", "!!float")
		if !ok {
			return
		}
		// Not 010, which some take for eight, nor 0x10 or 1_000.
		v, err := strconv.Atoi(s)
		if err != nil || strconv.Itoa(v) != s {
			d.add(path, "%s is not a whole number in plain digits", quote(s))
			return
		}
		*dst = v
	}
}

// word is the setter of one of a few words.
func word[T ~string](d *decoder, dst *T, words ...T) setter {
	want := joined(words)
	return parsed(d, dst, want, func(s string) (T, error) {
		if !slices.Contains(words, T(s)) {
			return "", fmt.Errorf("expected %s, got %s", want, quote(s))
		}
		return T(s), nil
	})
}

// joined prints words for a message: a, b or c.
func joined[T ~string](words []T) string {
	var b strings.Builder
	for i, w := range words {
		switch {
		case i > 0 && i == len(words)-1:
			b.WriteString(" or ")
		case i > 0:
			b.WriteString(", ")
		}
		b.WriteString(string(w))
	}
	return b.String()
}

func (d *decoder) texts(dst *[]string) setter {
	return listOf(d, dst, "strings", d.text)
}

// listOf is the setter of a list whose elements one kind of setter decodes.
func listOf[T any](d *decoder, dst *[]T, of string, each func(*T) setter) setter {
	return func(path string, n *yaml.Node) {
		values := make([]T, 0, len(n.Content))
		d.list(path, n, of, func(at string, item *yaml.Node) {
			var v T
			each(&v)(at, item)
			values = append(values, v)
		})
		*dst = values
	}
}

// mapOf is the setter of a mapping whose keys are the file's own, such as
// patterns. A key without a value is not absent here but has the empty one.
func mapOf[T any](d *decoder, dst *map[string]T, each func(*T) setter) setter {
	return func(path string, n *yaml.Node) {
		values := map[string]T{}
		d.entries(path, n, func(at, key string, value *yaml.Node) {
			var v T
			if !isNull(value) {
				each(&v)(at, value)
			}
			values[key] = v
		})
		*dst = values
	}
}

// parseDuration reads a duration with its unit. Only 0 needs none.
func parseDuration(s string) (time.Duration, error) {
	t, err := time.ParseDuration(s)
	if err != nil {
		return 0, fmt.Errorf("%s is not a duration: write a number with its unit (ms, s, m or h), such as 30s, 5m or 24h", quote(s))
	}
	return t, nil
}

// suggestion names the known key that was probably meant or, where none is
// near, all of them.
func suggestion(key string, known keys) string {
	names := make([]string, 0, len(known))
	for name := range known {
		names = append(names, name)
	}
	slices.Sort(names)
	best, distance := "", 3
	for _, name := range names {
		if far := editDistance(simplified(key), simplified(name)); far < min(distance, len(name)/2+1) {
			best, distance = name, far
		}
	}
	switch {
	case best != "":
		return fmt.Sprintf("did you mean %q?", best)
	case len(names) == 0:
		return "this mapping takes no keys"
	}
	return "the keys here are " + strings.Join(names, ", ")
}

// simplified is a key without what people vary: case, dashes, underscores.
func simplified(key string) string {
	return strings.NewReplacer("-", "", "_", "").Replace(strings.ToLower(key))
}

// editDistance counts the letters to change, add or drop to turn a into b; for
// lengths too different to be near, the difference will do.
func editDistance(a, b string) int {
	if d := max(len(a)-len(b), len(b)-len(a)); d > 2 {
		return d
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range a {
		diagonal := row[0]
		row[0] = i + 1
		for j := range b {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
