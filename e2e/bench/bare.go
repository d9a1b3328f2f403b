package main

import (
	"crypto/tls"
	"encoding/json"
	"flag"
	"net"
	"net/http"
	"os"
	"strconv"
	"time"
)

// bare is what Go's own HTTP server can do at best: one answer, the same for
// every request, with the bytes and headers that Sealgate sent for it.
type bare struct {
	Header http.Header
	Body   []byte
}

// serveBare is the program that runs when the bench starts itself anew as a
// contestant: another process, like all the others.
func serveBare(args []string) error {
	flags := flag.NewFlagSet("bare", flag.ContinueOnError)
	listen := flags.String("listen", "", "the address to listen on")
	cert := flags.String("cert", "", "its certificate")
	key := flags.String("key", "", "the certificate's key")
	answer := flags.String("answer", "", "the answer, as JSON")
	accessLog := flags.Bool("access-log", true, "write a line for every request")
	if err := flags.Parse(args); err != nil {
		return err
	}
	raw, err := os.ReadFile(*answer)
	if err != nil {
		return err
	}
	var b bare
	if err := json.Unmarshal(raw, &b); err != nil {
		return err
	}
	handler := b.handler()
	if *accessLog {
		handler = logged(handler, b)
	}
	server := &http.Server{Addr: *listen, Handler: handler, TLSConfig: &tls.Config{NextProtos: []string{"http/1.1"}}}
	return server.ListenAndServeTLS(*cert, *key)
}

func (b bare) handler() http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		h := w.Header()
		for name, values := range b.Header {
			h[name] = values
		}
		_, _ = w.Write(b.Body)
	}
}

// logged writes what an access log has to have, with nothing in it that could
// be left out: time, client, request, status, bytes, duration.
func logged(next http.HandlerFunc, b bare) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		begin := time.Now()
		next(w, r)
		host, _, err := net.SplitHostPort(r.RemoteAddr)
		if err != nil {
			host = r.RemoteAddr
		}
		line := make([]byte, 0, 256)
		line = begin.AppendFormat(line, time.RFC3339)
		line = append(append(line, ' '), host...)
		line = append(append(line, ' '), r.Method...)
		line = append(append(line, ' '), r.RequestURI...)
		line = append(line, " 200 "...)
		line = strconv.AppendInt(line, int64(len(b.Body)), 10)
		line = append(line, ' ')
		line = strconv.AppendInt(line, time.Since(begin).Microseconds(), 10)
		line = append(line, '\n')
		_, _ = os.Stderr.Write(line)
	}
}
