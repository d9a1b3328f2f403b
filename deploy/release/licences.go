package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
)

// thirdPartyLicences are the licences and notices of all modules that are linked
// into the program, and Go's own: most of them have to go where the binary goes.
// A module without one is an error.
func thirdPartyLicences() ([]byte, error) {
	list, err := output(goEnv(runtime.GOARCH), "go", "list", "-deps",
		"-f", "{{with .Module}}{{if not .Main}}{{.Path}} {{.Version}}\t{{.Dir}}{{end}}{{end}}", program)
	if err != nil {
		return nil, err
	}
	root, err := output(nil, "go", "env", "GOROOT")
	if err != nil {
		return nil, err
	}
	modules := slices.Compact(slices.Sorted(strings.SplitSeq(list, "\n")))
	modules = slices.DeleteFunc(modules, func(line string) bool { return line == "" }) // the standard library's packages
	modules = append(modules, "Go "+runtime.Version()+"\t"+root)
	var all bytes.Buffer
	for _, line := range modules {
		module, dir, _ := strings.Cut(line, "\t")
		if err := appendLicences(&all, module, dir); err != nil {
			return nil, err
		}
	}
	return all.Bytes(), nil
}

var licenceFile = regexp.MustCompile(`(?i)\A(licen[cs]e|copying|notice|patents)([.-].*)?\z`)

func appendLicences(all *bytes.Buffer, module, dir string) error {
	entries, err := os.ReadDir(dir) // sorted
	if err != nil {
		return fmt.Errorf("%s: %w", module, err)
	}
	found := false
	for _, entry := range entries {
		if !entry.Type().IsRegular() || !licenceFile.MatchString(entry.Name()) {
			continue
		}
		text, err := os.ReadFile(filepath.Join(dir, entry.Name()))
		if err != nil {
			return err
		}
		found = true
		fmt.Fprintf(all, "%s\n%s: %s\n\n%s\n\n", strings.Repeat("=", 78), module, entry.Name(), bytes.TrimSpace(text))
	}
	if !found {
		return fmt.Errorf("%s: no licence in %s", module, dir)
	}
	return nil
}
