package e2e

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// faultsDocument has the table of faults; `make reliability` sets writeFaults to
// have it written from a run.
const (
	faultsDocument = "../docs/reliability.md"
	writeFaults    = "E2E_RELIABILITY_MD"
)

// The table stands between these lines; what is around them is written by hand.
const (
	faultsBegin = "<!-- `make reliability` writes all that follows, from a run of the tests that it names -->\n"
	faultsEnd   = "<!-- end of what `make reliability` writes -->\n"
)

// fault is a row of the table.
type fault struct {
	fault, happens string

	// test shows it, and measures the figures: each %v is one, in this order.
	test, figures string

	// also names tests, after their package, that show what the built binary does
	// not, or not cheaply.
	also string
}

// measured keeps the figures for the row of the test that calls it, which logs
// them. Durations are rounded as they are read.
func measured(t *testing.T, figures ...any) {
	t.Helper()
	at := slices.IndexFunc(faults, func(f fault) bool { return f.test == t.Name() })
	if at < 0 {
		t.Fatalf("no row of docs/reliability.md is for %s", t.Name())
	}
	for i, figure := range figures {
		if took, ok := figure.(time.Duration); ok {
			figures[i] = rounded(took)
		}
	}
	text := fmt.Sprintf(faults[at].figures, figures...)
	if strings.Contains(text, "%!") {
		t.Fatalf("the figures are not those of the row: %s", text)
	}
	t.Log(text)
	suite.mu.Lock()
	defer suite.mu.Unlock()
	if suite.measured == nil {
		suite.measured = map[string]string{}
	}
	suite.measured[t.Name()] = text
}

// rounded is a time with two digits that mean something.
func rounded(d time.Duration) string {
	unit, name := time.Second, "s"
	switch {
	case d < time.Millisecond:
		unit, name = time.Microsecond, "µs"
	case d < time.Second:
		unit, name = time.Millisecond, "ms"
	}
	digits := 0
	if d < 10*unit && d%unit != 0 {
		digits = 1
	}
	return fmt.Sprintf("%.*f %s", digits, float64(d)/float64(unit), name)
}

// onlyFaults has the run be of the tests of the table alone, one at a time, so
// that what one does is not in the figures of another.
func onlyFaults() error {
	var tests []string
	for _, f := range faults {
		top, _, _ := strings.Cut(f.test, "/")
		tests = append(tests, top)
	}
	return errors.Join(
		flag.Set("test.run", "^("+strings.Join(tests, "|")+")$"),
		flag.Set("test.parallel", "1"))
}

// compareFaults writes the table from the run that has ended well, where it is to
// be written. A run of everything has to have measured everything.
func compareFaults() error {
	write := os.Getenv(writeFaults) != ""
	if !write && flag.Lookup("test.run").Value.String() != "" {
		return nil
	}
	for _, f := range faults {
		if suite.measured[f.test] == "" {
			return fmt.Errorf("%s has measured nothing for its row of docs/reliability.md", f.test)
		}
	}
	if !write {
		return nil
	}
	head, _, tail, err := faultsText()
	if err != nil {
		return err
	}
	table := machineLine(time.Now().UTC().Format(time.DateOnly), fmt.Sprint(runtime.NumCPU()), load()) +
		faultTable(func(f fault) string { return suite.measured[f.test] })
	return os.WriteFile(faultsDocument, []byte(head+faultsBegin+table+faultsEnd+tail), 0o644)
}

// faultsText is the document: what is before the table, the table, what is after.
func faultsText() (head, table, tail string, err error) {
	raw, err := os.ReadFile(faultsDocument)
	if err != nil {
		return "", "", "", err
	}
	head, rest, found := strings.Cut(string(raw), faultsBegin)
	table, tail, ended := strings.Cut(rest, faultsEnd)
	if !found || !ended {
		err = fmt.Errorf("%s has not the lines between which the table stands", faultsDocument)
	}
	return head, table, tail, err
}

func machineLine(date, cores, load string) string {
	return fmt.Sprintf("\nMeasured %s on a machine with %s cores, on which clients, registry, Notary and Sealgate run together, over loopback. %s\n\n", date, cores, load)
}

// The words for a machine that does nothing else, and for one that does.
const (
	quiet = "It did nothing else."
	busy  = "It was busy with other things: do not rely on what is a time or a rate."
)

// load says whether the machine did much before the suite began, which uses two
// processors at most.
func load() string {
	if suite.load > 0.5 {
		return busy
	}
	return quiet
}

// loadAverage is that of the last minute.
func loadAverage() (average float64) {
	raw, _ := os.ReadFile("/proc/loadavg")
	_, _ = fmt.Sscan(string(raw), &average)
	return average
}

// faultTable writes the table with what figures says for each row.
func faultTable(figures func(fault) string) string {
	var b strings.Builder
	b.WriteString("| fault | what happens | figures of the last run | shown by |\n|---|---|---|---|\n")
	for _, f := range faults {
		also := ""
		if f.also != "" {
			also = "; " + f.also
		}
		fmt.Fprintf(&b, "| %s | %s | %s | `e2e` %s%s |\n", f.fault, f.happens, figures(f), f.test, also)
	}
	b.WriteString("\n")
	return b.String()
}

// TestReliabilityDocumentIsOfThisTable: but for figures, the date and the machine
// it is what a run would write.
func TestReliabilityDocumentIsOfThisTable(t *testing.T) {
	_, table, _, err := faultsText()
	if err != nil {
		t.Fatal(err)
	}
	const anything = "\x00"
	want := machineLine(anything, anything, anything) + faultTable(func(f fault) string { return strings.ReplaceAll(f.figures, "%v", anything) })
	if os.Getenv(writeFaults) != "" {
		return // it is about to be written
	}
	wanted := strings.Split(want, "\n")
	lines := strings.Split(table, "\n")
	for i, line := range wanted {
		pattern := "^" + strings.ReplaceAll(regexp.QuoteMeta(line), anything, `[^|]+`) + "$"
		if i >= len(lines) || !regexp.MustCompile(pattern).MatchString(lines[i]) {
			t.Errorf("line %d of the table is not of the form\n%s\n`make reliability` writes it anew", i+1, strings.ReplaceAll(line, anything, "…"))
		}
	}
	if len(lines) != len(wanted) {
		t.Errorf("%d lines, expected %d", len(lines), len(wanted))
	}
}
