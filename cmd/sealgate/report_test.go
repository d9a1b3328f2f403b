package main

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/sealgate/sealgate/proxy"
)

// audit is an audit log with what requests leave behind, one minute apart.
type audit struct {
	bytes.Buffer
	minutes int
}

func (a *audit) read(tag, client string, change func(*proxy.Entry)) {
	e := proxy.Entry{
		Time:   time.Date(2026, 3, 4, 5, a.minutes, 0, 0, time.UTC),
		Client: client, Method: "GET", Registry: "registry.example.com", Route: proxy.ManifestByTag, Repository: "team/app", Tag: tag,
		Decision: "pass", Status: 200,
	}
	change(&e)
	a.minutes++
	line := zerolog.New(&a.Buffer)
	line.Log().Stringer("level", e.Level()).EmbedObject(&e).Time("time", e.Time).Msg("request")
}

func would(verdict, reason string) func(*proxy.Entry) {
	return func(e *proxy.Entry) {
		e.Would, e.Reason = verdict, reason
		if verdict != wouldDeny {
			e.SignedDigest, e.UpstreamDigest = "sha256:"+strings.Repeat("ab", 32), "sha256:"+strings.Repeat("ab", 32)
		}
		if verdict == wouldChange {
			e.UpstreamDigest = "sha256:" + strings.Repeat("cd", 32)
		}
	}
}

func decided(decision, reason string, status int) func(*proxy.Entry) {
	return func(e *proxy.Entry) {
		e.Repository, e.Decision, e.Reason, e.Status = "prod/app", decision, reason, status
	}
}

const (
	wouldDeny   = "deny"
	wouldChange = "change"
)

// weeks is an audit log of everything that a report tells apart.
func weeks() *audit {
	a := &audit{}
	for i := range 9 {
		a.read("nightly", fmt.Sprintf("10.0.0.%d", 7+i%4), would("deny", "unsigned"))
	}
	a.read("1.0", "10.0.0.7", would("change", "signed"))
	a.read("2.0", "10.0.0.7", would("allow", "signed"))
	a.read("2.0", "10.0.0.7", func(e *proxy.Entry) { would("allow", "signed")(e); e.Method = "HEAD" })
	a.read("9.9", "10.0.0.7", func(e *proxy.Entry) { e.Status = 404 })
	a.read("x", "10.0.0.9", func(e *proxy.Entry) {
		would("deny", "no-trust-data")(e)
		e.Repository, e.Certificate = "team/other", "ci \x1b[31mrunner"
	})
	a.read("3.0", "10.0.0.8", decided("allow", "signed", 200))
	a.read("old", "10.0.0.8", decided("deny", "unsigned", 404))
	a.read("3.0", "10.0.0.8", decided("deny", "upstream-refused", 401)) // the registry asks for a login
	a.read("slow", "10.0.0.8", decided("error", "upstream-timeout", 504))
	a.read("dark", "10.0.0.8", decided("error", "unreachable", 503))
	a.read("dark", "10.0.0.8", decided("error", "unreachable", 503))
	a.read("dev-1", "10.0.0.8", decided("pass", "exempt", 200))
	a.read("3.1", "10.0.0.8", func(e *proxy.Entry) { decided("pass", "", 201)(e); e.Method = "PUT" })
	a.read("", "10.0.0.8", func(e *proxy.Entry) { e.Route, e.Digest = proxy.Blob, "sha256:d" })
	a.WriteString(`{"level":"info","message":"serving"}` + "\n\n")
	a.WriteString(`{"level":"info","route":"manifest-by-tag","tag":"cut o` + "\n")
	a.WriteString("panic: something else\n")
	a.WriteString(strings.Repeat("x", maxLogLine+1) + "\n")
	a.read(strings.Repeat("x", 301), "10.0.0.8", would("deny", "unsigned")) // no tag is as long
	a.WriteString(`{"level":"info","route":"manifest-by-tag","tag":"the last line`)
	return a
}

