//go:build !linux

package main

import "os/exec"

// fork starts a command.
func fork(cmd *exec.Cmd) error { return cmd.Start() }
