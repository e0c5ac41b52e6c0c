// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"podid/internal/reqctx"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// clock is a clock that stands still until it is moved.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func newClock() *clock { return &clock{t: time.Now()} }

func (c *clock) now() time.Time { c.mu.Lock(); defer c.mu.Unlock(); return c.t }

func (c *clock) add(d time.Duration) { c.mu.Lock(); defer c.mu.Unlock(); c.t = c.t.Add(d) }

// logs is a log that tests can read.
type logs struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logs) String() string { l.mu.Lock(); defer l.mu.Unlock(); return l.buf.String() }

func testConfig(t testing.TB, h http.HandlerFunc) Config {
	t.Helper()
	return Config{
		Handler: h, Listen: "127.0.0.1:0", TLS: TLSConfig{Dir: filepath.Join(t.TempDir(), "tls")}, Registry: prometheus.NewRegistry(),
		Log: slog.New(slog.DiscardHandler), Now: time.Now, Rand: rand.Reader,
	}
}

func mustNew(t testing.TB, cfg Config) *Server {
	t.Helper()
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// run runs the server until the test ends or stop is called, which returns
// what Run did.
func run(t testing.TB, s *Server) (stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	var once sync.Once
	var err error
	stop = func() error {
		once.Do(func() { cancel(); err = <-done })
		return err
	}
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return stop
}

func roots(t testing.TB, s *Server) *x509.CertPool {
	t.Helper()
	text, err := os.ReadFile(s.CAFile())
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		t.Fatal("the CA's file holds no certificate")
	}
	return pool
}

// client speaks to the server over TLS, with HTTP/2 or without.
func client(t testing.TB, s *Server, http2 bool) *http.Client {
	t.Helper()
	var p http.Protocols
	p.SetHTTP1(!http2)
	p.SetHTTP2(http2)
	tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots(t, s)}, Protocols: &p}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

func get(t testing.TB, c *http.Client, url string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("User-Agent", strings.Repeat("u", 255)+"éx")
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(body)
}

func url(s *Server, path string) string {
	scheme := "https"
	if s.certs == nil {
		scheme = "http"
	}
	return scheme + "://" + s.Addr().String() + path
}

func ok(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") }

func TestRequestInfo(t *testing.T) {
	got := make(chan reqctx.Info, 1)
	deadline := make(chan bool, 1)
	s := mustNew(t, testConfig(t, func(_ http.ResponseWriter, r *http.Request) {
		_, has := r.Context().Deadline()
		deadline <- has
		got <- reqctx.From(r.Context())
	}))
	run(t, s)
	for name, http2 := range map[string]bool{"HTTP/1.1": false, "HTTP/2.0": true} {
		t.Run(name, func(t *testing.T) {
			resp, _ := get(t, client(t, s, http2), url(s, "/"))
			if resp.Proto != name || !<-deadline {
				t.Errorf("spoke %s", resp.Proto)
			}
			info := <-got
			if info.ID == "" || !info.TLS || info.SourceIP.String() != "127.0.0.1" || info.UserAgent != strings.Repeat("u", 255) {
				t.Errorf("info %+v", info)
			}
		})
	}
}

func TestNewRefuses(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for _, tc := range []struct {
		name string
		edit func(*Config)
		want string
	}{
		{"nothing given", func(c *Config) { *c = Config{} }, "Handler is required"},
		{"plain HTTP everywhere", func(c *Config) { c.PlainHTTP, c.Listen = true, ":0" }, "in the clear"},
		{"plain HTTP on a name", func(c *Config) { c.PlainHTTP, c.Listen = true, "example.com:0" }, "in the clear"},
		{"negative limit", func(c *Config) { c.MaxConnections = -1 }, "never negative"},
		{"certificate without key", func(c *Config) { c.TLS.CertFile = "x" }, "give both"},
		{"missing certificate", func(c *Config) { c.TLS.CertFile, c.TLS.KeyFile = "/nonexistent/x", "/nonexistent/y" }, "no such file"},
		{"no directory", func(c *Config) { c.TLS.Dir = "" }, "directory"},
		{"address taken", func(c *Config) { c.Listen = taken.Addr().String() }, "bind the API's address"},
		{"metrics' address taken", func(c *Config) { c.MetricsAddress = taken.Addr().String() }, "bind the metrics' address"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			cfg := testConfig(t, ok)
			tc.edit(&cfg)
			s, err := New(cfg)
			if err == nil {
				_ = s.Close()
				t.Fatal("accepted")
			}
			if !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %q does not say %q", err, tc.want)
			}
		})
	}
}

