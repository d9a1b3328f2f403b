package main

import (
	"container/list"
	"crypto/tls"
	"net"
	"net/http"
	"net/netip"
	"sync"

	"github.com/sealgate/sealgate/config"
)

// connections are those that are open on the public listener. They are bounded,
// all together and for each client, so that nobody takes the descriptors of
// everybody. Safe for concurrent use.
type connections struct {
	// evicted is told of each connection that was closed to make room.
	evicted func()

	mu      sync.Mutex
	open    map[net.Conn]*openConnection
	clients map[netip.Prefix]int // how many of them, never 0
	silent  *list.List           // of net.Conn without a request under way, silent for longest first
}

type openConnection struct {
	client netip.Prefix  // not valid where nobody counts it
	silent *list.Element // nil while a request is under way
}

func newConnections(evicted func()) *connections {
	return &connections{evicted: evicted, open: map[net.Conn]*openConnection{}, clients: map[netip.Prefix]int{}, silent: list.New()}
}

// Why a connection is closed, as refusedNetwork.
const (
	refusedFull   = "full"   // limits.connections, each of them with a request under way
	refusedClient = "client" // limits.connections-per-client
)

// connectionLimits are positive.
type connectionLimits struct{ all, perClient int }

const (
	// reserved is how many descriptors are left to servers, disk and the operator,
	// where there are twice as many.
	reserved = 4096
	// mostConnections is the default where there are more descriptors than
	// memory for connections.
	mostConnections = 32 << 10
)

// newConnectionLimits fills in the defaults of l, by how many descriptors the
// process may have.
func newConnectionLimits(l config.ClientLimits, descriptors int) connectionLimits {
	all := l.Connections
	if all == 0 {
		all = min(max(descriptors-min(descriptors/2, reserved), 1), mostConnections)
	}
	perClient := l.ConnectionsPerClient
	if perClient == 0 {
		perClient = max(all*3/4, 1)
	}
	return connectionLimits{all, perClient}
}

// admit says why conn, of client, has to be closed at once, "" where it is one of
// the open ones from now on. A client that is not valid has no limit of its own.
func (c *connections) admit(conn net.Conn, client netip.Prefix, limits connectionLimits) string {
	c.mu.Lock()
	if client.IsValid() && c.clients[client] >= limits.perClient {
		c.mu.Unlock()
		return refusedClient
	}
	var oldest net.Conn
	if len(c.open) >= limits.all {
		front := c.silent.Front()
		if front == nil {
			c.mu.Unlock()
			return refusedFull
		}
		oldest = front.Value.(net.Conn)
		c.forget(oldest)
	}
	c.open[conn] = &openConnection{client: client, silent: c.silent.PushBack(conn)}
	if client.IsValid() {
		c.clients[client]++
	}
	c.mu.Unlock()
	if oldest != nil {
		oldest.Close() // below TLS: nobody waits for its client to hear of it
		c.evicted()
	}
	return ""
}

// changed is an http.Server's ConnState.
func (c *connections) changed(conn net.Conn, now http.ConnState) {
	if encrypted, ok := conn.(*tls.Conn); ok {
		conn = encrypted.NetConn()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	of := c.open[conn]
	if of == nil {
		return // made room, or was there before anybody counted
	}
	switch now {
	case http.StateActive:
		if of.silent != nil {
			c.silent.Remove(of.silent)
			of.silent = nil
		}
	case http.StateIdle:
		if of.silent == nil {
			of.silent = c.silent.PushBack(conn)
		}
	case http.StateClosed, http.StateHijacked:
		c.forget(conn)
	}
}

// forget is called with mu held, for one of the open connections.
func (c *connections) forget(conn net.Conn) {
	of := c.open[conn]
	delete(c.open, conn)
	if of.silent != nil {
		c.silent.Remove(of.silent)
	}
	if of.client.IsValid() {
		c.clients[of.client]--
		if c.clients[of.client] == 0 {
			delete(c.clients, of.client)
		}
	}
}

// count is how many are open.
func (c *connections) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.open)
}

// countedClient is whom limits count as one client: an address, of IPv6 the /64,
// since one machine has all of that. It is not valid for who is exempt, and for an
// address that is not known.
func countedClient(address netip.Addr, exempt []netip.Prefix) netip.Prefix {
	bits := 32
	if address.Is6() {
		bits = 64
	}
	client, err := address.Prefix(bits)
	if err != nil || within(exempt, address) {
		return netip.Prefix{}
	}
	return client
}
