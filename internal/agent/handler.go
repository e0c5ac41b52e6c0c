// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"

	"podid/internal/agent/credcache"
	"podid/internal/agent/eksauthclient"
	"podid/internal/agent/podtoken"
)

// CredentialsPath is the one path that serves credentials; it is what the webhook writes into
// AWS_CONTAINER_CREDENTIALS_FULL_URI.
const CredentialsPath = "/v1/credentials"

// Verifier judges tokens; podtoken.Verifier is one. Its refusals are *podtoken.Refusal or podtoken.ErrNoKeys.
type Verifier interface {
	Verify(ctx context.Context, raw string) (podtoken.Claims, error)
}

// credentialsHandler answers pods. One handler, with one cache, serves all addresses.
type credentialsHandler struct {
	hosts    map[string]bool // literals of the Host header, without port and brackets
	cache    *credcache.Cache
	verifier Verifier // nil: EKS Auth judges
	offences *offences
	metrics  *metrics
	log      *slog.Logger
	now      func() time.Time
	json     []string // shared value of Content-Type
	goodbye  []string // shared value of Connection
	witness  *witness
	// leaving: this process stops or another one takes over, and every answer ends its connection.
	leaving atomic.Bool
}

func newCredentialsHandler(cfg *Config, cache *credcache.Cache, verifier Verifier, m *metrics) *credentialsHandler {
	h := &credentialsHandler{
		hosts:    map[string]bool{DefaultIPv4Host: true, DefaultIPv6Host: true},
		cache:    cache,
		verifier: verifier,
		metrics:  m,
		log:      cfg.Log,
		now:      cfg.Now,
		json:     []string{"application/json"},
		goodbye:  []string{"close"},
	}
	if cfg.RequestRate > 0 {
		h.offences = newOffences(badTokenRate, badTokenBurst)
	}
	for _, address := range cfg.BindAddresses {
		if host, _, err := net.SplitHostPort(address); err == nil {
			h.hosts[canonicalHost(host)] = true
		}
	}
	return h
}

// ServeHTTP implements http.Handler. The path is compared literally: no redirect, no cleaning, any method.
func (h *credentialsHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if h.leaving.Load() {
		w.Header()["Connection"] = h.goodbye
	}
	if r.URL.Path != CredentialsPath {
		h.witness.answer(w.Header(), r.URL.Path)
		http.NotFound(w, r)
		return
	}
	if !h.knownHost(r.Host) {
		h.refuse(w, r, wrongAddress())
		return
	}
	raw := bearer(r.Header)
	if raw == "" {
		h.refuse(w, r, emptyToken())
		return
	}
	now := h.now()
	answer, found, err := h.cache.Lookup(eksauthclient.Secret(raw), now)
	switch {
	case err != nil:
		h.refuse(w, r, problemOf(err))
	case found:
		h.write(w, answer)
	default:
		h.exchange(w, r, raw, now)
	}
}

// exchange serves a token that the cache does not know.
func (h *credentialsHandler) exchange(w http.ResponseWriter, r *http.Request, raw string, now time.Time) {
	source := sourceAddr(r.RemoteAddr)
	if wait, ok := h.offences.mayTry(source, now); !ok {
		h.refuse(w, r, problemOf(&credcache.LimitError{RetryAfter: wait}))
		return
	}
	token, err := h.read(r.Context(), raw, now)
	if err == nil {
		var answer credcache.Answer
		if answer, err = h.cache.Get(r.Context(), token); err == nil {
			h.write(w, answer)
			return
		}
	}
	p := problemOf(err)
	if p.ofToken {
		h.offences.add(source, now)
	}
	h.refuse(w, r, p)
}

// read takes the claims out of a token, and verifies it where there are keys.
func (h *credentialsHandler) read(ctx context.Context, raw string, now time.Time) (token credcache.Token, err error) {
	if h.verifier == nil {
		if token, err = peek(raw); err != nil {
			return credcache.Token{}, &formError{err}
		}
		return token, checkTime(token, now)
	}
	claims, err := h.verifier.Verify(ctx, raw)
	h.metrics.verified(err)
	if err != nil {
		return credcache.Token{}, err
	}
	token = credcache.Token{
		Raw: eksauthclient.Secret(raw), Proven: true, NotBefore: claims.NotBefore, Expiry: claims.Expires,
		Pod: credcache.Pod{Namespace: claims.Namespace, ServiceAccount: claims.ServiceAccount, UID: claims.PodUID},
	}
	return token, checkTime(token, now) // without the leeway that verification has
}

// write sends credentials that were rendered when they arrived.
func (h *credentialsHandler) write(w http.ResponseWriter, answer credcache.Answer) {
	header := w.Header()
	header["Content-Type"] = h.json
	header["Content-Length"] = answer.ContentLength
	h.metrics.served.Inc()
	// A pod that hung up is no error of ours, and there is nobody left to tell.
	_, _ = w.Write(answer.Body)
}

// bearer returns the token of the first Authorization header: bare, as the SDKs send it, or after "Bearer ".
func bearer(header http.Header) string {
	values := header["Authorization"]
	if len(values) == 0 {
		return ""
	}
	raw := values[0]
	const scheme = "Bearer "
	if len(raw) >= len(scheme) && strings.EqualFold(raw[:len(scheme)], scheme) {
		raw = strings.TrimLeft(raw[len(scheme):], " ")
	}
	return raw
}

// knownHost is the guard against requests that reached the agent by another name (DNS rebinding, a proxy): the Host
// header must be one of the agent's own addresses. The port says nothing and is ignored.
func (h *credentialsHandler) knownHost(host string) bool {
	if h.hosts[host] { // the common case: port 80, IPv4
		return true
	}
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	} else if strings.HasPrefix(host, "[") && strings.HasSuffix(host, "]") {
		host = host[1 : len(host)-1]
	}
	return h.hosts[canonicalHost(host)]
}

// canonicalHost gives one spelling to every spelling of an address.
func canonicalHost(host string) string {
	if addr, err := netip.ParseAddr(host); err == nil {
		return addr.String()
	}
	return strings.ToLower(host)
}