func TestPlainHTTP(t *testing.T) {
	for name, cfg := range map[string]Config{
		"loopback": {Listen: "127.0.0.1:0", PlainHTTP: true},
		"allowed":  {Listen: ":0", PlainHTTP: true, AllowPlainHTTP: true},
	} {
		t.Run(name, func(t *testing.T) {
			c := testConfig(t, ok)
			c.Listen, c.PlainHTTP, c.AllowPlainHTTP = cfg.Listen, cfg.PlainHTTP, cfg.AllowPlainHTTP
			s := mustNew(t, c)
			run(t, s)
			tr := &http.Transport{}
			defer tr.CloseIdleConnections()
			if _, body := get(t, &http.Client{Transport: tr}, url(s, "/")); body != "ok" || s.CAFile() != "" {
				t.Errorf("body %q, CA %q", body, s.CAFile())
			}
		})
	}
}

// raw sends bytes and returns the answer's first line.
func raw(t *testing.T, c net.Conn, text string) string {
	t.Helper()
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	// The server may answer and close before it has read all.
	_, _ = io.WriteString(c, text)
	line, err := bufio.NewReader(c).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		t.Logf("read: %v", err)
	}
	return strings.TrimSpace(line)
}

func dial(t *testing.T, s *Server) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func TestBadClients(t *testing.T) {
	s := mustNew(t, testConfig(t, ok))
	s.main.ReadHeaderTimeout = 100 * time.Millisecond
	run(t, s)
	over := func(t *testing.T) net.Conn {
		return tls.Client(dial(t, s), &tls.Config{RootCAs: roots(t, s), ServerName: "localhost"})
	}
	plain := func(t *testing.T) net.Conn { return dial(t, s) }
	for _, tc := range []struct {
		name string
		conn func(*testing.T) net.Conn
		text string
		want string
	}{
		{"plain HTTP to TLS", plain, "GET / HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.0 400 Bad Request"},
		{"huge header", over, "GET / HTTP/1.1\r\nHost: x\r\nA: " + strings.Repeat("a", 80<<10) + "\r\n\r\n", "HTTP/1.1 431 Request Header Fields Too Large"},
		{"no HTTP", over, "hello\r\n\r\n", "HTTP/1.1 400 Bad Request"},
		{"slow header", over, "GET / HTTP/1.1\r\nHost: x\r\n", ""},
		{"slow handshake", plain, "\x16", ""},
		{"silence", plain, "", ""},
		{"good", over, "GET / HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 200 OK"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := raw(t, tc.conn(t), tc.text); got != tc.want {
				t.Errorf("answer %q, want %q", got, tc.want)
			}
		})
	}
	t.Run("TLS 1.1", func(t *testing.T) {
		c := tls.Client(dial(t, s), &tls.Config{RootCAs: roots(t, s), ServerName: "localhost", MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11})
		if err := c.HandshakeContext(t.Context()); err == nil {
			t.Error("TLS 1.1 was accepted")
		}
	})
}

