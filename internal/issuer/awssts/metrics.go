// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package awssts

import (
	"cmp"
	"maps"
	"slices"

	"github.com/prometheus/client_golang/prometheus"
)

const answered = "answered"

func openDesc() *prometheus.Desc {
	return prometheus.NewDesc("podid_issuer_circuit_open", "Whether the circuit breaker of an STS that credentials come from is open: 1 until a try is answered.", []string{"upstream"}, nil)
}

func callsDesc() *prometheus.Desc {
	return prometheus.NewDesc("podid_issuer_calls_total", "Calls to an STS that credentials come from, by what came of them: answered, or the reason of the refusal as in the audit log.", []string{"upstream", "result"}, nil)
}

// Describe implements prometheus.Collector.
func (i *Issuer) Describe(out chan<- *prometheus.Desc) {
	out <- openDesc()
	out <- callsDesc()
}

// Collect implements prometheus.Collector. Upstreams that only differ in what
// is no name (profile, limit, certificates) are one there, and open if any is.
func (i *Issuer) Collect(out chan<- prometheus.Metric) {
	i.mu.Lock()
	upstreams := slices.Collect(maps.Values(i.upstreams))
	i.mu.Unlock()
	open, calls := map[string]float64{}, map[[2]string]float64{}
	for _, u := range upstreams {
		open[u.name] = max(open[u.name], u.breaker.opened())
		u.mu.Lock()
		for result, n := range u.results {
			calls[[2]string{u.name, result}] += float64(n)
		}
		u.mu.Unlock()
	}
	circuit, total := openDesc(), callsDesc()
	for name, x := range open {
		out <- prometheus.MustNewConstMetric(circuit, prometheus.GaugeValue, x, name)
	}
	for k, n := range calls {
		out <- prometheus.MustNewConstMetric(total, prometheus.CounterValue, n, k[0], k[1])
	}
}

// opened is 1 until an upstream that was away has answered again.
func (b *breaker) opened() float64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.pause > 0 {
		return 1
	}
	return 0
}

// count notes what came of a call: the reason of its refusal, "" for none.
func (u *upstream) count(reason string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.results == nil {
		u.results = map[string]uint64{}
	}
	u.results[cmp.Or(reason, answered)]++
}
