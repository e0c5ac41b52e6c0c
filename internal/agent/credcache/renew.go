// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package credcache

import (
	"context"
	"io"
	"time"

	"golang.org/x/time/rate"
)

const (
	// renewalShare is the part of their life after which credentials are renewed: the other half is what an outage may
	// last without a pod noticing.
	renewalShare = 0.5
	// latestShare bounds RenewFloor, so that very short credentials are renewed in time as well.
	latestShare = 0.8
	// jitterShare spreads the renewals of pods that started together.
	jitterShare = 0.1
	// Failed renewals are tried again after retryMin, doubling up to retryMax, plus up to half of that as jitter.
	retryMin = 15 * time.Second
	retryMax = time.Minute
	// maxRenewals bounds the renewals under way together, so that a hanging upstream is not piled upon.
	maxRenewals = 32
)

// renewLoop renews what is due, the most urgent first, at the configured rate, until ctx ends.
func (c *Cache) renewLoop(ctx context.Context) {
	if !c.enabled {
		<-ctx.Done()
		return
	}
	limiter := rate.NewLimiter(rate.Limit(c.cfg.RefreshQPS), c.cfg.RefreshQPS)
	slots := make(chan struct{}, maxRenewals)
	for {
		if !c.awaitDue(ctx) || limiter.Wait(ctx) != nil {
			return
		}
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			return
		}
		// What is the most urgent is decided now, not when the wait began.
		f := c.renewNext()
		if f == nil {
			<-slots
			continue
		}
		c.calls.Go(func() {
			<-f.done
			<-slots
			c.cfg.Observer.Refreshed(f.err)
		})
	}
}

// awaitDue waits until a renewal is due; false when ctx has ended. Entries whose time is over are dropped on the way.
func (c *Cache) awaitDue(ctx context.Context) bool {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for ctx.Err() == nil {
		ready, wait := c.collect()
		if ready {
			return true
		}
		timer.Reset(wait)
		select {
		case <-timer.C:
		case <-c.wake:
		case <-ctx.Done():
		}
	}
	return false
}

// collect moves what is due to the queue of the urgent, and says whether there is any, or for how long there is not.
func (c *Cache) collect() (bool, time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.cfg.Now()
	wait := time.Hour
	for e := c.due.head(); e != nil; e = c.due.head() {
		if until := e.at.Sub(now); until > 0 {
			wait = until
			break
		}
		switch {
		case !now.Before(e.end()):
			c.drop(e)
		case !e.granted() || !e.token.within(now):
			// The pod has ended, or does not show its new token: renewals stop, and what it has is kept to its end.
			e.at = e.end()
			c.due.put(e)
		default:
			c.ready.put(e)
		}
	}
	return c.ready.Len() > 0 && !c.resting, wait
}

// renewNext starts the most urgent renewal; nil when there is none after all.
func (c *Cache) renewNext() *flight {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.cfg.Now()
	for e := c.ready.head(); e != nil; e = c.ready.head() {
		if !now.Before(e.end()) {
			c.drop(e)
			continue
		}
		// Until its flight has landed the entry stands in the schedule at its end, so that it can never be forgotten.
		e.at = e.end()
		c.due.put(e)
		if _, flying := c.flights[e.key]; !flying && e.token.within(now) {
			return c.depart(e.key, e.token)
		}
	}
	return nil
}

// plan sets when the entry's renewal is due. It is looked at then, or at its end if that is sooner. Callers hold mu.
func (c *Cache) plan(e *entry, at time.Time) {
	e.renewAt, e.at = at, at
	if end := e.end(); at.After(end) {
		e.at = end
	}
	c.due.put(e)
	if c.due.head() == e {
		select {
		case c.wake <- struct{}{}:
		default:
		}
	}
}

// renewalAge is the age at which credentials with that life are renewed: always before they end.
func (c *Cache) renewalAge(life time.Duration) time.Duration {
	share := func(s float64) time.Duration { return time.Duration(s * float64(life)) }
	age := min(max(share(renewalShare), c.cfg.RenewFloor), share(latestShare), c.cfg.Retention)
	return age + time.Duration(c.chance()*jitterShare*float64(age))
}

// retryAfter is the pause before the next renewal after a failed one; at least three tries fit into what is left.
func (c *Cache) retryAfter(e *entry, now time.Time) time.Duration {
	pause := min(retryMin<<min(e.failures-1, 4), retryMax)
	pause += time.Duration(c.chance() * float64(pause) / 2)
	return max(min(pause, e.end().Sub(now)/3), time.Second)
}

// chance draws from [0, 1); without randomness there is no jitter, which is no reason to stop renewing.
func (c *Cache) chance() float64 {
	var b [2]byte
	if _, err := io.ReadFull(c.cfg.Rand, b[:]); err != nil {
		return 0
	}
	return float64(uint16(b[0])<<8|uint16(b[1])) / (1 << 16)
}
