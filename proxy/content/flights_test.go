package content

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/sealgate/sealgate/trustcache/guard"
)

// origin of one blob that can be slow, short, cut or wrong.
type well struct {
	blob    []byte
	size    int64         // announced
	opened  atomic.Int32  // fetches from 0
	resumed atomic.Int32  // fetches from further on
	gate    chan struct{} // nil, or: every read waits for one
	cutAt   int           // bytes; 0: not cut
	openErr error
	kept    chan []byte
	keep    func(context.Context)
}

func newWell(size int) *well {
	w := &well{blob: make([]byte, size), size: int64(size), kept: make(chan []byte, 10)}
	rng := rand.NewChaCha8([32]byte{1})
	rng.Read(w.blob)
	return w
}

func (w *well) digest() digest.Digest { return digest.FromBytes(w.blob) }

func (w *well) source() Source {
	return Source{Open: w.open, Keep: func(ctx context.Context, r io.Reader) {
		if w.keep != nil {
			w.keep(ctx)
		}
		b, _ := io.ReadAll(r)
		w.kept <- b
	}}
}

func (w *well) open(ctx context.Context, offset int64) (io.ReadCloser, int64, error) {
	if offset == 0 {
		w.opened.Add(1)
	} else {
		w.resumed.Add(1)
	}
	if w.openErr != nil {
		return nil, 0, w.openErr
	}
	return &bucket{w: w, ctx: ctx, at: int(offset)}, w.size, nil
}

type bucket struct {
	w   *well
	ctx context.Context
	at  int
}

var errCut = errors.New("cut")

func (b *bucket) Read(p []byte) (int, error) {
	if b.w.gate != nil {
		select {
		case <-b.w.gate:
		case <-b.ctx.Done():
			return 0, b.ctx.Err()
		}
	}
	end := min(b.at+10_000, len(b.w.blob))
	if b.w.cutAt > 0 {
		end = min(end, b.w.cutAt)
		if b.at >= end {
			return 0, errCut
		}
	}
	if b.at == end {
		return 0, io.EOF
	}
	n := copy(p, b.w.blob[b.at:end])
	b.at += n
	return n, nil
}

func (b *bucket) Close() error { return nil }

// memorySpool is a Spool with so much room.
type memorySpool struct {
	room int // bytes in each file
	open atomic.Int32
}

type memoryFile struct {
	mu    sync.Mutex
	bytes []byte
	of    *memorySpool
}

func (s *memorySpool) Create() (SpoolFile, error) {
	if s.room == 0 {
		return nil, errors.New("no room")
	}
	s.open.Add(1)
	return &memoryFile{of: s}, nil
}

func (*memoryFile) Expect(int64) error { return nil }

func (f *memoryFile) Write(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := min(len(p), f.of.room-len(f.bytes))
	f.bytes = append(f.bytes, p[:n]...)
	if n < len(p) {
		return n, errors.New("no room any more")
	}
	return n, nil
}

func (f *memoryFile) ReadAt(p []byte, at int64) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return bytes.NewReader(f.bytes).ReadAt(p, at)
}

func (f *memoryFile) Close() error { f.of.open.Add(-1); return nil }

