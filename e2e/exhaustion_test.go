package e2e

import (
	"fmt"
	"net"
	"strconv"
	"testing"
	"time"
)

// idle opens n connections that say nothing, or only the beginning of a
// request, until close is called. Those that are not accepted do not matter.
func (g *gate) idle(t *testing.T, n int, says string) (closeAll func()) {
	t.Helper()
	var conns []net.Conn
	for range n {
		conn, err := net.DialTimeout("tcp", g.listen, 2*time.Second)
		if err != nil {
			break
		}
		if says != "" {
			_, _ = conn.Write([]byte(says)) // who has hung up already is one less
		}
		conns = append(conns, conn)
	}
	if len(conns) < n/2 {
		t.Fatalf("%d of %d connections", len(conns), n)
	}
	return func() {
		for _, conn := range conns {
			conn.Close()
		}
	}
}

// TestConnectionsThatSayNothing: thousands of them, some with a header that
// never ends, keep nobody from being served, and leave nothing behind.
func TestConnectionsThatSayNothing(t *testing.T) {
	for _, plain := range []bool{false, true} {
		t.Run(fmt.Sprintf("plain HTTP %v", plain), func(t *testing.T) {
			w, image := oneSignedTag(t, registryOptions{})
			w.mustOpen(t, func(s *settings) { s.plainHTTP, s.admin = plain, must(freeAddress())(t) })
			wantServed(t, w.manifest(t, "team/app", "signed"), image)
			before := w.residentMiB(t)
			closeIdle := w.idle(t, 5000, "")
			closeSlow := w.idle(t, 500, "GET /v2/ HTTP/1.1\r\nHost: x\r\nX-Slow: ")
			wantServed(t, w.manifest(t, "team/app", "signed"), image)
			if after := w.residentMiB(t); after > before+200 {
				t.Errorf("%d MiB before, %d with the connections", before, after)
			}
			closeIdle()
			closeSlow()
			wantServed(t, w.manifest(t, "team/app", "signed"), image)
		})
	}
}

// TestUsedUpDescriptors: a server that has none left serves again when there
// are some.
func TestUsedUpDescriptors(t *testing.T) {
	w, image := oneSignedTag(t, registryOptions{})
	w.mustOpen(t, nil)
	wantServed(t, w.manifest(t, "team/app", "signed"), image)
	mustRun(t, nil, "prlimit", "--pid", strconv.Itoa(w.cmd.Process.Pid), "--nofile=100:100")
	closeAll := w.idle(t, 300, "")
	time.Sleep(time.Second) // it accepts what it can
	closeAll()
	eventually(t, 15*time.Second, func() error {
		a, err := w.send(request{path: "/v2/team/app/manifests/signed"})
		if err != nil || a.status != 200 || sha256Of(a.body) != image.digest {
			return fmt.Errorf("%v, %v", a.status, err)
		}
		return nil
	})
	if !w.running() {
		t.Fatalf("it ended\n%s", w.tail())
	}
}
