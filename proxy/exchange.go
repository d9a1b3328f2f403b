package proxy

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/sealgate/sealgate/rewrite"
)

const (
	// maxWritten bounds the body of an answer to a write, in bytes: an error to
	// be shown, or a few words.
	maxWritten = 64 << 10
	// senderStall is how long a client may stand still in the middle of what it
	// sends.
	senderStall = time.Minute
	// writeTimeout bounds the wait for an answer when all is sent: a registry may
	// copy a large blob before it answers.
	writeTimeout = 5 * time.Minute
	// unreadGrace is how long net/http may go on reading a body that nobody wants
	// any more, so that a client that still sends sees the answer.
	unreadGrace = 5 * time.Second
	// unbounded is an exchange.most without a bound.
	unbounded = -1
)

// exchange is one write on its way to a server and back. It is never repeated:
// what a server has made of a write is known from its answer alone.
type exchange struct {
	w      http.ResponseWriter
	r      *http.Request
	to     *url.URL
	via    http.RoundTripper
	header http.Header
	most   int64              // bytes of the body
	fail   func(error) *Error // what it means that no answer came
}

// written is the answer to a write, read to its end.
type written struct {
	status int
	header http.Header
	body   []byte
}

// send passes the body on as it comes and returns the answer: a success, or
// a refusal with the server's own words, which people who push are shown. Any
// other answer is an error.
func (x *exchange) send() (*written, error) {
	if x.most >= 0 && x.r.ContentLength > x.most {
		return nil, errTooLarge(x.most)
	}
	ctx, cancel := context.WithCancelCause(x.r.Context())
	defer cancel(nil)
	body := newSentBody(x.w, x.r, x.most, func() { cancel(context.DeadlineExceeded) })
	defer body.end()
	req := (&http.Request{Method: x.r.Method, URL: x.to, Header: x.header}).WithContext(ctx)
	if x.r.ContentLength != 0 && !reads(x.r.Method) && x.r.Method != http.MethodDelete {
		req.Body, req.ContentLength = body, x.r.ContentLength
	} else {
		req.Header.Del("Expect")
		body.waitForAnswer()
	}
	resp, err := x.via.RoundTrip(req)
	if err == nil {
		defer resp.Body.Close()
		body.waitForAnswer()
		return x.judge(resp)
	}
	if refused := body.refusal(); refused != nil {
		return nil, refused
	}
	if gone := x.r.Context().Err(); gone != nil {
		return nil, gone
	}
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	return nil, x.fail(err)
}

// judge reads an answer that may be passed back.
func (x *exchange) judge(resp *http.Response) (*written, error) {
	switch {
	case resp.StatusCode >= http.StatusInternalServerError:
		return nil, errRelayed(resp)
	case resp.StatusCode >= http.StatusMultipleChoices && resp.StatusCode < http.StatusBadRequest:
		return nil, badGateway("upstream-redirect", "the server behind sealgate redirected a write, which is not followed")
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxWritten+1))
	switch {
	case err != nil:
		return nil, x.fail(err)
	case len(body) > maxWritten:
		return nil, badGateway("upstream-oversize", "the server behind sealgate answered a write with more than %d bytes", maxWritten)
	}
	a := &written{status: resp.StatusCode, header: rewrite.Headers(resp.Header), body: body}
	a.header.Del("Link")
	a.header.Del("Content-Length")
	return a, nil
}

// write sends the answer to the client.
func (a *written) write(w http.ResponseWriter) {
	h := w.Header()
	for name, values := range a.header {
		h[name] = values
	}
	h.Set("X-Content-Type-Options", "nosniff")
	if a.status != http.StatusNoContent {
		h.Set("Content-Length", strconv.Itoa(len(a.body)))
	}
	w.WriteHeader(a.status)
	if len(a.body) > 0 {
		w.Write(a.body) // a client that is gone is told nothing
	}
}

// sentBody is what a client sends, as a transport reads it: while bytes flow,
// for as long as it takes. The client must not stand still, for which a
// deadline moves along in place of the server's ReadTimeout, and neither must
// the server that takes the bytes. A transport may read on when its answer is
// there: end makes it stop, so that nothing touches the connection when the
// next request is on it.
type sentBody struct {
	from    io.Reader
	conn    *http.ResponseController
	most    int64
	stalled *time.Timer // the server stands still

	mu    sync.Mutex
	read  int64
	ended bool
	err   error // how it ended; io.EOF where it is whole
}

// newSentBody calls stalled when the server takes nothing for too long.
func newSentBody(w http.ResponseWriter, r *http.Request, most int64, stalled func()) *sentBody {
	b := &sentBody{from: r.Body, conn: http.NewResponseController(w), most: most, stalled: time.AfterFunc(upstreamStall, stalled)}
	b.conn.SetWriteDeadline(time.Time{}) // the server's WriteTimeout counts from the request's header on; end sets it anew
	return b
}

// Read implements io.Reader.
func (b *sentBody) Read(p []byte) (int, error) {
	if !b.begin() {
		return 0, http.ErrBodyReadAfterClose
	}
	n, err := b.from.Read(p)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.read += int64(n)
	if b.most >= 0 && b.read > b.most {
		n, err = 0, errTooLarge(b.most)
	}
	b.err = err
	if b.ended {
		return n, err
	}
	b.conn.SetReadDeadline(time.Time{}) // else HTTP/2 ends the stream while nobody reads
	switch err {
	case nil:
		b.stalled.Reset(upstreamStall)
	case io.EOF:
		b.stalled.Reset(writeTimeout)
	}
	return n, err
}

func (b *sentBody) begin() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ended {
		return false
	}
	b.stalled.Stop()
	b.conn.SetReadDeadline(time.Now().Add(senderStall))
	return true
}

// Close implements io.Closer. The body is net/http's to close.
func (b *sentBody) Close() error { return nil }

// waitForAnswer says that there is nothing more to send.
func (b *sentBody) waitForAnswer() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.ended {
		b.stalled.Reset(writeTimeout)
	}
}

// end is called before the client is answered.
func (b *sentBody) end() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ended {
		return
	}
	b.ended = true
	b.stalled.Stop()
	b.conn.SetWriteDeadline(time.Now().Add(senderStall))
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
