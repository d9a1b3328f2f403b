//go:build !linux

package admin

import (
	"errors"
	"fmt"
	"syscall"
)

// Only Linux is known to make a socket private before anybody can connect to
// it. The package compiles elsewhere for the commands that need no socket.
var errLinuxOnly = fmt.Errorf("sockets that only their owner can use are made on Linux only: %w", errors.ErrUnsupported)

func lock(string) (unlock func(), err error) { return nil, errLinuxOnly }

func restrict(_, _ string, _ syscall.RawConn) error { return errLinuxOnly }