const weeksTable = `Tags that enforcing would take away:

  TAG                                    WHY            READS  CLIENTS  FIRST              LAST               MOSTLY
  registry.example.com/team/app:nightly  unsigned       9      4        2026-03-04 05:00Z  2026-03-04 05:08Z  10.0.0.7 (3), 10.0.0.10 (2), 10.0.0.8 (2), …
  registry.example.com/team/other:x      no-trust-data  1      1        2026-03-04 05:13Z  2026-03-04 05:13Z  ci �[31mrunner (1)

Tags that enforcing would change:

  TAG                                WHY                                                      READS  CLIENTS  FIRST              LAST               MOSTLY
  registry.example.com/team/app:1.0  sha256:abababab… is signed, sha256:cdcdcdcd… was served  1      1        2026-03-04 05:09Z  2026-03-04 05:09Z  10.0.0.7 (1)

Tags that were denied:

  TAG                                WHY       READS  CLIENTS  FIRST              LAST               MOSTLY
  registry.example.com/prod/app:old  unsigned  1      1        2026-03-04 05:15Z  2026-03-04 05:15Z  10.0.0.8 (1)

21 tag reads from 2026-03-04T05:00:00Z to 2026-03-04T05:20:00Z.
Mode permissive: 10 of 13 tag reads would have been refused (2 tags), and 1 would have got what is signed instead (1 tag).
Mode enforced: 1 of 2 tag reads were denied (1 tag).
Not decided by trust: 3 tag reads (exempt, in mode disabled, or not answered by the registry).
Could not be answered: 3 tag reads (unreachable 2, upstream-timeout 1).
What each reason means: docs/log.md. What trust says of a tag today: sealgate inspect.
Not counted: 5 lines of another kind, or cut off.
`

func zipped(t *testing.T, text string) string {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	mustPrint(t, w, text)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestAReportSaysWhatEnforcingTakesAway(t *testing.T) {
	log := weeks().String()
	first, second, _ := strings.Cut(log, `{"level":"info","message":"serving"}`)
	for name, args := range map[string][]string{
		"one file":                     {file(t, "audit.log", log)},
		"a log of serve":               {file(t, "serve.log", `{"level":"info","version":"1","message":"serving"}`+"\n"+log)},
		"two files, the newer first":   {file(t, "audit.log", second), file(t, "audit-1-size.log", first)},
		"compressed":                   {file(t, "audit-1-size.log.gz", zipped(t, first)), file(t, "audit.log", second)},
		"since before":                 {"--since", "2026-03-04", file(t, "audit.log", log)},
		"as many rows as there are":    {"--rows", "2", file(t, "audit.log", log)},
		"all rows":                     {"--rows", "0", file(t, "audit.log", log)},
		"another log level and format": {"--log-level", "error", "--log-format", "json", file(t, "audit.log", log)},
	} {
		t.Run(name, func(t *testing.T) {
			code, stdout, stderr := call(t, append([]string{"report"}, args...)...)
			if code != 0 || stderr != "" || stdout != weeksTable {
				t.Errorf("exit %d %s\n%s", code, stderr, stdout)
			}
		})
	}
}

func TestAReportOfStandardInput(t *testing.T) {
	var stdout bytes.Buffer
	cmd := reportCommand(strings.NewReader(zipped(t, weeks().String())), &stdout)
	cmd.SetArgs([]string{"-"})
	if err := cmd.Execute(); err != nil || stdout.String() != weeksTable {
		t.Errorf("%v\n%s", err, &stdout)
	}
}

func TestAReportForPrograms(t *testing.T) {
	path := file(t, "audit.log", weeks().String())
	code, stdout, stderr := call(t, "report", "--json", "--since", "2026-03-04T05:09:00Z", path)
	var got report
	dec := json.NewDecoder(strings.NewReader(stdout))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&got); code != 0 || err != nil || stderr != "" {
		t.Fatalf("exit %d, %v\n%s%s", code, err, stdout, stderr)
	}
	at := func(minute int) time.Time { return time.Date(2026, 3, 4, 5, minute, 0, 0, time.UTC) }
	signed, served := "sha256:"+strings.Repeat("ab", 32), "sha256:"+strings.Repeat("cd", 32)
	row := func(kind, repository, tag, reason string, minute int, client, signed, served string) *reportRow {
		return &reportRow{
			Kind: kind, Registry: "registry.example.com", Repository: repository, Tag: tag, Reason: reason, Reads: 1, First: at(minute), Last: at(minute),
			Clients: []reportClient{{client, 1}}, SignedDigest: signed, UpstreamDigest: served,
		}
	}
	want := report{
		First: at(9), Last: at(20), Lines: 24, BadLines: 5,
		Permissive: verdicts{Allow: 2, Deny: 1, Change: 1}, Enforced: verdicts{Allow: 1, Deny: 1}, Errors: 3, Undecided: 3,
		ErrorReasons: map[string]int64{"unreachable": 2, "upstream-timeout": 1},
		Rows: []*reportRow{
			row(kindDenied, "prod/app", "old", "unsigned", 15, "10.0.0.8", "", ""),
			row(kindChange, "team/app", "1.0", "signed", 9, "10.0.0.7", signed, served),
			row(kindDeny, "team/other", "x", "no-trust-data", 13, "ci \x1b[31mrunner", "", ""),
		},
	}
	gotText, wantText := asJSONText(t, got), asJSONText(t, want)
	if gotText != wantText {
		t.Errorf("got\n%s\nwant\n%s", gotText, wantText)
	}
	if strings.Contains(stdout, "\x1b") {
		t.Error("a terminal would obey a client")
	}
}