func newFlights(t *testing.T, opts FlightsOptions) *Flights {
	if opts.Spool == nil {
		spool, err := NewDirSpool(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		opts.Spool = spool
	}
	f := NewFlights(opts)
	t.Cleanup(f.Close)
	return f
}

func (w *well) join(t *testing.T, f *Flights) *Reader {
	t.Helper()
	r, _, err := f.Join(t.Context(), "key", w.digest(), w.source())
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestManyReadersOneFetch(t *testing.T) {
	w := newWell(1 << 20)
	f := newFlights(t, FlightsOptions{})
	w.gate = make(chan struct{})
	var joined, all sync.WaitGroup
	for range 200 {
		joined.Add(1)
		all.Go(func() {
			r, _, err := f.Join(t.Context(), "key", w.digest(), w.source())
			joined.Done()
			if err != nil {
				t.Error(err)
				return
			}
			defer r.Close()
			if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, w.blob) {
				t.Errorf("read %d bytes, %v", len(got), err)
			}
		})
	}
	joined.Wait()
	close(w.gate)
	all.Wait()
	if n := w.opened.Load(); n != 1 {
		t.Errorf("fetched %d times", n)
	}
	if kept := <-w.kept; !bytes.Equal(kept, w.blob) {
		t.Errorf("%d other bytes were kept", len(kept))
	}
	f.Close()
	if got := f.Stats(); got != (FlightStats{}) {
		t.Errorf("left behind: %+v", got)
	}
}

// A reader sees bytes as they come, and not the last one before all are verified.
func TestBytesAreReadAsTheyCome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWell(25_000)
		w.gate = make(chan struct{})
		f := newFlights(t, FlightsOptions{Spool: &memorySpool{room: 1 << 20}})
		r := w.join(t, f)
		defer r.Close()
		var got atomic.Int64
		end := make(chan error)
		go func() {
			n, err := io.Copy(writerFunc(func(p []byte) { got.Add(int64(len(p))) }), r)
			if n != 25_000 {
				err = fmt.Errorf("%d bytes: %w", n, err)
			}
			end <- err
		}()
		for _, want := range []int64{10_000, 20_000, 24_999} {
			w.gate <- struct{}{}
			synctest.Wait()
			if got.Load() != want {
				t.Errorf("%d bytes were read, want %d", got.Load(), want)
			}
		}
		close(w.gate)
		if err := <-end; err != nil {
			t.Error(err)
		}
		r.Close()
		f.Close()
	})
}

type writerFunc func([]byte)

func (f writerFunc) Write(p []byte) (int, error) { f(p); return len(p), nil }

func TestWhatIsWrongIsNeverWholeAndNotKept(t *testing.T) {
	for _, test := range []struct {
		name  string
		spoil func(*well)
		want  error
	}{
		{"other bytes", func(w *well) { w.blob = bytes.Clone(w.blob); w.blob[5]++ }, ErrDigest},
		{"cut in the middle", func(w *well) { w.cutAt = 30_000 }, errCut},
		{"shorter than announced", func(w *well) { w.size++ }, errLength},
		{"longer than announced", func(w *well) { w.size-- }, errLength},
		{"other bytes, of unknown length", func(w *well) { w.blob = bytes.Clone(w.blob); w.blob[5]++; w.size = -1 }, ErrDigest},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWell(100_000)
			want := w.digest()
			test.spoil(w)
			f := newFlights(t, FlightsOptions{})
			r, led, err := f.Join(t.Context(), "key", want, w.source())
			if err != nil || !led {
				t.Fatal(led, err)
			}
			got, err := io.ReadAll(r)
			if !errors.Is(err, test.want) || !errors.Is(r.Err(), test.want) {
				t.Errorf("read ended with %v, %v", err, r.Err())
			}
			if w.size >= 0 && int64(len(got)) >= w.size {
				t.Errorf("all %d bytes were read", len(got))
			}
			r.Close()
			f.Close()
			if len(w.kept) > 0 {
				t.Error("it was kept")
			}
		})
	}
}

func TestAFailedFetchIsFollowedByAnother(t *testing.T) {
	w := newWell(100_000)
	w.cutAt = 30_000
	f := newFlights(t, FlightsOptions{})
	r := w.join(t, f)
	if _, err := io.ReadAll(r); !errors.Is(err, errCut) {
		t.Error(err)
	}
	w.cutAt = 0
	again := w.join(t, f)
	if got, err := io.ReadAll(again); err != nil || !bytes.Equal(got, w.blob) {
		t.Errorf("read %d bytes, %v", len(got), err)
	}
	r.Close()
	again.Close()
}

func TestReadersLearnWhyTheFetchDidNotBegin(t *testing.T) {
	w := newWell(1000)
	w.openErr = errors.New("refused")
	f := newFlights(t, FlightsOptions{})
	_, led, err := f.Join(t.Context(), "key", w.digest(), w.source())
	if !led || !errors.Is(err, w.openErr) {
		t.Error(led, err)
	}
}

