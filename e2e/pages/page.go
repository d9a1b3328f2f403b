package pages

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Block is a fenced block of a page.
type Block struct {
	Page     string // path below the root, with slashes
	Line     int    // of its first line within the fence, from 1
	Language string // the fence's first word
	Text     string // with its lines' ends, and without the fence's indentation

	NotRun string // the reason, where the page gives one
	Host   string // where it is run; "": the page's first host
	Exit   int    // how its last command ends
	Until  string // what its last command writes once the page can go on; "": it ends

	Steps []Step // what to run, in order; none where NotRun says why, or it is no shell block
}

// Step is some commands, and what they write.
type Step struct {
	Line    int
	Script  string
	Checked bool   // whether the page says what is written
	Want    string // what the page says, with wildcards
	WantAt  int    // line of Want
}

// Files lists the pages below the root of the tree, as paths below it.
func Files(root string) ([]string, error) {
	files := []string{"README.md"}
	for _, dir := range []string{"docs", "deploy"} {
		err := filepath.WalkDir(filepath.Join(root, dir), func(file string, d fs.DirEntry, err error) error {
			if os.IsNotExist(err) {
				return nil
			}
			if err != nil || d.IsDir() || path.Ext(file) != ".md" {
				return err
			}
			file, err = filepath.Rel(root, file)
			files = append(files, filepath.ToSlash(file))
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	slices.Sort(files)
	return files, nil
}

// Read reads a page of the tree.
func Read(root, page string) ([]Block, error) {
	text, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(page)))
	if err != nil {
		return nil, err
	}
	return parse(page, string(text))
}

// IsShell tells whether the block holds commands.
func (b *Block) IsShell() bool {
	return b.Language == "sh" || b.Language == "bash" || b.Language == "console"
}

// parse finds the blocks of a page, and says of each what is to be run.
func parse(page, text string) ([]Block, error) {
	var blocks []Block
	lines := strings.Split(text, "\n")
	comment := ""     // the one that stands before what comes next
	var output *Block // the shell block whose output the next text block is
	for i := 0; i < len(lines); i++ {
		line := strings.TrimSpace(lines[i])
		switch {
		case strings.HasPrefix(line, "<!--") && strings.HasSuffix(line, "-->"):
			comment = strings.TrimSpace(strings.TrimSuffix(strings.TrimPrefix(line, "<!--"), "-->"))
		case strings.HasPrefix(line, fence):
			b := Block{Page: page, Line: i + 2}
			end, err := b.fill(lines, i)
			if err != nil {
				return nil, err
			}
			if err := b.obey(comment); err != nil {
				return nil, fmt.Errorf("%s:%d: %w", page, i+1, err)
			}
			if output != nil && b.Language == "text" && b.NotRun == "" {
				last := &output.Steps[len(output.Steps)-1]
				last.Checked, last.Want, last.WantAt = true, b.Text, b.Line
			}
			blocks = append(blocks, b)
			comment, output, i = "", nil, end
			if b.Language != "console" && len(b.Steps) > 0 {
				output = &blocks[len(blocks)-1]
			}
		case strings.HasPrefix(line, "#"):
			output = nil
			comment = ""
		case line != "":
			comment = ""
		}
	}
	return blocks, nil
}

const fence = "```"

// fill takes the block whose fence begins at lines[at] and returns where it ends.
func (b *Block) fill(lines []string, at int) (end int, err error) {
	indent := len(lines[at]) - len(strings.TrimLeft(lines[at], " "))
	b.Language, _, _ = strings.Cut(strings.TrimPrefix(strings.TrimSpace(lines[at]), fence), " ")
	for i, line := range lines[at+1:] {
		if strings.TrimSpace(line) == fence {
			return at + 1 + i, nil
		}
		b.Text += line[min(indent, len(line)-len(strings.TrimLeft(line, " "))):] + "\n"
	}
	return 0, fmt.Errorf("%s:%d: the block does not end", b.Page, at+1)
}

var how = regexp.MustCompile(`^run(?: on (\w+))?(?: exits (\d+))?(?: until "(.+)")?$`)

// obey takes in the comment before the block, and makes the steps.
func (b *Block) obey(comment string) error {
	if reason, found := strings.CutPrefix(comment, "not run:"); found {
		if b.NotRun = strings.TrimSpace(reason); b.NotRun == "" {
			return fmt.Errorf("a reason is expected after %q", "not run:")
		}
		return nil
	}
	if !b.IsShell() {
		return nil
	}
	if m := how.FindStringSubmatch(comment); m != nil {
		b.Host, b.Until = m[1], m[3]
		b.Exit, _ = strconv.Atoi("0" + m[2])
	} else if strings.HasPrefix(comment, "run") {
		return fmt.Errorf("%q: %q is expected, or a part of it", comment, `run on HOST exits N until "WORDS"`)
	}
	if b.Language == "console" {
		return b.dialogue()
	}
	b.Steps = []Step{{Line: b.Line, Script: b.Text}}
	return nil
}

// dialogue makes the steps of a console block.
func (b *Block) dialogue() error {
	for i, line := range strings.Split(strings.TrimSuffix(b.Text, "\n"), "\n") {
		last := len(b.Steps) - 1
		switch command, found := strings.CutPrefix(line, "$ "); {
		case found:
			b.Steps = append(b.Steps, Step{Line: b.Line + i, Script: command + "\n"})
		case last < 0:
			return fmt.Errorf("a console block begins with %q", "$ ")
		case strings.HasSuffix(b.Steps[last].Script, "\\\n") && !b.Steps[last].Checked:
			b.Steps[last].Script += line + "\n"
		default:
			if !b.Steps[last].Checked {
				b.Steps[last].Checked, b.Steps[last].WantAt = true, b.Line+i
			}
			b.Steps[last].Want += line + "\n"
		}
	}
	return nil
}
