// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package credcache

import (
	"encoding/json"
	"log/slog"
	"strconv"
	"time"

	"podid/internal/agent/eksauthclient"
)

// Record is what is kept of one pod, in the form in which another process takes it over. It holds credentials and tokens
// in the clear, and goes nowhere but there.
type Record struct {
	Namespace      string        `json:"namespace"`
	ServiceAccount string        `json:"serviceAccount"`
	UID            string        `json:"uid"`
	Body           string        `json:"body"` // the document that pods are answered
	Fetched        time.Time     `json:"fetched"`
	Expires        time.Time     `json:"expires"`
	RenewAt        time.Time     `json:"renewAt"`
	Association    string        `json:"association,omitempty"`
	Tokens         []TokenRecord `json:"tokens"`
}

// TokenRecord is a token that was proven to be the pod's: verified on this node, or accepted by EKS Auth.
type TokenRecord struct {
	Raw       string    `json:"raw"`
	Proven    bool      `json:"proven,omitempty"`
	NotBefore time.Time `json:"notBefore,omitzero"`
	Expiry    time.Time `json:"expiry,omitzero"`
}

// String hides the record.
func (Record) String() string { return "[secret]" }

// GoString hides the record from %#v.
func (Record) GoString() string { return "[secret]" }

// LogValue hides the record from slog.
func (Record) LogValue() slog.Value { return slog.StringValue("[secret]") }

// String hides the token.
func (TokenRecord) String() string { return "[secret]" }

// GoString hides the token from %#v.
func (TokenRecord) GoString() string { return "[secret]" }

// LogValue hides the token from slog.
func (TokenRecord) LogValue() slog.Value { return slog.StringValue("[secret]") }

// Records are the pods that have credentials. Refusals are not worth it.
func (c *Cache) Records() []Record {
	now := c.cfg.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	out := make([]Record, 0, c.live.Len())
	// The one asked for last comes last, so that it is so again where they are taken over.
	for p := c.live.Back(); p != nil; p = p.Prev() {
		e := p.Value.(*entry)
		if e.key.pod.UID == "" || !e.alive(now) {
			continue
		}
		r := Record{
			Namespace: e.key.pod.Namespace, ServiceAccount: e.key.pod.ServiceAccount, UID: e.key.pod.UID, Body: string(e.answer.Body),
			Fetched: e.fetched, Expires: e.expires, RenewAt: e.renewAt, Association: e.association,
		}
		// The youngest is not among the known ones while proofs are forgotten, and is then no proof either.
		for _, k := range e.known {
			r.Tokens = append(r.Tokens, TokenRecord{string(k.token.Raw), k.token.Proven, k.token.NotBefore, k.token.Expiry})
		}
		if len(r.Tokens) > 0 {
			out = append(out, r)
		}
	}
	return out
}

// Generation changes whenever Records would.
func (c *Cache) Generation() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.generation
}

// Adopt takes over what another process kept of a pod. It is false when that is of no use: too old, not whole, or older
// than what is there.
func (c *Cache) Adopt(r Record) bool {
	now := c.cfg.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	k := key{pod: Pod{r.Namespace, r.ServiceAccount, r.UID}}
	old := c.entries[k]
	switch {
	case !c.enabled, c.stopped, r.UID == "", len(r.Tokens) == 0, len(r.Tokens) > maxTokens, !json.Valid([]byte(r.Body)):
		return false
	case r.Expires.Sub(now) < lastSecond, old != nil && !old.expires.Before(r.Expires):
		return false
	}
	e := old
	if e == nil {
		e = c.add(k)
		e.bucket = bucket{at: now}
	}
	e.answer = Answer{Body: []byte(r.Body), ContentLength: []string{strconv.Itoa(len(r.Body))}}
	e.fetched, e.expires, e.association = r.Fetched, r.Expires, r.Association
	e.refusal, e.failures = nil, 0
	for _, t := range r.Tokens {
		c.remember(e, Token{Raw: eksauthclient.Secret(t.Raw), Pod: k.pod, Proven: t.Proven, NotBefore: t.NotBefore, Expiry: t.Expiry})
	}
	c.count(e)
	c.touch(e)
	c.plan(e, r.RenewAt)
	c.makeRoom(now)
	return c.entries[k] == e
}

// Rest stops renewals, or begins them again: they are another process' while that serves instead.
func (c *Cache) Rest(rest bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.resting = rest
	select {
	case c.wake <- struct{}{}:
	default:
	}
}
