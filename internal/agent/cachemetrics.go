// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"github.com/prometheus/client_golang/prometheus"

	"podid/internal/agent/credcache"
)

// cacheCollector shows the cache's figures, all of one moment.
type cacheCollector struct {
	stats  func() credcache.Stats
	gauges []cacheGauge
}

type cacheGauge struct {
	desc  *prometheus.Desc
	value func(credcache.Stats) float64
}

func newCacheCollector(stats func() credcache.Stats) *cacheCollector {
	c := &cacheCollector{stats: stats}
	add := func(name, help string, value func(credcache.Stats) float64) {
		c.gauges = append(c.gauges, cacheGauge{prometheus.NewDesc("podid_agent_"+name, help, nil, nil), value})
	}
	add("cache_entries", "Pods whose credentials are cached.", func(s credcache.Stats) float64 { return float64(s.Entries) })
	add("cache_refusals", "Pods, or tokens, whose refusal is remembered.", func(s credcache.Stats) float64 { return float64(s.Refusals) })
	add("cache_bytes", "Size of cached answers and of the tokens they belong to.", func(s credcache.Stats) float64 { return float64(s.Bytes) })
	add("waiting_requests", "Requests that wait for EKS Auth.", func(s credcache.Stats) float64 { return float64(s.Waiting) })
	add("upstream_calls", "Calls to EKS Auth under way.", func(s credcache.Stats) float64 { return float64(s.Fetches) })
	add("renewal_backlog", "Renewals that are due and have not begun.", func(s credcache.Stats) float64 { return float64(s.Backlog) })
	add("credentials_soonest_expiry_seconds", "Least life that cached credentials have left; 0 when there are none.",
		func(s credcache.Stats) float64 { return s.Soonest.Seconds() })
	add("credentials_oldest_age_seconds", "Greatest age of cached credentials; 0 when there are none.",
		func(s credcache.Stats) float64 { return s.Oldest.Seconds() })
	return c
}

// Describe implements prometheus.Collector.
func (c *cacheCollector) Describe(to chan<- *prometheus.Desc) {
	for _, g := range c.gauges {
		to <- g.desc
	}
}

// Collect implements prometheus.Collector.
func (c *cacheCollector) Collect(to chan<- prometheus.Metric) {
	s := c.stats()
	for _, g := range c.gauges {
		to <- prometheus.MustNewConstMetric(g.desc, prometheus.GaugeValue, g.value(s))
	}
}
