// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Package otlp pushes the node agent's metrics to an OpenTelemetry collector, by OTLP/HTTP with protobuf.
//
// It owns OpenTelemetry's environment variables, the conversion of what Prometheus gathers, and the push: every interval,
// and once more at the end. It refuses gRPC, delta values, and to follow redirects; it never prints a header's value; and
// nothing that a collector does or leaves undone reaches the serving of pods. It counts nothing itself: what is pushed is
// what /metrics shows. In the flow it stands beside the agent, which knows it by Run alone.
package otlp

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	collectorpb "go.opentelemetry.io/proto/slim/otlp/collector/metrics/v1"
	commonpb "go.opentelemetry.io/proto/slim/otlp/common/v1"
	metricspb "go.opentelemetry.io/proto/slim/otlp/metrics/v1"
	resourcepb "go.opentelemetry.io/proto/slim/otlp/resource/v1"
	"google.golang.org/protobuf/proto"

	"podid/internal/agent/pace"
)

// lastTimeout is what the last push gets at most: whoever stops an agent waits for it.
const lastTimeout = 5 * time.Second

// Config of an Exporter. Settings, Gatherer and Log are required.
type Config struct {
	Settings Settings
	Gatherer prometheus.Gatherer
	// Version, Node and Cluster go into the resource; an empty one is left out.
	Version, Node, Cluster string
	// Idle, when set, tells that nothing is to be pushed now, but for the last time.
	Idle func() bool
	Log  *slog.Logger
	// Transport carries the requests; nil means one made of the settings.
	Transport http.RoundTripper
	// Now is the clock of the values' times; nil means time.Now. Rand makes the instance's id and spreads pushes; nil means
	// crypto/rand.
	Now  func() time.Time
	Rand io.Reader
}

// Exporter pushes while Run runs.
type Exporter struct {
	cfg       Config
	http      *http.Client
	start     time.Time
	resource  *resourcepb.Resource
	scope     *commonpb.InstrumentationScope
	notBefore time.Time // the collector has asked to be left alone until then
	told      string    // the trouble that was logged last
	gathering bool      // that some metrics cannot be gathered was logged
}

// New checks the configuration and reads the files it names.
func New(cfg Config) (*Exporter, error) {
	s := &cfg.Settings
	if s.Endpoint.url == "" || cfg.Gatherer == nil || cfg.Log == nil {
		return nil, errors.New("push of metrics: endpoint, gatherer and log are required")
	}
	if s.Interval <= 0 || s.Timeout <= 0 || s.ExportTimeout <= 0 {
		return nil, errors.New("push of metrics: interval and time-outs must be positive")
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Rand == nil {
		cfg.Rand = rand.Reader
	}
	if cfg.Transport == nil {
		transport, err := newTransport(s)
		if err != nil {
			return nil, fmt.Errorf("push of metrics: %w", err)
		}
		cfg.Transport = transport
	}
	id, err := newID(cfg.Rand)
	if err != nil {
		return nil, fmt.Errorf("push of metrics: %w", err)
	}
	return &Exporter{
		cfg: cfg,
		http: &http.Client{
			Transport:     cfg.Transport,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		start: cfg.Now(),
		resource: resource(map[string]string{
			"service.name": DefaultServiceName, "service.version": cfg.Version, "service.instance.id": id,
			"k8s.node.name": cfg.Node, "k8s.cluster.name": cfg.Cluster,
		}, s.Attributes),
		scope: &commonpb.InstrumentationScope{Name: DefaultServiceName, Version: cfg.Version},
	}, nil
}

// newID makes a random UUID (RFC 9562, version 4): each process is an instance, also the two of a node that hand over.
func newID(from io.Reader) (string, error) {
	var b [16]byte
	if _, err := io.ReadFull(from, b[:]); err != nil {
		return "", fmt.Errorf("draw the instance's id: %w", err)
	}
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:]), nil
}

