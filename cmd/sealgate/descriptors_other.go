//go:build !unix

package main

import "math"

// descriptors is how many files and connections the process may have open: no
// system but unix has such a limit.
func descriptors() int { return math.MaxInt32 }