// TestWithoutRoomReadersGoOnByThemselves: what was spooled is read, the rest
// comes from the source.
func TestWithoutRoomReadersGoOnByThemselves(t *testing.T) {
	for _, known := range []bool{true, false} {
		t.Run(fmt.Sprint("size known: ", known), func(t *testing.T) {
			w := newWell(100_000)
			if !known {
				w.size = -1
			}
			spool := &memorySpool{room: 45_000}
			var noticed atomic.Int32
			f := newFlights(t, FlightsOptions{Spool: spool, OnSpoolError: func(error) { noticed.Add(1) }})
			w.gate = make(chan struct{})
			readers := []*Reader{w.join(t, f), w.join(t, f), w.join(t, f)}
			close(w.gate)
			for _, r := range readers {
				if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, w.blob) {
					t.Errorf("read %d bytes, %v", len(got), err)
				}
				r.Close()
			}
			f.Close()
			if w.opened.Load() != 1 || w.resumed.Load() != 3 || noticed.Load() != 1 {
				t.Errorf("fetched %d times, and on from there %d times; noticed %d times", w.opened.Load(), w.resumed.Load(), noticed.Load())
			}
			if len(w.kept) > 0 || spool.open.Load() != 0 {
				t.Error("something is left")
			}
		})
	}
}

func TestWithoutASpoolNothingIsFetched(t *testing.T) {
	w := newWell(1000)
	f := newFlights(t, FlightsOptions{Spool: &memorySpool{}})
	if _, _, err := f.Join(t.Context(), "key", w.digest(), w.source()); !errors.Is(err, ErrSpool) || w.opened.Load() != 0 {
		t.Errorf("got %v after %d fetches", err, w.opened.Load())
	}
}

func TestAFlightWithoutReadersEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWell(100_000)
		w.gate = make(chan struct{})
		spool := &memorySpool{room: 1 << 20}
		f := newFlights(t, FlightsOptions{Spool: spool})
		first := w.join(t, f)
		first.Close()
		time.Sleep(9 * time.Second)
		second := w.join(t, f) // in time
		time.Sleep(time.Minute)
		if f.Stats() != (FlightStats{Flights: 1, Readers: 1}) {
			t.Errorf("with a reader: %+v", f.Stats())
		}
		second.Close()
		time.Sleep(10*time.Second + 1)
		synctest.Wait()
		if f.Stats() != (FlightStats{}) || w.opened.Load() != 1 || spool.open.Load() != 0 {
			t.Errorf("without: %+v, fetched %d times", f.Stats(), w.opened.Load())
		}
		third := w.join(t, f)
		close(w.gate)
		if got, err := io.ReadAll(third); err != nil || !bytes.Equal(got, w.blob) {
			t.Errorf("afterwards: %d bytes, %v", len(got), err)
		}
		third.Close()
		f.Close()
	})
}

// TestReadersDoNotWaitForEachOther: one that does not read at all, one that goes.
func TestReadersDoNotWaitForEachOther(t *testing.T) {
	w := newWell(3 << 20)
	f := newFlights(t, FlightsOptions{})
	asleep, gone, awake := w.join(t, f), w.join(t, f), w.join(t, f)
	gone.Close()
	if got, err := io.ReadAll(awake); err != nil || !bytes.Equal(got, w.blob) {
		t.Errorf("read %d bytes, %v", len(got), err)
	}
	awake.Close()
	<-w.kept
	if got, err := io.ReadAll(asleep); err != nil || !bytes.Equal(got, w.blob) {
		t.Errorf("later: read %d bytes, %v", len(got), err)
	}
	asleep.Close()
}

func TestAReaderIsFoundForWhatHasCome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWell(100_000)
		w.gate = make(chan struct{})
		f := newFlights(t, FlightsOptions{Spool: &memorySpool{room: 1 << 20}})
		if f.Find(t.Context(), "key", 0, w.source()) != nil {
			t.Error("found before anything was fetched")
		}
		r := w.join(t, f)
		w.gate <- struct{}{}
		synctest.Wait()
		if f.Find(t.Context(), "key", 10_000, w.source()) != nil {
			t.Error("found for what has not come")
		}
		found := f.Find(t.Context(), "key", 9_999, w.source())
		if found == nil {
			t.Fatal("not found")
		}
		close(w.gate)
		if _, err := found.Seek(9_000, io.SeekStart); err != nil {
			t.Error(err)
		}
		if got, err := io.ReadAll(found); err != nil || !bytes.Equal(got, w.blob[9_000:]) {
			t.Errorf("read %d bytes, %v", len(got), err)
		}
		found.Close()
		r.Close()
		f.Close()
	})
}

