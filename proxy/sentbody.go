package proxy

import (
	"errors"
	"io"
	"net/http"
	"os"
	"sync"
	"time"
)

const (
	// senderStall is how long a client may stand still in the middle of what it
	// sends.
	senderStall = time.Minute
	// unreadGrace is how long net/http may go on reading a body that nobody wants
	// any more, so that a client that still sends sees the answer.
	unreadGrace = 5 * time.Second
)

// sentBody is what a client sends, as a transport reads it: while bytes flow,
// for as long as it takes. The client must not stand still or trickle, for which a
// deadline moves along in place of the server's ReadTimeout, and neither must
// the server that takes the bytes. A transport may read on when its answer is
// there: end makes it stop, so that nothing touches the connection when the
// next request is on it.
type sentBody struct {
	from io.Reader
	conn *http.ResponseController
	most int64
	pace pace // of the client
	waits
	stalled *time.Timer // the server stands still

	mu              sync.Mutex
	read            int64
	answered, ended bool
	err             error // how it ended; io.EOF where it is whole
}

// waits are how long others may take.
type waits struct {
	piece  time.Duration // the server, before it takes another piece of the body
	answer time.Duration // the server, to answer when it has all of it
	reader time.Duration // the client, over the beginning and the end of the answer
}

// newSentBody calls stalled when the server takes nothing for too long.
func newSentBody(w http.ResponseWriter, r *http.Request, most int64, waits waits, minRate int64, stalled func()) *sentBody {
	b := &sentBody{from: r.Body, conn: http.NewResponseController(w), most: most, pace: newPace(senderStall, minRate), waits: waits, stalled: time.AfterFunc(waits.piece, stalled)}
	b.conn.SetWriteDeadline(time.Time{}) // the server's WriteTimeout counts from the request's header on; end sets it anew
	return b
}

// Read implements io.Reader.
func (b *sentBody) Read(p []byte) (int, error) {
	if !b.begin() {
		return 0, http.ErrBodyReadAfterClose
	}
	began := time.Now()
	n, err := b.from.Read(p)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.pace.moved(n, time.Since(began))
	b.read += int64(n)
	if b.most >= 0 && b.read > b.most {
		n, err = 0, errTooLarge(b.most)
	}
	b.err = err
	if b.ended {
		return n, err
	}
	b.conn.SetReadDeadline(time.Time{}) // else HTTP/2 ends the stream while nobody reads
	wait := b.piece
	if err == io.EOF {
		wait = b.answer
	}
	b.waitFor(wait)
	return n, err
}

// waitFor is called with mu held.
func (b *sentBody) waitFor(wait time.Duration) {
	if !b.ended && !b.answered {
		b.stalled.Reset(wait)
	}
}

func (b *sentBody) begin() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ended {
		return false
	}
	b.stalled.Stop() // it is the client's turn
	b.conn.SetReadDeadline(time.Now().Add(b.pace.wait()))
	return true
}

// Close implements io.Closer. The body is net/http's to close.
func (b *sentBody) Close() error { return nil }

// waitForAnswer says that there is nothing more to send.
func (b *sentBody) waitForAnswer() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.waitFor(b.answer)
}

// answerFlows says that an answer has begun, and that somebody else sees to it
// that neither side stands still in it.
func (b *sentBody) answerFlows() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.answered = true
	b.stalled.Stop()
	b.conn.SetWriteDeadline(time.Now().Add(b.reader)) // of its header
}

// end is called when no more is wanted of the body, before the client has all of
// the answer.
func (b *sentBody) end() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ended {
		return
	}
	b.ended = true
	b.stalled.Stop()
	b.conn.SetWriteDeadline(time.Now().Add(b.reader))
	if b.err != io.EOF {
		b.conn.SetReadDeadline(time.Now().Add(unreadGrace))
	}
}

// refusal is why the client did not send all of it, nil where that is not why
// the exchange failed.
func (b *sentBody) refusal() *Error {
	b.mu.Lock()
	defer b.mu.Unlock()
	var refused *Error
	switch {
	case b.err == nil || b.err == io.EOF:
		return nil
	case errors.As(b.err, &refused):
		return refused
	case errors.Is(b.err, os.ErrDeadlineExceeded):
		return errStalled
	}
	return errClientGone.because(b.err)
}
