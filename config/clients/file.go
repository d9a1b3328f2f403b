package clients

import (
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"github.com/BurntSushi/toml"
)

// File is one piece of configuration: a file of the client's host, or, where Path
// is empty, something that is to be known or done.
type File struct {
	// Path is absolute; "~" stands for the home of each user.
	Path string
	// Says is what the file is for, what it closes and what it does not: lines
	// without a mark of comment.
	Says []string
	// Text is the file without Says, and ends with a newline where it is not
	// empty.
	Text string
}

// Contents is what the file holds: Says as comments, where the format has
// comments, and Text.
func (f File) Contents() string {
	switch path.Ext(f.Path) {
	case ".json", ".crt":
		return f.Text
	}
	return comments(f.Says) + f.Text
}

// Print writes the files one after the other, each below its path and what it
// says, all of that as comments.
func Print(w io.Writer, files []File) error {
	for i, f := range files {
		if i > 0 {
			fmt.Fprintln(w)
		}
		if f.Path != "" {
			fmt.Fprintf(w, "# ==== %s\n", f.Path)
		}
		if _, err := io.WriteString(w, comments(f.Says)+f.Text); err != nil {
			return err
		}
	}
	return nil
}

func comments(lines []string) string {
	var b strings.Builder
	for _, line := range lines {
		b.WriteString("# " + line + "\n")
	}
	return b.String()
}

// authority is the file in which a store looks for the CA; none where there is
// no CA.
func (e Endpoint) authority(at string, says ...string) []File {
	if len(e.CA) == 0 || e.Plain {
		return nil
	}
	return []File{{Path: at, Says: says, Text: strings.TrimSpace(string(e.CA)) + "\n"}}
}

// systemStore is where Debian and its like look for local CAs.
const systemStore = "/usr/local/share/ca-certificates/sealgate.crt"

func (e Endpoint) systemAuthority(whom string) []File {
	return e.authority(systemStore,
		"The system's store, which is what "+whom+".",
		"Run update-ca-certificates and restart the client's daemon (Red Hat: /etc/pki/ca-trust/source/anchors, update-ca-trust).",
		"It closes nothing: without it the pull fails.")
}

// misread is err without anything of the file's text: there are credentials in
// some of these files.
func misread(err error) error {
	var at toml.ParseError
	if errors.As(err, &at) {
		return fmt.Errorf("line %d, at the key %q, is not what is expected there", at.Position.Line, at.LastKey)
	}
	return errors.New("a value has not the type that is expected")
}
