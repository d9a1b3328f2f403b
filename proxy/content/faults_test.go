package content

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/opencontainers/go-digest"
)

// errDisk is what a failing driver returns.
var errDisk = errors.New("input/output error")

// failing fails operations, counted from 1, that fails says; done says whether
// it does them nevertheless.
type failing struct {
	driver.StorageDriver
	mu    sync.Mutex
	count int
	fails func(n int) bool
	done  bool
}

// step returns the error of the next operation, and whether to do it.
func (f *failing) step() (err error, do bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.count++
	if f.fails(f.count) {
		return errDisk, f.done
	}
	return nil, true
}

// failed does an operation or not, as step says.
func failed[T any](f *failing, do func() (T, error)) (T, error) {
	err, really := f.step()
	if err == nil {
		return do()
	}
	if really {
		_, _ = do()
	}
	return *new(T), err
}

func nothing(err error) (struct{}, error) { return struct{}{}, err }

func (f *failing) GetContent(ctx context.Context, path string) ([]byte, error) {
	return failed(f, func() ([]byte, error) { return f.StorageDriver.GetContent(ctx, path) })
}

func (f *failing) PutContent(ctx context.Context, path string, content []byte) error {
	_, err := failed(f, func() (struct{}, error) { return nothing(f.StorageDriver.PutContent(ctx, path, content)) })
	return err
}

func (f *failing) Reader(ctx context.Context, path string, offset int64) (io.ReadCloser, error) {
	if err, _ := f.step(); err != nil {
		return nil, err
	}
	r, err := f.StorageDriver.Reader(ctx, path, offset)
	return failingReader{r, f}, err
}

func (f *failing) Writer(ctx context.Context, path string, appends bool) (driver.FileWriter, error) {
	if err, _ := f.step(); err != nil {
		return nil, err
	}
	w, err := f.StorageDriver.Writer(ctx, path, appends)
	return failingWriter{w, f}, err
}

func (f *failing) Stat(ctx context.Context, path string) (driver.FileInfo, error) {
	return failed(f, func() (driver.FileInfo, error) { return f.StorageDriver.Stat(ctx, path) })
}

func (f *failing) List(ctx context.Context, path string) ([]string, error) {
	return failed(f, func() ([]string, error) { return f.StorageDriver.List(ctx, path) })
}

func (f *failing) Move(ctx context.Context, from, to string) error {
	_, err := failed(f, func() (struct{}, error) { return nothing(f.StorageDriver.Move(ctx, from, to)) })
	return err
}

func (f *failing) Delete(ctx context.Context, path string) error {
	_, err := failed(f, func() (struct{}, error) { return nothing(f.StorageDriver.Delete(ctx, path)) })
	return err
}

// Walk goes through the operations of this driver.
func (f *failing) Walk(ctx context.Context, path string, do driver.WalkFn, options ...func(*driver.WalkOptions)) error {
	return driver.WalkFallback(ctx, f, path, do, options...)
}

type failingReader struct {
	io.ReadCloser
	f *failing
}

func (r failingReader) Read(p []byte) (int, error) {
	if err, _ := r.f.step(); err != nil {
		return 0, err
	}
	return r.ReadCloser.Read(p)
}

type failingWriter struct {
	driver.FileWriter
	f *failing
}

func (w failingWriter) Write(p []byte) (int, error) {
	if err, _ := w.f.step(); err != nil {
		n, _ := w.FileWriter.Write(p[:len(p)/2])
		return n, err
	}
	return w.FileWriter.Write(p)
}

func (w failingWriter) Commit(ctx context.Context) error {
	_, err := failed(w.f, func() (struct{}, error) { return nothing(w.FileWriter.Commit(ctx)) })
	return err
}

func (w failingWriter) Cancel(ctx context.Context) error {
	_, err := failed(w.f, func() (struct{}, error) { return nothing(w.FileWriter.Cancel(ctx)) })
	return err
}

func (w failingWriter) Close() error {
	_, err := failed(w.f, func() (struct{}, error) { return nothing(w.FileWriter.Close()) })
	return err
}

// world is a store with something in it, and what is tried on it.
type world struct {
	d        driver.StorageDriver
	old, new digest.Digest // blobs; new is not there
	body     []byte        // of new
	m, m2    *Manifest     // m2 is not there
}

func newWorld(t *testing.T) *world {
	w := &world{d: Root(emptyDriver(t), "r", ""), m: image(t, 1), m2: image(t, 2)}
	s := newStore(t, StoreOptions{Driver: w.d})
	w.old, _ = putBlob(t, s, repository, 1, 100_000)
	must(t, s.PutManifest(t.Context(), repository, w.m))
	must(t, s.Pin(t.Context(), repository, "v1", []digest.Digest{w.old, digest.Digest(w.m.Digest)}))
	putBlob(t, s, "team/unpinned", 3, 1000)
	w.new, w.body = blobOf(2, 100_000)
	return w
}

