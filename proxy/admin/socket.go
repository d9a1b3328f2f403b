package admin

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"syscall"
)

// maxSocketPath is what sun_path of a unix socket's address holds on Linux
// (unix(7)), without the byte that ends it.
const maxSocketPath = 107

// socketMode: who may write to the socket may do whatever ControlHandler does.
const socketMode = 0o600

// ListenControl listens on a unix socket that only the user of the process can
// connect to, from its first moment on. A socket file that nobody listens on
// any more is replaced; a live one, and any other file, is left alone and is an
// error. Closing the listener removes the file; an empty path+".lock" stays. On
// systems other than Linux the error is errors.ErrUnsupported.
func ListenControl(path string) (net.Listener, error) {
	if err := checkSocketPath(path); err != nil {
		return nil, err
	}
	// Of two processes that find the same stale socket at once, the second would
	// remove what the first has just made.
	unlock, err := lock(path + ".lock")
	if err != nil {
		return nil, fmt.Errorf("control socket %q: %w", path, err)
	}
	defer unlock()
	if err := removeStale(path); err != nil {
		return nil, err
	}
	config := net.ListenConfig{Control: restrict}
	listener, err := config.Listen(context.Background(), "unix", path)
	if err != nil {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	// Where the kernel does not heed restrict, somebody could have connected
	// already: better no socket than an open one.
	info, err := os.Lstat(path)
	if err == nil && info.Mode().Perm() != socketMode {
		err = fmt.Errorf("mode %#o instead of %#o: check the umask, or put it on another file system", info.Mode().Perm(), socketMode)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("control socket %q: %w", path, err), listener.Close())
	}
	return listener, nil
}

func checkSocketPath(path string) error {
	switch {
	case path == "" || path[0] == '@': // Linux: sockets without a file, and so without a mode
		return fmt.Errorf("control socket %q: the path of a file is expected", path)
	case len(path) > maxSocketPath:
		return fmt.Errorf("control socket %q: the path has %d bytes, and a unix socket's at most %d: choose a shorter one", path, len(path), maxSocketPath)
	}
	return nil
}

// removeStale makes room for a socket at path, where all that is in the way is
// the socket of a process that ended without removing it.
func removeStale(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("control socket: %w", err)
	}
	if info.Mode().Type() != fs.ModeSocket {
		return fmt.Errorf("control socket %q: a file that is no socket is in the way: remove it, or choose another path", path)
	}
	conn, err := net.Dial("unix", path)
	if err == nil {
		conn.Close()
		return fmt.Errorf("control socket %q: another process listens on it: stop it, or choose another path", path)
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("control socket %q: it cannot be told whether another process listens on it: %w", path, err)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("control socket: %w", err)
	}
	return nil
}
