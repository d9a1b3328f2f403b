package main

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"
	"github.com/sealgate/sealgate/config"
	"github.com/sealgate/sealgate/proxy"
)

func anEntry(tag string) proxy.Entry {
	return proxy.Entry{Time: time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC), RequestID: "0f", Client: "10.0.0.7", Method: "GET", Registry: "r.example.com",
		Route: proxy.ManifestByTag, Repository: "app", Tag: tag, Decision: "deny", Reason: "unsigned", Status: 404}
}

func lineOf(tag string) string {
	return `{"level":"info","request_id":"0f","client":"10.0.0.7","method":"GET","registry":"r.example.com","route":"manifest-by-tag",` +
		`"repository":"app","tag":"` + tag + `","decision":"deny","reason":"unsigned","status":404,"bytes":0,"duration_ms":0,"time":"2026-03-04T05:06:07Z","message":"request"}` + "\n"
}

// disk is where audit lines go in a test: it can be full, and it can hang.
type disk struct {
	mu      sync.Mutex
	written bytes.Buffer
	room    int           // what is left, in bytes; below 0: enough
	hangs   chan struct{} // nil, or every write waits for it to be closed
	closed  bool
}

func (d *disk) Write(p []byte) (int, error) {
	if d.hangs != nil {
		<-d.hangs
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.room >= 0 && len(p) > d.room {
		n, _ := d.written.Write(p[:d.room])
		d.room = 0
		return n, syscall.ENOSPC
	}
	d.room -= len(p)
	return d.written.Write(p)
}

func (d *disk) Close() error { d.closed = true; return nil }

func (d *disk) text() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.written.String()
}

func TestEveryRecordIsWrittenBeforeTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &disk{room: -1, hangs: make(chan struct{})}
		a := newAuditLog(zerolog.New(t.Output()), func() { t.Error("a record is lost") }, nil)
		a.use(d)
		want := ""
		for i := range 1000 {
			a.record(anEntry(fmt.Sprint(i)))
			want += lineOf(fmt.Sprint(i))
		}
		time.AfterFunc(auditPatience/2, func() { close(d.hangs) })
		a.close()
		if got := d.text(); got != want {
			t.Errorf("got\n%.2000s\nwant\n%.2000s", got, want)
		}
		if !d.closed {
			t.Error("it was not closed")
		}
	})
}

// TestADiskThatHangsHoldsUpNobody: what does not fit into the queue is lost and
// counted, and said once; the end waits for a while.
func TestADiskThatHangsHoldsUpNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &disk{room: -1, hangs: make(chan struct{})}
		var log bytes.Buffer
		var failures atomic.Int64
		a := newAuditLog(zerolog.New(&log), func() { failures.Add(1) }, nil)
		a.use(d)
		const lost = 100
		a.record(anEntry("first"))
		synctest.Wait() // it is being written, and out of the queue
		for range auditQueue + lost {
			a.record(anEntry("x"))
		}
		if failures.Load() != lost {
			t.Errorf("%d records are counted as lost", failures.Load())
		}
		if got := log.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "the audit log cannot be written") || !strings.Contains(got, "too slow") {
			t.Errorf("the log has %s", got)
		}
		began := time.Now()
		a.close()
		if waited := time.Since(began); waited != auditPatience {
			t.Errorf("the end waited for %s", waited)
		}
		if want := fmt.Sprintf(`"lost":%d,`, lost+auditQueue); !strings.Contains(log.String(), want) {
			t.Errorf("the log has %s, and not %s", &log, want)
		}
		close(d.hangs)
		<-a.done
	})
}

