package proxy

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/sealgate/sealgate/rewrite"
)

const (
	// maxWritten bounds the body of an answer to a write, in bytes: an error to
	// be shown, or a few words.
	maxWritten = 64 << 10
	// writeTimeout bounds the wait for an answer when all is sent: a registry may
	// copy a large blob before it answers.
	writeTimeout = 5 * time.Minute
	// unbounded is an exchange.most without a bound.
	unbounded = -1
)

// writeWaits: the answer to a write is small.
var writeWaits = waits{piece: upstreamStall, answer: writeTimeout, reader: senderStall}

// exchange is one write on its way to a server and back. It is never repeated:
// what a server has made of a write is known from its answer alone.
type exchange struct {
	w       http.ResponseWriter
	r       *http.Request
	to      *url.URL
	via     http.RoundTripper
	header  http.Header
	most    int64              // bytes of the body
	minRate int64              // how slowly it may come; see pace
	fail    func(error) *Error // what it means that no answer came
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
	body := newSentBody(x.w, x.r, x.most, writeWaits, x.minRate, func() { cancel(context.DeadlineExceeded) })
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
