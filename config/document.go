package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// Bounds of a file. A real one has a few hundred lines and seven levels.
const (
	maxFile  = 1 << 20
	maxDepth = 32
)

// document reads data as one YAML document and returns its root, which is nil
// where a problem was found that leaves nothing to decode. Only the plain part
// of YAML is let through: what JSON can say, in YAML's notation.
func (r *report) document(data []byte) *yaml.Node {
	if len(data) > maxFile {
		r.addAt(1, "", "the file is larger than %s, which no configuration is", formatSize(maxFile))
		return nil
	}
	if line, ok := badText(data); !ok {
		r.addAt(line, "", "expected UTF-8 text without control characters")
		return nil
	}
	if json.Valid(data) {
		// YAML 1.2 has this escape of JSON's, but the library does not.
		data = escape.ReplaceAllFunc(data, func(e []byte) []byte {
			if e[1] == '/' {
				return e[1:]
			}
			return e
		})
	}
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	var doc yaml.Node
	err := decoder.Decode(&doc)
	if errors.Is(err, io.EOF) || err == nil && isNull(doc.Content[0]) {
		r.addAt(1, "", "the configuration is empty: at least tls, registries and content-trust are needed")
		return nil
	}
	if err != nil {
		r.syntax(err, data)
		return nil
	}
	root := doc.Content[0]
	r.saw("", root.Line, false)
	r.plain("", root, 1)

	var next yaml.Node
	switch err := decoder.Decode(&next); {
	case errors.Is(err, io.EOF):
	case err != nil:
		r.syntax(err, data)
	default:
		r.addAt(next.Line, "", "a second document begins here (after \"---\"): a configuration is one document")
	}
	return root
}

// badText finds the first line that holds something other than UTF-8 text.
func badText(data []byte) (line int, ok bool) {
	line = 1
	for len(data) > 0 {
		c, size := utf8.DecodeRune(data)
		switch {
		case c == utf8.RuneError && size == 1, c < ' ' && c != '\t' && c != '\n' && c != '\r', c == 0x7f:
			return line, false
		case c == '\n':
			line++
		}
		data = data[size:]
	}
	return 0, true
}

var (
	escape        = regexp.MustCompile(`\\.`)
	yamlLine      = regexp.MustCompile(`^line (\d+): `)
	unknownAnchor = regexp.MustCompile(`^unknown anchor '(.*)' referenced$`)
	unfinished    = regexp.MustCompile(`^did not find expected ('-' indicator|key|',' or '.')`)
	tabIndent     = regexp.MustCompile(`^ *\t`)
)

// syntax adds an error of the YAML library (go.yaml.in/yaml/v3 v3.0.6), which
// is known by its text only and sometimes has no line, or one that is too low.
func (r *report) syntax(err error, data []byte) {
	const hint = ": a value that begins with * or & must stand in quotes"
	message := strings.TrimPrefix(err.Error(), "yaml: ")
	line := 1
	if m := yamlLine.FindStringSubmatch(message); m != nil {
		line, _ = strconv.Atoi(m[1])
		message = message[len(m[0]):]
	}
	anchor := unknownAnchor.FindStringSubmatch(message)
	switch {
	case anchor != nil:
		// The name is not repeated: it may be a password that lacks quotes.
		line = lineFrom(data, line, func(text string) bool { return strings.Contains(text, "*"+anchor[1]) })
		message = "an alias of something that does not exist" + hint
	case strings.Contains(message, "alphabetic or numeric character"):
		message += hint
	case strings.Contains(message, "tab character"), strings.Contains(message, "cannot start any token") && slices.ContainsFunc(strings.Split(string(data), "\n"), tabIndent.MatchString):
		line = lineFrom(data, line, tabIndent.MatchString)
		message = "a tab in the indentation: use spaces"
	case unfinished.MatchString(message):
		line++ // it counts from 0, and does not add the 1 here
		message += " in what begins here: check the lines that follow, and their indentation"
	}
	r.addAt(line, "", "%s", message)
}

// lineFrom is the first line, from a given one on, that matches; the given one
// where none does.
func lineFrom(data []byte, from int, match func(string) bool) int {
	number := 0
	for text := range strings.Lines(string(data)) {
		if number++; number >= from && match(text) {
			return number
		}
	}
	return from
}

// plain walks everything below path, known keys or not, and refuses what makes
// a file mean something else than it seems to: repeated keys, anchors, aliases,
// merges, explicit types, and nesting without end.
func (r *report) plain(path string, n *yaml.Node, depth int) {
	if depth > maxDepth {
		r.addAt(n.Line, path, "nested more than %d deep", maxDepth)
		return
	}
	switch {
	case n.Kind == yaml.AliasNode:
		r.addAt(n.Line, path, "aliases (*name) are not accepted: write the value out, or in quotes if it begins with *")
	case n.Anchor != "":
		r.addAt(n.Line, path, "anchors (&name) are not accepted: write the value without it, or in quotes if it begins with &")
	case n.Style&yaml.TaggedStyle != 0:
		r.addAt(n.Line, path, "explicit types (!type) are not accepted: write the value without it, or in quotes if it begins with !")
	}
	switch n.Kind {
	case yaml.SequenceNode:
		for i, item := range n.Content {
			r.plain(element(path, i), item, depth+1)
		}
	case yaml.MappingNode:
		r.plainMapping(path, n, depth)
	}
}

func (r *report) plainMapping(path string, n *yaml.Node, depth int) {
	first := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if key.Tag == "!!merge" {
			r.addAt(key.Line, path, "merging (<<) is not accepted: write the keys out")
			continue
		}
		if !isText(key) || key.Anchor != "" || key.Style&yaml.TaggedStyle != 0 {
			r.addAt(key.Line, path, "expected a plain word or a string in quotes as key, got %s", describe(key))
			continue
		}
		at := child(path, key.Value)
		if line, repeated := first[key.Value]; repeated {
			r.addAt(key.Line, at, "repeated key: it was given on line %d already", line)
		} else {
			first[key.Value] = key.Line
		}
		r.plain(at, value, depth+1)
	}
}

// isNull is whether a value is null or left out, which counts as an absent key.
func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Tag == "!!null" }

// isText is whether a value is a string. YAML takes 2026-08-04 for a date; here
// it is the text that it looks like.
func isText(n *yaml.Node) bool {
	return n.Kind == yaml.ScalarNode && (n.Tag == "!!str" || n.Tag == "!!timestamp")
}

// describe says what kind of value a node is, without the value.
func describe(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	case yaml.AliasNode:
		return "an alias"
	}
	switch n.Tag {
	case "!!null":
		return "nothing"
	case "!!bool":
		return n.Value
	case "!!int", "!!float":
		return "a number"
	}
	return "a string"
}
