// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package otlp

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"google.golang.org/protobuf/encoding/protowire"
)

type script = []func(context.Context) (*http.Response, error)

// rejection is an ExportMetricsServiceResponse with a partial success.
func rejection(points uint64, text string) []byte {
	var inner []byte
	inner = protowire.AppendTag(inner, 1, protowire.VarintType)
	inner = protowire.AppendVarint(inner, points)
	inner = protowire.AppendTag(inner, 2, protowire.BytesType)
	inner = protowire.AppendString(inner, text)
	return protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), inner)
}

// status is a google.rpc.Status.
func status(text string) []byte {
	out := protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), 7)
	return protowire.AppendString(protowire.AppendTag(out, 2, protowire.BytesType), text)
}

// TestRhythm: when requests are made, and what is logged, for what a collector may do.
func TestRhythm(t *testing.T) {
	date := func(at time.Duration) func(context.Context) (*http.Response, error) {
		return func(ctx context.Context) (*http.Response, error) {
			return answer(503, nil, "Retry-After", time.Now().Add(at).UTC().Format(http.TimeFormat))(ctx)
		}
	}
	tests := []struct {
		name   string
		script script
		env    []string
		lasts  time.Duration
		at     []float64 // seconds, the last push at the end included
		logged []string  // messages after the first, in order
	}{
		{"all is well", script{accepted}, nil, 150 * time.Second, []float64{0, 60, 120, 150}, nil},
		{"interval", script{accepted}, []string{"OTEL_METRIC_EXPORT_INTERVAL=5000"}, 12 * time.Second, []float64{0, 5, 10, 12}, nil},
		{"backoff until the export's time is over", script{answer(503, nil)}, nil, 50 * time.Second, []float64{0, 1, 3, 7, 15, 50}, []string{"503"}},
		{"backoff within a short interval", script{answer(503, nil)}, []string{"OTEL_METRIC_EXPORT_INTERVAL=4000"}, 9 * time.Second, []float64{0, 1, 3, 4, 5, 7, 8, 9, 9}, []string{"503"}},
		{"each code that is retried", script{answer(429, nil), answer(502, nil), answer(503, nil), answer(504, nil), accepted}, nil, 20 * time.Second, []float64{0, 1, 3, 7, 15, 20}, nil},
		{"unreachable, then back", script{refused, accepted}, nil, 30 * time.Second, []float64{0, 1, 30}, nil},
		{"unreachable for long", script{refused, refused, refused, refused, refused, accepted}, nil, 70 * time.Second, []float64{0, 1, 3, 7, 15, 60, 70}, []string{"does not answer", "again"}},
		{"other codes drop the export", script{answer(400, nil), answer(401, nil), answer(500, nil), answer(301, nil, "Location", "https://elsewhere/"), accepted}, nil, 250 * time.Second, []float64{0, 60, 120, 180, 240, 250}, []string{"400", "401", "500", "301", "again"}},
		{"a trouble is told once", script{answer(401, nil)}, nil, 200 * time.Second, []float64{0, 60, 120, 180, 200}, []string{"401 Unauthorized"}},
		{"Retry-After in seconds", script{answer(429, nil, "Retry-After", "7"), accepted}, nil, 30 * time.Second, []float64{0, 7, 30}, nil},
		{"Retry-After as a date", script{date(9 * time.Second), accepted}, nil, 30 * time.Second, []float64{0, 9, 30}, nil},
		{"Retry-After that is neither", script{answer(503, nil, "Retry-After", "soon"), accepted}, nil, 30 * time.Second, []float64{0, 1, 30}, nil},
		{"Retry-After past the next intervals", script{answer(429, nil, "Retry-After", "150"), accepted}, nil, 200 * time.Second, []float64{0, 180, 200}, []string{"429", "again"}},
		{"Retry-After past the end", script{answer(429, nil, "Retry-After", "150")}, nil, 130 * time.Second, []float64{0}, []string{"429"}},
		{"Retry-After for ever is an hour", script{answer(429, nil, "Retry-After", "999999999999"), accepted}, nil, 3610 * time.Second, []float64{0, 3600, 3610}, []string{"429", "again"}},
		{"silence", script{silent, silent, accepted}, []string{"OTEL_EXPORTER_OTLP_TIMEOUT=3000"}, 20 * time.Second, []float64{0, 4, 9, 20}, nil},
		{"silence at the end", script{accepted, silent}, nil, 30 * time.Second, []float64{0, 30}, []string{"does not answer"}},
		{"failure at the end is not retried", script{accepted, answer(503, nil)}, nil, 30 * time.Second, []float64{0, 30}, []string{"503"}},
		{"some are rejected", script{answer(200, rejection(3, "too old")), answer(200, rejection(2, "too new")), accepted}, nil, 130 * time.Second, []float64{0, 60, 120, 130}, []string{"3 rejected: too old", "again"}},
		{"a warning", script{answer(200, rejection(0, "use gzip"))}, nil, 70 * time.Second, []float64{0, 60, 70}, []string{"use gzip"}},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFixture(t, tc.script, tc.env...)
				stop := f.run(t)
				time.Sleep(tc.lasts)
				synctest.Wait()
				stop()
				var at []float64
				for _, r := range f.collector.requests() {
					at = append(at, r.after.Seconds())
				}
				if diff := cmp.Diff(tc.at, at); diff != "" {
					t.Errorf("times of the requests (-want +got):\n%s\n%s", diff, f.log)
				}
				lines := strings.Split(strings.TrimSpace(f.log.String()), "\n")[1:]
				if len(lines) != len(tc.logged) {
					t.Fatalf("log:\n%s\nwant %q", f.log, tc.logged)
				}
				for i, want := range tc.logged {
					if !strings.Contains(lines[i], want) {
						t.Errorf("line %q, want %q", lines[i], want)
					}
				}
			})
		})
	}
}