// TestAReloadDoesNotWaitForADiskThatHangs: it may be what the operator reloads for.
func TestAReloadDoesNotWaitForADiskThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		before, after := &disk{room: -1, hangs: make(chan struct{})}, &disk{room: -1}
		a := newAuditLog(zerolog.New(t.Output()), func() { t.Error("a record is lost") }, nil)
		a.use(before)
		a.record(anEntry("1"))
		synctest.Wait() // it is being written
		for range 2 {
			a.use(after)
			a.record(anEntry("2"))
		}
		close(before.hangs)
		a.close()
		if got := before.text(); got != lineOf("1") || !before.closed {
			t.Errorf("what was before has %s, closed: %t", got, before.closed)
		}
		if got := after.text(); got != lineOf("2")+lineOf("2") || !after.closed {
			t.Errorf("what came after has %s, closed: %t", got, after.closed)
		}
	})
}

// TestAFullDiskIsSaidOnce for each time, and so is its end.
func TestAFullDiskIsSaidOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &disk{room: len(lineOf("0")) + 10}
		file := &auditFile{rotated: d}
		var log bytes.Buffer
		var failures atomic.Int64
		a := newAuditLog(zerolog.New(&log), func() { failures.Add(1) }, nil)
		a.use(file)
		record := func(tags ...string) {
			for _, tag := range tags {
				a.record(anEntry(tag))
			}
			synctest.Wait()
		}
		record("0", "1", "2", "3")
		d.room = -1
		record("4", "5")
		d.room = 0
		record("6")
		d.room = -1
		record("7")
		a.close()
		if want := lineOf("0") + lineOf("1")[:10] + "\n" + lineOf("4") + lineOf("5") + lineOf("7"); d.text() != want {
			t.Errorf("got\n%swant\n%s", d.text(), want)
		}
		const full, well = `{"level":"error","error":"no space left on device","message":"the audit log cannot be written: requests are answered and not recorded"}`, `{"level":"warn","lost":%d,"message":"the audit log is written again"}`
		if want := fmt.Sprintf(full+"\n"+well+"\n"+full+"\n"+well+"\n", 3, 1); log.String() != want {
			t.Errorf("the log has\n%swant\n%s", &log, want)
		}
		if failures.Load() != 4 {
			t.Errorf("%d records are counted as lost", failures.Load())
		}
	})
}

func auditTo(path string, change func(*config.AuditFile)) *config.Audit {
	file := &config.AuditFile{Path: path, MaxSize: 1 << 20, MaxFiles: 10}
	if change != nil {
		change(file)
	}
	return &config.Audit{File: file}
}

