package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/sealgate/sealgate/e2e/pages"
)

// TestTheManualsLinksLeadSomewhere: to a file of the tree, and where they name a
// heading, to one that the page has. Of other sites nothing is said.
func TestTheManualsLinksLeadSomewhere(t *testing.T) {
	const root = "../.."
	files, err := pages.Files(root)
	if err != nil {
		t.Fatal(err)
	}
	text, has := map[string]string{}, map[string]map[string]bool{}
	for _, page := range files {
		path := filepath.Join(root, page)
		text[path] = prose(t, path)
		has[path] = headings(text[path])
	}
	link := regexp.MustCompile(`\]\(([^)\s]+)\)`)
	followed := 0
	for _, page := range files {
		for _, m := range link.FindAllStringSubmatch(text[filepath.Join(root, page)], -1) {
			path, heading, _ := strings.Cut(m[1], "#")
			if strings.Contains(path, "://") {
				continue
			}
			followed++
			to := filepath.Join(root, page)
			if path != "" {
				to = filepath.Join(root, filepath.Dir(page), path)
			}
			if _, err := os.Stat(to); err != nil {
				t.Errorf("%s: %s leads nowhere", page, m[1])
			} else if heading != "" && !has[to][heading] {
				t.Errorf("%s: %s: there is no such heading", page, m[1])
			}
		}
	}
	if followed < 100 {
		t.Errorf("only %d links were found", followed)
	}
}

// prose is a page without its fenced blocks.
func prose(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	fenced := false
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(strings.TrimLeft(line, " "), "```") {
			fenced = !fenced
		} else if !fenced {
			b.WriteString(line)
		}
	}
	return b.String()
}

// headings are those of a page, as GitHub names them in links.
func headings(page string) map[string]bool {
	all := map[string]bool{}
	dropped := regexp.MustCompile(`[^\p{L}\p{N}_ -]`)
	for line := range strings.Lines(page) {
		if title := strings.TrimLeft(line, "#"); title != line {
			name := dropped.ReplaceAllString(strings.ToLower(strings.TrimSpace(title)), "")
			all[strings.ReplaceAll(name, " ", "-")] = true
		}
	}
	return all
}