// TestEndIsBounded: a collector that is silent holds the end up for 5 s, or the time-out if that is less.
func TestEndIsBounded(t *testing.T) {
	for timeout, want := range map[string]time.Duration{"60000": lastTimeout, "2000": 2 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			f := newFixture(t, script{accepted, silent}, "OTEL_EXPORTER_OTLP_TIMEOUT="+timeout)
			stop := f.run(t)
			time.Sleep(time.Second)
			began := time.Now()
			stop()
			if took := time.Since(began); took != want {
				t.Errorf("time-out %s ms: the end took %s, want %s", timeout, took, want)
			}
		})
	}
}

// TestStopDuringRetries: the end does not wait for a push that is being retried, and the last push has what came meanwhile.
func TestStopDuringRetries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, script{answer(503, nil), accepted})
		f.counter.Inc()
		stop := f.run(t)
		time.Sleep(time.Second / 2)
		synctest.Wait()
		f.counter.Inc()
		stop()
		seen := f.collector.requests()
		if len(seen) != 2 || seen[0].value("things_total") != 1 || seen[1].value("things_total") != 2 || seen[1].after != time.Second/2 {
			t.Errorf("requests %v", seen)
		}
		if strings.Contains(f.log.String(), "WARN") {
			t.Errorf("log:\n%s", f.log)
		}
	})
}

// TestIdle: who has handed over pushes only at the end.
func TestIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, script{accepted})
		f.cfg.Idle = func() bool { return true }
		stop := f.run(t)
		time.Sleep(5 * time.Minute)
		stop()
		if seen := f.collector.requests(); len(seen) != 1 || seen[0].after != 5*time.Minute {
			t.Errorf("%d requests", len(seen))
		}
	})
}

// TestMessage: what the collector is told of who speaks.
func TestMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, script{accepted}, "OTEL_EXPORTER_OTLP_HEADERS=x-scope-orgid=team%20a,Authorization=Bearer%20abc",
			"OTEL_RESOURCE_ATTRIBUTES=deployment.environment.name=prod,k8s.node.name=mine", "OTEL_EXPORTER_OTLP_COMPRESSION=gzip")
		f.run(t)()
		r := f.collector.requests()[0]
		want := map[string]string{
			"service.name": "podid-agent", "service.version": "1.2.3", "service.instance.id": "00000000-0000-4000-8000-000000000000",
			"k8s.cluster.name": "my-cluster", "k8s.node.name": "mine", "deployment.environment.name": "prod",
		}
		if diff := cmp.Diff(want, r.attributes()); diff != "" {
			t.Errorf("resource (-want +got):\n%s", diff)
		}
		if r.url != "https://collector:4318/v1/metrics" || r.header.Get("X-Scope-Orgid") != "team a" || r.header.Get("Authorization") != "Bearer abc" ||
			r.header.Get("Content-Encoding") != "gzip" || r.header.Get("User-Agent") != "podid-agent/1.2.3" {
			t.Errorf("request to %s with %v", r.url, r.header)
		}
	})
}

// TestSecrets: headers and queries are in no log, error or print, whatever a collector or the network says.
func TestSecrets(t *testing.T) {
	const secret = "s3cr3t-of-the-collector"
	scripts := map[string]script{
		"refused":    {refused},
		"repeated":   {answer(401, status("bad token "+secret)), answer(401, status(strings.Repeat("x", maxMessage-10)+secret))},
		"cut":        {answer(403, status(strings.Repeat("x", maxMessage-10)+secret))},
		"as partial": {answer(200, rejection(1, "of "+secret))},
		"by network": {func(context.Context) (*http.Response, error) { return nil, errors.New("broken") }},
	}
	for name, s := range scripts {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFixture(t, s, "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT=http://collector/in?key="+secret, "OTEL_EXPORTER_OTLP_HEADERS=Authorization=Bearer%20"+secret)
				stop := f.run(t)
				time.Sleep(90 * time.Second)
				stop()
				if seen := f.collector.requests(); len(seen) == 0 || !strings.HasSuffix(seen[0].url, secret) {
					t.Errorf("requests %v", seen)
				}
				log := f.log.String() + fmt.Sprintf("%v %+v %#v %s", f.cfg.Settings, f.cfg.Settings, f.cfg.Settings, f.cfg.Settings.Headers)
				f.cfg.Log.Info("settings", "settings", f.cfg.Settings, "headers", f.cfg.Settings.Headers)
				if log += f.log.String(); strings.Contains(log, secret[:6]) {
					t.Errorf("the secret is in:\n%s", log)
				}
				if !strings.Contains(log, "travel readable") || !strings.Contains(log, "http://collector/in") {
					t.Errorf("log:\n%s", log)
				}
			})
		})
	}
}

