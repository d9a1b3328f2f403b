package admin_test

import (
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/sealgate/sealgate/proxy/admin"
)

// The mode has to be right when bind makes the file: whoever connects before a
// later chmod stays connected.
func TestTheSocketIsPrivateWhenItAppears(t *testing.T) {
	dir := shortDir(t)
	defer syscall.Umask(syscall.Umask(0))
	watch, err := syscall.InotifyInit1(syscall.IN_CLOEXEC | syscall.IN_NONBLOCK)
	must(t, err)
	defer syscall.Close(watch)
	_, err = syscall.InotifyAddWatch(watch, dir, syscall.IN_ATTRIB|syscall.IN_CREATE|syscall.IN_MOVED_TO)
	must(t, err)

	listener, err := admin.ListenControl(filepath.Join(dir, "s"))
	must(t, err)
	defer listener.Close()
	info, err := os.Lstat(filepath.Join(dir, "s"))
	must(t, err)
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}
	// Created once and not changed since: it had this mode from the start.
	events := make([]byte, 4096)
	n, err := syscall.Read(watch, events)
	must(t, err)
	const one = syscall.SizeofInotifyEvent + 16 // with the name, padded
	if mask := binary.NativeEndian.Uint32(events[4:]); n != one || mask != syscall.IN_CREATE {
		t.Errorf("not only created: the first event is %#x, %d bytes of events", mask, n)
	}
}

func TestASocketWithAnotherModeIsNotUsed(t *testing.T) {
	path := filepath.Join(shortDir(t), "s")
	defer syscall.Umask(syscall.Umask(0o400))
	listener, err := admin.ListenControl(path)
	if err == nil {
		listener.Close()
		t.Fatal("no error")
	}
	if !strings.Contains(err.Error(), "mode 0200 instead of 0600") {
		t.Error(err)
	}
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the file is still there: %v", err)
	}
}
