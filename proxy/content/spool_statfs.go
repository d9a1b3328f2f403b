//go:build linux || darwin || freebsd

package content

import "syscall"

// freeBytes says how many bytes of the file system of dir are free for this
// user, and how many there are.
func freeBytes(dir string) (free, total int64, err error) {
	var fs syscall.Statfs_t
	if err := syscall.Statfs(dir, &fs); err != nil {
		return 0, 0, err
	}
	return int64(fs.Bavail) * int64(fs.Bsize), int64(fs.Blocks) * int64(fs.Bsize), nil
}
