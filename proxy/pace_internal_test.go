package proxy

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

func TestWhatAPaceForgives(t *testing.T) {
	type step struct {
		n    int
		took time.Duration
	}
	times := func(n int, s ...step) (all []step) {
		for range n {
			all = append(all, s...)
		}
		return all
	}
	for _, test := range []struct {
		name  string
		rate  int64
		steps []step
		want  time.Duration // what is left of a minute
	}{
		{"nothing has moved", 100, nil, time.Minute},
		{"a pause, made up for", 100, []step{{0, 50 * time.Second}, {5000, 0}}, time.Minute},
		{"a pause that is not", 100, []step{{0, 50 * time.Second}, {1000, 0}}, 20 * time.Second},
		{"what moved long ago is no credit", 100, []step{{1 << 20, time.Second}, {0, 50 * time.Second}}, 10 * time.Second},
		{"just fast enough, for ever", 100, times(10_000, step{100, time.Second}), time.Minute},
		{"a trickle", 100, times(120, step{50, time.Second}), 0},
		{"long after", 100, times(600, step{1, time.Second}), 0},
		{"without a rate nothing counts but the pause itself", 0, times(10_000, step{1, 59 * time.Second}), time.Minute},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := newPace(time.Minute, test.rate)
			for _, s := range test.steps {
				p.moved(s.n, s.took)
			}
			if got := p.wait(); got != test.want {
				t.Errorf("%s are left, want %s", got, test.want)
			}
		})
	}
}

// TestATricklingSenderIsCut although it never stands still.
func TestATricklingSenderIsCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &line{ResponseWriter: httptest.NewRecorder()}
		r := &http.Request{Body: &slowBody{line: l, pauses: []time.Duration{30 * time.Second, 25 * time.Second, 25 * time.Second}}}
		body := newSentBody(l, r, unbounded, writeWaits, 512, func() {})
		defer body.end()
		began := time.Now()
		_, err := io.Copy(io.Discard, body)
		if !errors.Is(err, os.ErrDeadlineExceeded) || body.refusal() != errStalled {
			t.Errorf("got %v, refusal %v", err, body.refusal())
		}
		if took := time.Since(began).Round(time.Second); took != senderStall {
			t.Errorf("it took %s", took)
		}
	})
}

// TestATricklingUpstreamIsCut likewise.
func TestATricklingUpstreamIsCut(t *testing.T) {
	for rate, want := range map[int64]time.Duration{512: upstreamStall, 0: time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			r, w := io.Pipe()
			go func() {
				for range 3600 {
					time.Sleep(time.Second)
					w.Write([]byte("x"))
				}
				w.Close()
			}()
			body := newFlowingBody(&http.Response{Body: r}, rate, func() { r.CloseWithError(io.ErrUnexpectedEOF) })
			began := time.Now()
			io.Copy(io.Discard, body)
			body.Close()
			if took := time.Since(began).Round(time.Second); took != want {
				t.Errorf("with a rate of %d it took %s, want %s", rate, took, want)
			}
			time.Sleep(time.Hour) // until its writer has noticed
		})
	}
}

// slowReader is a client that takes so long for each write.
type slowReader struct {
	http.ResponseWriter
	takes    time.Duration
	deadline time.Time
}

func (s *slowReader) SetWriteDeadline(at time.Time) error { s.deadline = at; return nil }

func (s *slowReader) Write(p []byte) (int, error) {
	time.Sleep(min(s.takes, time.Until(s.deadline)))
	if !time.Now().Before(s.deadline) {
		return 0, os.ErrDeadlineExceeded
	}
	return len(p), nil
}

// TestATricklingReaderIsCut, and one that is slow, or pauses for minutes as long as
// its kernel has enough, is not.
func TestATricklingReaderIsCut(t *testing.T) {
	for _, test := range []struct {
		piece int
		takes time.Duration
		cut   bool
	}{
		{1 << 10, 60 * time.Second, true},
		{32 << 10, 60 * time.Second, false}, // 546 bytes a second
		{64 << 10, 9 * time.Minute, true},   // 121
		{4 << 20, 9 * time.Minute, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newFlowingWriter(&slowReader{ResponseWriter: httptest.NewRecorder(), takes: test.takes}, 512)
			began := time.Now()
			var err error
			for time.Since(began) < 24*time.Hour && err == nil {
				_, err = w.Write(make([]byte, test.piece))
			}
			if (err != nil) != test.cut || test.cut && time.Since(began) > 20*time.Minute {
				t.Errorf("%d bytes in %s: after %s %v", test.piece, test.takes, time.Since(began), err)
			}
		})
	}
}