// Run pushes every interval until ctx ends, whatever fails, and once more then: one request, for the settings' time-out or
// 5 s, whichever is less. The first push comes within the interval, so that the nodes of a fleet do not push at once.
func (e *Exporter) Run(ctx context.Context) error {
	s := &e.cfg.Settings
	e.cfg.Log.InfoContext(ctx, "pushing metrics by OTLP", slog.String("endpoint", s.Endpoint.String()), slog.String("interval", s.Interval.String()))
	if s.Endpoint.readable && len(s.Headers.fields) > 0 {
		e.cfg.Log.WarnContext(ctx, "the headers for the collector travel readable: its endpoint is http://", slog.String("endpoint", s.Endpoint.String()))
	}
	pause := time.Duration(pace.Chance(e.cfg.Rand) * float64(s.Interval))
	for pace.Sleep(ctx, pause) {
		began := time.Now()
		if (e.cfg.Idle == nil || !e.cfg.Idle()) && !began.Before(e.notBefore) {
			limited, cancel := context.WithTimeout(ctx, min(s.ExportTimeout, s.Interval))
			e.export(limited, e.push)
			cancel()
		}
		pause = max(s.Interval-time.Since(began), 0)
	}
	if time.Now().Before(e.notBefore) {
		return nil
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), min(s.Timeout, lastTimeout))
	defer cancel()
	defer e.http.CloseIdleConnections()
	e.export(last, e.post)
	return nil
}

// export gathers, sends and tells what came of it.
func (e *Exporter) export(ctx context.Context, send func(context.Context, []byte) (partial, error)) {
	message, err := e.message(ctx)
	if err != nil {
		e.tell(ctx, "message", "push metrics by OTLP; trying again at each interval", err)
		return
	}
	p, err := send(ctx, message)
	var answer *statusError
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		// The agent stops: the last push follows.
	case errors.As(err, &answer):
		e.tell(ctx, fmt.Sprint(answer.status), "push metrics by OTLP; trying again at each interval", err)
	case err != nil:
		e.tell(ctx, "unreachable", "push metrics by OTLP; trying again at each interval", err)
	case p.rejected > 0:
		e.tell(ctx, "rejected", "the collector has rejected some of the metrics", fmt.Errorf("%d rejected: %s", p.rejected, p.message))
	case p.message != "":
		e.tell(ctx, "warning", "the collector warns about the metrics", errors.New(p.message))
	default:
		e.tell(ctx, "", "metrics are pushed by OTLP again", nil)
	}
}

// tell logs what has changed: a trouble once, whatever the words of the next one of its kind, and its end.
func (e *Exporter) tell(ctx context.Context, kind, message string, err error) {
	if kind == e.told {
		return
	}
	e.told = kind
	if err == nil {
		e.cfg.Log.InfoContext(ctx, message)
		return
	}
	e.cfg.Log.WarnContext(ctx, message, slog.String("err", err.Error()), slog.String("endpoint", e.cfg.Settings.Endpoint.String()))
}

// message is what goes to the collector.
func (e *Exporter) message(ctx context.Context) ([]byte, error) {
	families, err := e.cfg.Gatherer.Gather()
	if (err != nil) != e.gathering {
		if e.gathering = err != nil; e.gathering {
			e.cfg.Log.WarnContext(ctx, "gather metrics; the others are pushed", slog.String("err", err.Error()))
		}
	}
	if len(families) == 0 {
		return nil, errors.New("there are no metrics")
	}
	message, err := proto.Marshal(&collectorpb.ExportMetricsServiceRequest{ResourceMetrics: []*metricspb.ResourceMetrics{{
		Resource:     e.resource,
		ScopeMetrics: []*metricspb.ScopeMetrics{{Scope: e.scope, Metrics: converter{start: e.start, now: e.cfg.Now()}.metrics(families)}},
	}}})
	if err != nil {
		return nil, fmt.Errorf("encode metrics: %w", err)
	}
	if e.cfg.Settings.Gzip {
		return compress(message)
	}
	return message, nil
}
