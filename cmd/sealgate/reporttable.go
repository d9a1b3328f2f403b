package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/opencontainers/go-digest"
)

// report is what logs say of tags. Fields of its JSON are only ever added.
type report struct {
	First    time.Time `json:"first,omitzero"` // of the reads of tags
	Last     time.Time `json:"last,omitzero"`
	Lines    int64     `json:"lines"`
	BadLines int64     `json:"bad_lines"` // not counted

	Permissive verdicts `json:"permissive"` // what enforcing would have made of reads
	Enforced   verdicts `json:"enforced"`   // what it made of them
	Errors     int64    `json:"errors"`     // reads that could not be answered
	// ErrorReasons counts Errors by the reason of docs/log.md.
	ErrorReasons map[string]int64 `json:"error_reasons,omitempty"`
	Undecided    int64            `json:"undecided"` // trust has no say, or the registry refused

	Rows           []*reportRow `json:"rows"` // by reads, most first
	ReadsNotInRows int64        `json:"reads_not_in_rows"`
}

// reportRow is a tag that disappears, changes or was denied, for one reason.
type reportRow struct {
	Kind           string         `json:"kind"` // would-deny, would-change or denied
	Registry       string         `json:"registry"`
	Repository     string         `json:"repository"`
	Tag            string         `json:"tag"`
	Reason         string         `json:"reason"`
	Reads          int64          `json:"reads"`
	First          time.Time      `json:"first"`
	Last           time.Time      `json:"last"`
	Clients        []reportClient `json:"clients"` // by reads, most first; certificates' names or addresses
	MoreClients    bool           `json:"more_clients"`
	SignedDigest   string         `json:"signed_digest,omitempty"` // as of the last read
	UpstreamDigest string         `json:"upstream_digest,omitempty"`
}

type reportClient struct {
	Client string `json:"client"`
	Reads  int64  `json:"reads"`
}

func mostReads(a, b reportClient) int {
	return cmp.Or(cmp.Compare(b.Reads, a.Reads), cmp.Compare(a.Client, b.Client))
}

// byUse orders rows of a report: those with most reads first.
func byUse(a, b *reportRow) int {
	return cmp.Or(cmp.Compare(b.Reads, a.Reads), cmp.Compare(a.name(), b.name()), cmp.Compare(a.Reason, b.Reason))
}

func (r *reportRow) name() string { return r.Registry + "/" + r.Repository + ":" + r.Tag }

// why is the reason, and of a tag that changes from what to what.
func (r *reportRow) why() string {
	if r.Kind != kindChange {
		return r.Reason
	}
	return fmt.Sprintf("%s is signed, %s was served", shortDigest(r.SignedDigest), shortDigest(r.UpstreamDigest))
}

// shortDigest is enough of a digest to tell it from others.
func shortDigest(d string) string {
	if d == "" {
		return "nothing"
	}
	if digest.Digest(d).Validate() != nil {
		return d
	}
	return d[:len("sha256:")+8] + "…"
}

func (r *reportRow) mostClients() string {
	var named []string
	for i, c := range r.Clients {
		if i == topClients {
			named = append(named, "…")
			break
		}
		named = append(named, fmt.Sprintf("%s (%d)", c.Client, c.Reads))
	}
	return strings.Join(named, ", ")
}

func (r *reportRow) clientCount() string {
	if r.MoreClients {
		return fmt.Sprintf("over %d", len(r.Clients))
	}
	return fmt.Sprint(len(r.Clients))
}

func (r *report) writeJSON(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(r)
}

// write prints a table for each kind, of rows rows at most, 0 for all, and then
// the sums.
func (r *report) write(w io.Writer, rows int) error {
	for _, table := range []struct{ kind, title string }{
		{kindDeny, "Tags that enforcing would take away:"},
		{kindChange, "Tags that enforcing would change:"},
		{kindDenied, "Tags that were denied:"},
	} {
		if err := r.writeTable(w, table.kind, table.title, rows); err != nil {
			return err
		}
	}
	_, err := io.WriteString(w, strings.Join(r.sums(), "\n")+"\n")
	return err
}

