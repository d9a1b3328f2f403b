package admin_test

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/sealgate/sealgate/proxy/admin"
)

// shortDir is a temporary directory whose name leaves room for a socket's.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "sg")
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// serveControl serves on the socket until the test ends.
func serveControl(t *testing.T, path string, h http.Handler) *http.Server {
	t.Helper()
	listener, err := admin.ListenControl(path)
	must(t, err)
	server := &http.Server{Handler: h}
	var wg sync.WaitGroup
	wg.Go(func() { server.Serve(listener) })
	t.Cleanup(func() { server.Close(); wg.Wait() })
	return server
}

func TestTheControlSocketFromEndToEnd(t *testing.T) {
	path := filepath.Join(shortDir(t), "control.sock")
	control := &fakeControl{}
	server := serveControl(t, path, admin.ControlHandler(control))

	info, err := os.Lstat(path)
	must(t, err)
	if info.Mode() != fs.ModeSocket|0o600 {
		t.Errorf("mode %v", info.Mode())
	}
	for _, target := range []string{"/forget?gun=" + known, "/reload"} {
		if err := admin.Call(t.Context(), path, target); err != nil {
			t.Errorf("%s: %v", target, err)
		}
	}
	if len(control.forgot) != 1 || control.reloads != 1 {
		t.Errorf("forgot %q, %d reloads", control.forgot, control.reloads)
	}
	for _, c := range []struct {
		target string
		status int
		want   string
	}{
		{"/forget?gun=" + registry + "/none", 404, `nothing is remembered of the repository: "registry.example.com/none"`},
		{"/debug/pprof/heap", 405, "405 Method Not Allowed Method Not Allowed"}, // no JSON
	} {
		err := admin.Call(t.Context(), path, c.target)
		var refused *admin.CallError
		if !errors.As(err, &refused) || refused.Status != c.status || refused.Error() != c.want {
			t.Errorf("%s: error %v", c.target, err)
		}
	}
	must(t, server.Close())
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the file is still there: %v", err)
	}
	if err := admin.Call(t.Context(), path, "/reload"); !errors.Is(err, admin.ErrNotRunning) {
		t.Errorf("error %v", err)
	}
}

// leaveStale leaves a socket at path that nobody listens on, as a crash does.
func leaveStale(t *testing.T, path string) {
	t.Helper()
	stale, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	must(t, err)
	stale.SetUnlinkOnClose(false)
	must(t, stale.Close())
}

func TestAStaleSocketIsReplaced(t *testing.T) {
	path := filepath.Join(shortDir(t), "s")
	leaveStale(t, path)
	if err := admin.Call(t.Context(), path, "/reload"); !errors.Is(err, admin.ErrNotRunning) {
		t.Errorf("error %v", err)
	}
	serveControl(t, path, admin.ControlHandler(&fakeControl{}))
	must(t, admin.Call(t.Context(), path, "/reload"))
}

func TestALiveSocketIsLeftAlone(t *testing.T) {
	path := filepath.Join(shortDir(t), "s")
	serveControl(t, path, admin.ControlHandler(&fakeControl{}))
	if listener, err := admin.ListenControl(path); err == nil || !strings.Contains(err.Error(), "s\": another process listens on it: stop it") {
		t.Fatalf("listener %v, error %v", listener, err)
	}
	must(t, admin.Call(t.Context(), path, "/reload"))
}

func TestWhatIsNoSocketIsLeftAlone(t *testing.T) {
	dir := shortDir(t)
	file, link, stale, below := filepath.Join(dir, "file"), filepath.Join(dir, "link"), filepath.Join(dir, "stale"), filepath.Join(dir, "dir")
	must(t, os.Mkdir(below, 0o700))
	must(t, os.WriteFile(file, []byte("precious"), 0o600))
	must(t, os.Symlink(stale, link))
	for _, path := range []string{file, link, below} {
		if listener, err := admin.ListenControl(path); err == nil || !strings.Contains(err.Error(), "no socket is in the way") {
			t.Fatalf("%s: listener %v, error %v", path, listener, err)
		}
	}
	if kept, err := os.ReadFile(file); err != nil || string(kept) != "precious" {
		t.Errorf("%q, error %v", kept, err)
	}
	// A socket that speaks otherwise cannot be told from a live one.
	packets, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: stale, Net: "unixgram"})
	must(t, err)
	defer packets.Close()
	if listener, err := admin.ListenControl(stale); err == nil || !strings.Contains(err.Error(), "cannot be told") {
		t.Fatalf("listener %v, error %v", listener, err)
	}
}

func TestPathsThatNoSocketCanHave(t *testing.T) {
	dir := shortDir(t)
	fits := filepath.Join(dir, strings.Repeat("s", 107-len(dir)-1))
	listener, err := admin.ListenControl(fits)
	must(t, err)
	must(t, listener.Close())
	for _, c := range []struct{ path, want string }{
		{fits + "s", "the path has 108 bytes, and a unix socket's at most 107: choose a shorter one"},
		{"", "the path of a file is expected"},
		{"@abstract", "the path of a file is expected"},
	} {
		if listener, err := admin.ListenControl(c.path); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: listener %v, error %v", c.path, listener, err)
		}
		if err := admin.Call(t.Context(), c.path, "/reload"); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: error %v", c.path, err)
		}
	}
	if _, err := admin.ListenControl(filepath.Join(dir, "none", "s")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error %v", err)
	}
}

func TestCallSaysWhatIsMissing(t *testing.T) {
	path := filepath.Join(shortDir(t), "s")
	err := admin.Call(t.Context(), path, "/reload")
	if !errors.Is(err, admin.ErrNotRunning) || !strings.Contains(err.Error(), path) {
		t.Errorf("error %v", err)
	}
}

func TestCallEndsWithItsContext(t *testing.T) {
	path := filepath.Join(shortDir(t), "s")
	asked := make(chan bool)
	serveControl(t, path, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		asked <- true
		<-r.Context().Done()
	}))
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-asked; cancel() }()
	if err := admin.Call(ctx, path, "/reload"); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}
