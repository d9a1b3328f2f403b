package e2e

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// clientsDocument is what the run is compared with; `make clients` sets
// E2E_CLIENTS_MD to have it written instead.
const clientsDocument = "../docs/clients.md"

// The tables stand between these lines; what is before the first is written by hand.
const (
	tablesBegin = "<!-- `make clients` writes all that follows, from a run of TestClientMatrix -->\n"
	tablesEnd   = "<!-- end of what `make clients` writes -->\n"
)

// compare fails unless docs/clients.md says what this run has seen, or writes it
// there. A run of some cells alone compares nothing.
func (m *matrix) compare(t *testing.T) {
	if t.Failed() || m.incomplete || m.flowsSeen < flowTests() {
		t.Log("docs/clients.md was not compared: not every cell has an outcome")
		return
	}
	write := os.Getenv("E2E_CLIENTS_MD") != ""
	text := string(must(os.ReadFile(clientsDocument))(t))
	head, rest, found := strings.Cut(text, tablesBegin)
	tables, tail, ended := strings.Cut(rest, tablesEnd)
	if !found || !ended {
		t.Fatalf("%s has not the lines between which the tables stand", clientsDocument)
	}
	seen := "\n" + m.tables() + "\n"
	switch {
	case seen == tables:
	case write:
		if err := os.WriteFile(clientsDocument, []byte(head+tablesBegin+seen+tablesEnd+tail), 0o644); err != nil {
			t.Fatal(err)
		}
	default:
		t.Errorf("%s does not say what the clients do; `make clients` writes it anew. Lines that differ:\n%s", clientsDocument, lineDifference(tables, seen))
	}
}

// lineDifference lists the lines that only one of the texts has.
func lineDifference(before, after string) string {
	var b strings.Builder
	only := func(mark string, these, others []string) {
		for _, line := range these {
			if !slices.Contains(others, line) {
				fmt.Fprintf(&b, "%s %s\n", mark, line)
			}
		}
	}
	was, is := strings.Split(before, "\n"), strings.Split(after, "\n")
	only("-", was, is)
	only("+", is, was)
	return b.String()
}

// tables is the generated part of docs/clients.md.
func (m *matrix) tables() string {
	return strings.Join([]string{m.behaviourTable(), m.messageTable(), flowTable()}, "\n")
}

// behaviourTable has a row for each client and a column for each behaviour, and
// under it why some cells are empty.
func (m *matrix) behaviourTable() string {
	var b strings.Builder
	b.WriteString("## What each client does\n\n| client |")
	for _, behaviour := range behaviours {
		b.WriteString(" " + behaviour.head + " |")
	}
	b.WriteString("\n|---|" + strings.Repeat("---|", len(behaviours)) + "\n")
	var reasons []string
	for _, row := range m.rows {
		fmt.Fprintf(&b, "| %s |", row.client.name)
		for _, behaviour := range behaviours {
			word := row.outcomes[behaviour.head].word
			if why := row.client.cells[behaviour.head].none; why != "" {
				if !slices.Contains(reasons, why) {
					reasons = append(reasons, why)
				}
				word = fmt.Sprintf("– (%d)", slices.Index(reasons, why)+1)
			}
			fmt.Fprintf(&b, " %s |", word)
		}
		b.WriteString("\n")
	}
	b.WriteString("\n")
	for i, why := range reasons {
		fmt.Fprintf(&b, "%d. %s\n", i+1, why)
	}
	return b.String()
}

// messageTable has what each client printed that was refused an unsigned tag.
func (m *matrix) messageTable() string {
	var b strings.Builder
	b.WriteString("## What each client prints for an unsigned tag\n\n| client | its last line |\n|---|---|\n")
	for _, row := range m.rows {
		if said := row.outcomes[unsignedTag].said; said != "" {
			fmt.Fprintf(&b, "| %s | `%s` |\n", row.client.name, strings.ReplaceAll(lastLine(said), "|", `\|`))
		}
	}
	return b.String()
}

// flowTable has the flows of CI, and what to do for those that need something.
func flowTable() string {
	var b strings.Builder
	b.WriteString("## Flows of CI\n\n| flow | where every tag has to be signed | recipe |\n|---|---|---|\n")
	for _, f := range flows {
		var recipes []string
		for _, w := range f.recipes {
			recipes = append(recipes, w.word)
		}
		if recipes == nil {
			recipes = []string{"–"}
		}
		fmt.Fprintf(&b, "| %s | %s | %s |\n", f.name, f.strict.word, strings.Join(recipes, ", or "))
	}
	return b.String()
}

// flowTests is how many tests the flows are.
func flowTests() (n int) {
	for _, f := range flows {
		n += len(f.ways())
	}
	return n
}

var (
	logPrefix   = regexp.MustCompile(`^time="[^"]*" level=\w+ msg="(.*)"$`)
	emittedHome = regexp.MustCompile(`/\S+/h-\d+/`)
	anyPort     = regexp.MustCompile(`(127\.0\.0\.1|` + regexp.QuoteMeta(registryName) + `):\d+`)
)

// lastLine is the last line of an output, the same in every run: without
// the time, the HOME and digests, and with the registry's documented name.
func lastLine(out string) string {
	lines := strings.Split(strings.TrimSpace(out), "\n")
	line := strings.TrimSpace(lines[len(lines)-1])
	if m := logPrefix.FindStringSubmatch(line); m != nil {
		line = strings.ReplaceAll(m[1], `\"`, `"`)
	}
	line = anyPort.ReplaceAllString(line, "registry.example.com")
	line = emittedHome.ReplaceAllString(line, "~/")
	return anyDigest.ReplaceAllString(line, "sha256:…")
}