func (r *report) writeTable(w io.Writer, kind, title string, limit int) error {
	var rows []*reportRow
	for _, row := range r.Rows {
		if row.Kind == kind {
			rows = append(rows, row)
		}
	}
	if len(rows) == 0 {
		return nil
	}
	fmt.Fprintf(w, "%s\n\n", title)
	tw := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	fmt.Fprintln(tw, "  TAG\tWHY\tREADS\tCLIENTS\tFIRST\tLAST\tMOSTLY")
	const minute = "2006-01-02 15:04Z"
	for i, row := range rows {
		if limit > 0 && i == limit {
			break
		}
		fmt.Fprintf(tw, "  %s\t%s\t%d\t%s\t%s\t%s\t%s\n", onOneLine(row.name()), onOneLine(row.why()), row.Reads, row.clientCount(),
			row.First.UTC().Format(minute), row.Last.UTC().Format(minute), onOneLine(row.mostClients()))
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	if limit > 0 && len(rows) > limit {
		fmt.Fprintf(w, "  … %s more: --rows 0 prints them\n", numbered(len(rows)-limit, "row"))
	}
	_, err := fmt.Fprintln(w)
	return err
}

// sums are the last lines.
func (r *report) sums() []string {
	reads := r.Permissive.reads() + r.Enforced.reads() + r.Errors + r.Undecided
	if reads == 0 {
		return r.reservations([]string{"No tag was read."})
	}
	lines := []string{fmt.Sprintf("%s from %s to %s.", numbered(int(reads), "tag read"), r.First.UTC().Format(time.RFC3339), r.Last.UTC().Format(time.RFC3339))}
	if p := r.Permissive; p.reads() > 0 {
		said := fmt.Sprintf("Mode permissive: %d of %s would have been refused (%s), and %d would have got what is signed instead (%s).",
			p.Deny, numbered(int(p.reads()), "tag read"), r.tags(kindDeny), p.Change, r.tags(kindChange))
		if p.Deny+p.Change == 0 {
			said = fmt.Sprintf("Mode permissive: enforcing would have answered all %s in the same way.", numbered(int(p.reads()), "tag read"))
		}
		lines = append(lines, said)
	}
	if e := r.Enforced; e.reads() > 0 {
		lines = append(lines, fmt.Sprintf("Mode enforced: %d of %s were denied (%s).", e.Deny, numbered(int(e.reads()), "tag read"), r.tags(kindDenied)))
	}
	if r.Undecided > 0 {
		lines = append(lines, fmt.Sprintf("Not decided by trust: %s (exempt, in mode disabled, or not answered by the registry).", numbered(int(r.Undecided), "tag read")))
	}
	if r.Errors > 0 {
		lines = append(lines, fmt.Sprintf("Could not be answered: %s (%s).", numbered(int(r.Errors), "tag read"), r.errorReasons()))
	}
	if len(r.Rows) > 0 {
		lines = append(lines, "What each reason means: docs/log.md. What trust says of a tag today: sealgate inspect.")
	}
	return r.reservations(lines)
}

// errorReasons has the most frequent ones.
func (r *report) errorReasons() string {
	most := slices.SortedFunc(maps.Keys(r.ErrorReasons), func(a, b string) int {
		return cmp.Or(cmp.Compare(r.ErrorReasons[b], r.ErrorReasons[a]), cmp.Compare(a, b))
	})
	var named []string
	for i, reason := range most {
		if i == topReasons {
			named = append(named, "…")
			break
		}
		named = append(named, fmt.Sprintf("%s %d", onOneLine(reason), r.ErrorReasons[reason]))
	}
	return strings.Join(named, ", ")
}

// tags is how many tags have rows of a kind.
func (r *report) tags(kind string) string {
	seen := map[string]bool{}
	for _, row := range r.Rows {
		if row.Kind == kind {
			seen[row.name()] = true
		}
	}
	return numbered(len(seen), "tag")
}

// reservations add what is not in the tables.
func (r *report) reservations(lines []string) []string {
	if r.ReadsNotInRows > 0 {
		lines = append(lines, fmt.Sprintf("Not in the tables, which end at %d rows each: %s of other tags.", maxReportRows, numbered(int(r.ReadsNotInRows), "read")))
	}
	if r.BadLines > 0 {
		lines = append(lines, fmt.Sprintf("Not counted: %s of another kind, or cut off.", numbered(int(r.BadLines), "line")))
	}
	return lines
}
