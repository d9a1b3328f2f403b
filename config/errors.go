package config

import (
	"fmt"
	"sort"
	"strconv"
	"strings"
)

// Error is everything that is wrong with one file. It is returned as *Error;
// use errors.As.
type Error struct {
	// Problems is never empty, and sorted by line.
	Problems []Problem
}

// Problem is one thing that is wrong.
type Problem struct {
	// File is the file's name as it was given to Load or Parse.
	File string
	// Line counts from 1: the line of the key or, where the key is missing, of
	// what it should stand in. 0 where the file could not be read at all.
	Line int
	// Key is the path of the key, such as registries[0].upstream. Empty where
	// the file as a whole is meant; then Message begins with "syntax: ", unless
	// the file could not be read at all.
	Key string
	// Message says what is wrong, what was expected and what to do. It is one
	// line and holds no value that might be a secret.
	Message string
}

// Error prints one line for each problem.
func (e *Error) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// String prints the problem as file:line: key: message.
func (p Problem) String() string {
	var b strings.Builder
	b.WriteString(p.File)
	if p.Line > 0 {
		fmt.Fprintf(&b, ":%d", p.Line)
	}
	b.WriteString(": ")
	if p.Key != "" {
		b.WriteString(p.Key + ": ")
	}
	b.WriteString(p.Message)
	return b.String()
}

// report collects the problems of one file, and remembers where its keys stand.
type report struct {
	file     string
	lines    map[string]int  // path of a key that is in the file: its line
	given    map[string]bool // the same where the value is not null
	wrong    map[string]bool // path of a key that has a problem
	unread   map[string]bool // wrong as it was when decoding ended
	problems []Problem
}

func newReport(file string) *report {
	return &report{file: file, lines: map[string]int{}, given: map[string]bool{}, wrong: map[string]bool{}}
}

// addAt adds a problem at a line.
func (r *report) addAt(line int, key, format string, args ...any) {
	if key == "" {
		format = "syntax: " + format
	}
	r.wrong[key] = true
	r.problems = append(r.problems, Problem{
		File: r.file, Line: max(line, 1), Key: key, Message: fmt.Sprintf(format, args...),
	})
}

// add adds a problem at the line of the key or, where the file does not have
// it, of the nearest thing around it that the file has.
func (r *report) add(key, format string, args ...any) {
	at := key
	for at != "" && r.lines[at] == 0 {
		at = parent(at)
	}
	r.addAt(r.lines[at], key, format, args...)
}

// require adds a problem unless ok, or unless the key is suspect: what follows
// from another problem is no news.
func (r *report) require(key string, ok bool, format string, args ...any) {
	if ok || r.suspect(key) {
		return
	}
	r.add(key, format, args...)
}

// suspect is whether a key has a problem, or something that it stands in could
// not be read.
func (r *report) suspect(key string) bool {
	if r.wrong[key] {
		return true
	}
	for at := parent(key); at != ""; at = parent(at) {
		if r.unread[at] {
			return true
		}
	}
	return r.unread[""]
}

// saw remembers where a key stands; of a repeated key, the first.
func (r *report) saw(key string, line int, isNull bool) {
	if r.lines[key] == 0 {
		r.lines[key], r.given[key] = line, !isNull
	}
}

// err is nil where there are no problems.
func (r *report) err() error {
	if len(r.problems) == 0 {
		return nil
	}
	sort.SliceStable(r.problems, func(i, j int) bool { return r.problems[i].Line < r.problems[j].Line })
	return &Error{Problems: r.problems}
}

// parent is the path of the mapping that a key with a plain name stands in.
func parent(path string) string { return path[:max(strings.LastIndexByte(path, '.'), 0)] }

// child is the path of a key in the mapping at path. Keys that are not plain
// words, as patterns are not, are quoted: root-keys["registry.example.com/*"].
func child(path, key string) string {
	plain := key != "" && len(key) <= maxQuoted
	for _, c := range key {
		plain = plain && (c == '-' || c == '_' || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z')
	}
	switch {
	case !plain:
		return path + "[" + quote(key) + "]"
	case path == "":
		return key
	}
	return path + "." + key
}

// element is the path of an element of the list at path.
func element(path string, i int) string { return path + "[" + strconv.Itoa(i) + "]" }

// maxQuoted bounds what a message repeats of a file.
const maxQuoted = 80

// quote quotes a value for a message, and cuts it where it is long.
func quote(s string) string {
	if len(s) <= maxQuoted {
		return strconv.Quote(s)
	}
	return strconv.Quote(s[:maxQuoted]) + "..."
}
