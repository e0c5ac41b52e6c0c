// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package otlp

import (
	"bytes"
	"encoding/json"
	"flag"
	"math"
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	metricspb "go.opentelemetry.io/proto/slim/otlp/metrics/v1"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

var update = flag.Bool("update", false, "write the golden file anew")

// TestConvert holds the conversion of each type against testdata/metrics.json.
func TestConvert(t *testing.T) {
	registry := prometheus.NewRegistry()
	counter := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "answers_total", Help: "Answers by code."}, []string{"code", "address"})
	counter.WithLabelValues("200", "[fd00:ec2::23]:80").Add(41)
	counter.WithLabelValues("403", "").Inc()
	gauge := prometheus.NewGauge(prometheus.GaugeOpts{Name: "cache_bytes", Help: "Bytes."})
	gauge.Set(-1.5)
	histogram := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "upstream_seconds", Help: "Time of a try.", Buckets: []float64{.1, 1, 10}}, []string{"code"})
	for _, v := range []float64{.0625, .5, .75, 100} {
		histogram.WithLabelValues("200").Observe(v)
	}
	summary := prometheus.NewSummary(prometheus.SummaryOpts{Name: "pause_seconds", Help: "Pauses.", Objectives: map[float64]float64{.5: .05}})
	summary.Observe(2)
	untyped := prometheus.NewUntypedFunc(prometheus.UntypedOpts{Name: "something"}, func() float64 { return 7 })
	cpu := prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "cpu_seconds_total", Help: "CPU."}, func() float64 { return .25 })
	dated := dateCollector{prometheus.NewMetricWithTimestamp(time.UnixMilli(1_800_000_000_500), prometheus.MustNewConstMetric(prometheus.NewDesc("dated", "Says when.", nil, nil), prometheus.GaugeValue, 1))}
	for _, c := range []prometheus.Collector{counter, gauge, histogram, summary, untyped, cpu, dated} {
		if err := registry.Register(c); err != nil {
			t.Fatal(err)
		}
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	families = append(families, &dto.MetricFamily{Name: proto.String("unknown"), Type: dto.MetricType_GAUGE_HISTOGRAM.Enum()})
	c := converter{start: time.Unix(1_800_000_000, 0), now: time.Unix(1_800_000_060, 1)}
	got := &metricspb.MetricsData{ResourceMetrics: []*metricspb.ResourceMetrics{{
		Resource:     resource(map[string]string{"service.name": "podid-agent", "k8s.node.name": ""}, map[string]string{"a": "b"}),
		ScopeMetrics: []*metricspb.ScopeMetrics{{Metrics: c.metrics(families)}},
	}}}
	text, err := protojson.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	var pretty bytes.Buffer // protojson's own blanks change from build to build
	if err := json.Indent(&pretty, compact(t, text), "", "  "); err != nil {
		t.Fatal(err)
	}
	pretty.WriteByte('\n')
	const golden = "testdata/metrics.json"
	if *update {
		if err := os.WriteFile(golden, pretty.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), pretty.String()); diff != "" {
		t.Errorf("%s (-want +got):\n%s", golden, diff)
	}
}

func compact(t *testing.T, text []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := json.Compact(&out, text); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// dateCollector holds one metric.
type dateCollector struct{ metric prometheus.Metric }

func (d dateCollector) Describe(to chan<- *prometheus.Desc) { to <- d.metric.Desc() }
func (d dateCollector) Collect(to chan<- prometheus.Metric) { to <- d.metric }

// TestBuckets: every count of a histogram is in one bucket, whatever Prometheus' buckets are.
func TestBuckets(t *testing.T) {
	bucket := func(bound float64, upTo uint64) *dto.Bucket {
		return &dto.Bucket{UpperBound: &bound, CumulativeCount: &upTo}
	}
	for _, tc := range []struct {
		name    string
		count   uint64
		buckets []*dto.Bucket
		bounds  []float64
		counts  []uint64
	}{
		{"none", 5, nil, nil, []uint64{5}},
		{"the rest is not named", 5, []*dto.Bucket{bucket(1, 2), bucket(2, 2)}, []float64{1, 2}, []uint64{2, 0, 3}},
		{"the rest is named", 5, []*dto.Bucket{bucket(1, 2), bucket(math.Inf(1), 5)}, []float64{1}, []uint64{2, 3}},
		{"nothing observed", 0, []*dto.Bucket{bucket(1, 0)}, []float64{1}, []uint64{0, 0}},
		{"counts that do not grow", 3, []*dto.Bucket{bucket(1, 4), bucket(2, 2)}, []float64{1, 2}, []uint64{4, 0, 0}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := converter{}.histogram(&dto.Metric{Histogram: &dto.Histogram{SampleCount: &tc.count, Bucket: tc.buckets}})
			if diff := cmp.Diff(tc.bounds, p.GetExplicitBounds()) + cmp.Diff(tc.counts, p.GetBucketCounts()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func BenchmarkMessage(b *testing.B) {
	registry := prometheus.NewRegistry()
	histogram := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "upstream_seconds", Help: "Time of a try."}, []string{"code"})
	if err := registry.Register(histogram); err != nil {
		b.Fatal(err)
	}
	for _, code := range []string{"0", "200", "400", "403", "404", "429", "500", "503"} {
		histogram.WithLabelValues(code).Observe(1)
	}
	families, err := registry.Gather()
	if err != nil {
		b.Fatal(err)
	}
	c := converter{start: time.Unix(1, 0), now: time.Unix(2, 0)}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := proto.Marshal(&metricspb.ScopeMetrics{Metrics: c.metrics(families)}); err != nil {
			b.Fatal(err)
		}
	}
}
