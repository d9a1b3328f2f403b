//go:build !linux

package e2e

import "os/exec"

// dieWithSuite does nothing here: the suite's servers run on Linux only, and
// TestMain says so; this file lets the package compile elsewhere.
func dieWithSuite(*exec.Cmd) {}

var forks = func() chan<- func() {
	work := make(chan func())
	go func() {
		for f := range work {
			f()
		}
	}()
	return work
}()
