// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package otlp

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	dto "github.com/prometheus/client_model/go"
	commonpb "go.opentelemetry.io/proto/slim/otlp/common/v1"
	metricspb "go.opentelemetry.io/proto/slim/otlp/metrics/v1"
	resourcepb "go.opentelemetry.io/proto/slim/otlp/resource/v1"
)

// converter turns what Prometheus gathers into OTLP, under the same names, labels and meanings.
type converter struct{ start, now time.Time }

// metrics converts families; one of a type that OTLP does not have is left out.
func (c converter) metrics(families []*dto.MetricFamily) []*metricspb.Metric {
	out := make([]*metricspb.Metric, 0, len(families))
	for _, f := range families {
		m := &metricspb.Metric{Name: f.GetName(), Description: f.GetHelp(), Unit: unitOf(f.GetName())}
		switch f.GetType() {
		case dto.MetricType_COUNTER:
			m.Data = &metricspb.Metric_Sum{Sum: &metricspb.Sum{
				IsMonotonic: true, AggregationTemporality: metricspb.AggregationTemporality_AGGREGATION_TEMPORALITY_CUMULATIVE,
				DataPoints: points(f, func(p *dto.Metric) *metricspb.NumberDataPoint {
					return c.number(p, c.start, p.GetCounter().GetValue())
				}),
			}}
		case dto.MetricType_GAUGE, dto.MetricType_UNTYPED:
			m.Data = &metricspb.Metric_Gauge{Gauge: &metricspb.Gauge{
				DataPoints: points(f, func(p *dto.Metric) *metricspb.NumberDataPoint {
					return c.number(p, time.Time{}, p.GetGauge().GetValue()+p.GetUntyped().GetValue()) // only one is there
				}),
			}}
		case dto.MetricType_HISTOGRAM:
			m.Data = &metricspb.Metric_Histogram{Histogram: &metricspb.Histogram{
				AggregationTemporality: metricspb.AggregationTemporality_AGGREGATION_TEMPORALITY_CUMULATIVE,
				DataPoints:             points(f, c.histogram),
			}}
		case dto.MetricType_SUMMARY:
			m.Data = &metricspb.Metric_Summary{Summary: &metricspb.Summary{DataPoints: points(f, c.summary)}}
		default:
			continue
		}
		out = append(out, m)
	}
	return out
}

func points[P any](f *dto.MetricFamily, convert func(*dto.Metric) P) []P {
	out := make([]P, 0, len(f.GetMetric()))
	for _, m := range f.GetMetric() {
		out = append(out, convert(m))
	}
	return out
}

func (c converter) number(m *dto.Metric, start time.Time, value float64) *metricspb.NumberDataPoint {
	return &metricspb.NumberDataPoint{
		Attributes: labels(m), StartTimeUnixNano: nanoseconds(start), TimeUnixNano: c.at(m),
		Value: &metricspb.NumberDataPoint_AsDouble{AsDouble: value},
	}
}

// histogram: Prometheus' buckets hold all that is below their bound, OTLP's what is between two bounds, and there is one
// more of them than bounds.
func (c converter) histogram(m *dto.Metric) *metricspb.HistogramDataPoint {
	h := m.GetHistogram()
	sum := h.GetSampleSum()
	p := &metricspb.HistogramDataPoint{
		Attributes: labels(m), StartTimeUnixNano: nanoseconds(c.start), TimeUnixNano: c.at(m), Count: h.GetSampleCount(), Sum: &sum,
	}
	below := uint64(0)
	for _, b := range h.GetBucket() {
		if math.IsInf(b.GetUpperBound(), 1) {
			continue // it is the rest
		}
		upTo := max(b.GetCumulativeCount(), below)
		p.ExplicitBounds = append(p.ExplicitBounds, b.GetUpperBound())
		p.BucketCounts = append(p.BucketCounts, upTo-below)
		below = upTo
	}
	p.BucketCounts = append(p.BucketCounts, max(p.Count, below)-below)
	return p
}

func (c converter) summary(m *dto.Metric) *metricspb.SummaryDataPoint {
	s := m.GetSummary()
	p := &metricspb.SummaryDataPoint{
		Attributes: labels(m), StartTimeUnixNano: nanoseconds(c.start), TimeUnixNano: c.at(m), Count: s.GetSampleCount(), Sum: s.GetSampleSum(),
	}
	for _, q := range s.GetQuantile() {
		p.QuantileValues = append(p.QuantileValues, &metricspb.SummaryDataPoint_ValueAtQuantile{Quantile: q.GetQuantile(), Value: q.GetValue()})
	}
	return p
}

// at is when a value was taken: now, unless it says so itself.
func (c converter) at(m *dto.Metric) uint64 {
	if m.TimestampMs != nil {
		return nanoseconds(time.UnixMilli(m.GetTimestampMs()))
	}
	return nanoseconds(c.now)
}

func nanoseconds(t time.Time) uint64 {
	if t.IsZero() {
		return 0 // not known
	}
	return uint64(max(t.UnixNano(), 0)) //nolint:gosec // not negative
}

func labels(m *dto.Metric) []*commonpb.KeyValue {
	out := make([]*commonpb.KeyValue, 0, len(m.GetLabel()))
	for _, l := range m.GetLabel() {
		out = append(out, attribute(l.GetName(), l.GetValue()))
	}
	return out
}

func attribute(key, value string) *commonpb.KeyValue {
	return &commonpb.KeyValue{Key: key, Value: &commonpb.AnyValue{Value: &commonpb.AnyValue_StringValue{StringValue: value}}}
}

// unitOf reads the unit that Prometheus has in names, as UCUM writes it.
func unitOf(name string) string {
	name = strings.TrimSuffix(name, "_total")
	switch {
	case strings.HasSuffix(name, "_seconds"):
		return "s"
	case strings.HasSuffix(name, "_bytes"):
		return "By"
	}
	return ""
}

// resource is who speaks: what the environment says goes before what the exporter knows.
func resource(known, given map[string]string) *resourcepb.Resource {
	all := maps.Clone(known)
	maps.Copy(all, given)
	r := &resourcepb.Resource{}
	for key, value := range all {
		if value != "" {
			r.Attributes = append(r.Attributes, attribute(key, value))
		}
	}
	slices.SortFunc(r.Attributes, func(a, b *commonpb.KeyValue) int { return cmp.Compare(a.GetKey(), b.GetKey()) })
	return r
}
