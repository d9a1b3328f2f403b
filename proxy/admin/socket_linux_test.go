package admin_test

import (
	"encoding/binary"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/sealgate/sealgate/proxy/admin"
)

// The mode has to be right when bind makes the file: whoever connects before a
// later chmod stays connected.
func TestTheSocketIsPrivateWhenItAppears(t *testing.T) {
	dir := shortDir(t)
	defer syscall.Umask(syscall.Umask(0))
	must(t, os.WriteFile(filepath.Join(dir, "s.lock"), nil, 0o600)) // as of the last start
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

// TestOfManyThatStartAtOnceOneListens: they all find the socket that a crash has
// left, and none may remove the one that another has just made.
func TestOfManyThatStartAtOnceOneListens(t *testing.T) {
	for range 50 {
		path := filepath.Join(shortDir(t), "s")
		leaveStale(t, path)
		var mu sync.Mutex
		var listening []net.Listener
		var all sync.WaitGroup
		start := make(chan bool)
		for range 8 {
			all.Go(func() {
				<-start
				listener, err := admin.ListenControl(path)
				mu.Lock()
				defer mu.Unlock()
				switch {
				case err == nil:
					listening = append(listening, listener)
				case !strings.Contains(err.Error(), "another process "):
					t.Error(err)
				}
			})
		}
		close(start)
		all.Wait()
		if len(listening) != 1 {
			t.Errorf("%d listen", len(listening))
		}
		if conn, err := net.Dial("unix", path); err != nil {
			t.Error(err)
		} else {
			conn.Close()
		}
		for _, listener := range listening {
			must(t, listener.Close())
		}
	}
}

func TestWhileAnotherStartsNothingIsRemoved(t *testing.T) {
	path := filepath.Join(shortDir(t), "s")
	leaveStale(t, path)
	other, err := os.Create(path + ".lock")
	must(t, err)
	must(t, syscall.Flock(int(other.Fd()), syscall.LOCK_EX))
	if listener, err := admin.ListenControl(path); err == nil || !strings.Contains(err.Error(), "s\": another process starts to listen on it: stop it") {
		t.Fatalf("listener %v, error %v", listener, err)
	}
	_, err = os.Lstat(path)
	must(t, err)
	must(t, other.Close())
	listener, err := admin.ListenControl(path)
	must(t, err)
	must(t, listener.Close())
}

func TestALockIsNoLink(t *testing.T) {
	dir := shortDir(t)
	path, elsewhere := filepath.Join(dir, "s"), filepath.Join(dir, "elsewhere")
	must(t, os.Symlink(elsewhere, path+".lock"))
	if listener, err := admin.ListenControl(path); !errors.Is(err, syscall.ELOOP) {
		t.Fatalf("listener %v, error %v", listener, err)
	}
	if _, err := os.Lstat(elsewhere); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a link was followed: %v", err)
	}
}
