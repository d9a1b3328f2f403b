package sandbox

import (
	"net/http"
	"sync"
)

// maxRequests bounds the log of requests of one server.
const maxRequests = 4096

// loggedHeaders are the headers worth asserting on. Authorization is not among
// them: that it was there is recorded, what it said is not.
var loggedHeaders = []string{
	"Accept", "Cache-Control", "Content-Type", "Cookie", "Forwarded", "If-Match", "If-None-Match",
	"Proxy-Authorization", "Range", "User-Agent", "Via", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto",
}

// Request is one request that reached a server of the sandbox.
type Request struct {
	Method string
	// Target is the request-target as it stood on the wire, escapes and all
	// (with HTTP/2 the :path).
	Target string
	// Host is the Host header (with HTTP/2 the :authority).
	Host string
	// Authorization says whether the request carried credentials.
	Authorization bool
	// Header holds the few headers that are of interest; it is never nil.
	Header http.Header
}

// requestLog keeps the latest requests. The zero value is ready for use, by
// any number of goroutines.
type requestLog struct {
	mu      sync.Mutex
	entries []Request
}

func (l *requestLog) record(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		entry := Request{
			Method:        r.Method,
			Target:        r.RequestURI,
			Host:          r.Host,
			Authorization: r.Header.Get("Authorization") != "",
			Header:        http.Header{},
		}
		for _, name := range loggedHeaders {
			if values := r.Header.Values(name); len(values) > 0 {
				entry.Header[name] = append([]string(nil), values...)
			}
		}
		l.add(entry)
		next.ServeHTTP(w, r)
	})
}

func (l *requestLog) add(entry Request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.entries) == maxRequests {
		copy(l.entries, l.entries[1:])
		l.entries = l.entries[:maxRequests-1]
	}
	l.entries = append(l.entries, entry)
}

func (l *requestLog) list() []Request {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]Request(nil), l.entries...)
}

func (l *requestLog) reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.entries = nil
}
