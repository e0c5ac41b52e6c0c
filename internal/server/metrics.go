// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"errors"
	"maps"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// maxSeries bounds what callers can make the metrics remember; calls beyond
// count as operation "other".
const maxSeries = 4096

// Metrics counts calls. It is safe for concurrent use.
type Metrics struct {
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
	panics   prometheus.Counter
	evicted  prometheus.Counter
	refused  prometheus.Counter

	inFlight    atomic.Int64
	connections atomic.Int64

	mu     sync.Mutex                         // of those who add
	series atomic.Pointer[map[seriesKey]pair] // never changed, only replaced
}

type seriesKey struct{ service, operation, code string }

type pair struct {
	requests prometheus.Counter
	duration prometheus.Observer
}

func newMetrics(reg prometheus.Registerer) (*Metrics, error) {
	m := &Metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "podid_http_requests_total", Help: "Calls by service, operation and outcome: the exception's name, or the HTTP status where there is none.",
		}, []string{"service", "operation", "code"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "podid_http_request_duration_seconds", Help: "Time from the body read to the answer, by service and operation.",
			Buckets: []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
		}, []string{"service", "operation"}),
		panics:  prometheus.NewCounter(prometheus.CounterOpts{Name: "podid_http_panics_total", Help: "Handlers that panicked."}),
		evicted: prometheus.NewCounter(prometheus.CounterOpts{Name: "podid_http_connections_evicted_total", Help: "Idle connections that were closed at the limit to make room."}),
		refused: prometheus.NewCounter(prometheus.CounterOpts{Name: "podid_http_connections_refused_total", Help: "New connections that were closed at the limit because all others were busy."}),
	}
	m.series.Store(&map[seriesKey]pair{})
	gauge := func(name, help string, v *atomic.Int64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 { return float64(v.Load()) })
	}
	var errs []error
	for _, c := range []prometheus.Collector{
		m.requests, m.duration, m.panics, m.evicted, m.refused,
		gauge("podid_http_requests_in_flight", "Requests that are being served.", &m.inFlight),
		gauge("podid_http_connections", "Open connections of the API's listener.", &m.connections),
	} {
		errs = append(errs, reg.Register(c))
	}
	return m, errors.Join(errs...)
}

// Observe counts a call that was answered. The code is the exception's name;
// where it is empty the status stands for it.
func (m *Metrics) Observe(service, operation, code string, status int, took time.Duration) {
	if code == "" {
		code = statusCode(status)
	}
	key := seriesKey{service, operation, code}
	p, ok := (*m.series.Load())[key]
	if !ok {
		p = m.add(key)
	}
	p.requests.Inc()
	p.duration.Observe(took.Seconds())
}

func statusCode(status int) string {
	if status == 200 {
		return "200"
	}
	return strconv.Itoa(status)
}

// add makes a series known, so that the next call finds it without a lock.
func (m *Metrics) add(key seriesKey) pair {
	m.mu.Lock()
	defer m.mu.Unlock()
	old := *m.series.Load()
	if len(old) >= maxSeries {
		key.operation, key.code = "other", "other"
	}
	if p, ok := old[key]; ok {
		return p
	}
	p := pair{m.requests.WithLabelValues(key.service, key.operation, key.code), m.duration.WithLabelValues(key.service, key.operation)}
	if len(old) < maxSeries {
		grown := maps.Clone(old)
		grown[key] = p
		m.series.Store(&grown)
	}
	return p
}
