// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Metrics are what is counted of the objects.
type Metrics struct {
	associations *prometheus.GaugeVec
	changes      *prometheus.CounterVec

	mu   sync.Mutex
	last map[types.NamespacedName]state
}

type state struct {
	ready  metav1.ConditionStatus
	reason string
}

// NewMetrics registers the metrics of the controller.
func NewMetrics(r prometheus.Registerer) (*Metrics, error) {
	m := &Metrics{
		associations: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "podid_operator_associations", Help: "PodIdentityAssociation objects by their condition Ready and its reason; only the leader counts them.",
		}, []string{"ready", "reason"}),
		changes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "podid_operator_association_changes_total", Help: "Associations that the operator has created, adopted, updated, deleted, withdrawn or released.",
		}, []string{"change"}),
		last: map[types.NamespacedName]state{},
	}
	for _, c := range []prometheus.Collector{m.associations, m.changes} {
		if err := r.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// observe counts an object by its state; the zero state takes it out.
func (m *Metrics) observe(key types.NamespacedName, now state) {
	m.mu.Lock()
	defer m.mu.Unlock()
	was, ok := m.last[key]
	if was == now {
		return
	}
	if ok {
		m.associations.WithLabelValues(string(was.ready), was.reason).Dec()
	}
	if now == (state{}) {
		delete(m.last, key)
		return
	}
	m.last[key] = now
	m.associations.WithLabelValues(string(now.ready), now.reason).Inc()
}
