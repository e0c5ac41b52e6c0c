// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	collectorpb "go.opentelemetry.io/proto/slim/otlp/collector/metrics/v1"
	"google.golang.org/protobuf/proto"

	"podid/internal/agent/otlp"
)

// TestPush: a collector that does not answer keeps no pod waiting, and the last push tells of every request.
func TestPush(t *testing.T) {
	begun := make(chan struct{})
	begin := sync.OnceFunc(func() { close(begun) })
	var mu sync.Mutex
	var served float64
	var resource string
	collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		data := &collectorpb.ExportMetricsServiceRequest{}
		if err == nil {
			err = proto.Unmarshal(body, data)
		}
		if err != nil {
			t.Error(err)
		}
		mu.Lock()
		served, resource = max(served, sum(data, "pod_identity_http_response")), data.GetResourceMetrics()[0].GetResource().String()
		mu.Unlock()
		begin()
		<-r.Context().Done()
	}))
	defer collector.Close()
	settings, err := otlp.Read(func(name string) (string, bool) {
		value, ok := map[string]string{"OTEL_METRIC_EXPORT_INTERVAL": "100", "OTEL_EXPORTER_OTLP_TIMEOUT": "1000"}[name]
		return value, ok
	}, collector.URL)
	if err != nil {
		t.Fatal(err)
	}
	cfg := testConfig(t, newStubAuth(t), io.Discard)
	cfg.OTLP, cfg.Node, cfg.Version = settings, "node-1", "1.2.3"
	a, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	<-a.Ready()
	<-begun
	for range 3 {
		if status, body := ask(t, a.Addrs()[0], jwt(nil)); status != 200 {
			t.Errorf("%d %s", status, body)
		}
	}
	stop()
	if err := <-done; err != nil {
		t.Errorf("Run: %v", err)
	}
	collector.Close() // and what it was sent is noted
	mu.Lock()
	defer mu.Unlock()
	if served != 3 {
		t.Errorf("the last push tells of %v requests", served)
	}
	if !strings.Contains(resource, "node-1") || !strings.Contains(resource, "my-cluster") || !strings.Contains(resource, "1.2.3") {
		t.Errorf("resource %s", resource)
	}
}

func sum(data *collectorpb.ExportMetricsServiceRequest, name string) (total float64) {
	for _, m := range data.GetResourceMetrics()[0].GetScopeMetrics()[0].GetMetrics() {
		if m.GetName() == name {
			for _, p := range m.GetSum().GetDataPoints() {
				total += p.GetAsDouble()
			}
		}
	}
	return total
}

// TestPushRefused: what is wrong with the collector's settings is a problem of the configuration.
func TestPushRefused(t *testing.T) {
	settings, err := otlp.Read(func(string) (string, bool) { return "", false }, "https://collector")
	if err != nil {
		t.Fatal(err)
	}
	settings.CAFile = "/nonexistent"
	cfg := testConfig(t, newStubAuth(t), io.Discard)
	cfg.OTLP = settings
	if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), "agent configuration: push of metrics: read the collector's CA file") {
		t.Errorf("error %v", err)
	}
}
