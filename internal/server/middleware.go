// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"bytes"
	"context"
	"errors"
	"log"
	"log/slog"
	"net/http"
	"net/netip"
	"runtime/debug"
	"sync"
	"time"
	"unicode/utf8"

	"podid/internal/reqctx"
	"podid/internal/resident"
	"podid/internal/uuid"
)

// maxUserAgent bounds what a caller can put into every audit line, in bytes.
const maxUserAgent = 256

// middleware is what every request passes: health on its own paths; for all
// others an id, a deadline and recovery from panics. It is the hot path.
func (s *Server) middleware() http.Handler {
	m := &middleware{
		next: s.cfg.Handler, health: s.health, metrics: s.metrics, log: s.cfg.Log, now: s.cfg.Now, timeout: s.cfg.RequestTimeout,
		writers: sync.Pool{New: func() any { return new(writer) }},
	}
	return m
}

type middleware struct {
	next    http.Handler
	health  *health
	metrics *Metrics
	log     *slog.Logger
	now     func() time.Time
	timeout time.Duration
	writers sync.Pool // of *writer
}

func (m *middleware) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/livez":
		m.health.serveLive(w, r)
		return
	case "/readyz":
		m.health.serveReady(w, r)
		return
	}
	resident.GrowStack(len(r.RemoteAddr))
	m.metrics.inFlight.Add(1)
	defer m.metrics.inFlight.Add(-1)

	info := reqctx.Info{ID: uuid.Random(), SourceIP: sourceIP(r.RemoteAddr), UserAgent: cut(r.UserAgent(), maxUserAgent), TLS: r.TLS != nil}
	ctx := withDeadline(reqctx.With(r.Context(), info), time.Now().Add(m.timeout))
	defer ctx.end()

	ww, _ := m.writers.Get().(*writer)
	ww.ResponseWriter, ww.status = w, 0
	defer m.finish(ctx, ww, r, info.ID, m.start(ctx))
	m.next.ServeHTTP(ww, r.WithContext(ctx))
}

// start is the time for the access log, which is written at debug only.
func (m *middleware) start(ctx context.Context) time.Time {
	if !m.log.Enabled(ctx, slog.LevelDebug) {
		return time.Time{}
	}
	return m.now()
}

// finish is deferred by ServeHTTP: it catches a panic of the handler.
func (m *middleware) finish(ctx context.Context, w *writer, r *http.Request, id string, start time.Time) {
	if p := recover(); p != nil {
		m.recovered(ctx, w, id, p)
	}
	if !start.IsZero() {
		// No query: a presigned one holds a session token.
		m.log.DebugContext(ctx, "request", "request_id", id, "method", r.Method, "path", r.URL.Path, "proto", r.Proto,
			"status", w.status, "took", m.now().Sub(start))
	}
	w.ResponseWriter = nil
	m.writers.Put(w)
}

// recovered answers a panic with 500 when nothing was written, and cuts the
// answer otherwise: half of one must not look whole.
func (m *middleware) recovered(ctx context.Context, w *writer, id string, p any) {
	if err, ok := p.(error); ok && errors.Is(err, http.ErrAbortHandler) {
		panic(http.ErrAbortHandler)
	}
	m.metrics.panics.Inc()
	m.log.ErrorContext(ctx, "handler panicked", "request_id", id, "panic", p, "stack", string(debug.Stack()))
	if w.status != 0 {
		panic(http.ErrAbortHandler)
	}
	h := w.Header()
	clear(h)
	h.Set("Content-Type", "application/json")
	h.Set("X-Amzn-Requestid", id)
	h.Set("X-Amzn-Errortype", "InternalFailure")
	w.WriteHeader(http.StatusInternalServerError)
	// A caller that is gone is nobody's error.
	_, _ = w.Write([]byte(`{"message":"The request processing has failed because of an unknown error, exception or failure."}`))
}

// writer remembers the status that was written.
type writer struct {
	http.ResponseWriter
	status int
}

func (w *writer) WriteHeader(status int) {
	if w.status == 0 && status >= http.StatusOK { // 1xx come before the answer
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *writer) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return w.ResponseWriter.Write(p)
}

// Unwrap lets http.ResponseController reach what the connection can do.
func (w *writer) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// sourceIP is the peer's address; the zero Addr when it is none.
func sourceIP(remote string) netip.Addr {
	ap, err := netip.ParseAddrPort(remote)
	if err != nil {
		return netip.Addr{}
	}
	return ap.Addr().Unmap()
}

// cut shortens s to at most n bytes without splitting a character.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// errorLog takes net/http's own messages. What clients can cause at will is
// told at debug.
func errorLog(to *slog.Logger) *log.Logger { return log.New(&errorLines{to}, "", 0) }

type errorLines struct{ to *slog.Logger }

func (e *errorLines) Write(line []byte) (int, error) {
	level := slog.LevelDebug
	if bytes.HasPrefix(line, []byte("http: Accept error")) {
		level = slog.LevelWarn
	}
	e.to.Log(context.Background(), level, "net/http", "message", string(bytes.TrimSpace(line)))
	return len(line), nil
}
