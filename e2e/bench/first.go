package main

import (
	"bufio"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	firstRequests = 1000
	// firstDelay is how long each answer of the upstreams takes then: they are
	// on another machine, and all requests are there before the first answer.
	firstDelay = 50 * time.Millisecond
)

// firstResult is what became of so many first requests for one repository.
type firstResult struct {
	requests  int
	refreshes int // timestamps that the trust server was asked for
	manifests int // manifests that the registry was asked for, by GET
	others    int // anything else but the files of one refresh
	slowest   time.Duration
}

// firstReads sends the first requests for a repository nobody has asked for
// yet, all at once, each on a connection of its own that is open already; and
// that for several repositories.
func (l *lab) firstReads(ctx context.Context, r *results, f *fleet) error {
	gate, err := l.openGate(ctx, gateOptions{name: "first", upstream: f.url, notary: f.url, rootKey: f.metadata.rootKey})
	if err != nil {
		return err
	}
	defer gate.stop()
	f.slowDown(firstDelay)
	defer f.slowDown(0)
	clients, err := l.dial(ctx, gate.url, firstRequests)
	defer func() {
		for _, c := range clients {
			_ = c.conn.Close()
		}
	}()
	if err != nil {
		return err
	}
	for i := range r.settings.Rounds {
		f.take()
		begin := time.Now()
		if err := l.together(clients, gate.url+fmt.Sprintf(fleetPath, i)); err != nil {
			return err
		}
		asked := f.take()
		result := firstResult{requests: len(clients), refreshes: asked["timestamp"], manifests: asked["GET manifest"], slowest: time.Since(begin)}
		for what, n := range asked {
			switch what {
			case "timestamp", "GET manifest":
			case "root", "snapshot", "targets", releases:
				result.others += n - 1
			default:
				result.others += n
			}
		}
		r.first = append(r.first, result)
		r.settings.progress("%d first requests: %v, all answered after %s", len(clients), asked, result.slowest.Round(time.Millisecond))
	}
	return nil
}

// client is one open connection.
type client struct {
	conn   *tls.Conn
	reader *bufio.Reader
}

// dial opens connections, some at a time.
func (l *lab) dial(ctx context.Context, base string, n int) ([]client, error) {
	u, err := url.Parse(base)
	if err != nil {
		return nil, err
	}
	dialer := &tls.Dialer{Config: &tls.Config{RootCAs: l.ca.Pool(), NextProtos: []string{"http/1.1"}}}
	var mu sync.Mutex
	var clients []client
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(16)
	for range n {
		group.Go(func() error {
			conn, err := dialer.DialContext(ctx, "tcp", u.Host)
			if err != nil {
				return err
			}
			c := client{conn.(*tls.Conn), bufio.NewReader(conn)}
			mu.Lock()
			defer mu.Unlock()
			clients = append(clients, c)
			return conn.SetDeadline(time.Now().Add(5 * time.Minute))
		})
	}
	return clients, group.Wait()
}

// together sends the same request on all connections at once and wants the
// manifest from each.
func (l *lab) together(clients []client, target string) error {
	req, err := http.NewRequest(http.MethodGet, target, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Accept", accept)
	var group errgroup.Group
	begin := make(chan struct{})
	for _, c := range clients {
		group.Go(func() error {
			<-begin
			if err := req.Write(c.conn); err != nil {
				return err
			}
			resp, err := http.ReadResponse(c.reader, req)
			if err != nil {
				return err
			}
			defer resp.Body.Close()
			body, err := io.ReadAll(resp.Body)
			if err == nil && (resp.StatusCode != http.StatusOK || sha256.Sum256(body) != l.manifest.digest) {
				err = errors.New(target + ": " + resp.Status + ": " + string(body))
			}
			return err
		})
	}
	close(begin)
	return group.Wait()
}

// warm reads the tag of the first n repositories of a fleet once each.
func (l *lab) warm(ctx context.Context, gate *contestant, n int) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(16)
	for i := range n {
		group.Go(func() error {
			_, _, err := l.get(ctx, gate.url+fmt.Sprintf(fleetPath, i))
			return err
		})
	}
	return group.Wait()
}
