package upstream

import (
	"errors"
	"net"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"
)

// roundTrip tries a read a second time where the connection that it went out
// on was an old one and died before a byte of the answer: the server may have
// closed it at that moment, or vanished long ago. net/http does that for
// HTTP/1.1; for HTTP/2 only where the server said that it had not looked at
// the request, which it does not say when it is gone. A write is never tried
// again, nor what took too long.
func (t *Transport) roundTrip(req *http.Request) (*http.Response, error) {
	if req.Method != http.MethodGet && req.Method != http.MethodHead || req.Body != nil && req.Body != http.NoBody {
		return t.base.RoundTrip(req)
	}
	sent := &attempt{}
	resp, err := t.base.RoundTrip(req.WithContext(httptrace.WithClientTrace(req.Context(), sent.trace())))
	if err == nil || req.Context().Err() != nil || !sent.died() || tookTooLong(err) {
		return resp, err
	}
	return t.base.RoundTrip(req)
}

// attempt is what became of a request on its way. The transport tells it from
// goroutines of its own, perhaps late.
type attempt struct{ reused, answered atomic.Bool }

func (a *attempt) trace() *httptrace.ClientTrace {
	return &httptrace.ClientTrace{
		GotConn:              func(info httptrace.GotConnInfo) { a.reused.Store(info.Reused) },
		GotFirstResponseByte: func() { a.answered.Store(true) },
	}
}

// died says whether nothing came on a connection that had been used before.
func (a *attempt) died() bool { return a.reused.Load() && !a.answered.Load() }

func tookTooLong(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}
