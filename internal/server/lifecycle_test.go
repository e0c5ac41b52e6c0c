// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestDrain(t *testing.T) {
	for _, http2 := range []bool{false, true} {
		entered, leave := make(chan struct{}), make(chan struct{})
		s := mustNew(t, testConfig(t, func(w http.ResponseWriter, r *http.Request) {
			close(entered)
			<-leave
			ok(w, r)
		}))
		stop := run(t, s)
		body := make(chan string, 1)
		c := client(t, s, http2)
		go func() {
			_, b := get(t, c, url(s, "/"))
			body <- b
		}()
		<-entered
		stopped := make(chan error, 1)
		go func() { stopped <- stop() }()
		refused(t, s)
		if err := s.Ready(t.Context()); !errors.Is(err, errStopping) {
			t.Errorf("Ready while stopping: %v", err)
		}
		close(leave)
		if b := <-body; b != "ok" {
			t.Errorf("the request in flight got %q", b)
		}
		if err := <-stopped; err != nil {
			t.Errorf("Run: %v", err)
		}
	}
}

// refused waits until new connections are.
func refused(t *testing.T, s *Server) {
	t.Helper()
	for {
		c, err := net.Dial("tcp", s.Addr().String())
		if err != nil {
			return
		}
		_ = c.Close()
		if t.Context().Err() != nil {
			t.Fatal("connections are still accepted")
		}
	}
}

func TestDrainEnds(t *testing.T) {
	entered := make(chan struct{})
	cfg := testConfig(t, func(_ http.ResponseWriter, r *http.Request) {
		close(entered)
		<-r.Context().Done()
	})
	cfg.DrainTimeout = 50 * time.Millisecond
	s := mustNew(t, cfg)
	stop := run(t, s)
	failed := make(chan error, 1)
	c := client(t, s, false)
	go func() {
		resp, err := c.Get(url(s, "/"))
		if err == nil {
			_ = resp.Body.Close()
		}
		failed <- err
	}()
	<-entered
	if err := stop(); err != nil {
		t.Errorf("Run: %v", err)
	}
	if err := <-failed; err == nil {
		t.Error("a request that did not end was answered")
	}
}

// TestDrainWaitsForNobodySilent: a connection without a request does not hold
// up the stop.
func TestDrainWaitsForNobodySilent(t *testing.T) {
	out := &logs{}
	cfg := testConfig(t, ok)
	cfg.Log, cfg.DrainTimeout = slogTo(out), 3*time.Second
	s := mustNew(t, cfg)
	stop := run(t, s)
	dial(t, s)
	get(t, client(t, s, false), url(s, "/")) // by now the silent one is accepted
	if err := stop(); err != nil || strings.Contains(out.String(), "were cut") {
		t.Errorf("Run: %v, log %s", err, out)
	}
	if n := value(t, cfg.Registry, "podid_http_connections"); n != 0 {
		t.Errorf("%v connections after the stop", n)
	}
}

func TestRequestTimeout(t *testing.T) {
	cause := make(chan error, 1)
	cfg := testConfig(t, func(_ http.ResponseWriter, r *http.Request) {
		<-r.Context().Done()
		cause <- r.Context().Err()
	})
	cfg.RequestTimeout = 50 * time.Millisecond
	s := mustNew(t, cfg)
	run(t, s)
	get(t, client(t, s, true), url(s, "/"))
	if err := <-cause; !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the context ended with %v", err)
	}
}

func TestRunTellsWhyItStopped(t *testing.T) {
	s := mustNew(t, testConfig(t, ok))
	if err := s.listener.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Run(t.Context()); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Run on a closed listener: %v", err)
	}
}

