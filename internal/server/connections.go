// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"container/list"
	"net"
	"net/http"
	"sync"
)

// connections bounds how many there are. At the limit the one that has waited
// longest between requests, or for its first, gives way to a new one, so idle
// and slow clients cannot lock others out; when all are busy the new one is
// closed.
type connections struct {
	max     int
	metrics *Metrics

	mu   sync.Mutex
	open int
	idle *list.List // of *conn, longest idle first
}

func newConnections(limit int, m *Metrics) *connections {
	return &connections{max: limit, metrics: m, idle: list.New()}
}

// limit returns l with the bound.
func (c *connections) limit(l net.Listener) net.Listener { return &listener{Listener: l, conns: c} }

type listener struct {
	net.Listener
	conns *connections
}

func (l *listener) Accept() (net.Conn, error) {
	for {
		nc, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if c := l.conns.add(nc); c != nil {
			return c, nil
		}
		_ = nc.Close() // it was never served
	}
}

// conn is an open connection; in is its place in the list of idle ones.
type conn struct {
	net.Conn
	conns *connections
	in    *list.Element
	used  bool // a request has begun on it
	gone  bool
}

// add counts a connection in, or returns nil when there is no room for it.
func (c *connections) add(nc net.Conn) *conn {
	c.mu.Lock()
	var evicted *conn
	if c.open >= c.max {
		oldest := c.idle.Front()
		if oldest == nil {
			c.mu.Unlock()
			c.metrics.refused.Inc()
			return nil
		}
		evicted, _ = oldest.Value.(*conn)
		c.remove(evicted)
	}
	n := &conn{Conn: nc, conns: c}
	n.in = c.idle.PushBack(n)
	c.open++
	c.mu.Unlock()
	c.metrics.connections.Add(1)
	if evicted != nil {
		c.metrics.connections.Add(-1)
		c.metrics.evicted.Inc()
		_ = evicted.Conn.Close() // its reader sees the end
	}
	return n
}

// remove counts a connection out, once. The caller holds mu.
func (c *connections) remove(n *conn) bool {
	if n.gone {
		return false
	}
	n.gone = true
	c.open--
	if n.in != nil {
		c.idle.Remove(n.in)
		n.in = nil
	}
	return true
}

func (n *conn) Close() error {
	n.conns.mu.Lock()
	mine := n.conns.remove(n)
	n.conns.mu.Unlock()
	if mine {
		n.conns.metrics.connections.Add(-1)
	}
	return n.Conn.Close()
}

// state is the servers' ConnState hook.
func (c *connections) state(nc net.Conn, state http.ConnState) {
	if t, ok := nc.(interface{ NetConn() net.Conn }); ok { // *tls.Conn
		nc = t.NetConn()
	}
	n, ok := nc.(*conn)
	if !ok {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	n.used = n.used || state == http.StateActive
	switch {
	case n.gone:
	case state == http.StateActive && n.in != nil:
		c.idle.Remove(n.in)
		n.in = nil
	case state == http.StateIdle && n.in == nil:
		n.in = c.idle.PushBack(n)
	}
}

// closeUnused closes the connections that never began a request. A graceful
// stop would wait seconds for what they might send.
func (c *connections) closeUnused() {
	c.mu.Lock()
	var unused []*conn
	for e := c.idle.Front(); e != nil; e = e.Next() {
		if n, ok := e.Value.(*conn); ok && !n.used {
			unused = append(unused, n)
		}
	}
	c.mu.Unlock()
	for _, n := range unused {
		_ = n.Close() // nothing was sent on it
	}
}
