// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"errors"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// Bounds of open connections on all credentials addresses together: what one
// pod opens and leaves open must cost neither the agent's memory nor the other
// pods' turn. Processes on the host network share one source.
const (
	maxConnections       = 4096
	maxSourceConnections = 1024
	// longRequest is far beyond any projected token, in bytes since the last answer. Longer requests are read to
	// maxHeaderBytes, so that their senders are told what is wrong, but not again and again.
	longRequest = 16 << 10
)

// Why a connection is closed without an answer of the agent's own: labels of a metric.
const (
	closedAll    = "all"
	closedSource = "source"
	closedLong   = "long-requests"
)

// errLongAgain ends a request halfway; net/http answers 400 and closes.
var errLongAgain = errors.New("too many long requests from this address")

// connections counts the open connections of each source address.
type connections struct {
	total, perSource int
	long             *offences
	now              func() time.Time
	closed           func(reason string)

	mu     sync.Mutex
	open   int
	source map[netip.Addr]int
}

func newConnections(total, perSource int, long *offences, now func() time.Time, closed func(reason string)) *connections {
	return &connections{total: total, perSource: perSource, long: long, now: now, closed: closed, source: map[netip.Addr]int{}}
}

// limit returns l with the bounds; connections beyond them are closed unread.
func (c *connections) limit(l net.Listener) net.Listener { return &limitedListener{l, c} }

func (c *connections) take(from netip.Addr) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open >= c.total {
		c.closed(closedAll)
		return false
	}
	if c.source[from] >= c.perSource {
		c.closed(closedSource)
		return false
	}
	c.open++
	c.source[from]++
	return true
}

// takeLong is false for a source that sends long requests too often.
func (c *connections) takeLong(from netip.Addr) bool {
	now := c.now()
	if _, ok := c.long.mayTry(from, now); !ok {
		c.closed(closedLong)
		return false
	}
	c.long.add(from, now)
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
	asked atomic.Int64 // bytes read since the last answer; net/http reads ahead while a handler writes
}

// Read implements net.Conn.
func (c *countedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if asked := c.asked.Add(int64(n)); asked > longRequest && asked-int64(n) <= longRequest && !c.conns.takeLong(c.from) {
		return 0, errLongAgain
	}
	return n, err
}

// Write implements net.Conn.
func (c *countedConn) Write(p []byte) (int, error) {
	c.asked.Store(0)
	return c.Conn.Write(p)
}

// Close implements net.Conn.
func (c *countedConn) Close() error {
	c.once.Do(func() { c.conns.give(c.from) })
	return c.Conn.Close()
}
