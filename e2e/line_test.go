package e2e

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// line carries TCP to a server, and can be cut and slowed.
type line struct {
	addr   string
	target string
	slow   atomic.Bool // one chunk each 50 ms towards the client

	// cutOnce ends the first connection that has carried more than so many bytes
	// towards the client, and is 0 then; 0 from the start ends none.
	cutOnce atomic.Int64

	mu    sync.Mutex
	l     net.Listener
	conns map[net.Conn]struct{}
}

// newLine opens a line to target for one test.
func newLine(t *testing.T, target string) *line {
	t.Helper()
	n := &line{addr: must(freeAddress())(t), target: target, conns: map[net.Conn]struct{}{}}
	n.restore(t)
	t.Cleanup(n.cut)
	return n
}

// cut refuses new connections and drops the open ones.
func (n *line) cut() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.l != nil {
		_ = n.l.Close()
		n.l = nil
	}
	for c := range n.conns {
		_ = c.Close()
		delete(n.conns, c)
	}
}

// carries tells whether it is not cut.
func (n *line) carries() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.l != nil
}

// restore carries connections again, at the same address.
func (n *line) restore(t *testing.T) {
	t.Helper()
	l, err := net.Listen("tcp", n.addr)
	if err != nil {
		t.Fatal(err)
	}
	n.mu.Lock()
	n.l = l
	n.mu.Unlock()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return // cut
			}
			go n.carry(c)
		}
	}()
}

func (n *line) carry(near net.Conn) {
	far, err := net.Dial("tcp", n.target)
	if err != nil {
		_ = near.Close()
		return
	}
	n.mu.Lock()
	if n.l == nil {
		_ = near.Close()
	}
	n.conns[near], n.conns[far] = struct{}{}, struct{}{}
	n.mu.Unlock()
	go func() {
		_, _ = io.Copy(far, near)
		_ = far.Close()
	}()
	_, _ = io.Copy(&cutting{near, &n.cutOnce, 0}, &slowly{far, &n.slow})
	_ = near.Close()
	n.mu.Lock()
	delete(n.conns, near)
	delete(n.conns, far)
	n.mu.Unlock()
}

// cutting fails once it has written more than the limit, if it is the first one to.
type cutting struct {
	io.Writer
	limit   *atomic.Int64
	written int64
}

func (c *cutting) Write(p []byte) (int, error) {
	c.written += int64(len(p))
	if limit := c.limit.Load(); limit > 0 && c.written > limit && c.limit.CompareAndSwap(limit, 0) {
		return 0, io.ErrShortWrite
	}
	return c.Writer.Write(p)
}

// slowly reads 32 KiB each 50 ms at most, while slow is set.
type slowly struct {
	io.Reader
	slow *atomic.Bool
}

func (s *slowly) Read(p []byte) (int, error) {
	if s.slow.Load() {
		time.Sleep(50 * time.Millisecond)
		p = p[:min(len(p), 32<<10)]
	}
	return s.Reader.Read(p)
}