func TestWhatIsDroppedIsNotKept(t *testing.T) {
	t.Run("while it is fetched", func(t *testing.T) {
		w := newWell(1000)
		w.gate = make(chan struct{})
		f := newFlights(t, FlightsOptions{})
		r := w.join(t, f)
		f.Drop(t.Context(), "key")
		close(w.gate)
		if got, err := io.ReadAll(r); err != nil || len(got) != 1000 {
			t.Errorf("read %d bytes, %v", len(got), err)
		}
		r.Close()
		f.Close()
		if len(w.kept) > 0 {
			t.Error("it was kept")
		}
	})
	t.Run("while it is kept", func(t *testing.T) {
		w := newWell(1000)
		begun := make(chan struct{})
		w.keep = func(ctx context.Context) { close(begun); <-ctx.Done() }
		f := newFlights(t, FlightsOptions{})
		r := w.join(t, f)
		<-begun
		f.Drop(t.Context(), "key") // ends the keeping, and returns after it
		if len(w.kept) == 0 {
			t.Error("it is still being kept")
		}
		r.Close()
	})
}

func TestAfterCloseNothingBegins(t *testing.T) {
	w := newWell(1000)
	f := newFlights(t, FlightsOptions{})
	f.Close()
	if _, _, err := f.Join(t.Context(), "key", w.digest(), w.source()); !errors.Is(err, ErrSpool) {
		t.Error(err)
	}
	if f.Later(1, func(context.Context) {}) {
		t.Error("something is kept later")
	}
}

func TestASpoolLeavesRoomForOthers(t *testing.T) {
	s, err := NewDirSpool(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	free := int64(500)
	s.free = func(string) (int64, int64, error) { return free, 1000, nil }
	file, err := s.Create()
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if err := file.Expect(450); err != nil {
		t.Error(err)
	}
	if err := file.Expect(451); err == nil || !strings.HasSuffix(err.Error(), "promised 450 of them; 451 are needed, and 50 stay free") {
		t.Errorf("of a blob that may not take the last twentieth: %v", err)
	}
	free = 49
	if _, err := s.Create(); err == nil || !strings.HasSuffix(err.Error(), "promised 450 of them; 50 stay free") {
		t.Errorf("of one of unknown size without room: %v", err)
	}
	if _, err := file.Write(make([]byte, lookEvery)); err == nil {
		t.Error("written when others had filled the disk")
	}
}

// TestAPanicOfASourceEndsItsFlightAlone, wherever it is, and is told.
func TestAPanicOfASourceEndsItsFlightAlone(t *testing.T) {
	var told atomic.Int64
	f := newFlights(t, FlightsOptions{OnPanic: func(p *guard.Panic) {
		if p.Value != "a bug" || len(p.Stack) == 0 {
			t.Errorf("told of %v", p)
		}
		told.Add(1)
	}})
	w := newWell(1 << 16)
	bad := w.source()
	bad.Open = func(context.Context, int64) (io.ReadCloser, int64, error) { panic("a bug") }
	if _, _, err := f.Join(t.Context(), "open", w.digest(), bad); err == nil {
		t.Error("there is a reader of it")
	}
	bad = w.source()
	bad.Keep = func(context.Context, io.Reader) { panic("a bug") }
	r, _, err := f.Join(t.Context(), "keep", w.digest(), bad)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, w.blob) {
		t.Errorf("read %d bytes, %v", len(got), err)
	}
	r.Close()
	if !f.Later(1, func(context.Context) { panic("a bug") }) {
		t.Error("it is not kept")
	}
	f.Close()
	if told.Load() != 3 || f.Stats() != (FlightStats{}) {
		t.Errorf("told of %d, left behind %+v", told.Load(), f.Stats())
	}
}
