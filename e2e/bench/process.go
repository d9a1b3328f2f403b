package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// process is a server that the run started. All that it writes, its access
// log above all, goes to a file.
type process struct {
	name string
	log  string // path
	cmd  *exec.Cmd
	done chan struct{} // closed once it has ended
}

// start runs argv with its output in a file of dir and env added to a small
// environment.
func start(dir, name string, env []string, argv ...string) (*process, error) {
	log := filepath.Join(dir, name+".log")
	// O_APPEND, so that emptying the file under the process leaves no hole.
	out, err := os.OpenFile(log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	p := &process{name: name, log: log, cmd: exec.Command(argv[0], argv[1:]...), done: make(chan struct{})}
	p.cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "TMPDIR=" + dir, "LANG=C.UTF-8"}, env...)
	p.cmd.Stdout, p.cmd.Stderr = out, out
	if err := fork(p.cmd); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	go func() {
		_ = p.cmd.Wait() // the exit code is of no interest, the tail of the log is
		close(p.done)
	}()
	return p, nil
}

// stop asks the process to end, and makes it end after a while. Stopping twice
// is fine.
func (p *process) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // an error says that it has ended
	select {
	case <-p.done:
	case <-time.After(5 * time.Second):
		_ = p.cmd.Process.Kill()
		<-p.done
	}
}

// ready polls check until it succeeds, the process ends, or the time is up.
func (p *process) ready(ctx context.Context, check func() error) error {
	var err error
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end) && ctx.Err() == nil; time.Sleep(20 * time.Millisecond) {
		select {
		case <-p.done:
			return fmt.Errorf("%s ended before it was ready: %s", p.name, p.tail())
		default:
		}
		if err = check(); err == nil {
			return nil
		}
	}
	return fmt.Errorf("%s is not ready: %w: %s", p.name, err, p.tail())
}

// tail is the end of what the process wrote, for an error's message.
func (p *process) tail() string {
	b, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	return strings.Join(lines[max(0, len(lines)-10):], "\n")
}

// emptyLog throws the access log away, so that the disk does not have to take
// what one measurement wrote while the next one runs.
func (p *process) emptyLog() { _ = os.Truncate(p.log, 0) }

// peakRSS is the most memory that the process ever had resident, in bytes.
func (p *process) peakRSS() (int64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	return parsePeakRSS(string(status))
}

// parsePeakRSS reads VmHWM (proc_pid_status(5)), which counts in kB of 1,024.
func parsePeakRSS(status string) (int64, error) {
	for line := range strings.Lines(status) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kib, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			return kib << 10, err
		}
	}
	return 0, fmt.Errorf("no VmHWM in the process's status")
}

// cpu is the processor time that the process and its children have used: all
// of its process group, since nginx works in children.
func (p *process) cpu() time.Duration {
	files, _ := filepath.Glob("/proc/[0-9]*/stat") // the pattern is good
	var sum time.Duration
	for _, file := range files {
		stat, err := os.ReadFile(file)
		if err != nil {
			continue // ended meanwhile
		}
		if group, used, ok := parseStat(string(stat)); ok && group == p.cmd.Process.Pid {
			sum += used
		}
	}
	return sum
}

// tick is the unit of times in /proc: USER_HZ, which is 100 on every
// architecture that Go runs on.
const tick = 10 * time.Millisecond

// parseStat reads a process's group and time from its line of proc_pid_stat(5).
func parseStat(stat string) (group int, used time.Duration, ok bool) {
	end := strings.LastIndexByte(stat, ')') // the name may hold anything
	f := strings.Fields(stat[end+1:])
	if end < 0 || len(f) < 13 {
		return 0, 0, false
	}
	group, err := strconv.Atoi(f[2])
	user, errUser := strconv.Atoi(f[11])
	system, errSystem := strconv.Atoi(f[12])
	return group, time.Duration(user+system) * tick, err == nil && errUser == nil && errSystem == nil
}

// freeAddress is a loopback address that nothing listens on just now.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}
