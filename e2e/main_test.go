package e2e

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// suite is what all tests share. TestMain fills it and clears it away.
var suite shelf

type shelf struct {
	dir      string // everything that the suite writes is under it
	home     string // HOME of every child
	sealgate string // the binary under test
	say      v1.Layer

	load float64 // of the machine, before the first test

	mu         sync.Mutex // registries, measured: tests may run beside each other
	registries []*registry
	measured   map[string]string // figures for docs/reliability.md, by test
	closers    []func()
}

// keep has the registry's access log read at the end.
func (s *shelf) keep(r *registry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.registries = append(s.registries, r)
}

// atEnd has f run after the last test, in reverse order.
func (s *shelf) atEnd(f func()) { s.closers = append(s.closers, f) }

func (s *shelf) close() {
	for len(s.closers) > 0 {
		last := len(s.closers) - 1
		s.closers[last]()
		s.closers = s.closers[:last]
	}
}

func TestMain(m *testing.M) {
	flag.Parse()
	if testing.Short() {
		fmt.Println("e2e: left out under -short")
		return
	}
	os.Exit(runSuite(m))
}

func runSuite(m *testing.M) (code int) {
	fail := func(err error) {
		if err != nil {
			fmt.Fprintf(os.Stderr, "e2e: %v\n", err)
			code = 1
		}
	}
	if err := prepare(); err != nil {
		fail(err)
	} else {
		if os.Getenv(writeFaults) != "" {
			fail(onlyFaults())
		}
		if code = max(code, m.Run()); code == 0 {
			fail(compareFaults())
		}
		fail(noTagReads())
		suite.close()
		fail(nothingLeft())
	}
	if code != 0 && os.Getenv("E2E_KEEP") != "" {
		fmt.Fprintf(os.Stderr, "e2e: logs kept in %s\n", suite.dir)
	} else if suite.dir != "" {
		fail(os.RemoveAll(suite.dir))
	}
	return code
}

// prepare finds the components and builds what the tests run.
func prepare() error {
	if err := findComponents(); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "sealgate-e2e-") // short: sockets live below it
	if err != nil {
		return err
	}
	if err := os.Chmod(dir, 0o711); err != nil { // servers of other users pass through
		return err
	}
	suite.load = loadAverage() // before what is built here
	suite.dir, suite.home = dir, filepath.Join(dir, "home")
	if err := os.Mkdir(suite.home, 0o700); err != nil {
		return err
	}
	if suite.sealgate = os.Getenv("E2E_SEALGATE"); suite.sealgate == "" {
		suite.sealgate = filepath.Join(dir, "sealgate")
		if _, err := run(goEnvironment(), "go", "build", "-o", suite.sealgate, "../cmd/sealgate"); err != nil {
			return err
		}
	}
	suite.say, err = buildSay(dir)
	return err
}

// noTagReads is the check that holds over the whole run: whatever the tests did,
// no filtered registry saw a manifest read by tag.
func noTagReads() error {
	var errs []error
	for _, r := range suite.registries {
		if r.unfiltered {
			continue
		}
		for _, line := range r.tagReads() {
			errs = append(errs, fmt.Errorf("a read by tag reached the registry behind an enforcing Sealgate: %s", line))
		}
	}
	return errors.Join(errs...)
}

// nothingLeft looks for processes, network links and mounts that outlived the suite, ends them,
// and says what they were.
func nothingLeft() error {
	var errs []error
	entries, _ := os.ReadDir("/proc")
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		if line := commandLine(pid); strings.Contains(line, suite.dir) {
			errs = append(errs, fmt.Errorf("process %d was left running: %s", pid, line))
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
	errs = append(errs, leftLinks()...)
	mounts, _ := os.ReadFile("/proc/self/mountinfo")
	for line := range strings.Lines(string(mounts)) {
		if f := strings.Fields(line); len(f) > 4 && strings.HasPrefix(f[4], suite.dir) {
			errs = append(errs, fmt.Errorf("a mount was left at %s", f[4]))
			_, _ = run(nil, "umount", "--lazy", f[4])
		}
	}
	return errors.Join(errs...)
}

// commandLine is a process's argv, blank-separated; empty where there is none.
func commandLine(pid int) string {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	return strings.TrimSpace(strings.ReplaceAll(string(b), "\x00", " "))
}