func asJSONText(t *testing.T, v any) string {
	t.Helper()
	text, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestAReportEndsSomewhere(t *testing.T) {
	a := &audit{}
	for i := range 3 {
		a.read(fmt.Sprint("v", i), "10.0.0.7", would("deny", "unsigned"))
	}
	code, stdout, _ := call(t, "report", "--rows", "1", file(t, "audit.log", a.String()))
	if code != 0 || !strings.Contains(stdout, "\n  … 2 rows more: --rows 0 prints them\n") || strings.Contains(stdout, ":v1 ") {
		t.Errorf("exit %d\n%s", code, stdout)
	}
}

// TestAReportOfAnySizeIsBounded, each of its tables for itself.
func TestAReportOfAnySizeIsBounded(t *testing.T) {
	var a audit
	tally := newTally(time.Time{})
	for i := range maxReportRows + 5 {
		a.read(fmt.Sprint("invented", i), "10.0.0.6", decided("deny", "unsigned", 404))
	}
	for i := range maxRowClients + 10 {
		a.read("v0", fmt.Sprint("10.0.0.", i), would("deny", "unsigned"))
	}
	for i := range maxReportRows + 5 {
		a.read(fmt.Sprint("v", i), "10.0.0.7", would("deny", "unsigned"))
	}
	if err := readLines(&a.Buffer, tally.add); err != nil {
		t.Fatal(err)
	}
	r := tally.report()
	if len(r.Rows) != 2*maxReportRows || r.ReadsNotInRows != 10 || r.Permissive.Deny != maxReportRows+maxRowClients+15 {
		t.Errorf("%d rows, %d reads in none, of %d", len(r.Rows), r.ReadsNotInRows, r.Permissive.Deny)
	}
	if top := r.Rows[0]; top.Tag != "v0" || top.Reads != maxRowClients+11 || len(top.Clients) != maxRowClients || !top.MoreClients || top.clientCount() != "over 64" {
		t.Errorf("the first row is %+v", top)
	}
	var out bytes.Buffer
	if err := r.write(&out, 1); err != nil || !strings.Contains(out.String(), "Not in the tables, which end at 10000 rows each: 10 reads of other tags.\n") {
		t.Errorf("%v\n%s", err, &out)
	}
}

func TestAReportThatCannotBe(t *testing.T) {
	log := weeks().String()
	cut := zipped(t, log)
	for name, tt := range map[string]struct {
		args           []string
		code           int
		stdout, stderr string // parts of them
	}{
		"no file is named":          {nil, 2, "", "at least one audit log is expected"},
		"a file that is missing":    {[]string{filepath.Join(t.TempDir(), "absent.log"), file(t, "audit.log", log)}, 1, weeksTable, "no such file or directory"},
		"a directory":               {[]string{t.TempDir()}, 1, "No tag was read.", "is a directory"},
		"gzip that is cut off":      {[]string{file(t, "audit.gz", cut[:len(cut)-9])}, 1, "Mode permissive: 10 of 13", "unexpected EOF"},
		"gzip that is none":         {[]string{file(t, "audit.gz", "\x1f\x8bhello, this is none")}, 1, "No tag was read.", "gzip: invalid header"},
		"something else":            {[]string{file(t, "x", "2026-03-04 INF request\nx\n")}, 1, "", "none of 2 lines is one of Sealgate's"},
		"nothing":                   {[]string{file(t, "x", "")}, 0, "No tag was read.\n", ""},
		"nobody since":              {[]string{"--since", "2026-03-05", file(t, "x", log)}, 0, "No tag was read.\nNot counted: 5 lines", ""},
		"nobody for seven days":     {[]string{"--since", "7d", file(t, "x", log)}, 0, "No tag was read.\n", ""},
		"since some day":            {[]string{"--since", "yesterday", file(t, "x", log)}, 2, "", `--since "yesterday": a time such as`},
		"since a day to come":       {[]string{"--since", "-1h", file(t, "x", log)}, 2, "", `--since "-1h": a time such as`},
		"a number of rows below 0":  {[]string{"--rows", "-1", file(t, "x", log)}, 2, "", "--rows -1: 0 or more is expected"},
		"enforcing changes nothing": {[]string{file(t, "x", signedOnly())}, 0, "Mode permissive: enforcing would have answered all 2 tag reads in the same way.\n", ""},
	} {
		t.Run(name, func(t *testing.T) {
			code, stdout, stderr := call(t, append([]string{"report"}, tt.args...)...)
			if code != tt.code || !strings.Contains(stdout, tt.stdout) || !strings.Contains(stderr, tt.stderr) || (tt.stderr == "") != (stderr == "") {
				t.Errorf("exit %d\n%s\n%s", code, stdout, stderr)
			}
		})
	}
}

func signedOnly() string {
	a := &audit{}
	a.read("1.0", "10.0.0.7", would("allow", "signed"))
	a.read("1.0", "10.0.0.8", would("allow", "signed"))
	return a.String()
}

func FuzzReport(f *testing.F) {
	f.Add(weeks().Bytes())
	f.Add([]byte(`{"message":"request","route":"manifest-by-tag","time":"2026-03-04T05:06:07Z","method":"GET","tag":"\u001b[2J\u202e","would":"deny"}`))
	f.Fuzz(func(t *testing.T, log []byte) {
		tally := newTally(time.Time{})
		if err := readLines(bytes.NewReader(log), tally.add); err != nil {
			return
		}
		var out bytes.Buffer
		if err := tally.report().write(&out, 0); err != nil {
			t.Fatal(err)
		}
		if at := strings.IndexFunc(out.String(), func(r rune) bool { return r != '\n' && onOneLine(string(r)) != string(r) }); at >= 0 {
			t.Errorf("%q is printed", out.String()[at:])
		}
	})
}

// TestTheReportOfTheManualIsReal: it is what is printed of this log.
func TestTheReportOfTheManualIsReal(t *testing.T) {
	manual, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	a := &audit{}
	for i := range 55 {
		a.read("nightly", []string{"10.0.3.17", "10.0.3.18", "ci-runner"}[i%3], would("deny", "unsigned"))
	}
	for i := range 12 {
		a.read("2.4.1", fmt.Sprintf("10.0.3.%d", 20+i%5), would("change", "signed"))
	}
	for range 7 {
		a.read("latest", "10.0.9.4", func(e *proxy.Entry) { would("deny", "no-trust-data")(e); e.Repository = "tools/scan" })
	}
	for range 1832 {
		a.read("2.4.0", "10.0.3.17", would("allow", "signed"))
	}
	for range 21 {
		a.read("9.9", "10.0.3.17", func(e *proxy.Entry) { e.Status = 404 })
	}
	code, stdout, stderr := call(t, "report", file(t, "audit.log", a.String()))
	if code != 0 || !strings.Contains(string(manual), "```text\n"+stdout+"```\n") {
		t.Errorf("exit %d, docs/operations.md has not\n%s%s", code, stdout, stderr)
	}
}
