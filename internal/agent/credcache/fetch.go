// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package credcache

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"podid/internal/agent/eksauthclient"
)

// flight is one upstream call that any number of requests wait for. answer and err are written before done is closed.
type flight struct {
	done   chan struct{}
	answer Answer
	err    error
}

// join returns the call under way for the token, or starts one.
func (c *Cache) join(token Token) (*flight, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f, ok := c.flights[token.Raw]; ok {
		return f, nil
	}
	if c.stopped {
		return nil, ErrStopped
	}
	if e, ok := c.entries[token.Raw]; ok && e.servable(c.cfg.Now()) {
		// A call that ended between the look-up and here has already brought the answer.
		f := &flight{done: make(chan struct{}), answer: e.answer}
		close(f.done)
		return f, nil
	}
	if len(c.flights) >= MaxFetches {
		return nil, ErrBusy
	}
	f := &flight{done: make(chan struct{})}
	c.flights[token.Raw] = f
	c.calls.Go(func() { c.fly(f, token) })
	return f, nil
}

// fly makes the upstream call and settles its outcome for cache and waiters in one step.
func (c *Cache) fly(f *flight, token Token) {
	ctx, cancel := context.WithTimeout(c.life, c.cfg.FetchTimeout)
	defer cancel()
	answer, expires, err := c.fetch(ctx, token)
	c.logOutcome(token, err)

	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.cfg.Now()
	switch e, cached := c.entries[token.Raw]; {
	case err == nil && c.enabled:
		c.put(token, answer, expires, now)
	case err != nil && cached && eksauthclient.IsFinal(err):
		c.drop(e)
	case err != nil && cached:
		e.failures++
		c.plan(e, now.Add(c.retryAfter(e, now)))
	}
	f.answer, f.err = answer, err
	delete(c.flights, token.Raw)
	close(f.done)
}

func (c *Cache) fetch(ctx context.Context, token Token) (Answer, time.Time, error) {
	session, err := c.cfg.Exchanger.AssumeRoleForPodIdentity(ctx, token.Raw)
	if err != nil {
		return Answer{}, time.Time{}, err
	}
	if session.Expiration.Sub(c.cfg.Now()) <= MinRemaining {
		return Answer{}, time.Time{}, ErrTooShort
	}
	answer, err := render(session)
	return answer, session.Expiration, err
}

// logOutcome writes one line per upstream call; hits write none. The cause of an unreachable upstream names the
// endpoint, which belongs here and not in the pod's answer.
func (c *Cache) logOutcome(token Token, err error) {
	pod := []any{
		slog.String("namespace", token.Pod.Namespace), slog.String("service_account", token.Pod.ServiceAccount),
		slog.String("pod_uid", token.Pod.UID),
	}
	if err == nil {
		c.cfg.Log.Debug("fetched credentials", pod...)
		return
	}
	if cause := errors.Unwrap(err); cause != nil {
		pod = append(pod, slog.String("cause", cause.Error()))
	}
	c.cfg.Log.Warn("fetch credentials", append(pod, slog.String("err", err.Error()))...)
}
