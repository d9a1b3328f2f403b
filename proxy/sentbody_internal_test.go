package proxy

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// line is a connection that notes its read deadline.
type line struct {
	http.ResponseWriter
	deadline time.Time
	set      int
}

func (l *line) SetReadDeadline(at time.Time) error {
	l.deadline, l.set = at, l.set+1
	return nil
}

func (l *line) SetWriteDeadline(time.Time) error {
	l.set++
	return nil
}

// slowBody gives one byte after each pause.
type slowBody struct {
	line   *line
	pauses []time.Duration
}

func (b *slowBody) Read(p []byte) (int, error) {
	if len(b.pauses) == 0 {
		return 0, io.EOF
	}
	pause := b.pauses[0]
	b.pauses = b.pauses[1:]
	if left := time.Until(b.line.deadline); left < pause {
		time.Sleep(left)
		return 0, os.ErrDeadlineExceeded
	}
	time.Sleep(pause)
	p[0] = 'x'
	return 1, nil
}

func (b *slowBody) Close() error { return nil }

func sending(most int64, stalled func(), pauses ...time.Duration) (*sentBody, *line) {
	l := &line{ResponseWriter: httptest.NewRecorder()}
	r := &http.Request{Body: &slowBody{line: l, pauses: pauses}}
	return newSentBody(l, r, most, writeWaits, 0, stalled), l
}

func TestABodyMayTakeAsLongAsItFlows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pauses := make([]time.Duration, 200)
		for i := range pauses {
			pauses[i] = senderStall - time.Second
		}
		body, l := sending(unbounded, func() { t.Error("the server was taken to stand still") }, pauses...)
		n, err := io.Copy(io.Discard, body)
		if n != 200 || err != nil || body.refusal() != nil {
			t.Errorf("got %d bytes, %v", n, err)
		}
		if !l.deadline.IsZero() {
			t.Error("a deadline is left that ends the wait for the answer")
		}
		body.end()
	})
}

func TestAClientThatStandsStillIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		body, l := sending(unbounded, func() {}, time.Second, senderStall+time.Second)
		start := time.Now()
		_, err := io.Copy(io.Discard, body)
		if !errors.Is(err, os.ErrDeadlineExceeded) || body.refusal() != errStalled || time.Since(start) != time.Second+senderStall {
			t.Errorf("got %v and %v after %s", err, body.refusal(), time.Since(start))
		}
		body.end()
		if time.Until(l.deadline) != unreadGrace {
			t.Errorf("what is left unread may take %s", time.Until(l.deadline))
		}
	})
}

func TestAServerThatTakesNothingIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start, late := time.Now(), make(chan time.Duration, 1)
		body, _ := sending(unbounded, func() { late <- time.Since(start) }, 0, 0)
		defer body.end()
		if _, err := body.Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		if took := <-late; took != upstreamStall {
			t.Errorf("given up after %s", took)
		}
	})
}

func TestAServerMayTakeItsTimeWhenAllIsSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start, late := time.Now(), make(chan time.Duration, 1)
		body, _ := sending(unbounded, func() { late <- time.Since(start) })
		defer body.end()
		if _, err := io.Copy(io.Discard, body); err != nil {
			t.Fatal(err)
		}
		if took := <-late; took != writeTimeout {
			t.Errorf("given up after %s", took)
		}
	})
}

func TestAnAnswerThatFlowsIsNotGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		body, _ := sending(unbounded, func() { t.Error("the server was taken to stand still") }, 0, 0)
		body.answerFlows()
		if _, err := body.Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * writeTimeout)
		body.end()
	})
}

func TestNobodyTouchesTheConnectionAfterTheAnswer(t *testing.T) {
	body, l := sending(unbounded, func() {}, 0, 0)
	if _, err := body.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	body.end()
	before := *l
	if _, err := body.Read(make([]byte, 1)); !errors.Is(err, http.ErrBodyReadAfterClose) {
		t.Errorf("got %v", err)
	}
	body.waitForAnswer()
	body.end()
	if l.set != before.set {
		t.Error("the deadline of the next request was touched")
	}
}

func TestABodyOverItsBoundIsCut(t *testing.T) {
	l := &line{ResponseWriter: httptest.NewRecorder()}
	body := newSentBody(l, &http.Request{Body: io.NopCloser(strings.NewReader("123456"))}, 5, writeWaits, 0, func() {})
	defer body.end()
	if n, err := io.Copy(io.Discard, body); n > 5 || err == nil || body.refusal() == nil || body.refusal().Status != http.StatusRequestEntityTooLarge {
		t.Errorf("got %d bytes, %v, %v", n, err, body.refusal())
	}
}
