package e2e

import (
	"io"
	"log"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"strconv"
	"sync/atomic"
	"testing"
	"time"
)

// failing stands before a server and fails on command as servers do.
type failing struct {
	*line // the way to it, which can be cut
	url   string
	how   atomic.Pointer[misbehaviour] // nil: it passes on what it is asked
	asked atomic.Int64                 // how often it was asked anything
}

// misbehaviour is what a server does in place of an answer.
type misbehaviour func(http.ResponseWriter, *http.Request)

// newFailing stands before the server at origin, for one test.
func newFailing(t *testing.T, ca *authority, origin string) *failing {
	t.Helper()
	target := must(url.Parse(origin))(t)
	transport := ca.transport(false)
	transport.DisableKeepAlives, transport.MaxIdleConnsPerHost = false, 100
	t.Cleanup(transport.CloseIdleConnections)
	honest := &httputil.ReverseProxy{
		Transport: transport,
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(target) },
		ErrorLog:  log.New(io.Discard, "", 0), // clients hang up
	}
	f, address := &failing{}, must(freeAddress())(t)
	stop := must(serveTLS(ca, "failing", address, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.asked.Add(1)
		if how := f.how.Load(); how != nil {
			(*how)(w, r)
			return
		}
		honest.ServeHTTP(w, r)
	})))(t)
	t.Cleanup(stop)
	f.line = newLine(t, address)
	f.url = "https://" + f.line.addr
	return f
}

// fail has it fail until well.
func (f *failing) fail(how misbehaviour) {
	if how == nil {
		f.line.cut()
		return
	}
	f.how.Store(&how)
}

func (f *failing) well(t *testing.T) {
	t.Helper()
	f.how.Store(nil)
	if !f.line.carries() {
		f.line.restore(t)
	}
}

// answers is a server that has this to say, whatever it is asked.
func answers(status int, header http.Header, body string) misbehaviour {
	return func(w http.ResponseWriter, _ *http.Request) {
		for name := range header {
			w.Header().Set(name, header.Get(name))
		}
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	}
}

// hangs takes requests and never answers.
func hangs(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

// begins sends the beginning of something large, and no more.
func begins(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Length", strconv.Itoa(1<<30))
	_, _ = w.Write(make([]byte, 128<<10))
	_ = http.NewResponseController(w).Flush()
	<-r.Context().Done()
}

// hangsUp ends the connection in place of an answer.
func hangsUp(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

// misbehaviours are the ways in which the tests have a server fail; nil is one that
// takes no connection.
var misbehaviours = map[string]misbehaviour{
	"refuses connections":      nil,
	"hangs up":                 hangsUp,
	"never answers":            hangs,
	"500":                      answers(500, nil, "<html>Internal Server Error</html>"),
	"429":                      answers(429, http.Header{"Retry-After": {"7"}}, "slow down"),
	"404 of something between": answers(404, nil, "<html>default backend - 404</html>"),
}

// timed is send, and how long it took.
func (g *gate) timed(path string) (a answer, took time.Duration, err error) {
	begin := time.Now()
	a, err = g.send(request{path: path})
	return a, time.Since(begin), err
}

// another is a gate of this world at an address of its own, for one test.
func (w *world) another(t *testing.T, change func(*settings)) *gate {
	t.Helper()
	s := must(w.defaults())(t)
	s.listen = must(freeAddress())(t)
	s.hosts = append(s.hosts, s.listen)
	s.refresh, s.authTTL = time.Second, time.Second
	if change != nil {
		change(&s)
	}
	g := must(openGate(must(os.MkdirTemp(w.dir, "gate-"))(t), w.ca, s))(t)
	t.Cleanup(func() { g.stop(20 * time.Second) })
	return g
}