// TestGather: metrics that cannot be gathered do not keep the others back, and are told of once.
func TestGather(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, script{accepted})
		whole := f.cfg.Gatherer
		var broken, empty atomic.Bool
		broken.Store(true)
		f.cfg.Gatherer = prometheus.GathererFunc(func() ([]*dto.MetricFamily, error) {
			families, err := whole.Gather()
			if broken.Load() {
				err = errors.New("one is broken")
			}
			if empty.Load() {
				families = nil
			}
			return families, err
		})
		stop := f.run(t)
		time.Sleep(90 * time.Second)
		synctest.Wait()
		broken.Store(false)
		empty.Store(true)
		time.Sleep(time.Minute)
		synctest.Wait()
		empty.Store(false)
		stop()
		if got := len(f.collector.requests()); got != 3 {
			t.Errorf("%d requests, want two and the last", got)
		}
		if log := f.log.String(); strings.Count(log, "one is broken") != 1 || strings.Count(log, "no metrics") != 1 {
			t.Errorf("log:\n%s", log)
		}
	})
}

// TestSpread: nodes that start at once do not push at once, and retry apart.
func TestSpread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, script{answer(503, nil), accepted})
		f.cfg.Rand = halves{}
		stop := f.run(t)
		time.Sleep(time.Minute)
		stop()
		var at []float64
		for _, r := range f.collector.requests() {
			at = append(at, r.after.Seconds())
		}
		if !slices.Equal(at, []float64{30, 30.75, 60}) {
			t.Errorf("requests at %v", at)
		}
	})
}

// halves is a chance of one half.
type halves struct{}

func (halves) Read(p []byte) (int, error) {
	clear(p)
	p[0] = 0x80
	return len(p), nil
}

// TestTLS pushes through a real connection to a collector whose CA is named, and leaves nothing open.
func TestTLS(t *testing.T) {
	c := &collector{script: script{accepted}, began: time.Now()}
	srv := httptest.NewTLSServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if _, err := c.RoundTrip(r); err != nil {
			t.Error(err)
		}
	}))
	srv.Config.ErrorLog = log.New(io.Discard, "", 0) // of the handshake that fails
	defer srv.Close()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		ca  string
		log string
	}{{ca, ""}, {"", "certificate"}} {
		f := newFixture(t, nil, "OTEL_EXPORTER_OTLP_ENDPOINT="+srv.URL)
		f.cfg.Transport = nil
		settings, err := Read(environ("OTEL_EXPORTER_OTLP_CERTIFICATE="+tc.ca), srv.URL)
		if err != nil {
			t.Fatal(err)
		}
		f.cfg.Settings, f.cfg.Rand = *settings, nil
		before := len(c.requests())
		f.run(t)()
		if got := len(c.requests()) - before; (got == 0) != (tc.log != "") || !strings.Contains(f.log.String(), tc.log) {
			t.Errorf("CA %q: %d requests; log:\n%s", tc.ca, got, f.log)
		}
	}
	id := c.requests()[0].attributes()["service.instance.id"]
	if !regexp.MustCompile("^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$").MatchString(id) {
		t.Errorf("service.instance.id %q is no UUID of version 4", id)
	}
}

func TestNewRefuses(t *testing.T) {
	spoilt := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(spoilt, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]struct {
		change func(*Config)
		want   string
	}{
		"no gatherer":   {func(c *Config) { c.Gatherer = nil }, "required"},
		"no endpoint":   {func(c *Config) { c.Settings.Endpoint = Endpoint{} }, "required"},
		"no interval":   {func(c *Config) { c.Settings.Interval = 0 }, "positive"},
		"no CA file":    {func(c *Config) { c.Transport, c.Settings.CAFile = nil, "/nonexistent" }, "read the collector's CA file"},
		"spoilt CA":     {func(c *Config) { c.Transport, c.Settings.CAFile = nil, spoilt }, "no PEM"},
		"no randomness": {func(c *Config) { c.Rand = strings.NewReader("") }, "draw"},
	} {
		f := newFixture(t, script{accepted})
		change.change(&f.cfg)
		if _, err := New(f.cfg); err == nil || !strings.Contains(err.Error(), change.want) {
			t.Errorf("%s: %v, want %q", name, err, change.want)
		}
	}
}
