package e2e

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// terminal is a bash on a host, in which what a command sets and where it goes to
// is there for the next one.
type terminal struct {
	host    *host
	cmd     *exec.Cmd
	keys    *os.File      // to it: command and file for what it writes, each with a 0 byte
	codes   *bufio.Reader // from it: exit codes, likewise
	outputs int
}

// readAndDo is the program of a terminal. A command's standard input is empty, and
// it fails where a part of a pipe does. The exported variables are left in $1 for
// the terminals that are opened after it.
const readAndDo = `set -o pipefail
while IFS= read -r -d '' -u 3 command && IFS= read -r -d '' -u 3 output; do
  eval "$command" 3<&- 4>&- </dev/null >"$output" 2>&1
  code=$?
  env -0 >"$1"
  printf '%s\0' "$code" >&4
done`

// openTerminal opens one with these variables beside those of every user.
func openTerminal(t *testing.T, h *host, variables []string) *terminal {
	t.Helper()
	theirs, ours, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	fromThem, fromUs, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	argv := h.in("bash", "-c", readAndDo, "bash", h.variablesFile())
	c := &terminal{host: h, cmd: exec.Command(argv[0], argv[1:]...), keys: ours, codes: bufio.NewReader(fromThem)}
	c.cmd.Env = append(environment(h.env()...), variables...)
	c.cmd.ExtraFiles = []*os.File{theirs, fromUs}
	err = fork(c.cmd)
	theirs.Close()
	fromUs.Close()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = syscall.Kill(-c.cmd.Process.Pid, syscall.SIGKILL)
		_ = c.cmd.Wait()
		ours.Close()
		fromThem.Close()
	})
	return c
}

// variablesFile is where terminals of the host leave their exported variables.
func (h *host) variablesFile() string { return filepath.Join(h.dir, "variables") }

// enter types a command. What it writes goes to the file.
func (c *terminal) enter(command string) (output string, err error) {
	c.outputs++
	output = filepath.Join(c.host.dir, fmt.Sprintf("output-%d-%d", c.cmd.Process.Pid, c.outputs))
	_, err = c.keys.WriteString(command + "\x00" + output + "\x00")
	return output, err
}

// wait waits for the end of the command that was entered last.
func (c *terminal) wait(limit time.Duration) (code int, err error) {
	type answer struct {
		text string
		err  error
	}
	came := make(chan answer, 1)
	go func() {
		text, err := c.codes.ReadString(0)
		came <- answer{text, err}
	}()
	select {
	case a := <-came:
		if a.err != nil {
			return -1, errShellEnded
		}
		return strconv.Atoi(strings.TrimSuffix(a.text, "\x00"))
	case <-time.After(limit):
		return -1, fmt.Errorf("not finished after %v", limit)
	}
}

var errShellEnded = errors.New("the command ended the shell")

// interrupt is Ctrl-C: what runs in the foreground gets it.
func (c *terminal) interrupt() error { return syscall.Kill(-c.cmd.Process.Pid, syscall.SIGINT) }
