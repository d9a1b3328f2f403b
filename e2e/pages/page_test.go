package pages

import (
	"fmt"
	"strings"
	"testing"
)

// page writes a page with ' for `.
func page(text string) string { return strings.ReplaceAll(text, "'", "`") }

// TestABlockIsRunAsItsCommentSays, and in order with what it writes.
func TestABlockIsRunAsItsCommentSays(t *testing.T) {
	for _, c := range []struct{ name, page, want string }{
		{"a block alone", "'''sh\na\nb\n'''\n", `2 run:[{2 "a\nb\n"}]`},
		{"in a list, without its indentation", "1. x\n\n   '''sh\n   a <<E\n     b\n   E\n   '''\n", `4 run:[{4 "a <<E\n  b\nE\n"}]`},
		{"with a reason not to", "<!-- not run: needs a moon -->\n\n'''sh\na\n'''", `4 not run: needs a moon`},
		{"a comment counts for what follows at once", "<!-- not run: x -->\nwords\n'''sh\na\n'''", `4 run:[{4 "a\n"}]`},
		{"on a host, with an exit code", "<!-- run on client exits 1 -->\n'''bash\na\n'''", `3 on client exits 1 run:[{3 "a\n"}]`},
		{"in a terminal of its own", "<!-- run until \"ready now\" -->\n'''sh\na\n'''", `3 until ready now run:[{3 "a\n"}]`},
		{"what is written", "'''sh\na\n'''\nIt says:\n\n'''text\nb\n'''", `2 run:[{2 "a\n"} writes "b\n" (7)] 7 text`},
		{"a text that is none of it", "'''sh\na\n'''\n<!-- not run: a picture -->\n'''text\nb\n'''", `2 run:[{2 "a\n"}] 6 not run: a picture`},
		{"a text of another section", "'''sh\na\n'''\n## B\n'''text\nb\n'''", `2 run:[{2 "a\n"}] 6 text`},
		{"a dialogue", "'''console\n$ a \\\n  b\nc\nd\n$ e\n'''", `2 run:[{2 "a \\\n  b\n"} writes "c\nd\n" (4) {6 "e\n"}]`},
		{"no commands", "'''yaml\na: b\n'''", `2 yaml`},
	} {
		t.Run(c.name, func(t *testing.T) {
			blocks, err := parse("p.md", page(c.page))
			if err != nil {
				t.Fatal(err)
			}
			if got := say(blocks); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

func say(blocks []Block) string {
	var all []string
	for _, b := range blocks {
		s := fmt.Sprint(b.Line)
		switch {
		case b.NotRun != "":
			s += " not run: " + b.NotRun
		case !b.IsShell():
			s += " " + b.Language
		}
		if b.Host != "" {
			s += " on " + b.Host
		}
		if b.Exit != 0 {
			s += fmt.Sprint(" exits ", b.Exit)
		}
		if b.Until != "" {
			s += " until " + b.Until
		}
		var steps []string
		for _, step := range b.Steps {
			text := fmt.Sprintf("{%d %q}", step.Line, step.Script)
			if step.Checked {
				text += fmt.Sprintf(" writes %q (%d)", step.Want, step.WantAt)
			}
			steps = append(steps, text)
		}
		if steps != nil {
			s += " run:[" + strings.Join(steps, " ") + "]"
		}
		all = append(all, s)
	}
	return strings.Join(all, " ")
}

func TestAPageThatCannotBeReadIsAnError(t *testing.T) {
	for name, c := range map[string]struct{ page, says string }{
		"a block without an end":      {"x\n'''sh\na\n", "p.md:2: the block does not end"},
		"a reason that is none":       {"<!-- not run: -->\n'''sh\n'''", "p.md:2: a reason is expected"},
		"a comment that is misspelt":  {"<!-- run at client -->\n'''sh\n'''", `p.md:2: "run at client"`},
		"a dialogue without a prompt": {"'''console\na\n'''", "p.md:1: a console block begins"},
	} {
		if _, err := parse("p.md", page(c.page)); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: want %q, got %v", name, c.says, err)
		}
	}
}

func TestWhatIsWrittenIsComparedWithWildcards(t *testing.T) {
	for _, c := range []struct{ name, want, got, difference string }{
		{"the same", "a\nb\n", "a\nb\n", ""},
		{"blanks at the ends", "a\n", "a  \n\n", ""},
		{"any characters", "sha256:… is (signed)\n", "sha256:ab12 is (signed)\n", ""},
		{"any lines", "a\n…\nd\n", "a\nb\nc\nd\n", ""},
		{"any lines, of which there are none", "a\n…\nd\n", "a\nd\n", ""},
		{"another line", "a\nb\nc\n", "a\nx\nc\n", "line 2 of what is expected does not come: b"},
		{"no wildcard beyond a line", "a…c\n", "a\nc\n", "line 1 of what is expected does not come: a…c"},
		{"less", "a\nb\n", "a\n", "line 2 of what is expected does not come: b"},
		{"more", "a\n", "a\nb\n", "more comes than is expected"},
		{"what reads as a pattern", "a.c\n", "abc\n", "line 1 of what is expected does not come: a.c"},
		{"nothing", "", "", ""},
	} {
		if got := Match(c.want, c.got); got != c.difference {
			t.Errorf("%s: got %q, want %q", c.name, got, c.difference)
		}
	}
}
