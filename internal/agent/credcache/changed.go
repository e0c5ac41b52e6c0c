// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package credcache

import "time"

// Changed renews what is kept of the service account's pods at once, before all other renewals and at their rate: its
// association has changed or is gone. EKS Auth decides what comes of that; while it cannot be asked nothing changes.
// Refusals are forgotten.
func (c *Cache) Changed(namespace, serviceAccount string) {
	c.renewWhere(true, func(p Pod) bool { return p.Namespace == namespace && p.ServiceAccount == serviceAccount })
}

// ChangedAll renews everything, in the order in which it ends: nobody knows what has changed.
func (c *Cache) ChangedAll() { c.renewWhere(false, func(Pod) bool { return true }) }

func (c *Cache) renewWhere(urgent bool, which func(Pod) bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.cfg.Now()
	for _, f := range c.flights {
		f.stale = f.stale || which(f.token.Pod)
	}
	for _, e := range c.entries {
		switch {
		case !which(e.token.Pod):
		case e.granted():
			e.urgent = urgent
			c.plan(e, now)
		default:
			c.forgive(e, now)
		}
	}
}

// forgive lets the refused pod's next request go upstream. Callers hold mu.
func (c *Cache) forgive(e *entry, now time.Time) {
	e.refusedUntil = now
	c.plan(e, now)
}
