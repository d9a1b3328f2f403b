package admin

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// lock holds the file at path, which it makes where there is none, until unlock
// is called or the process ends; it does not wait for another that does. The
// file stays: were it removed, two could hold two files of the same name.
func lock(path string) (unlock func(), err error) {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|syscall.O_NOFOLLOW, socketMode)
	if err != nil {
		return nil, err
	}
	err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if err == nil {
		return func() { file.Close() }, nil
	}
	file.Close()
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return nil, errors.New("another process starts to listen on it: stop it, or choose another path")
	}
	return nil, fmt.Errorf("lock %s: %w", path, err)
}

// restrict sets the mode of a socket that is not bound yet: Linux creates the
// file with it, less the umask. A chmod after bind would leave a moment in
// which others can connect, and the umask belongs to the whole process.
func restrict(_, _ string, conn syscall.RawConn) error {
	var failed error
	if err := conn.Control(func(fd uintptr) { failed = syscall.Fchmod(int(fd), socketMode) }); err != nil {
		return err
	}
	return failed
}
