package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sealgate/sealgate/e2e/pages"
)

// stages are what a reader has before the first command of a page; the other
// pages have a site of their own.
var stages = map[string]func(t *testing.T, l *lan){
	"README.md":               clone,
	"docs/getting-started.md": firstSteps,

	"docs/production.md":                       production,
	"docs/recipes/mirror.md":                   mirroredHub,
	"docs/recipes/air-gap.md":                  twoSites,
	"docs/recipes/in-front-of-the-registry.md": privateRegistry,
}

// commandLimit is how long a command of the documents may take, or a server until
// it serves: some have Go build everything anew.
const commandLimit = 3 * time.Minute

// TestTheDocumentsCommandsRun types what the documents tell a reader to type, page
// by page, each on hosts of its own, and compares what comes out with what they say
// comes out. Package pages has the rules by which a page says what it wants.
func TestTheDocumentsCommandsRun(t *testing.T) {
	t.Parallel()
	for _, page := range must(pages.Files(".."))(t) {
		blocks := must(pages.Read("..", page))(t)
		if !slices.ContainsFunc(blocks, func(b pages.Block) bool { return len(b.Steps) > 0 }) {
			continue
		}
		t.Run(page, func(t *testing.T) {
			t.Parallel()
			r := &reader{lan: newLAN(t), terminals: map[string]*terminal{}}
			stage := stages[page]
			if stage == nil {
				stage = site
			}
			stage(t, r.lan)
			for _, b := range blocks {
				r.do(t, b)
			}
			r.interrupt(t)
		})
	}
}

// reader does what a page says.
type reader struct {
	*lan
	terminals map[string]*terminal // by host: the one that is typed in
	last      *terminal            // of them, the one that was typed in last
	servers   []server             // in terminals of their own
}

// server is a command that goes on while the page does.
type server struct {
	*terminal
	output string       // the file of what it writes
	ended  <-chan error // how
	failure
}

// do runs the steps of a block, and ends the page where one does not do what the
// page says.
func (r *reader) do(t *testing.T, b pages.Block) {
	t.Helper()
	for _, step := range b.Steps {
		commands, err := split(step.Script)
		if err != nil {
			t.Fatalf("%s:%d: %v", b.Page, step.Line, err)
		}
		var written strings.Builder
		for i, command := range commands {
			f := failure{at: fmt.Sprintf("%s:%d", b.Page, step.Line+command.line), command: command.text}
			last := i == len(commands)-1
			if last && b.Until != "" {
				r.serve(t, b, f)
				continue
			}
			want := 0
			if last {
				want = b.Exit
			}
			output, code, err := r.enter(t, r.terminal(t, b), command.text)
			if err == nil && code != want {
				err = fmt.Errorf("exit code %d, and the page says %d", code, want)
			}
			if err != nil {
				f.fatal(t, r, err, output)
			}
			t.Logf("%s:\n%s\n%s", f.at, indented(command.text), output)
			written.WriteString(output)
		}
		if !step.Checked {
			continue
		}
		if difference := pages.Match(step.Want, written.String()); difference != "" {
			f := failure{fmt.Sprintf("%s:%d", b.Page, step.WantAt), step.Script}
			f.fatal(t, r, fmt.Errorf("%s\nwhat the page says is\n%s", difference, indented(step.Want)), written.String())
		}
	}
}

// terminal is the one that a block is typed in: the page's first host's, unless the
// block says which. A host's first one begins with what was exported before.
func (r *reader) terminal(t *testing.T, b pages.Block) *terminal {
	t.Helper()
	name := b.Host
	if name == "" {
		name = "gate"
	}
	if b.Until != "" {
		return openTerminal(t, r.host(t, name), r.exported())
	}
	if r.terminals[name] == nil {
		r.terminals[name] = openTerminal(t, r.host(t, name), r.exported())
	}
	r.last = r.terminals[name]
	return r.last
}

// exported are the variables that the terminal that was typed in last has
// exported, beside those of its host.
func (r *reader) exported() []string {
	if r.last == nil {
		return nil
	}
	text, _ := os.ReadFile(r.last.host.variablesFile())
	var all []string
	for variable := range strings.SplitSeq(string(text), "\x00") {
		name, _, found := strings.Cut(variable, "=")
		if found && !slices.ContainsFunc(environment(r.last.host.env()...), func(v string) bool { return strings.HasPrefix(v, name+"=") }) &&
			!slices.Contains([]string{"PWD", "OLDPWD", "SHLVL", "_"}, name) {
			all = append(all, variable)
		}
	}
	return all
}

// enter types a command and waits for its end.
func (r *reader) enter(t *testing.T, c *terminal, command string) (written string, code int, err error) {
	t.Helper()
	file, err := c.enter(command)
	if err == nil {
		code, err = c.wait(commandLimit)
	}
	text, _ := os.ReadFile(file)
	return string(text), code, err
}

