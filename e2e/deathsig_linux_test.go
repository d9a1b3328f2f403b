package e2e

import (
	"os/exec"
	"runtime"
	"syscall"
)

// dieWithSuite makes the kernel stop cmd when the suite's process dies without
// its clean-up: a test timeout, a panic, Ctrl-C. In a process group of its own,
// cmd hears of the last in this way only, once.
func dieWithSuite(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
}

// forks runs every fork on one thread that lives as long as the suite: the
// kernel's death signal comes when the forking *thread* ends, and Go ends
// threads as it pleases.
var forks = func() chan<- func() {
	work := make(chan func())
	go func() {
		runtime.LockOSThread()
		for f := range work {
			f()
		}
	}()
	return work
}()
