package e2e

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
)

// TestSlowClients: those who send a body a byte at a time, and those who read
// nothing of what they have asked for, keep nobody waiting and take no memory to
// speak of.
func TestSlowClients(t *testing.T) {
	t.Parallel()
	const slow, reads = 100, 500
	for name, line := range map[string]func(t *testing.T, w *world, blob string) string{
		"send": func(t *testing.T, w *world, _ string) string {
			location := newUploader(t, w).must(t, http.StatusAccepted, "POST", "/v2/team/app/blobs/uploads/", nil)
			return "PATCH " + location + " HTTP/1.1\r\nContent-Length: 1000000"
		},
		"read": func(_ *testing.T, _ *world, blob string) string {
			return "GET /v2/team/app/blobs/" + blob + " HTTP/1.1"
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, image := oneSignedTag(t, registryOptions{})
			blob := w.mustBlob(t, "team/app", 16<<20)
			slowly := func(s *settings) { s.refresh, s.authTTL, s.more = time.Minute, time.Minute, "push: true\n" }
			w.mustOpen(t, slowly)
			alone := w.another(t, slowly)
			wantServed(t, w.manifest(t, "team/app", "signed"), image)
			before := w.residentKiB(t)
			var begin []string
			for range slow {
				begin = append(begin, line(t, w, blob)+"\r\nHost: "+w.listen+"\r\n\r\n")
			}
			var next atomic.Int64
			all, err := w.gather(slow, func(conn net.Conn) (net.Conn, error) {
				return says(begin[next.Add(1)-1])(secure(conn))
			})
			defer all.leave()
			if err != nil {
				t.Fatal(err)
			}
			var group errgroup.Group
			stop := make(chan struct{})
			if name == "send" {
				for _, conn := range all {
					group.Go(func() error { return dribble(conn, stop) })
				}
			}
			beside, with := readsBeside(t, w.gate, alone, image, reads), w.residentKiB(t)
			if with > before+150<<10 {
				t.Errorf("%d KiB before, %d with them", before, with)
			}
			close(stop)
			if err := group.Wait(); err != nil {
				t.Error(err)
			}
			all.leave()
			measured(t, slow, beside, max(0, with-before)>>10)
		})
	}
}

// dribble sends a byte a second.
func dribble(conn net.Conn, stop <-chan struct{}) error {
	for tick := time.NewTicker(time.Second); ; {
		select {
		case <-stop:
			tick.Stop()
			return nil
		case <-tick.C:
			if _, err := conn.Write([]byte("a")); err != nil {
				return err
			}
		}
	}
}

// TestClientsThatHangUpInABlob: goroutines and descriptors are back to what they
// were.
func TestClientsThatHangUpInABlob(t *testing.T) {
	t.Parallel()
	const clients = 300
	for _, cache := range []bool{false, true} {
		t.Run(fmt.Sprintf("cache %v", cache), func(t *testing.T) {
			t.Parallel()
			w, image := oneSignedTag(t, registryOptions{})
			registry := newFailing(t, w.ca, w.registry.url)
			w.mustOpen(t, func(s *settings) {
				s.credentials, s.upstream = "anonymous", registry.url
				if cache {
					cached(s)
				}
			})
			wantServed(t, w.manifest(t, "team/app", "signed"), image)
			registry.fail(begins)
			goroutines, descriptors := w.goroutines(t), w.descriptors(t)
			w.hangUp(t, "sha256:"+strings.Repeat("ab", 32), clients)
			var now, open int
			took := eventually(t, 30*time.Second, func() error {
				now, open = w.goroutines(t), w.descriptors(t)
				if now > goroutines+10 || open > descriptors+10 {
					return fmt.Errorf("%d goroutines and %d descriptors before, %d and %d after", goroutines, descriptors, now, open)
				}
				return nil
			})
			registry.well(t)
			wantServed(t, w.manifest(t, "team/app", "signed"), image)
			measured(t, clients, goroutines, descriptors, now, open, took)
		})
	}
}

// hangUp has this many clients read the beginning of a blob and go, all at once.
func (w *world) hangUp(t *testing.T, blob string, clients int) {
	t.Helper()
	leave := make(chan struct{})
	var begun, gone errgroup.Group
	for i := range clients {
		begun.Go(func() error {
			transport := w.ca.transport(i%2 == 0)
			resp, err := (&http.Client{Transport: transport}).Get(w.url + "/v2/team/app/blobs/" + blob)
			if err != nil {
				return err
			}
			gone.Go(func() error {
				<-leave
				return resp.Body.Close()
			})
			if resp.StatusCode != http.StatusOK {
				return fmt.Errorf("the blob: %s", resp.Status)
			}
			_, err = io.ReadFull(resp.Body, make([]byte, 64<<10))
			return err
		})
	}
	err := begun.Wait()
	close(leave)
	if err := errors.Join(err, gone.Wait()); err != nil {
		t.Fatalf("%v\n%s", err, w.gate.tail())
	}
}