// tries are what may fail half-way; nil: it did not.
var tries = map[string]func(*testing.T, *world, *Store) error{
	"put blob": func(t *testing.T, w *world, s *Store) error {
		return s.PutBlob(t.Context(), repository, w.new, bytes.NewReader(w.body))
	},
	"put manifest": func(t *testing.T, w *world, s *Store) error { return s.PutManifest(t.Context(), repository, w.m2) },
	"pin": func(t *testing.T, w *world, s *Store) error {
		return s.Pin(t.Context(), repository, "v2", []digest.Digest{w.new})
	},
	"blob": func(t *testing.T, w *world, s *Store) error {
		_, err := readBlob(s, repository, w.old, 0)
		return err
	},
	"manifest": func(t *testing.T, w *world, s *Store) error {
		_, err := s.Manifest(t.Context(), repository, digest.Digest(w.m.Digest))
		return err
	},
	"sweep": func(t *testing.T, _ *world, s *Store) error {
		_, err := s.Sweep(t.Context())
		return err
	},
	"drop": func(t *testing.T, _ *world, s *Store) error {
		d, _ := blobOf(3, 1000)
		return s.Drop(t.Context(), "team/unpinned", d)
	},
}

// TestFailingAtEveryOperation: whatever a driver fails, once or from then on,
// what is served is right, what is pinned stays, what was said to be put is
// there, and a second try succeeds.
func TestFailingAtEveryOperation(t *testing.T) {
	for name, try := range tries {
		for _, how := range []struct {
			name       string
			done, ever bool
		}{{"once", false, false}, {"once, though done", true, false}, {"from then on", false, true}} {
			t.Run(name+" fails "+how.name, func(t *testing.T) {
				points := 0
				for reached := true; reached; {
					points++
					w := newWorld(t)
					f := &failing{StorageDriver: w.d, done: how.done, fails: func(n int) bool { return n == points || how.ever && n > points }}
					s := later(t, newStore(t, StoreOptions{Driver: f}), 1000*time.Hour, func(o *StoreOptions) { o.TTL = time.Hour })
					err := try(t, w, s)
					reached = f.count >= points
					checkWorld(t, w, name, err)
					must(t, try(t, w, newStore(t, StoreOptions{Driver: w.d})))
					checkWorld(t, w, name, nil)
					if t.Failed() {
						t.Fatalf("at operation %d", points)
					}
				}
				if points < 2 {
					t.Error("nothing could fail")
				}
			})
		}
	}
}

// checkWorld checks what is there after a try that ended in err.
func checkWorld(t *testing.T, w *world, name string, err error) {
	t.Helper()
	s := newStore(t, StoreOptions{Driver: w.d})
	blobs := map[digest.Digest]bool{w.old: true, w.new: name == "put blob" && err == nil}
	for d, must := range blobs {
		got, err := readBlob(s, repository, d, 0)
		if must && err != nil || err == nil && digest.FromBytes(got) != d || err != nil && !errors.Is(err, ErrNotCached) {
			t.Errorf("blob %s: %d bytes, %v", d, len(got), err)
		}
	}
	wanted := map[digest.Digest]bool{digest.Digest(w.m.Digest): true, digest.Digest(w.m2.Digest): name == "put manifest" && err == nil}
	for d, must := range wanted {
		got, err := s.Manifest(t.Context(), repository, d)
		if must && err != nil || err == nil && digest.FromBytes(got.Body) != d || err != nil && !errors.Is(err, ErrNotCached) {
			t.Errorf("manifest %s: %v, %v", d, got, err)
		}
	}
	if pins, err := s.Pins(t.Context()); err != nil || len(pins) == 0 || pins[0].Tag != "v1" || len(pins[0].Digests) != 2 {
		t.Errorf("pins: %+v, %v", pins, err)
	}
}

// TestADamagedPinStopsTheSweep: what it held is not known, so nothing goes.
func TestADamagedPinStopsTheSweep(t *testing.T) {
	onEach(t, func(t *testing.T, s *Store) {
		d, _ := putBlob(t, s, repository, 1, 1000)
		must(t, s.Pin(t.Context(), repository, "v1", []digest.Digest{d}))
		for _, content := range []string{"", "{", `{"repository":"team/app","tag":"v2","digests":[]}`} {
			must(t, s.o.Driver.PutContent(t.Context(), pinPath(repository, "v1"), []byte(content)))
			old := later(t, s, 1000*time.Hour, func(o *StoreOptions) { o.TTL, o.MaxSize = time.Hour, 1 })
			if did, err := old.Sweep(t.Context()); err == nil || !has(t, s, repository, d) {
				t.Errorf("%q: %+v, %v", content, did, err)
			}
		}
	})
}

// TestASweepEndsWithItsContext and removes nothing more.
func TestASweepEndsWithItsContext(t *testing.T) {
	onEach(t, func(t *testing.T, s *Store) {
		for i := range 5 {
			putBlob(t, s, fmt.Sprint("a", i), i, 100)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		old := later(t, s, 1000*time.Hour, func(o *StoreOptions) { o.TTL = time.Hour })
		did, err := old.Sweep(ctx)
		wantError(t, err, context.Canceled)
		if did.Expired != 0 || len(objects(t, s)) != 10 {
			t.Errorf("%+v", did)
		}
	})
}