func mustOpen(t *testing.T, c *config.Audit) io.WriteCloser {
	t.Helper()
	w, err := openAudit(c)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func mustPrint(t *testing.T, w io.Writer, text string) {
	t.Helper()
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
}

func textOf(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestALineThatACrashHasCutStaysAlone(t *testing.T) {
	for name, tt := range map[string]struct{ before, want string }{
		"none":           {"", "{2}\n"},
		"a whole line":   {"{1}\n", "{1}\n{2}\n"},
		"half a line":    {"{1}\n{", "{1}\n{\n{2}\n"},
		"a byte":         {"{", "{\n{2}\n"},
		"an empty lines": {"\n", "\n{2}\n"},
	} {
		t.Run(name, func(t *testing.T) {
			path := file(t, "audit.log", tt.before)
			w := mustOpen(t, auditTo(path, nil))
			mustPrint(t, w, "{2}\n")
			if err := w.Close(); err != nil {
				t.Error(err)
			}
			if got := textOf(t, path); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestTheAuditFileIsRotated(t *testing.T) {
	for _, compress := range []bool{false, true} {
		t.Run(fmt.Sprint("compressed ", compress), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dir := t.TempDir()
				path := filepath.Join(dir, "audit.log")
				w := mustOpen(t, auditTo(path, func(f *config.AuditFile) { f.MaxFiles, f.Compress = 2, compress }))
				pad := strings.Repeat("x", 300<<10-4)
				const lines = 14 // of which three fit into a file
				for i := range lines {
					mustPrint(t, w, fmt.Sprintf("%03d%s\n", i, pad))
					time.Sleep(time.Second) // the names have the time; in no time
				}
				if err := w.Close(); err != nil { // waits for what is removed and compressed
					t.Error(err)
				}
				names, err := filepath.Glob(filepath.Join(dir, "*"))
				if err != nil || len(names) != 3 {
					t.Fatalf("the directory has %q, %v", names, err)
				}
				next := lines - 2 - 2*3 // the last file has two, those before three each
				for _, name := range names[:2] {
					for line := range strings.Lines(rotatedContent(t, name)) {
						if line != fmt.Sprintf("%03d%s\n", next, pad) {
							t.Errorf("%s has %.10q… where line %d is due", name, line, next)
						}
						next++
					}
					if strings.HasSuffix(name, ".gz") != compress {
						t.Errorf("%s, compress %v", name, compress)
					}
				}
				for _, name := range names {
					if info, err := os.Stat(name); err != nil || info.Mode().Perm() != 0o600 || info.Size() > 1<<20 {
						t.Errorf("%s: %v, %v", name, info, err)
					}
				}
				if got := textOf(t, path); next != lines-2 || !strings.HasPrefix(got, "012") || strings.Count(got, "\n") != 2 {
					t.Errorf("line %d was next, and the file has %.10q…", next, got)
				}
			})
		})
	}
}

func rotatedContent(t *testing.T, path string) string {
	t.Helper()
	data := textOf(t, path)
	if !strings.HasSuffix(path, ".gz") {
		return data
	}
	r, err := gzip.NewReader(strings.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestAnAuditFileThatCannotBeIsRefused(t *testing.T) {
	dir := t.TempDir()
	link := filepath.Join(dir, "link")
	if err := os.Symlink(filepath.Join(dir, "elsewhere"), link); err != nil {
		t.Fatal(err)
	}
	for name, path := range map[string]string{"a directory": dir, "a link": link, "no directory": filepath.Join(dir, "absent", "audit.log")} {
		if _, err := openAudit(auditTo(path, nil)); err == nil || !strings.HasPrefix(err.Error(), "audit.file: ") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestTheAuditLogFollowsAReload: to another file, away, back, and to a file of
// the same name after somebody has moved the first one away.
func TestTheAuditLogFollowsAReload(t *testing.T) {
	inst, load := newStoryInstance(t)
	dir := t.TempDir()
	audited := func(name string) *config.Config {
		return load("state-dir: .", "state-dir: .\naudit: {file: {path: '"+filepath.Join(dir, name)+"'}}")
	}
	// asked waits until a file has the request for a tag, since it is written later.
	asked := func(tag, name string) {
		t.Helper()
		get(inst, "/v2/demo/app/manifests/"+tag)
		line := regexp.MustCompile(`(?m)^{"level":"info",.*"tag":"` + tag + `","decision":"deny",.*"message":"request"}\n\z`)
		for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
			text, err := os.ReadFile(filepath.Join(dir, name))
			if line.Match(text) {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s has no %s at its end: %s, %v", name, tag, text, err)
			}
		}
	}
	must := func(next *config.Config) {
		t.Helper()
		if err := reload(inst, next); err != nil {
			t.Fatal(err)
		}
	}
	must(audited("one.log"))
	asked("a", "one.log")
	must(audited("two.log"))
	asked("b", "two.log")
	bad := audited("one.log")
	bad.Audit.File.Path = filepath.Join(dir, "absent", "one.log")
	if err := reload(inst, bad); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a directory that is missing: %v", err)
	}
	asked("c", "two.log")
	must(load())
	get(inst, "/v2/demo/app/manifests/d")
	must(audited("one.log"))
	asked("e", "one.log")
	if err := os.Rename(filepath.Join(dir, "one.log"), filepath.Join(dir, "moved.log")); err != nil {
		t.Fatal(err)
	}
	asked("f", "moved.log")
	must(audited("one.log"))
	asked("g", "one.log")
	for name, want := range map[string]int{"moved.log": 3, "one.log": 1, "two.log": 2} {
		if got := textOf(t, filepath.Join(dir, name)); strings.Count(got, "\n") != want {
			t.Errorf("%s has not %d lines: %s", name, want, got)
		}
	}
}
