//go:build unix

package main

import (
	"math"
	"syscall"
)

// descriptors is how many files and connections the process may have open. The
// runtime has raised the soft limit to the hard one.
func descriptors() int {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil || uint64(limit.Cur) > math.MaxInt32 {
		return math.MaxInt32
	}
	return int(limit.Cur)
}
