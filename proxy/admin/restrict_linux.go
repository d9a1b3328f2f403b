package admin

import "syscall"

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
