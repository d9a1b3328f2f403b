package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"unicode"
)

// The levels of a finding.
const (
	levelHole    = "hole"    // the host can be talked into an unsigned tag, or was
	levelUnknown = "unknown" // it cannot be told
	levelClosed  = "closed"  // a hole in a file that something else closes
	levelOK      = "ok"
	levelNote    = "note" // neither good nor bad
)

// finding is one thing that the doctor has to say. Fields are only ever added.
type finding struct {
	Level  string `json:"level"`
	Client string `json:"client"`         // dockerd, containerd, podman, …; "network"
	File   string `json:"file,omitempty"` // as it is called on the host
	Says   string `json:"says"`
}

// diagnosis is the report on a host. Fields are only ever added.
type diagnosis struct {
	Proxy    string    `json:"proxy"`
	Registry string    `json:"registry"`
	Canary   string    `json:"canary"`
	Findings []finding `json:"findings"`
}

func (d *diagnosis) add(level, client, file, format string, values ...any) {
	d.Findings = append(d.Findings, finding{level, client, file, fmt.Sprintf(format, values...)})
}

// count is how many findings of a level there are.
func (d *diagnosis) count(level string) int {
	n := 0
	for _, f := range d.Findings {
		if f.Level == level {
			n++
		}
	}
	return n
}

// exitCode: a hole outweighs what cannot be known.
func (d *diagnosis) exitCode() int {
	switch {
	case d.count(levelHole) > 0:
		return exitFailed
	case d.count(levelUnknown) > 0:
		return exitUnknown
	}
	return 0
}

func (d *diagnosis) write(w io.Writer, asJSON bool) error {
	if asJSON {
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		return enc.Encode(d)
	}
	for _, f := range d.Findings {
		where := f.Client
		if f.File != "" {
			where += ": " + f.File
		}
		fmt.Fprintf(w, "%-8s %s: %s\n", f.Level, onOneLine(where), onOneLine(f.Says))
	}
	_, err := fmt.Fprintf(w, "\n%s\n", d.verdict())
	return err
}

// onOneLine is text in which users of the host, whose files are read, may have
// put a line of their own or what a terminal obeys.
func onOneLine(text string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return unicode.ReplacementChar
		}
		return r
	}, text)
}

func (d *diagnosis) verdict() string {
	switch d.exitCode() {
	case exitFailed:
		return fmt.Sprintf("this host can be talked into unsigned tags of %s: %d found", d.Registry, d.count(levelHole))
	case exitUnknown:
		return fmt.Sprintf("whether this host can be talked into unsigned tags of %s cannot be known", d.Registry)
	}
	return fmt.Sprintf("no way to unsigned tags of %s was found", d.Registry)
}
