package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	stdlog "log"

	"github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/distribution/distribution/v3/registry/storage/driver/inmemory"
	"github.com/rs/zerolog"
	"github.com/sealgate/sealgate/proxy/content"
	"github.com/sealgate/sealgate/trustcache/guard"
	"github.com/sealgate/sealgate/trustcache/notary"
)

// watched is what lasts of an instance, and its log.
func watched(t *testing.T) (*instance, *bytes.Buffer) {
	t.Helper()
	var log bytes.Buffer
	made, err := newLasting(zerolog.New(&log), &remembered{store: notary.NewMemoryStore()})
	if err != nil {
		t.Fatal(err)
	}
	return &instance{lasting: made, open: newConnections(func() {})}, &log
}

func wantCaught(t *testing.T, inst *instance, log *bytes.Buffer, where string) {
	t.Helper()
	if got := counted(t, inst, "sealgate_panics_total", where); got != 1 {
		t.Errorf("%v panics are counted at %s", got, where)
	}
	if !strings.Contains(log.String(), `"where":"`+where+`"`) || !strings.Contains(log.String(), "a bug") || !strings.Contains(log.String(), "panics_test.go") {
		t.Errorf("the log does not say where: %s", log)
	}
}

// A part of the server that panics ends the server, and nothing ends in silence.
func TestAPanicInAPartOfTheServerEndsIt(t *testing.T) {
	inst, log := watched(t)
	err := inst.guarded("server", func() error { panic(errors.New("a bug")) })()
	if caught := (*guard.Panic)(nil); !errors.As(err, &caught) {
		t.Errorf("got %v", err)
	}
	wantCaught(t, inst, log, "server")
	failed := errors.New("failed")
	if err := inst.guarded("server", func() error { return failed })(); err != failed {
		t.Errorf("got %v", err)
	}
}

func TestAPanicInAnOperatorsRequestIs500(t *testing.T) {
	inst, log := watched(t)
	h := inst.answering("operator", http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("a bug") }))
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if w.Code != http.StatusInternalServerError || strings.Contains(w.Body.String(), "a bug") {
		t.Errorf("got %d %s", w.Code, w.Body)
	}
	wantCaught(t, inst, log, "operator")
}

// What net/http catches, such as a panic in a handshake, is seen all the same.
func TestAPanicInAHandshakeIsSeen(t *testing.T) {
	inst, log := watched(t)
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.Config.ErrorLog = stdlog.New(debugLog{inst.lasting}, "", 0)
	server.TLS = &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { panic("a bug") }}
	server.StartTLS()
	if conn, err := tls.Dial("tcp", server.Listener.Addr().String(), &tls.Config{InsecureSkipVerify: true}); err == nil {
		conn.Close()
		t.Error("there is a connection")
	}
	server.Close() // the connection's goroutine has ended
	wantCaught(t, inst, log, "connection")
}

// sweepBomb is a storage that panics a few times.
type sweepBomb struct {
	driver.StorageDriver
	left int
}

func (b *sweepBomb) Stat(ctx context.Context, path string) (driver.FileInfo, error) {
	if b.left > 0 {
		b.left--
		panic("a bug")
	}
	return b.StorageDriver.Stat(ctx, path)
}

// A cache goes on being swept.
func TestASweepThatPanicsBeginsAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inst, log := watched(t)
		swept := make(chan error, 1)
		store, err := content.NewStore(t.Context(), content.StoreOptions{
			Driver: &sweepBomb{inmemory.New(), 1}, TTL: time.Hour,
			Swept: func(_ content.Swept, err error) {
				select {
				case swept <- err:
				default:
				}
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		c := &registryCache{store: store, panicked: (&caching{log: inst.log, metrics: inst.metrics}).panicked}
		c.sweep()
		if err := <-swept; err != nil {
			t.Error(err)
		}
		c.stop()
		wantCaught(t, inst, log, "cache")
	})
}

// What comes after a record that cannot be written is written.
func TestAnAuditLogThatPanicsGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inst, log := watched(t)
		d := &disk{room: -1}
		a := newAuditLog(inst.log, func() {}, inst.panicked("audit"))
		a.use(&burstingWriter{WriteCloser: d})
		a.record(anEntry("first"))
		a.record(anEntry("second"))
		time.Sleep(time.Minute)
		a.close()
		if got := d.text(); got != lineOf("second") {
			t.Errorf("got %s", got)
		}
		wantCaught(t, inst, log, "audit")
	})
}

type burstingWriter struct {
	io.WriteCloser
	burst bool
}

func (b *burstingWriter) Write(p []byte) (int, error) {
	if !b.burst {
		b.burst = true
		panic("a bug")
	}
	return b.WriteCloser.Write(p)
}
