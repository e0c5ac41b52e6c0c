// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"
)

func TestConnectionsOfOneSource(t *testing.T) {
	pod, other := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")
	closed := map[string]int{}
	c := newConnections(4, 2, nil, time.Now, func(reason string) { closed[reason]++ })
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
	if closed[closedSource] != 1 || closed[closedAll] != 1 || len(closed) != 2 {
		t.Errorf("closed: %v; want one because of its source and one because of all", closed)
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
	l := newConnections(10, 1, nil, time.Now, func(string) {}).limit(inner)
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

// TestLongRequests: a few are read and answered as AWS' agent answers them, more of one source are not; what is of a token's
// length is heard all the while, also after long ones on the same connection.
func TestLongRequests(t *testing.T) {
	cfg := testConfig(t, newStubAuth(t), io.Discard)
	at := time.Now()
	cfg.Now = func() time.Time { return at }
	a := startAgent(t, cfg)
	long := strings.Repeat("x", 100<<10)
	for range longBurst {
		if status, body := ask(t, a.Addrs()[0], long); status != http.StatusBadRequest || !strings.Contains(body, codeInvalid) {
			t.Errorf("%d %q", status, body)
		}
	}
	for range 3 {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+a.Addrs()[0]+CredentialsPath, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", long)
		resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
		if err != nil {
			continue // reset, for what was not read
		}
		if _ = resp.Body.Close(); resp.StatusCode != http.StatusBadRequest || resp.Header.Get("Content-Type") == "application/json" {
			t.Errorf("one more: %s with %s", resp.Status, resp.Header)
		}
	}
	if got := metric(t, a, `podid_agent_closed_connections_total{reason="`+closedLong+`"}`); got != "3" {
		t.Errorf("%s are counted as closed, want 3", got)
	}
	if status, body := ask(t, a.Addrs()[0], jwt(nil)); status != http.StatusOK {
		t.Errorf("an ordinary request from that address: %d %s", status, body)
	}
}

// TestBytesSinceTheAnswer: many short requests on one connection are not one long one.
func TestBytesSinceTheAnswer(t *testing.T) {
	conns := newConnections(1, 1, newOffences(longRate, 0), time.Now, func(string) {}) // which bears none
	client, server := net.Pipe()
	defer client.Close() //nolint:errcheck // a test
	c := &countedConn{Conn: server, conns: conns}
	go func() {
		_, _ = io.Copy(io.Discard, client)
	}()
	for range 3 {
		go func() { _, _ = client.Write(make([]byte, longRequest)) }()
		if _, err := io.ReadFull(c, make([]byte, longRequest)); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Write([]byte("answer")); err != nil {
			t.Fatal(err)
		}
	}
	go func() { _, _ = client.Write(make([]byte, longRequest+1)) }()
	if _, err := io.ReadFull(c, make([]byte, longRequest+1)); !errors.Is(err, errLongAgain) {
		t.Errorf("a longer one: %v", err)
	}
}
