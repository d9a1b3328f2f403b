package e2e

import (
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// status is a line of the kernel's about the process, in KiB.
func (p *process) status(t *testing.T, name string) int {
	t.Helper()
	status := must(os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid)))(t)
	_, rest, _ := strings.Cut(string(status), name+":")
	kib, _, _ := strings.Cut(strings.TrimSpace(rest), " ")
	return must(strconv.Atoi(kib))(t)
}

// peakMiB is the most memory that the process ever had resident.
func (p *process) peakMiB(t *testing.T) int { return p.status(t, "VmHWM") >> 10 }

// residentKiB is the memory that it has resident now.
func (p *process) residentKiB(t *testing.T) int { return p.status(t, "VmRSS") }

// descriptors are how many the process has open.
func (p *process) descriptors(t *testing.T) int {
	t.Helper()
	return len(must(os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.cmd.Process.Pid)))(t))
}

var profileTotal = regexp.MustCompile(`^goroutine profile: total (\d+)`)

// goroutines are how many it runs, by its own profile.
func (g *gate) goroutines(t *testing.T) int {
	t.Helper()
	a := g.mustControl(t, "GET", "/debug/pprof/goroutine?debug=1", "")
	m := profileTotal.FindStringSubmatch(a.body)
	if m == nil {
		t.Fatalf("no goroutine profile: %v", a)
	}
	return must(strconv.Atoi(m[1]))(t)
}
