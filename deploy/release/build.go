package main

import (
	"os"
	"path/filepath"
	"runtime"
)

const program = "./cmd/sealgate"

// goEnv is what a build does not take from whoever starts it.
func goEnv(arch string) []string {
	return []string{"CGO_ENABLED=0", "GOOS=linux", "GOARCH=" + arch, "GOAMD64=v1", "GOARM64=v8.0", "GOFLAGS=", "GOEXPERIMENT="}
}

// build makes the binary of one architecture. The commit is in it because of
// -buildvcs, and no path because of -trimpath.
func (r release) build(arch string) error {
	_, err := output(goEnv(arch), "go", "build", "-trimpath", "-buildvcs=true",
		"-ldflags", "-s -w -X main.version="+r.version, "-o", r.path(r.binary(arch)), program)
	return err
}

func (r release) binary(arch string) string { return r.name("_linux_" + arch) }

// pages are what the program writes about itself: manual pages and completions.
type pages struct {
	manual      []file
	completions map[string][]byte // by shell
}

func (r release) pages() (pages, error) {
	p := pages{completions: map[string][]byte{}}
	binary, err := filepath.Abs(r.path(r.binary(runtime.GOARCH)))
	if err != nil {
		return p, err
	}
	dir, err := os.MkdirTemp("", "sealgate-man")
	if err != nil {
		return p, err
	}
	defer os.RemoveAll(dir)
	if _, err := output([]string{r.epoch()}, binary, "man", dir); err != nil {
		return p, err
	}
	entries, err := os.ReadDir(dir) // sorted
	if err != nil {
		return p, err
	}
	for _, entry := range entries {
		data, err := os.ReadFile(filepath.Join(dir, entry.Name()))
		if err != nil {
			return p, err
		}
		p.manual = append(p.manual, file{name: entry.Name(), data: data})
	}
	for _, shell := range []string{"bash", "zsh", "fish"} {
		script, err := output(nil, binary, "completion", shell)
		if err != nil {
			return p, err
		}
		p.completions[shell] = []byte(script + "\n")
	}
	return p, nil
}
