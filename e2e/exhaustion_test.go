package e2e

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
)

// crowd is many connections to a gate.
type crowd []net.Conn

// gather opens n connections, from several addresses, and has each done what
// first does, if anything.
func (g *gate) gather(n int, first func(net.Conn) (net.Conn, error)) (crowd, error) {
	all := make(crowd, n)
	var group errgroup.Group
	group.SetLimit(50)
	for i := range all {
		group.Go(func() error {
			conn, err := dialFrom(context.Background(), i, g.listen)
			if err == nil && first != nil {
				conn, err = first(conn)
			}
			all[i] = conn
			return err
		})
	}
	return all, group.Wait()
}

// dialFrom connects from one of twenty addresses, the nth: an address has 28,000
// ports, which others need too, and Sealgate bounds what one may have.
func dialFrom(ctx context.Context, n int, address string) (net.Conn, error) {
	from := &net.TCPAddr{IP: net.IPv4(127, 0, 1, byte(1+n%20))}
	return (&net.Dialer{Timeout: 10 * time.Second, LocalAddr: from}).DialContext(ctx, "tcp", address)
}

func (c crowd) leave() {
	for _, conn := range c {
		if conn != nil {
			conn.Close()
		}
	}
}

// secure speaks TLS, and leaves it to others to verify.
func secure(conn net.Conn) net.Conn {
	return tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
}

// says writes the beginning of a request.
func says(text string) func(net.Conn) (net.Conn, error) {
	return func(conn net.Conn) (net.Conn, error) {
		_, err := conn.Write([]byte(text))
		return conn, err
	}
}

// greeted speaks TLS, has one request answered, and keeps the connection.
func (g *gate) greeted(conn net.Conn) (net.Conn, error) {
	conn = secure(conn)
	request, err := http.NewRequest(http.MethodGet, g.url+"/v2/", nil)
	if err != nil {
		return conn, err
	}
	if err := request.Write(conn); err != nil {
		return conn, err
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), request)
	if err != nil {
		return conn, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("/v2/: %s", resp.Status)
	}
	return conn, err
}

// readsBeside reads a signed tag n times at the crowded gate and as often, in turn,
// at one with nobody else, so that what the machine does besides meets both. It
// says how much longer half of the reads, and all but one of a hundred, took.
func readsBeside(t *testing.T, crowded, alone *gate, image pushed, n int) string {
	t.Helper()
	var took [2][]time.Duration
	pullers := [2]puller{crowded.puller(t, false), alone.puller(t, false)}
	for range n {
		for i, p := range pullers {
			begin := time.Now()
			a, err := clientGet(p.client, p.url+"/v2/team/app/manifests/signed")
			if err != nil || served(a, image) < 0 {
				t.Fatalf("got %v, %v", a, err)
			}
			took[i] = append(took[i], time.Since(begin))
		}
	}
	ratio := func(at int) float64 { return float64(took[0][at]) / float64(took[1][at]) }
	slices.Sort(took[0])
	slices.Sort(took[1])
	return fmt.Sprintf("p50 %.1f ×, p99 %.1f ×", ratio(n/2), ratio(n*99/100))
}

// TestTenThousandIdleConnections: each has had its answer and stays. Memory is
// theirs and no more, and nobody waits for them.
func TestTenThousandIdleConnections(t *testing.T) {
	t.Parallel()
	const connections, reads = 10_000, 1000
	w, image := oneSignedTag(t, registryOptions{})
	slowly := func(s *settings) { s.credentials, s.refresh, s.authTTL = "anonymous", time.Minute, time.Minute }
	g, alone := w.another(t, slowly), w.another(t, slowly)
	some, err := g.gather(200, g.greeted) // what any work takes
	if err != nil {
		t.Fatal(err)
	}
	some.leave()
	before := g.residentKiB(t)
	all, err := g.gather(connections, g.greeted)
	defer all.leave()
	if err != nil {
		t.Fatalf("%v\n%s", err, g.tail())
	}
	beside, with := readsBeside(t, g, alone, image, reads), g.residentKiB(t)
	each := float64(with-before) / connections
	if each > 64 {
		t.Errorf("%.1f KiB for each connection", each)
	}
	var lost atomic.Int64
	var group errgroup.Group
	for _, conn := range all[:200] { // they are still there
		group.Go(func() error {
			_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
			if _, err := says("GET /v2/ HTTP/1.1\r\nHost: " + g.listen + "\r\n\r\n")(conn); err != nil {
				lost.Add(1)
			} else if _, err := conn.Read(make([]byte, 64)); err != nil {
				lost.Add(1)
			}
			return nil
		})
	}
	_ = group.Wait()
	if lost.Load() != 0 {
		t.Errorf("of 200 connections %d were lost", lost.Load())
	}
	all.leave()
	goroutines := g.goroutines(t)
	eventually(t, 30*time.Second, func() error {
		if goroutines = g.goroutines(t); goroutines > 100 {
			return fmt.Errorf("%d goroutines", goroutines)
		}
		return nil
	})
	wantServed(t, g.manifest(t, "team/app", "signed"), image)
	measured(t, connections, before>>10, with>>10, fmt.Sprintf("%.1f", each), beside, goroutines)
}

