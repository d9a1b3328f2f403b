package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"
)

const module = "github.com/sealgate/sealgate"

// machine is where and with what a run was made.
type machine struct {
	when     time.Time
	cores    int
	cpu      string
	memory   string
	kernel   string
	load     string // before anything was started
	goes     string
	commit   string
	nginx    string
	wrk      string
	registry string
}

// lookAround finds out, and fails where a tool is missing.
func lookAround(ctx context.Context, root string) (m machine, err error) {
	m = machine{when: time.Now().UTC(), cores: runtime.NumCPU(), goes: runtime.Version() + " " + runtime.GOOS + "/" + runtime.GOARCH}
	m.cpu = field(read("/proc/cpuinfo"), "model name")
	m.memory = gibibytes(field(read("/proc/meminfo"), "MemTotal"))
	m.kernel = strings.TrimSpace(read("/proc/sys/kernel/osrelease"))
	if f := strings.Fields(read("/proc/loadavg")); len(f) > 0 {
		m.load = f[0]
	}
	m.commit = commit(ctx, root)
	for _, tool := range []struct {
		version *string
		argv    []string
	}{
		{&m.nginx, []string{"nginx", "-v"}},
		{&m.wrk, []string{"wrk", "-v"}},
		{&m.registry, []string{"docker-registry", "--version"}},
	} {
		if *tool.version, err = toolVersion(ctx, tool.argv...); err != nil {
			return m, err
		}
	}
	return m, nil
}

// toolVersion is the first line that a tool says about itself. Some exit 1
// after they have said it.
func toolVersion(ctx context.Context, argv ...string) (string, error) {
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); errors.Is(err, exec.ErrNotFound) {
		return "", fmt.Errorf("%s is not installed: `make bench` as root on Debian installs it", argv[0])
	}
	line, _, _ := strings.Cut(out.String(), "\n")
	line, _, _ = strings.Cut(line, " [")
	return strings.TrimSpace(strings.TrimPrefix(line, "nginx version: ")), nil
}

// commit names the commit and says whether the tree differs from it in
// anything but the document that a run writes.
func commit(ctx context.Context, root string) string {
	git := func(args ...string) string {
		out, err := exec.CommandContext(ctx, "git", append([]string{"-C", root}, args...)...).Output()
		if err != nil {
			return ""
		}
		return strings.TrimSpace(string(out))
	}
	name := git("rev-parse", "--short=12", "HEAD")
	if name == "" {
		return "not a git checkout"
	}
	if git("status", "--porcelain", "--", ".", ":!"+document) != "" {
		name += " with changes"
	}
	return name
}

// moduleRoot is the directory of go.mod at or above the working directory.
func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("no go.mod here or above: run this in the module's directory")
		}
		dir = parent
	}
}

// gibibytes shortens what /proc/meminfo says in kB of 1,024.
func gibibytes(kb string) string {
	n, err := strconv.ParseInt(strings.TrimSuffix(kb, " kB"), 10, 64)
	if err != nil {
		return kb
	}
	return fmt.Sprintf("%.0f GiB", float64(n)/(1<<20))
}

// read returns "" for a file that is not there: what it would say is left out.
func read(path string) string {
	b, _ := os.ReadFile(path)
	return string(b)
}

// field is the value of the first "name: value" line.
func field(text, name string) string {
	for line := range strings.Lines(text) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == name {
			return strings.Join(strings.Fields(value), " ")
		}
	}
	return "unknown"
}