func TestPanics(t *testing.T) {
	out := &logs{}
	cfg := testConfig(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/early":
			w.Header().Set("Content-Length", "1")
			panic("boom-early")
		case "/late":
			_, _ = io.WriteString(w, "half")
			_ = http.NewResponseController(w).Flush()
			panic(errors.New("boom-late"))
		case "/abort":
			panic(http.ErrAbortHandler)
		}
	})
	cfg.Log = slog.New(slog.NewTextHandler(out, nil))
	s := mustNew(t, cfg)
	run(t, s)
	var opened int
	c := client(t, s, false)
	tr, isTransport := c.Transport.(*http.Transport)
	if !isTransport {
		t.Fatal("no transport")
	}
	tr.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		opened++
		return (&net.Dialer{}).DialContext(ctx, network, addr)
	}
	for range 3 {
		resp, body := get(t, c, url(s, "/early"))
		if resp.StatusCode != 500 || resp.Header.Get("X-Amzn-Requestid") == "" || !strings.HasPrefix(body, `{"message":`) {
			t.Errorf("status %d, header %v, body %q", resp.StatusCode, resp.Header, body)
		}
	}
	if opened != 1 {
		t.Errorf("%d connections for three panics, want one that is kept", opened)
	}
	for _, path := range []string{"/late", "/abort"} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url(s, path), nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := c.Do(req)
		if err == nil {
			_, err = io.ReadAll(resp.Body)
			_ = resp.Body.Close()
		}
		if err == nil {
			t.Errorf("%s: half an answer looks whole", path)
		}
	}
	if text := out.String(); !strings.Contains(text, "boom-early") || !strings.Contains(text, "boom-late") || !strings.Contains(text, "server_test.go") || strings.Contains(text, "abort Handler") {
		t.Errorf("log: %s", text)
	}
	if n := value(t, cfg.Registry, "podid_http_panics_total"); n != 4 {
		t.Errorf("%v panics counted, want 4", n)
	}
}

func TestAccessLogHidesTheQuery(t *testing.T) {
	out := &logs{}
	cfg := testConfig(t, ok)
	cfg.Log = slog.New(slog.NewTextHandler(out, &slog.HandlerOptions{Level: slog.LevelDebug}))
	s := mustNew(t, cfg)
	stop := run(t, s)
	get(t, client(t, s, true), url(s, "/clusters/x?X-Amz-Security-Token=hidden"))
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if text := out.String(); !strings.Contains(text, "path=/clusters/x ") || !strings.Contains(text, "status=200") || strings.Contains(text, "hidden") {
		t.Errorf("log: %s", text)
	}
}

// value returns the sum of a metric over its labels.
func value(t *testing.T, reg prometheus.Gatherer, name string) (sum float64) {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			for _, m := range f.GetMetric() {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return sum
}

func TestMetrics(t *testing.T) {
	cfg := testConfig(t, ok)
	cfg.MetricsAddress = "127.0.0.1:0"
	s := mustNew(t, cfg)
	run(t, s)
	s.Metrics().Observe("eks", "ListClusters", "", 200, 2*time.Millisecond)
	s.Metrics().Observe("eks", "ListClusters", "AccessDeniedException", 403, time.Millisecond)
	tr := &http.Transport{}
	defer tr.CloseIdleConnections()
	_, body := get(t, &http.Client{Transport: tr}, "http://"+s.MetricsAddr().String()+"/metrics")
	for _, want := range []string{
		`podid_http_requests_total{code="200",operation="ListClusters",service="eks"} 1`,
		`podid_http_requests_total{code="AccessDeniedException",operation="ListClusters",service="eks"} 1`,
		`podid_http_request_duration_seconds_count{operation="ListClusters",service="eks"} 2`,
		"podid_http_requests_in_flight 0", "podid_http_connections 0", "podid_http_panics_total 0",
	} {
		if !strings.Contains(body, want+"\n") {
			t.Errorf("metrics lack %s", want)
		}
	}
	if resp, _ := get(t, &http.Client{Transport: tr}, "http://"+s.MetricsAddr().String()+"/"); resp.StatusCode != 404 {
		t.Errorf("the metrics' listener answers %d on /", resp.StatusCode)
	}
}

func TestMetricsAreBounded(t *testing.T) {
	reg := prometheus.NewRegistry()
	m, err := newMetrics(reg)
	if err != nil {
		t.Fatal(err)
	}
	for i := range maxSeries + 100 {
		m.Observe("iam", fmt.Sprint("Made", i), "", 200, 0)
	}
	if n := len(*m.series.Load()); n != maxSeries {
		t.Errorf("%d series, want %d", n, maxSeries)
	}
	if n := value(t, reg, "podid_http_requests_total"); n != maxSeries+100 {
		t.Errorf("%v calls counted", n)
	}
}
