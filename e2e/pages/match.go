package pages

import (
	"fmt"
	"regexp"
	"strings"
)

// wildcard stands for any characters of a line; alone in one, for any lines.
const wildcard = "…"

// Match tells where got first differs from want, which may have wildcards; ""
// where it does not. Blanks at the ends of lines, and empty lines at the end, do
// not count.
func Match(want, got string) (difference string) {
	wanted, text := rows(want), strings.Join(rows(got), "")
	if pattern(wanted, `\z`).MatchString(text) {
		return ""
	}
	for n := len(wanted); n > 0; n-- {
		if pattern(wanted[:n-1], "").MatchString(text) && !pattern(wanted[:n], "").MatchString(text) {
			return fmt.Sprintf("line %d of what is expected does not come: %s", n, strings.TrimSuffix(wanted[n-1], "\n"))
		}
	}
	return "more comes than is expected"
}

// rows are the lines, each with its end.
func rows(text string) []string {
	var all []string
	for line := range strings.Lines(strings.TrimRight(text, " \t\r\n")) {
		all = append(all, strings.TrimRight(line, " \t\r\n")+"\n")
	}
	return all
}

// pattern matches texts that begin with these lines, and then end as tail says.
func pattern(lines []string, tail string) *regexp.Regexp {
	var b strings.Builder
	b.WriteString(`\A`)
	for _, line := range lines {
		if strings.TrimSpace(line) == wildcard {
			b.WriteString(`(?:.*\n)*`)
		} else {
			b.WriteString(strings.ReplaceAll(regexp.QuoteMeta(line), wildcard, `.*`))
		}
	}
	return regexp.MustCompile(b.String() + tail)
}
