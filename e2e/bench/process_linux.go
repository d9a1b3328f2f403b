package main

import (
	"os/exec"
	"runtime"
	"syscall"
)

// forks runs every fork on one thread that lives as long as the program: the
// kernel's death signal comes when the forking thread ends, and Go ends
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

// fork starts a command that the kernel stops when this program dies without
// its clean-up. In a process group of its own it does not hear of Ctrl-C.
func fork(cmd *exec.Cmd) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	started := make(chan error)
	forks <- func() { started <- cmd.Start() }
	return <-started
}
