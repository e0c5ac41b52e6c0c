// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"net"
	"net/netip"
	"sync"
)

// Bounds of open connections on all credentials addresses together: what one
// pod opens and leaves open must cost neither the agent's memory nor the other
// pods' turn. Processes on the host network share one source.
const (
	maxConnections       = 4096
	maxSourceConnections = 1024
)

// connections counts the open connections of each source address.
type connections struct {
	total, perSource int

	mu     sync.Mutex
	open   int
	source map[netip.Addr]int
}

func newConnections(total, perSource int) *connections {
	return &connections{total: total, perSource: perSource, source: map[netip.Addr]int{}}
}

// limit returns l with the bounds; connections beyond them are closed unread.
func (c *connections) limit(l net.Listener) net.Listener { return &limitedListener{l, c} }

func (c *connections) take(from netip.Addr) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open >= c.total || c.source[from] >= c.perSource {
		return false
	}
	c.open++
	c.source[from]++
	return true
}

func (c *connections) give(from netip.Addr) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open--
	if c.source[from]--; c.source[from] == 0 {
		delete(c.source, from)
	}
}

// count is how many are open.
func (c *connections) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.open
}

type limitedListener struct {
	net.Listener
	conns *connections
}

// Accept implements net.Listener.
func (l *limitedListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		from := sourceOf(conn)
		if l.conns.take(from) {
			return &countedConn{Conn: conn, conns: l.conns, from: from}, nil
		}
		_ = conn.Close() // nothing was read from it
	}
}

// sourceOf is the peer's address; the zero Addr stands for all that have none.
func sourceOf(conn net.Conn) netip.Addr {
	if tcp, ok := conn.RemoteAddr().(*net.TCPAddr); ok {
		return tcp.AddrPort().Addr().Unmap().WithZone("")
	}
	return netip.Addr{}
}

type countedConn struct {
	net.Conn
	conns *connections
	from  netip.Addr
	once  sync.Once
}

// Close implements net.Conn.
func (c *countedConn) Close() error {
	c.once.Do(func() { c.conns.give(c.from) })
	return c.Conn.Close()
}