// TestHeadersThatNeverEnd: who sends one byte now and then is cut off, keeps
// nobody waiting, and leaves nothing behind.
func TestHeadersThatNeverEnd(t *testing.T) {
	t.Parallel()
	const dribblers, reads = 500, 500
	for _, plain := range []bool{false, true} {
		t.Run(fmt.Sprintf("plain HTTP %v", plain), func(t *testing.T) {
			t.Parallel()
			w, image := oneSignedTag(t, registryOptions{})
			slowly := func(s *settings) { s.plainHTTP, s.refresh, s.authTTL = plain, time.Minute, time.Minute }
			g, alone := w.another(t, slowly), w.another(t, slowly)
			wantServed(t, g.manifest(t, "team/app", "signed"), image)
			before := g.residentKiB(t)
			begin := time.Now()
			all, err := g.gather(dribblers, func(conn net.Conn) (net.Conn, error) {
				if !plain {
					conn = secure(conn)
				}
				return says("GET /v2/ HTTP/1.1\r\nHost: x\r\nX-Slow: ")(conn)
			})
			defer all.leave()
			if err != nil {
				t.Fatal(err)
			}
			ended := make(chan time.Duration, dribblers)
			for _, conn := range all {
				go func() {
					for time.Since(begin) < time.Minute {
						_ = conn.SetReadDeadline(time.Now().Add(500 * time.Millisecond))
						_, _ = conn.Write([]byte("a"))
						if _, err := conn.Read(make([]byte, 1<<10)); err != nil && !os.IsTimeout(err) {
							break
						}
					}
					ended <- time.Since(begin)
				}()
			}
			beside, with := readsBeside(t, g, alone, image, reads), g.residentKiB(t)
			var last time.Duration
			for range all {
				last = max(last, <-ended)
			}
			if last > 50*time.Second {
				t.Errorf("the last was cut off after %v", last)
			}
			if with > before+100<<10 {
				t.Errorf("%d KiB before, %d with them", before, with)
			}
			wantServed(t, g.manifest(t, "team/app", "signed"), image)
			measured(t, dribblers, beside, max(0, with-before)>>10, last)
		})
	}
}

// TestUsedUpDescriptors: a crowd that says nothing does not use them up; one that
// has its requests does, some of whom are refused then, and it serves again when
// they have gone.
func TestUsedUpDescriptors(t *testing.T) {
	t.Parallel()
	const limit, connections, requests = 64, 300, 60
	w, image := oneSignedTag(t, registryOptions{})
	registry := newFailing(t, w.ca, w.registry.url)
	w.mustOpen(t, func(s *settings) { s.credentials, s.upstream = "anonymous", registry.url })
	wantServed(t, w.manifest(t, "team/app", "signed"), image)
	mustRun(t, nil, "prlimit", "--pid", strconv.Itoa(w.cmd.Process.Pid), fmt.Sprintf("--nofile=%d:%d", limit, limit))

	all, err := w.gather(connections, nil)
	defer all.leave()
	if err != nil {
		t.Fatal(err) // the kernel takes them
	}
	wantServed(t, w.manifest(t, "team/app", "signed"), image)
	all.leave()

	registry.fail(begins)
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	p, next := w.puller(t, false), atomic.Int64{}
	p.client.Transport.(*http.Transport).DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		return dialFrom(ctx, int(next.Add(1)), address)
	}
	var begun, most atomic.Int64
	var group errgroup.Group
	for range requests {
		group.Go(func() error {
			first := make(chan struct{}, 1)
			_, err := p.fetch(ctx, "/v2/team/app/blobs/"+image.digest, &firstWrite{begun: first})
			begun.Add(int64(len(first)))
			return err
		})
	}
	eventually(t, 30*time.Second, func() error {
		most.Store(max(most.Load(), int64(w.descriptors(t))))
		if most.Load() < limit-1 {
			return fmt.Errorf("%d descriptors\n%s", most.Load(), w.tail())
		}
		return nil
	})
	leave()
	if group.Wait() == nil || begun.Load() == requests {
		t.Errorf("of %d requests %d were answered", requests, begun.Load())
	}
	registry.well(t)
	again := eventually(t, 30*time.Second, func() error {
		a, err := w.send(request{path: "/v2/team/app/manifests/signed"})
		if err != nil || served(a, image) < 0 {
			return fmt.Errorf("%v, %v", a, err)
		}
		return nil
	})
	if !w.running() {
		t.Fatalf("it ended\n%s", w.tail())
	}
	measured(t, limit, connections, requests, begun.Load(), again)
}