func TestHealth(t *testing.T) {
	var broken atomic.Bool
	var runs atomic.Int64
	c := newClock()
	out := &logs{}
	cfg := testConfig(t, ok)
	cfg.Now = c.now
	cfg.Log = slogTo(out)
	cfg.Checks = []Check{{Name: "store", Reason: "the store does not answer", Run: func(context.Context) error {
		runs.Add(1)
		if broken.Load() {
			return errors.New("dial unix: inner detail")
		}
		return nil
	}}, {Name: "audit", Reason: "events cannot be written", Run: func(context.Context) error { return nil }}}
	s := mustNew(t, cfg)
	run(t, s)
	cl := client(t, s, true)
	want := func(path string, status int, body string) {
		t.Helper()
		if resp, got := get(t, cl, url(s, path)); resp.StatusCode != status || got != body {
			t.Errorf("%s: %d %q, want %d %q", path, resp.StatusCode, got, status, body)
		}
	}
	want("/livez", 200, "ok")
	want("/livez?verbose", 200, "[+]ping ok\nlivez check passed\n")
	want("/readyz", 200, "ok")
	want("/readyz?verbose=1", 200, "[+]ping ok\n[+]store ok\n[+]audit ok\n[+]shutdown ok\nreadyz check passed\n")
	broken.Store(true)
	want("/readyz", 200, "ok") // the result stands for a second
	if n := runs.Load(); n != 1 {
		t.Errorf("%d runs of the checks within a second", n)
	}
	c.add(checkAge)
	failing := "[+]ping ok\n[-]store failed: the store does not answer\n[+]audit ok\n[+]shutdown ok\nreadyz check failed\n"
	want("/readyz", 503, failing)
	if err := s.Ready(t.Context()); err == nil || !strings.Contains(err.Error(), "check store: dial unix") {
		t.Errorf("Ready: %v", err)
	}
	c.add(checkAge)
	want("/readyz?verbose", 503, failing)
	want("/livez", 200, "ok")
	if n := strings.Count(out.String(), "inner detail"); n != 1 {
		t.Errorf("the failure was logged %d times, want once", n)
	}
	for _, path := range []string{"/livez", "/readyz"} {
		resp, err := cl.Post(url(s, path), "text/plain", strings.NewReader("x"))
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusMethodNotAllowed {
			t.Errorf("POST %s: %d", path, resp.StatusCode)
		}
	}
}

func TestIdleConnectionsGiveWay(t *testing.T) {
	const limit, many = 50, 400
	cfg := testConfig(t, ok)
	cfg.MaxConnections = limit
	s := mustNew(t, cfg)
	run(t, s)
	first := dial(t, s)
	for range many {
		dial(t, s)
	}
	if _, body := get(t, client(t, s, false), url(s, "/")); body != "ok" {
		t.Errorf("a real client got %q", body)
	}
	if err := first.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := first.Read(make([]byte, 1)); err == nil || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the oldest idle connection is still open: %v", err)
	}
	if n := value(t, cfg.Registry, "podid_http_connections"); n > limit {
		t.Errorf("%v connections, limit %d", n, limit)
	}
	if n := value(t, cfg.Registry, "podid_http_connections_evicted_total"); n < many-limit {
		t.Errorf("%v connections evicted", n)
	}
}

func TestBusyConnectionsStay(t *testing.T) {
	entered, leave := make(chan struct{}), make(chan struct{})
	cfg := testConfig(t, func(w http.ResponseWriter, r *http.Request) {
		close(entered)
		<-leave
		ok(w, r)
	})
	cfg.MaxConnections = 1
	s := mustNew(t, cfg)
	run(t, s)
	body := make(chan string, 1)
	c := client(t, s, false)
	go func() {
		_, b := get(t, c, url(s, "/"))
		body <- b
	}()
	<-entered
	if _, err := dial(t, s).Read(make([]byte, 1)); err == nil {
		t.Error("a connection beyond the limit was served")
	}
	close(leave)
	if b := <-body; b != "ok" {
		t.Errorf("the busy connection got %q", b)
	}
	if n := value(t, cfg.Registry, "podid_http_connections_refused_total"); n != 1 {
		t.Errorf("%v connections refused, want 1", n)
	}
}
