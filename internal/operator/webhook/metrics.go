// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package webhook

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Outcome is what a review came to.
type Outcome string

// The outcomes.
const (
	PodIdentity Outcome = "pod-identity" // has an association
	WebIdentity Outcome = "web-identity" // has IRSA's annotation
	None        Outcome = "none"         // has neither
	Skipped     Outcome = "skipped"      // says by its label that it wants none
	Ignored     Outcome = "ignored"      // is no creation of a pod
	Malformed   Outcome = "malformed"    // could not be read
	Failed      Outcome = "failed"       // could not be answered as it should
)

// Metrics are what is counted of reviews.
type Metrics struct {
	reviews map[Outcome]prometheus.Counter
	seconds prometheus.Histogram
	stale   prometheus.Counter
}

// NewMetrics registers the metrics of the webhook.
func NewMetrics(r prometheus.Registerer) (*Metrics, error) {
	reviews := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "podid_webhook_reviews_total", Help: "Admission reviews by what they came to.",
	}, []string{"outcome"})
	m := &Metrics{
		reviews: map[Outcome]prometheus.Counter{},
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "podid_webhook_review_seconds", Help: "Time of an admission review.",
			Buckets: []float64{0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5},
		}),
		stale: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "podid_webhook_stale_reviews_total", Help: "Reviews that were answered without knowing all associations that were acknowledged before them.",
		}),
	}
	for _, o := range []Outcome{PodIdentity, WebIdentity, None, Skipped, Ignored, Malformed, Failed} {
		m.reviews[o] = reviews.WithLabelValues(string(o))
	}
	for _, c := range []prometheus.Collector{reviews, m.seconds, m.stale} {
		if err := r.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (m *Metrics) reviewed(o Outcome, took time.Duration) {
	m.reviews[o].Inc()
	m.seconds.Observe(took.Seconds())
}
