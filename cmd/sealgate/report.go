package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

func reportCommand(stdin io.Reader, stdout io.Writer) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "report AUDIT.LOG…",
		Short: "Tables of which tags enforcing takes away, and from whom, out of the audit log",
		Long: `Read audit logs, or what serve has written to standard error, and print which tags
enforcing would take away or change (of reads in mode permissive) and which were
denied (of reads in mode enforced): why, how often, to how many clients and to
which of them most, first and last. The sums are at the end.

Files may be compressed with gzip, and come in any order; - is standard input. A
request that is in two of them counts twice. Lines that are no JSON, such as one
that a crash has cut, are counted and passed over.

Exit codes: 0 it was read, whatever is in it; 1 a file could not be read to its
end, or has no line of Sealgate's; 2 bad usage.`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usage("report: at least one audit log is expected, or - for standard input")
			}
			return nil
		},
	}
	asJSON := cmd.Flags().Bool("json", false, "print JSON, with every row and every digest")
	since := cmd.Flags().String("since", "", "leave out requests before: a time such as 2026-03-04 or 2026-03-04T05:06:07Z, or how long ago, such as 12h or 7d")
	rows := cmd.Flags().Int("rows", 50, "print the first so many rows of each table, those with most reads; 0: all")
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		after, err := parseSince(*since, time.Now())
		if err != nil {
			return err
		}
		if *rows < 0 {
			return usage("--rows %d: 0 or more is expected", *rows)
		}
		t := newTally(after)
		unread := readLogs(t, args, stdin)
		if t.lines == 0 && unread == nil && t.bad > 0 {
			return failed(fmt.Errorf("none of %s is one of Sealgate's: name an audit log, or the log of serve with --log-format json", numbered(int(t.bad), "line")))
		}
		if *asJSON {
			err = t.report().writeJSON(stdout)
		} else {
			err = t.report().write(stdout, *rows)
		}
		return failed(errors.Join(err, unread))
	}
	return cmd
}

// readLogs reads as much as there is of each file into t; the error names those
// that could not be read to their end.
func readLogs(t *tally, paths []string, stdin io.Reader) error {
	var unread error
	for _, path := range paths {
		if err := readLog(t, path, stdin); err != nil {
			unread = errors.Join(unread, fmt.Errorf("%s: what could not be read is not counted: %w", path, err))
		}
	}
	return unread
}

func readLog(t *tally, path string, stdin io.Reader) error {
	if path == "-" {
		return readLines(stdin, t.add)
	}
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	return readLines(file, t.add)
}

// parseSince reads a point in time, or how long before now one was; "" is the
// zero time.
func parseSince(s string, now time.Time) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if at, err := time.Parse(layout, s); err == nil {
			return at, nil
		}
	}
	if days, found := strings.CutSuffix(s, "d"); found {
		if n, err := strconv.ParseUint(days, 10, 16); err == nil {
			return now.AddDate(0, 0, -int(n)), nil
		}
	}
	ago, err := time.ParseDuration(s)
	if err != nil || ago < 0 {
		return time.Time{}, usage("--since %q: a time such as 2026-03-04 or 2026-03-04T05:06:07Z is expected, or how long ago, such as 12h or 7d", s)
	}
	return now.Add(-ago), nil
}
