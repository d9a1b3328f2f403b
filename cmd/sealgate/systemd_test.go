package main

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/rs/zerolog"
)

// serviceManager is where systemd would listen.
func serviceManager(t *testing.T) *net.UnixConn {
	t.Helper()
	dir, err := os.MkdirTemp("", "") // t.TempDir's are too long for a socket's address
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	socket := filepath.Join(dir, "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	t.Setenv("NOTIFY_SOCKET", socket)
	return conn
}

func wantTold(t *testing.T, conn *net.UnixConn, pattern string) {
	t.Helper()
	buf := make([]byte, 4096)
	n, err := conn.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(`\A(?:` + pattern + `)\z`).Match(buf[:n]) {
		t.Fatalf("want %s, got %q", pattern, buf[:n])
	}
}

const (
	toldReady   = `READY=1\nSTATUS=serving`
	toldReloads = `RELOADING=1\nMONOTONIC_USEC=[1-9][0-9]*`
)

func TestServiceManagerIsToldOfStartReloadsAndStop(t *testing.T) {
	conn := serviceManager(t)
	_, load := newStoryInstance(t)
	cfg := load()
	cfg.Listen, cfg.Admin.Control, cfg.DrainTimeout = "127.0.0.1:0", "", 7*time.Second
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	log := zerolog.New(io.Discard) // serve makes its level that of the whole process
	go func() { ended <- serve(ctx, "", cfg, log) }()

	wantTold(t, conn, toldReady)
	stop()
	wantTold(t, conn, `STOPPING=1\nSTATUS=stopping\nEXTEND_TIMEOUT_USEC=17000000`)
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
}

func TestServiceManagerIsToldHowAReloadEnded(t *testing.T) {
	conn := serviceManager(t)
	s := supervisor{zerolog.Nop()}
	bad := errors.New("bad")
	for name, c := range map[string]struct {
		outcome error
		status  string
	}{
		"taken":   {nil, `READY=1\nSTATUS=serving, configuration reloaded`},
		"refused": {bad, `READY=1\nSTATUS=serving, reload refused: .*`},
	} {
		t.Run(name, func(t *testing.T) {
			err := s.reloading(func() error {
				wantTold(t, conn, toldReloads) // before anything is read
				return c.outcome
			})
			wantTold(t, conn, c.status)
			if !errors.Is(err, c.outcome) {
				t.Errorf("want the reload's own error, got %v", err)
			}
		})
	}
}

func TestWithoutAServiceManagerNobodyIsTold(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	log := &countingLog{}
	supervisor{zerolog.New(log)}.ready()
	if log.lines != 0 {
		t.Error("want no line in the log")
	}
	t.Setenv("NOTIFY_SOCKET", filepath.Join(t.TempDir(), "nobody"))
	supervisor{zerolog.New(log)}.ready()
	if log.lines != 1 {
		t.Error("want a line in the log where the service manager is not there")
	}
}

type countingLog struct{ lines int }

func (l *countingLog) Write(p []byte) (int, error) { l.lines++; return len(p), nil }
