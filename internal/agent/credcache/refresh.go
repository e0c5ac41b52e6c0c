// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package credcache

import (
	"context"
	"errors"
	"io"
	"time"

	"golang.org/x/time/rate"
)

const (
	// renewalShare is the part of the life after which credentials are renewed, where Retention does not come first:
	// chained sessions live an hour, and must not be handed out down to their last seconds.
	renewalShare = 0.8
	// jitterShare spreads the renewals of pods that started together, towards the earlier.
	jitterShare = 0.1
	// Failed renewals are tried again after retryMin, doubling up to retryMax, plus up to half of that as jitter.
	retryMin = 15 * time.Second
	retryMax = time.Minute
	// maxRenewals bounds the renewals under way together, so that a hanging upstream is not piled upon.
	maxRenewals = 32
)

// refreshLoop renews what is due, at the configured rate, until ctx ends.
func (c *Cache) refreshLoop(ctx context.Context) {
	if !c.enabled {
		<-ctx.Done()
		return
	}
	limiter := rate.NewLimiter(rate.Limit(c.cfg.RefreshQPS), c.cfg.RefreshQPS)
	slots := make(chan struct{}, maxRenewals)
	for {
		token, ok := c.nextDue(ctx)
		if !ok || limiter.Wait(ctx) != nil {
			return
		}
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			return
		}
		f, err := c.renew(token)
		if err != nil {
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

// nextDue waits for an entry whose renewal is due, takes it from the schedule (its flight plans it anew) and returns its
// token. Entries whose time is over are dropped on the way. It is false when ctx has ended.
func (c *Cache) nextDue(ctx context.Context) (Token, bool) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for ctx.Err() == nil {
		token, ok, wait := c.takeDue()
		if ok {
			return token, true
		}
		timer.Reset(wait)
		select {
		case <-timer.C:
		case <-c.wake:
		case <-ctx.Done():
		}
	}
	return Token{}, false
}

// takeDue returns the first due entry's token, or how long there is none.
func (c *Cache) takeDue() (Token, bool, time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.cfg.Now()
	for len(c.due) > 0 {
		e := c.due[0]
		if wait := e.at.Sub(now); wait > 0 {
			return Token{}, false, wait
		}
		if e.over(now) {
			c.drop(e)
			continue
		}
		// Until its flight has landed the entry stands in the schedule at its end, so that it can never be forgotten.
		c.plan(e, e.end())
		if _, flying := c.flights[e.token.Raw]; !flying {
			return e.token, true, 0
		}
	}
	return Token{}, false, time.Hour
}

// renew starts the upstream call for an entry although it can still be served.
func (c *Cache) renew(token Token) (*flight, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.entries[token.Raw]; !ok {
		return nil, errors.New("entry is gone")
	}
	if f, ok := c.flights[token.Raw]; ok {
		return f, nil
	}
	f := &flight{done: make(chan struct{})}
	c.flights[token.Raw] = f
	c.calls.Go(func() { c.fly(f, token) })
	return f, nil
}

// renewalAge is the age at which credentials with that life are renewed: always before they stop being served.
func (c *Cache) renewalAge(life time.Duration) time.Duration {
	age := min(time.Duration(float64(life-MinRemaining)*renewalShare), c.cfg.Retention)
	return age - time.Duration(c.chance()*jitterShare*float64(age))
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