// serve types a command in a terminal of its own and waits for its words.
func (r *reader) serve(t *testing.T, b pages.Block, f failure) {
	t.Helper()
	s := server{terminal: r.terminal(t, b), failure: f}
	var err error
	if s.output, err = s.enter(f.command); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		code, err := s.wait(time.Hour)
		if errors.Is(err, errShellEnded) {
			code, err = 130, nil // of a Ctrl-C that ended the command, bash says this by ending, too
		}
		if err == nil && code != b.Exit {
			err = fmt.Errorf("exit code %d, and the page says %d", code, b.Exit)
		}
		ended <- err
	}()
	s.ended = ended
	r.servers = append(r.servers, s)
	for end := time.Now().Add(commandLimit); ; time.Sleep(20 * time.Millisecond) {
		text, _ := os.ReadFile(s.output)
		if bytes.Contains(text, []byte(b.Until)) {
			return
		}
		select {
		case err := <-ended:
			f.fatal(t, r, fmt.Errorf("it ended (%v) before it wrote %q", err, b.Until), string(text))
		default:
		}
		if time.Now().After(end) {
			f.fatal(t, r, fmt.Errorf("it did not write %q within %v", b.Until, commandLimit), string(text))
		}
	}
}

// interrupt ends the servers by Ctrl-C, the last one first.
func (r *reader) interrupt(t *testing.T) {
	t.Helper()
	for _, s := range slices.Backward(r.servers) {
		if err := s.interrupt(); err != nil {
			t.Fatal(err)
		}
		err := <-s.ended
		text, _ := os.ReadFile(s.output)
		if err != nil {
			s.fatal(t, r, fmt.Errorf("at Ctrl-C: %w", err), string(text))
		}
	}
}

// failure is where a page is wrong.
type failure struct{ at, command string }

// fatal says what is wrong, with what the servers of the page wrote last.
func (f failure) fatal(t *testing.T, r *reader, wrong error, written string) {
	t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "%s:\n%s\n%v\nwhat was written is\n%s", f.at, indented(f.command), wrong, indented(tailOf(written, 60)))
	for _, s := range r.servers {
		if s.failure == f {
			continue
		}
		text, _ := os.ReadFile(s.output)
		fmt.Fprintf(&b, "\nat the end, %s wrote\n%s", s.command, indented(tailOf(string(text), 5)))
	}
	for _, h := range r.hosts {
		for _, p := range h.servers {
			fmt.Fprintf(&b, "\nthe log of %s on %s, with E2E_KEEP=1: %s", p.name, h.name, p.log)
		}
	}
	t.Fatal(b.String())
}

// tailOf is the end of a text, with what fits of long lines.
func tailOf(text string, most int) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	lines = lines[max(0, len(lines)-most):]
	for i, line := range lines {
		lines[i] = line[:min(len(line), 400)]
	}
	return strings.Join(lines, "\n")
}

func indented(text string) string {
	return "    " + strings.ReplaceAll(strings.TrimRight(text, "\n"), "\n", "\n    ")
}

// command is one of a script, with the number of lines before it.
type command struct {
	line int
	text string
}

// split takes a script apart: a command is the fewest lines that bash takes for
// whole.
func split(script string) ([]command, error) {
	var all []command
	text, begin := "", 0
	lines := strings.Split(strings.TrimRight(script, "\n"), "\n")
	for i, line := range lines {
		if text == "" {
			begin = i
		}
		text += line + "\n"
		if trimmed := strings.TrimSpace(text); trimmed == "" || strings.HasPrefix(trimmed, "#") && !strings.Contains(trimmed, "\n") {
			text = ""
			continue
		}
		if strings.HasSuffix(line, "\\") {
			continue
		}
		// bash takes the end of the file for that of a here-document, and says so.
		said, err := runSaying(text, nil, "bash", "-n")
		switch {
		case err == nil && said == "":
			all = append(all, command{begin, strings.TrimSuffix(text, "\n")})
			text = ""
		case i == len(lines)-1:
			return nil, fmt.Errorf("bash does not take this for a command: %v%s\n%s", err, said, indented(text))
		}
	}
	return all, nil
}

// TestAScriptIsTakenApartIntoCommands as bash would.
func TestAScriptIsTakenApartIntoCommands(t *testing.T) {
	for _, c := range []struct {
		script string
		want   []command
	}{
		{"a\nb | c\n", []command{{0, "a"}, {1, "b | c"}}},
		{"# words\n\na \\\n  b\n", []command{{2, "a \\\n  b"}}},
		{"cat >f <<E\nit's\n# in it\nE\nb\n", []command{{0, "cat >f <<E\nit's\n# in it\nE"}, {4, "b"}}},
		{"for x in 1 2; do\n  a\ndone\n", []command{{0, "for x in 1 2; do\n  a\ndone"}}},
		{"a 'b\nc'\n", []command{{0, "a 'b\nc'"}}},
	} {
		if got := must(split(c.script))(t); !slices.Equal(got, c.want) {
			t.Errorf("%q: got %+v, want %+v", c.script, got, c.want)
		}
	}
	for _, script := range []string{"a 'b\n", "cat <<E\nx\n", "if a\n"} {
		if got, err := split(script); err == nil {
			t.Errorf("%q was taken for %+v", script, got)
		}
	}
}
