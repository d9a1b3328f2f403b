package main

import (
	"slices"
	"time"
)

const (
	// maxReportRows bounds the rows of each table, and maxRowClients the clients that
	// are told apart in a row, so that a log of any size takes the same memory. A
	// table has a bound of its own: whoever asks for ever new names where trust is
	// enforced must not hide what enforcing would take away elsewhere.
	maxReportRows = 10_000
	maxRowClients = 64
	// maxReportReasons bounds the reasons of errors that are told apart: more than
	// Sealgate has, less than a made-up log may have.
	maxReportReasons = 100
	// topClients are named in a table.
	topClients = 3
	// topReasons are named behind the sum of errors.
	topReasons = 5
)

// What became of a tag, or would become of it.
const (
	kindDeny   = "would-deny"
	kindChange = "would-change"
	kindDenied = "denied"
)

// tally sums up reads of tags. Its size does not depend on how many there are.
type tally struct {
	since      time.Time
	rows       map[rowKey]*rowTally
	kinds      map[string]int // how many rows
	first      time.Time
	last       time.Time
	lines, bad int64

	permissive, enforced verdicts
	failed, undecided    int64
	failures             map[string]int64 // of failed, by reason
	left                 int64            // reads that belong to rows beyond maxReportRows
}

type rowKey struct{ kind, registry, repository, tag, reason string }

// rowTally is a row that is being counted.
type rowTally struct {
	reads            int64
	first, last      time.Time
	clients          map[string]int64
	moreClients      bool // there were others beyond maxRowClients
	signed, upstream string
}

// verdicts count reads of tags in one mode, by what trust says or would say.
type verdicts struct {
	Allow  int64 `json:"allow"`
	Deny   int64 `json:"deny"`
	Change int64 `json:"change"`
}

func (v verdicts) reads() int64 { return v.Allow + v.Deny + v.Change }

func newTally(since time.Time) *tally {
	return &tally{since: since, rows: map[rowKey]*rowTally{}, kinds: map[string]int{}, failures: map[string]int64{}}
}

// add counts a line, nil for one that was too long.
func (t *tally) add(text []byte) {
	line, fine := parseLine(text)
	if !fine {
		t.bad++
		return
	}
	t.lines++
	if line == nil || line.Time.Before(t.since) || line.Method != "GET" && line.Method != "HEAD" {
		return
	}
	if t.first.IsZero() || line.Time.Before(t.first) {
		t.first = line.Time
	}
	if line.Time.After(t.last) {
		t.last = line.Time
	}
	if kind := t.verdict(line); kind != "" {
		t.row(kind, line)
	}
}

// verdict counts what trust said, or would have said, and returns the kind of
// row that the read belongs to, "" for none.
func (t *tally) verdict(line *logLine) string {
	switch {
	case line.Would == "deny":
		t.permissive.Deny++
		return kindDeny
	case line.Would == "change":
		t.permissive.Change++
		return kindChange
	case line.Would == "allow":
		t.permissive.Allow++
	case line.Decision == "allow":
		t.enforced.Allow++
	case line.Decision == "deny" && line.Reason != "upstream-refused": // else the client is asked to log in, as a rule
		t.enforced.Deny++
		return kindDenied
	case line.Decision == "error":
		t.failed++
		if _, known := t.failures[line.Reason]; known || len(t.failures) < maxReportReasons {
			t.failures[line.Reason]++
		}
	default:
		t.undecided++
	}
	return ""
}

func (t *tally) row(kind string, line *logLine) {
	key := rowKey{kind, line.Registry, line.Repository, line.Tag, line.Reason}
	row := t.rows[key]
	if row == nil {
		if t.kinds[kind] >= maxReportRows {
			t.left++
			return
		}
		row = &rowTally{first: line.Time, clients: map[string]int64{}}
		t.rows[key] = row
		t.kinds[kind]++
	}
	row.reads++
	if line.Time.Before(row.first) {
		row.first = line.Time
	}
	if !line.Time.Before(row.last) {
		row.last, row.signed, row.upstream = line.Time, line.SignedDigest, line.UpstreamDigest
	}
	client := line.Client
	if line.Certificate != "" {
		client = line.Certificate
	}
	if _, known := row.clients[client]; !known && len(row.clients) >= maxRowClients {
		row.moreClients = true
		return
	}
	row.clients[client]++
}

// report is the sum, in order.
func (t *tally) report() *report {
	r := &report{
		First: t.first, Last: t.last, Lines: t.lines, BadLines: t.bad,
		Permissive: t.permissive, Enforced: t.enforced, Errors: t.failed, ErrorReasons: t.failures, Undecided: t.undecided,
		Rows: []*reportRow{}, ReadsNotInRows: t.left,
	}
	for key, row := range t.rows {
		r.Rows = append(r.Rows, row.finish(key))
	}
	slices.SortFunc(r.Rows, byUse)
	return r
}

func (row *rowTally) finish(key rowKey) *reportRow {
	made := &reportRow{
		Kind: key.kind, Registry: key.registry, Repository: key.repository, Tag: key.tag, Reason: key.reason,
		Reads: row.reads, First: row.first, Last: row.last,
		MoreClients: row.moreClients, SignedDigest: row.signed, UpstreamDigest: row.upstream,
	}
	for client, reads := range row.clients {
		made.Clients = append(made.Clients, reportClient{client, reads})
	}
	slices.SortFunc(made.Clients, mostReads)
	return made
}
