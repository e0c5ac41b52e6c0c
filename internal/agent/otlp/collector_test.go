// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package otlp

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	collectorpb "go.opentelemetry.io/proto/slim/otlp/collector/metrics/v1"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// request is a push as the collector has understood it.
type request struct {
	after   time.Duration // since the collector was there
	url     string
	header  http.Header
	metrics *collectorpb.ExportMetricsServiceRequest
}

// values are the points of one metric by their only label's value.
func (r request) value(name string) float64 {
	for _, m := range r.metrics.GetResourceMetrics()[0].GetScopeMetrics()[0].GetMetrics() {
		if m.GetName() == name {
			return m.GetSum().GetDataPoints()[0].GetAsDouble()
		}
	}
	return -1
}

func (r request) attributes() map[string]string {
	out := map[string]string{}
	for _, a := range r.metrics.GetResourceMetrics()[0].GetResource().GetAttributes() {
		out[a.GetKey()] = a.GetValue().GetStringValue()
	}
	return out
}

// collector answers one request after the other as its script says, the last line for all that follow.
type collector struct {
	began  time.Time
	script []func(ctx context.Context) (*http.Response, error)

	mu   sync.Mutex
	seen []request
}

// RoundTrip implements http.RoundTripper.
func (c *collector) RoundTrip(r *http.Request) (*http.Response, error) {
	decoded, err := decode(r)
	if err != nil {
		return answer(http.StatusBadRequest, nil, err.Error())(r.Context())
	}
	c.mu.Lock()
	n := len(c.seen)
	decoded.after = time.Since(c.began)
	c.seen = append(c.seen, decoded)
	c.mu.Unlock()
	return c.script[min(n, len(c.script)-1)](r.Context())
}

func (c *collector) requests() []request {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]request(nil), c.seen...)
}

func decode(r *http.Request) (request, error) {
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err == nil && r.Header.Get("Content-Encoding") == "gzip" {
		var z *gzip.Reader
		if z, err = gzip.NewReader(bytes.NewReader(body)); err == nil {
			body, err = io.ReadAll(z)
		}
	}
	if err == nil && (r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/x-protobuf") {
		err = errors.New("no push of protobuf")
	}
	out := request{url: r.URL.String(), header: r.Header.Clone(), metrics: &collectorpb.ExportMetricsServiceRequest{}}
	if err == nil {
		err = proto.Unmarshal(body, out.metrics)
	}
	return out, err
}

// answer has a body of protobuf; pairs are headers.
func answer(status int, body []byte, pairs ...string) func(context.Context) (*http.Response, error) {
	return func(context.Context) (*http.Response, error) {
		header := http.Header{"Content-Type": {"application/x-protobuf"}}
		for i := 0; i+1 < len(pairs); i += 2 {
			header.Set(pairs[i], pairs[i+1])
		}
		return &http.Response{StatusCode: status, Header: header, Body: io.NopCloser(bytes.NewReader(body))}, nil
	}
}

var accepted = answer(http.StatusOK, nil)

func refused(context.Context) (*http.Response, error) {
	return nil, errors.New("connection refused")
}

// silent gives no answer at all.
func silent(ctx context.Context) (*http.Response, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// logs is a log that is read while it is written.
type logs struct {
	mu  sync.Mutex
	buf strings.Builder
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// still is a source of chance without any.
type still struct{}

func (still) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

type fixture struct {
	collector *collector
	counter   prometheus.Counter
	log       *logs
	cfg       Config
}

// newFixture is an exporter's surroundings; env are variables beyond the endpoint's.
func newFixture(t *testing.T, script []func(context.Context) (*http.Response, error), env ...string) *fixture {
	t.Helper()
	settings, err := Read(environ(append([]string{"OTEL_EXPORTER_OTLP_ENDPOINT=https://collector:4318"}, env...)...), "")
	if err != nil {
		t.Fatal(err)
	}
	f := &fixture{
		collector: &collector{began: time.Now(), script: script}, log: &logs{},
		counter: prometheus.NewCounter(prometheus.CounterOpts{Name: "things_total", Help: "Things."}),
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(f.counter)
	f.cfg = Config{
		Settings: *settings, Gatherer: registry, Version: "1.2.3", Node: "node-1", Cluster: "my-cluster",
		Log: slog.New(slog.NewTextHandler(f.log, nil)), Transport: f.collector, Rand: still{},
	}
	return f
}

// run runs the exporter until stop is called, which waits for its end.
func (f *fixture) run(t *testing.T) (stop func()) {
	t.Helper()
	e, err := New(f.cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
	}
}

func environ(pairs ...string) Lookup {
	return func(name string) (string, bool) {
		for _, p := range pairs {
			if k, v, _ := strings.Cut(p, "="); k == name {
				return v, true
			}
		}
		return "", false
	}
}
