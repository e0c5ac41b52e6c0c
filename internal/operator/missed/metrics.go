// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package missed

import "github.com/prometheus/client_golang/prometheus"

// Metrics are what is counted of missed pods.
type Metrics struct {
	pods     prometheus.Gauge
	told     prometheus.Counter
	restarts *prometheus.CounterVec
}

// NewMetrics registers the metrics of missed pods.
func NewMetrics(r prometheus.Registerer) (*Metrics, error) {
	m := &Metrics{
		pods: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "podid_operator_missed_pods", Help: "Pods that were not injected though their service account has an association; only the leader counts them.",
		}),
		told: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "podid_operator_missed_pod_events_total", Help: "Events about pods that were not injected.",
		}),
		restarts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "podid_operator_missed_pod_restarts_total", Help: "Restarts of what owns pods that were not injected, by what came of it.",
		}, []string{"result"}),
	}
	for _, c := range []prometheus.Collector{m.pods, m.told, m.restarts} {
		if err := r.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}
