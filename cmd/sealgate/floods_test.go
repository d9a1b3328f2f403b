package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// rawHTTP2 is a client of HTTP/2 that does what it likes.
type rawHTTP2 struct {
	*http2.Framer
	conn *tls.Conn
	out  *bufio.Writer
}

func (s *publicServer) rawHTTP2(t *testing.T) *rawHTTP2 {
	t.Helper()
	pem, err := os.ReadFile(filepath.Join(s.dir, caFile))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	conn, err := tls.Dial("tcp", s.address, &tls.Config{RootCAs: roots, NextProtos: []string{"h2"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(30 * time.Second))
	c := &rawHTTP2{conn: conn, out: bufio.NewWriterSize(conn, 16<<10)}
	c.Framer = http2.NewFramer(c.out, conn)
	io.WriteString(c.out, http2.ClientPreface)
	c.WriteSettings()
	return c
}

// get begins a request.
func (c *rawHTTP2) get(stream uint32, path string) error {
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	for _, field := range [][2]string{{":method", "GET"}, {":scheme", "https"}, {":authority", "a"}, {":path", path}} {
		encoder.WriteField(hpack.HeaderField{Name: field[0], Value: field[1]})
	}
	return c.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: block.Bytes(), EndStream: true, EndHeaders: true})
}

// answers is whether the server, after all that it was sent, answers a ping instead
// of ending the connection.
func (c *rawHTTP2) answers() (answered bool, code http2.ErrCode) {
	c.WritePing(false, [8]byte{1})
	c.out.Flush()
	for {
		frame, err := c.ReadFrame()
		if err != nil {
			return false, code
		}
		switch frame := frame.(type) {
		case *http2.GoAwayFrame:
			code = frame.ErrCode
		case *http2.PingFrame:
			return true, code
		}
	}
}

// deaf is a registry that takes connections and says nothing.
func deaf(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	return "http://" + listener.Addr().String()
}

// serveBefore is serveLines before another upstream.
func serveBefore(t *testing.T, upstream, lines string) *publicServer {
	t.Helper()
	s := serveLines(t, t.TempDir(), lines)
	cfg := s.config(t, lines)
	cfg.Registries[0].Upstream.Host = strings.TrimPrefix(upstream, "http://")
	if err := reload(s.instance, cfg); err != nil {
		t.Fatal(err)
	}
	return s
}

// TestStreamsThatAreResetAtOnce (CVE-2023-44487) do not have more than 64 requests
// under way: those that wait are few, and then the connection ends, unless the
// server has kept up with all of them.
func TestStreamsThatAreResetAtOnce(t *testing.T) {
	s := serveBefore(t, deaf(t), "tls: {self-signed: {}}\nlimits: {requests-per-client: 64}")
	c := s.rawHTTP2(t)
	var failed error
	for stream := uint32(1); stream < 40_000 && failed == nil; stream += 2 {
		if failed = c.get(stream, "/v2/a/blobs/sha256:"+strings.Repeat("a", 64)); failed == nil {
			failed = c.WriteRSTStream(stream, http2.ErrCodeCancel)
		}
	}
	if answered, code := c.answers(); failed == nil && !answered && code != http2.ErrCodeEnhanceYourCalm {
		t.Errorf("the connection ended with %s", code)
	}
	if strings.Contains(s.log(), "too-many-at-once") {
		t.Error("more than 64 requests were under way")
	}
	s.wantServed(t, s.client(t, true, &tls.Config{}))
}

func TestAConnectionHas64Streams(t *testing.T) {
	s := serveBefore(t, deaf(t), "tls: {self-signed: {}}")
	c := s.rawHTTP2(t)
	for stream := uint32(1); stream <= 2*64+1; stream += 2 {
		if err := c.get(stream, "/v2/a/blobs/sha256:"+strings.Repeat("a", 64)); err != nil {
			t.Fatal(err)
		}
	}
	c.out.Flush()
	for {
		frame, err := c.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		if reset, ok := frame.(*http2.RSTStreamFrame); ok {
			if reset.StreamID != 129 || reset.ErrCode != http2.ErrCodeRefusedStream {
				t.Errorf("stream %d was reset with %s", reset.StreamID, reset.ErrCode)
			}
			break
		}
	}
	c.conn.Close()
}

// TestFloodsOfHTTP2Frames end the connection, and nobody else's.
func TestFloodsOfHTTP2Frames(t *testing.T) {
	s := serveLines(t, t.TempDir(), "tls: {self-signed: {}}")
	for name, flood := range map[string]func(c *rawHTTP2, i int) error{
		// Answers that nobody reads are not queued for ever.
		"pings": func(c *rawHTTP2, i int) error { return c.WritePing(false, [8]byte{byte(i)}) },
		// A header without an end (CVE-2023-45288).
		"continuations": func(c *rawHTTP2, i int) error {
			if i == 0 {
				return c.WriteHeaders(http2.HeadersFrameParam{StreamID: 1})
			}
			var block bytes.Buffer
			hpack.NewEncoder(&block).WriteField(hpack.HeaderField{Name: "x", Value: strings.Repeat("x", 8000)})
			return c.WriteContinuation(1, false, block.Bytes())
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := s.rawHTTP2(t)
			began := time.Now()
			for i := range 10_000_000 {
				if err := flood(c, i); err != nil {
					break
				}
			}
			if time.Since(began) > 25*time.Second {
				t.Error("the connection was not ended")
			}
			s.wantServed(t, s.client(t, true, &tls.Config{}))
		})
	}
}

// TestManySettingsHoldNothingUp: of their answers one waits at most, so that the
// server goes on reading, and a request after them is served.
func TestManySettingsHoldNothingUp(t *testing.T) {
	s := serveLines(t, t.TempDir(), "tls: {self-signed: {}}")
	c := s.rawHTTP2(t)
	for range 100_000 { // nobody reads the answers
		if err := c.WriteSettings(); err != nil {
			t.Fatal(err)
		}
	}
	c.get(1, "/v2/")
	c.out.Flush()
	for {
		frame, err := c.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		if headers, ok := frame.(*http2.HeadersFrame); ok && headers.StreamID == 1 {
			return
		}
	}
}

// TestAHeaderThatIsTooLargeIsRefused in either protocol.
func TestAHeaderThatIsTooLargeIsRefused(t *testing.T) {
	s := serveLines(t, t.TempDir(), "tls: {self-signed: {}}\nlimits: {max-header-bytes: 8KiB}")
	for _, http2 := range []bool{false, true} {
		req, err := http.NewRequest(http.MethodGet, "https://"+s.address+"/v2/", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X", strings.Repeat("x", 100<<10))
		resp, err := s.client(t, http2, &tls.Config{}).Do(req)
		if err != nil {
			continue // the connection was ended
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
			t.Errorf("HTTP/2 %v: got %d", http2, resp.StatusCode)
		}
	}
}
