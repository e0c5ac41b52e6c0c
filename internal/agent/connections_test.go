// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"
)

func TestConnectionsOfOneSource(t *testing.T) {
	pod, other := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")
	c := newConnections(4, 2)
	for i, step := range []struct {
		from netip.Addr
		take bool // else give
		want bool
	}{
		{pod, true, true},
		{pod, true, true},
		{pod, true, false}, // its share is used up
		{other, true, true},
		{pod, false, false},
		{pod, true, true},
		{other, true, true},
		{netip.MustParseAddr("10.0.0.3"), true, false}, // all are
	} {
		if !step.take {
			c.give(step.from)
			continue
		}
		if got := c.take(step.from); got != step.want {
			t.Errorf("step %d: %v from %s, want %v", i, got, step.from, step.want)
		}
	}
	for range 2 {
		c.give(pod)
		c.give(other)
	}
	if c.open != 0 || len(c.source) != 0 {
		t.Errorf("after all have gone %d are open, of %d sources", c.open, len(c.source))
	}
}

func TestConnectionsBeyondTheBoundAreClosed(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := newConnections(10, 1).limit(inner)
	defer l.Close() //nolint:errcheck // a test
	accepted := make(chan net.Conn)
	go func() {
		defer close(accepted)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			accepted <- conn
		}
	}()
	dial := func() net.Conn {
		t.Helper()
		conn, err := net.Dial("tcp", inner.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
			t.Fatal(err)
		}
		return conn
	}
	dial()
	first := <-accepted
	if _, err := dial().Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("a second connection ends with %v, want EOF", err)
	}
	_ = first.Close()
	_ = first.Close() // counts once
	dial()
	if conn := <-accepted; conn != nil {
		_ = conn.Close()
	}
	_ = l.Close()
	for range accepted {
		t.Error("accepted after the end")
	}
}
