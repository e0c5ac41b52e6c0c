// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package credcache

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"podid/internal/agent/eksauthclient"
	"podid/internal/resident"
)

// flight is one upstream call that any number of requests wait for. answer and err are written before done is closed.
type flight struct {
	key    key
	token  Token
	done   chan struct{}
	gone   bool // the pod has ended since: nothing is kept; guarded by Cache.mu
	stale  bool // what it asks for has changed since: it is asked again; guarded by Cache.mu
	answer Answer
	err    error
}

// join returns the call under way for the key, or starts one. Callers hold mu.
func (c *Cache) join(k key, token Token) (*flight, error) {
	if f, ok := c.flights[k]; ok {
		return f, nil
	}
	if c.stopped {
		return nil, ErrStopped
	}
	if len(c.flights) >= MaxFetches {
		return nil, ErrBusy
	}
	return c.depart(k, token), nil
}

// depart starts a call. Callers hold mu.
func (c *Cache) depart(k key, token Token) *flight {
	f := &flight{key: k, token: token, done: make(chan struct{})}
	c.flights[k] = f
	c.fetched++
	c.calls.Go(func() { c.fly(f) })
	return f
}

// fly makes the upstream call and settles its outcome for cache and waiters in one step.
func (c *Cache) fly(f *flight) {
	resident.GrowStack(len(f.token.Raw))
	ctx, cancel := context.WithTimeout(c.life, c.cfg.FetchTimeout)
	defer cancel()
	session, answer, err := c.fetch(ctx, f.token)
	c.logOutcome(f.token, err)

	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case !c.enabled, f.gone, c.life.Err() != nil: // nothing is kept
	case err == nil:
		c.accept(f, session, answer)
	default:
		c.reject(f, err)
	}
	f.answer, f.err = answer, err
	delete(c.flights, f.key)
	close(f.done)
}

func (c *Cache) fetch(ctx context.Context, token Token) (*eksauthclient.Session, Answer, error) {
	session, err := c.cfg.Exchanger.AssumeRoleForPodIdentity(ctx, token.Raw)
	if err != nil {
		return nil, Answer{}, err
	}
	if session.Expiration.Sub(c.cfg.Now()) <= MinRemaining {
		return nil, Answer{}, ErrTooShort
	}
	return session, render(session), nil
}

// accept stores fresh credentials. EKS Auth has accepted the token, so what it claims is true.
func (c *Cache) accept(f *flight, s *eksauthclient.Session, answer Answer) {
	now := c.cfg.Now()
	k := f.key
	if k.pod.UID == "" {
		k = keyOf(&f.token, true)
		if old := c.entries[f.key]; old != nil && k != f.key {
			c.drop(old)
		}
	}
	e := c.entries[k]
	if e == nil {
		e = c.add(k)
		e.bucket = bucket{spent: 1, at: now} // the request that made it
	}
	e.answer, e.fetched, e.expires, e.association = answer, now, s.Expiration, s.AssociationID
	e.refusal, e.failures, e.urgent = nil, 0, f.stale
	c.remember(e, f.token)
	c.count(e)
	if f.stale {
		c.plan(e, now)
	} else {
		c.plan(e, now.Add(c.renewalAge(s.Expiration.Sub(now))))
	}
	c.makeRoom(now)
}

// reject remembers why there are no credentials, or no newer ones. Only a denial takes those away that are there.
func (c *Cache) reject(f *flight, err error) {
	now := c.cfg.Now()
	e := c.entries[f.key]
	if e == nil {
		e = c.add(f.key)
		e.bucket = bucket{spent: 1, at: now}
	}
	ttl := c.cfg.FailureTTL
	if denies(err, false) {
		ttl = c.cfg.DenialTTL
	}
	if denies(err, e.proven) {
		e.revoke()
	}
	if f.stale {
		ttl = 0
	}
	e.refusal, e.refusedUntil = err, now.Add(ttl)
	e.failures++
	e.urgent = false
	c.remember(e, f.token)
	c.count(e)
	if e.granted() {
		c.plan(e, now.Add(c.retryAfter(e, now)))
	} else {
		c.plan(e, e.refusedUntil)
	}
	c.makeRoom(now)
}

// learn notes a proven token of the pod; when the renewal waited for a token, it is due now. Callers hold mu.
func (c *Cache) learn(e *entry, token Token) {
	if c.remember(e, token) && e.granted() {
		c.plan(e, e.renewAt)
	}
}

// take counts a request of the pod. Callers hold mu.
func (c *Cache) take(e *entry, now time.Time) error {
	if c.cfg.PodRate == 0 {
		return nil
	}
	if wait, ok := e.bucket.take(now, float64(c.cfg.PodRate), float64(c.cfg.PodBurst)); !ok {
		return &LimitError{RetryAfter: wait}
	}
	return nil
}

func (c *Cache) makeRoom(now time.Time) {
	for {
		e := c.victim(c.cfg.MaxEntries, c.cfg.MaxBytes, now)
		if e == nil {
			return
		}
		if e.granted() {
			c.cfg.Observer.Evicted()
		}
		c.drop(e)
	}
}

// drop removes the entry. Callers hold mu.
func (c *Cache) drop(e *entry) {
	c.remove(e)
	e.turn.leave()
}

// logOutcome writes one line per upstream call; hits write none. The cause of an unreachable upstream names the
// endpoint, which belongs here and not in the pod's answer.
func (c *Cache) logOutcome(token Token, err error) {
	if err == nil {
		if c.cfg.Log.Enabled(c.life, slog.LevelDebug) {
			c.cfg.Log.Debug("fetched credentials", podAttrs(token.Pod)...)
		}
		return
	}
	pod := podAttrs(token.Pod)
	if cause := errors.Unwrap(err); cause != nil {
		pod = append(pod, slog.String("cause", cause.Error()))
	}
	c.cfg.Log.Warn("fetch credentials", append(pod, slog.String("err", err.Error()))...)
}

func podAttrs(p Pod) []any {
	return []any{slog.String("namespace", p.Namespace), slog.String("service_account", p.ServiceAccount), slog.String("pod_uid", p.UID)}
}
