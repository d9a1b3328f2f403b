//go:build unix

package main

import (
	"fmt"
	"os"
	"syscall"

	"github.com/sealgate/sealgate/config"
)

// checkOwner refuses to write into what another user's server has to write to:
// that could not use it any more.
func checkOwner(s config.Storage) error {
	root := s.RootDirectory()
	if root == "" {
		return nil // a bucket's own rules say who may write
	}
	info, err := os.Stat(root)
	if err != nil {
		return err
	}
	if owner, ok := info.Sys().(*syscall.Stat_t); ok && int(owner.Uid) != os.Geteuid() {
		return fmt.Errorf("%s belongs to the user with the ID %d, not to you (%d): run this as the user that sealgate runs as", root, owner.Uid, os.Geteuid())
	}
	return nil
}
