package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// process is a server that the suite started. Its output goes to a file.
type process struct {
	name string
	log  string // path
	cmd  *exec.Cmd
	done chan struct{} // closed once it has ended
}

// start runs argv with env added to the suite's own small environment.
func start(name, log string, env []string, argv ...string) (*process, error) {
	out, err := os.Create(log)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	p := &process{name: name, log: log, cmd: exec.Command(argv[0], argv[1:]...), done: make(chan struct{})}
	p.cmd.Env = environment(env...)
	p.cmd.Stdout, p.cmd.Stderr = out, out
	if err := fork(p.cmd); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	go func() {
		_ = p.cmd.Wait() // the exit code stays in cmd.ProcessState
		close(p.done)
	}()
	return p, nil
}

// fork starts a command that dies with the suite.
func fork(cmd *exec.Cmd) error {
	dieWithSuite(cmd)
	started := make(chan error)
	forks <- func() { started <- cmd.Start() }
	return <-started
}

// stop asks p to end, and makes it end after grace. It returns the exit code,
// -1 where a signal ended it. Stopping twice is fine.
func (p *process) stop(grace time.Duration) int {
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // an error says that it has ended
	select {
	case <-p.done:
	case <-time.After(grace):
		_ = p.cmd.Process.Kill()
		<-p.done
	}
	return p.cmd.ProcessState.ExitCode()
}

// running tells whether p has not ended.
func (p *process) running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// output is all that p has written so far.
func (p *process) output() string {
	b, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// tail is the end of p's output, for a failure's message.
func (p *process) tail() string {
	lines := strings.Split(strings.TrimSpace(p.output()), "\n")
	return p.name + " wrote:\n" + strings.Join(lines[max(0, len(lines)-20):], "\n")
}

// ready polls check until it succeeds, p ends, or the time is up.
func (p *process) ready(limit time.Duration, check func() error) error {
	var err error
	for end := time.Now().Add(limit); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if !p.running() {
			return fmt.Errorf("%s ended before it was ready\n%s", p.name, p.tail())
		}
		if err = check(); err == nil {
			return nil
		}
	}
	return fmt.Errorf("%s not ready after %v: %w\n%s", p.name, limit, err, p.tail())
}

// run runs a command to its end and returns what it wrote on both streams.
func run(env []string, argv ...string) (string, error) { return runSaying("", env, argv...) }

// runSaying is run for a command that asks something; input is what it reads.
func runSaying(input string, env []string, argv ...string) (string, error) {
	return runWithin(2*time.Minute, input, env, argv...)
}

// runWithin is runSaying for a command that may take long.
func runWithin(limit time.Duration, input string, env []string, argv ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env = environment(env...)
	cmd.WaitDelay = 5 * time.Second // do not wait for grandchildren that keep the pipe
	var out bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(input), &out, &out
	err := fork(cmd)
	if err == nil {
		err = cmd.Wait()
	}
	if ctx.Err() != nil {
		err = fmt.Errorf("not finished after %v: %w", limit, err)
	}
	if err != nil {
		err = fmt.Errorf("%s: %w\n%s", strings.Join(argv, " "), err, &out)
	}
	return out.String(), err
}

// mustRun is run for a command that has to succeed.
func mustRun(t *testing.T, env []string, argv ...string) string {
	t.Helper()
	out, err := run(env, argv...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// exitCode is the exit code in an error of run; 0 for nil, -1 for any other error.
func exitCode(err error) int {
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return exit.ExitCode()
	default:
		return -1
	}
}

// environment is what every child gets: nothing of the caller's settings,
// credentials, proxies or certificate files, so that the suite does the same
// everywhere.
func environment(extra ...string) []string {
	return append([]string{
		"PATH=" + os.Getenv("PATH"),
		"HOME=" + suite.home,
		"TMPDIR=" + suite.dir,
		"XDG_RUNTIME_DIR=" + suite.home,
		"LANG=C.UTF-8",
	}, extra...)
}

// freeAddress is a loopback address that nothing listens on just now, with a port
// that the system gives to no connection meanwhile.
func freeAddress() (string, error) {
	var l net.Listener
	var err error
	for range 20 {
		if l, err = net.Listen("tcp", fmt.Sprint("127.0.0.1:", 10_000+rand.IntN(22_000))); err == nil {
			defer l.Close()
			return l.Addr().String(), nil
		}
	}
	return "", err
}

// eventually polls check until it succeeds and fails the test when limit has
// passed first. It returns how long it took.
func eventually(t *testing.T, limit time.Duration, check func() error) time.Duration {
	t.Helper()
	begin := time.Now()
	for {
		err := check()
		if err == nil {
			return time.Since(begin)
		}
		if time.Since(begin) > limit {
			t.Fatalf("not after %v: %v", limit, err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}
