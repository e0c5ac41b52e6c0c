// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package feed

import "github.com/prometheus/client_golang/prometheus"

// Metrics are what is counted of the feed.
type Metrics struct {
	hits, caughtUp, absent, stale prometheus.Counter
	catchUp                       prometheus.Histogram
	catchUpFailures, failures     prometheus.Counter
	revision, associations        prometheus.Gauge
	success                       prometheus.Gauge
}

// NewMetrics registers the metrics of the feed.
func NewMetrics(r prometheus.Registerer) (*Metrics, error) {
	const prefix = "podid_operator_feed_"
	lookups := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: prefix + "lookups_total",
		Help: "Lookups of a service account: hit was known at once; of the misses caught_up was known, and absent was known not to be, once the control plane was asked; stale could not ask.",
	}, []string{"result"})
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: prefix + name, Help: help})
	}
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Name: prefix + name, Help: help})
	}
	m := &Metrics{
		hits: lookups.WithLabelValues("hit"), caughtUp: lookups.WithLabelValues("caught_up"),
		absent: lookups.WithLabelValues("absent"), stale: lookups.WithLabelValues("stale"),
		catchUp: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: prefix + "catch_up_seconds", Help: "Time of a request by which reviews that miss an association catch up with the control plane; several share one.",
			Buckets: []float64{0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1, 2},
		}),
		catchUpFailures: counter("catch_up_failures_total", "Such requests that failed."),
		failures:        counter("poll_failures_total", "Polls of the control plane that failed."),
		revision:        gauge("revision", "Revision of the control plane's store up to which associations are known."),
		associations:    gauge("associations", "Associations that are known."),
		success:         gauge("last_success_timestamp_seconds", "When the control plane last answered; 0 for never."),
	}
	for _, c := range []prometheus.Collector{lookups, m.catchUp, m.catchUpFailures, m.failures, m.revision, m.associations, m.success} {
		if err := r.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}
