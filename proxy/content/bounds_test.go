package content

import (
	"context"
	"io"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestClientsThatHangUpLeaveFewFetchesBehind: so many go on for somebody else who
// may come, and each end of one makes room for another.
func TestClientsThatHangUpLeaveFewFetchesBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWell(1000)
		w.gate = make(chan struct{})
		f := newFlights(t, FlightsOptions{Spool: &memorySpool{room: 1 << 20}})
		hangUp := func(key string) {
			r, _, err := f.Join(t.Context(), key, w.digest(), w.source())
			if err != nil {
				t.Fatal(err)
			}
			r.Close()
		}
		for i := range 10 * maxLonely {
			hangUp(strconv.Itoa(i))
		}
		synctest.Wait()
		if n := f.Stats().Flights; n != maxLonely {
			t.Errorf("%d fetches go on for nobody, want %d", n, maxLonely)
		}
		back, led, err := f.Join(t.Context(), "0", w.digest(), w.source())
		if err != nil || led {
			t.Fatal("it is not there for who comes back", err)
		}
		hangUp("in its place")
		synctest.Wait()
		if n := f.Stats().Flights; n != maxLonely+1 {
			t.Errorf("%d fetches go on, want %d and one with a reader", n, maxLonely)
		}
		back.Close()
		time.Sleep(defaultLinger)
		synctest.Wait()
		if n := f.Stats().Flights; n != 0 {
			t.Errorf("%d fetches are left", n)
		}
		for range maxLonely {
			hangUp("again")
		}
		f.Close()
	})
}

// TestAStoreThatStandsStillHoldsUpLittle: what was fetched is served, and only so
// much of it, files or memory, waits to be kept.
func TestAStoreThatStandsStillHoldsUpLittle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, spool := newWell(1000), &memorySpool{room: 1 << 20}
		w.keep = func(ctx context.Context) { <-ctx.Done() }
		w.kept = make(chan []byte, 2*maxWaiting)
		f := newFlights(t, FlightsOptions{Spool: spool})
		for i := range 2 * maxWaiting {
			r, _, err := f.Join(t.Context(), strconv.Itoa(i), w.digest(), w.source())
			if err != nil {
				t.Fatal(err)
			}
			if got, err := io.ReadAll(r); err != nil || len(got) != 1000 {
				t.Fatalf("read %d bytes, %v", len(got), err)
			}
			r.Close()
		}
		synctest.Wait()
		if n := spool.open.Load(); n != maxWaiting {
			t.Errorf("%d files are open, want %d", n, maxWaiting)
		}
		time.Sleep(keepStall)
		synctest.Wait()
		if n := spool.open.Load(); n != maxWaiting-maxKeeping {
			t.Errorf("%d files are open when the first were given up, want %d", n, maxWaiting-maxKeeping)
		}
		f.Close()
	})
	synctest.Test(t, func(t *testing.T) {
		f := newFlights(t, FlightsOptions{Spool: &memorySpool{}})
		const size = 4 << 20
		var begun atomic.Int32
		for i := range 2 * maxWaitingBytes / size {
			if later := f.Later(size, func(ctx context.Context) { begun.Add(1); <-ctx.Done() }); later != (i < maxWaitingBytes/size) {
				t.Errorf("after %d bytes: %v", i*size, later)
			}
		}
		synctest.Wait()
		if n := begun.Load(); n != maxKeeping {
			t.Errorf("%d are kept at once, want %d", n, maxKeeping)
		}
		f.Close()
	})
}

// TestManyBlobsAtOnceLeaveRoomForOthers: what one was granted, another is not.
func TestManyBlobsAtOnceLeaveRoomForOthers(t *testing.T) {
	s, err := NewDirSpool(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	const total = 1000 << 20
	free := int64(400 << 20)
	s.free = func(string) (int64, int64, error) { return free, total, nil }
	begin := func(size int64) (SpoolFile, error) {
		file, err := s.Create()
		if err != nil {
			t.Fatal(err)
		}
		return file, file.Expect(size)
	}
	first, err := begin(300 << 20)
	if err != nil {
		t.Fatal(err)
	}
	second, err := begin(100 << 20)
	if err == nil {
		t.Error("a second blob takes the last twentieth, which the first leaves")
	}
	unknown, err := begin(0)
	if err != nil {
		t.Error(err)
	}
	for i := range 4 {
		_, err := unknown.Write(make([]byte, lookEvery))
		if full := i == 3; (err != nil) != full {
			t.Errorf("piece %d of a blob of no announced length: %v", i, err)
		}
		free -= lookEvery
	}
	for _, file := range []SpoolFile{first, second, unknown} {
		if err := file.Close(); err != nil {
			t.Error(err)
		}
	}
	if s.granted != 0 {
		t.Errorf("%d bytes stay granted", s.granted)
	}
}
