// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"podid/internal/agent/credcache"
	"podid/internal/agent/eksauthclient"
	"podid/internal/agent/podtoken"
)

// metrics are the three of AWS' agent, with what their names say, and our own.
type metrics struct {
	responses *prometheus.CounterVec
	served    prometheus.Counter // responses with code 200, resolved once for the hot path
	states    *prometheus.CounterVec
	hit       prometheus.Counter
	miss      prometheus.Counter
	evicted   prometheus.Counter
	errors    *prometheus.CounterVec

	refreshes *prometheus.CounterVec
	tokens    *prometheus.CounterVec
	genuine   prometheus.Counter
	down      atomic.Bool // EKS Auth gave no answer, or a failure of its own, the last time
	attempts  *prometheus.HistogramVec
	unheard   *prometheus.CounterVec
	addresses prometheus.Gauge
	answering *prometheus.GaugeVec
	following *prometheus.GaugeVec
	build     *prometheus.GaugeVec
}

func newMetrics(version string) *metrics {
	m := &metrics{
		responses: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "pod_identity_http_response",
			Help: "Answers to pods by HTTP status, those of the request limit included; 499 is a pod that did not wait.",
		}, []string{"code"}),
		states: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "pod_identity_cache_state",
			Help: "Requests answered from the cache (hit), requests that were not (miss), and entries that left to make room (evicted).",
		}, []string{"state"}),
		errors: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "pod_identity_cache_errors",
			Help: "Background renewals that failed: NonRecoverable drops the credentials, Recoverable keeps them and tries again.",
		}, []string{"type", "code"}),
		refreshes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "podid_agent_refreshes_total",
			Help: "Background renewals by outcome (ok, error).",
		}, []string{"outcome"}),
		tokens: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "podid_agent_tokens_total",
			Help: "Tokens that were verified on the node, by outcome: ok, the reason of the refusal, or no-keys.",
		}, []string{"outcome"}),
		attempts: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "podid_agent_upstream_seconds",
			Help:    "Time of one try of a call to EKS Auth by HTTP status; 0 is a try without an answer.",
			Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5},
		}, []string{"code"}),
		unheard: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "podid_agent_closed_connections_total",
			Help: "Connections closed before a request was heard out: too many are open (all), too many of one address (source), or the address sent too many long requests (long-requests).",
		}, []string{"reason"}),
		addresses: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "podid_agent_bound_addresses",
			Help: "Addresses that serve credentials.",
		}),
		answering: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "podid_agent_address_answering",
			Help: "1 when this agent answers on its address, 0 when nobody does, or something else such as a port mapping of the node.",
		}, []string{"address"}),
		following: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "podid_agent_following",
			Help: "1 while the agent is told of changes: of the node's pods, of the cluster's associations; absent where that is off.",
		}, []string{"what"}),
		build: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "podid_agent_build_info",
			Help: "Always 1; the label is the version.",
		}, []string{"version"}),
	}
	m.served = m.responses.WithLabelValues("200")
	m.hit = m.states.WithLabelValues("hit")
	m.miss = m.states.WithLabelValues("miss")
	m.evicted = m.states.WithLabelValues("evicted")
	m.genuine = m.tokens.WithLabelValues("ok")
	m.build.WithLabelValues(version).Set(1)
	return m
}

func (m *metrics) register(r prometheus.Registerer, stats func() credcache.Stats) error {
	up := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "podid_agent_upstream_up",
		Help: "0 when EKS Auth gave no answer, or an error of its own, to the last try; else 1.",
	}, func() float64 {
		if m.upstreamDown() {
			return 0
		}
		return 1
	})
	for _, c := range []prometheus.Collector{
		m.responses, m.states, m.errors, m.refreshes, m.tokens, m.attempts, m.unheard, m.addresses, m.answering, m.following, m.build, up, newCacheCollector(stats),
	} {
		if err := r.Register(c); err != nil {
			return fmt.Errorf("register metrics: %w", err)
		}
	}
	return nil
}

// closed counts a connection that was closed before a request was heard out.
func (m *metrics) closed(reason string) { m.unheard.WithLabelValues(reason).Inc() }

// upstreamDown tells whether the last try at EKS Auth brought no answer, or an error of its own.
func (m *metrics) upstreamDown() bool { return m.down.Load() }

// follows returns what shows in the metrics whether that is followed.
func (m *metrics) follows(what string) func(bool) {
	gauge := m.following.WithLabelValues(what)
	return func(on bool) {
		if on {
			gauge.Set(1)
		} else {
			gauge.Set(0)
		}
	}
}

// verified counts a judgement of podtoken.
func (m *metrics) verified(err error) {
	var refused *podtoken.Refusal
	switch {
	case err == nil:
		m.genuine.Inc()
	case errors.As(err, &refused):
		m.tokens.WithLabelValues(refused.Reason).Inc()
	default:
		m.tokens.WithLabelValues("no-keys").Inc()
	}
}

func (m *metrics) response(status int) {
	m.responses.WithLabelValues(strconv.Itoa(status)).Inc()
}

func (m *metrics) upstream(status int, took time.Duration) {
	m.down.Store(status == 0 || status >= 500)
	code := "0"
	if http.StatusText(status) != "" { // bounds the label's values, whatever the upstream invents
		code = strconv.Itoa(status)
	}
	m.attempts.WithLabelValues(code).Observe(took.Seconds())
}

// Hit implements credcache.Observer.
func (m *metrics) Hit() { m.hit.Inc() }

// Miss implements credcache.Observer.
func (m *metrics) Miss() { m.miss.Inc() }

// Evicted implements credcache.Observer.
func (m *metrics) Evicted() { m.evicted.Inc() }

// Refreshed implements credcache.Observer.
func (m *metrics) Refreshed(err error) {
	if err == nil {
		m.refreshes.WithLabelValues("ok").Inc()
		return
	}
	m.refreshes.WithLabelValues("error").Inc()
	kind := "Recoverable"
	if eksauthclient.IsFinal(err) {
		kind = "NonRecoverable"
	}
	m.errors.WithLabelValues(kind, errorCode(err)).Inc()
}

// errorCode is a label of few values: the codes of EKS Auth's model, or a word of ours.
func errorCode(err error) string {
	var api *eksauthclient.APIError
	var lost *eksauthclient.UnreachableError
	switch {
	case errors.As(err, &api):
		switch api.Code {
		case "AccessDeniedException", "ExpiredTokenException", "InternalServerException", "InvalidParameterException",
			"InvalidRequestException", "InvalidTokenException", "ResourceNotFoundException", "ServiceUnavailableException",
			"ThrottlingException":
			return api.Code
		}
		return "Other"
	case errors.As(err, &lost):
		return "Unreachable"
	}
	return "Internal"
}
