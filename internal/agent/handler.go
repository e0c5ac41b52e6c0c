// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"golang.org/x/time/rate"

	"podid/internal/agent/credcache"
	"podid/internal/agent/eksauthclient"
)

// CredentialsPath is the one path that serves credentials; it is what the webhook writes into
// AWS_CONTAINER_CREDENTIALS_FULL_URI.
const CredentialsPath = "/v1/credentials"

// Texts of refusals, those of AWS' agent.
const (
	textEmptyToken   = "Service account token cannot be empty"
	textUnparsable   = "Service account token cannot be parsed: "
	textBadTime      = "Service account token failed basic claim validations: "
	textWrongAddress = "Access Denied. Called agent through invalid address, please use either 169.254.170.23 or [fd00:ec2::23]"
)

// statusClientGone is what the metrics call a request whose client did not wait for the answer; nobody reads it.
const statusClientGone = 499

// credentialsHandler answers pods. One handler, with one cache and one limiter, serves all addresses.
type credentialsHandler struct {
	hosts   map[string]bool // literals of the Host header, without port and brackets
	limiter *rate.Limiter   // nil: no limit
	cache   *credcache.Cache
	metrics *metrics
	log     *slog.Logger
	now     func() time.Time
	json    []string // shared value of Content-Type
}

func newCredentialsHandler(cfg *Config, cache *credcache.Cache, m *metrics) *credentialsHandler {
	h := &credentialsHandler{
		hosts:   map[string]bool{DefaultIPv4Host: true, DefaultIPv6Host: true},
		cache:   cache,
		metrics: m,
		log:     cfg.Log,
		now:     cfg.Now,
		json:    []string{"application/json"},
	}
	if cfg.RequestRate > 0 {
		h.limiter = rate.NewLimiter(rate.Limit(cfg.RequestRate), cfg.RequestBurst)
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
	if r.URL.Path != CredentialsPath {
		http.NotFound(w, r)
		return
	}
	now := h.now()
	if h.limiter != nil && !h.limiter.AllowN(now, 1) {
		h.refuse(w, r, http.StatusTooManyRequests, http.StatusText(http.StatusTooManyRequests))
		return
	}
	if !h.knownHost(r.Host) {
		h.refuse(w, r, http.StatusForbidden, textWrongAddress)
		return
	}
	raw := bearer(r.Header)
	if raw == "" {
		h.refuse(w, r, http.StatusBadRequest, textEmptyToken)
		return
	}
	if answer, ok := h.cache.Lookup(eksauthclient.Secret(raw), now); ok {
		h.write(w, answer)
		return
	}
	h.exchange(w, r, raw, now)
}

// exchange serves a token that is not in the cache.
func (h *credentialsHandler) exchange(w http.ResponseWriter, r *http.Request, raw string, now time.Time) {
	token, err := peek(raw)
	if err != nil {
		h.refuse(w, r, http.StatusBadRequest, textUnparsable+err.Error())
		return
	}
	if err := checkTime(token, now); err != nil {
		h.refuse(w, r, http.StatusBadRequest, textBadTime+err.Error())
		return
	}
	answer, err := h.cache.Get(r.Context(), token)
	if err != nil {
		status, text := refusal(err)
		h.refuse(w, r, status, text)
		return
	}
	h.write(w, answer)
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

func (h *credentialsHandler) refuse(w http.ResponseWriter, r *http.Request, status int, text string) {
	h.metrics.response(status)
	h.log.DebugContext(r.Context(), "refused", slog.Int("status", status), slog.String("reason", text), slog.String("remote", r.RemoteAddr))
	if status != statusClientGone {
		http.Error(w, text, status)
	}
}

// refusal maps an error of the exchange to what the pod is told: EKS Auth's own words, or a text without addresses.
func refusal(err error) (int, string) {
	var api *eksauthclient.APIError
	var lost *eksauthclient.UnreachableError
	var identity *eksauthclient.IdentityError
	switch {
	case errors.As(err, &api):
		if api.Status < 400 || api.Status > 599 {
			return http.StatusInternalServerError, api.Error()
		}
		return api.Status, api.Error()
	case errors.As(err, &lost):
		return http.StatusInternalServerError, lost.Error()
	case errors.As(err, &identity):
		return http.StatusInternalServerError, identity.Error()
	case errors.Is(err, credcache.ErrTooShort), errors.Is(err, eksauthclient.ErrBadAnswer):
		return http.StatusInternalServerError, err.Error()
	case errors.Is(err, credcache.ErrStopped), errors.Is(err, credcache.ErrBusy):
		return http.StatusServiceUnavailable, err.Error()
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return statusClientGone, "the client did not wait"
	}
	return http.StatusInternalServerError, "internal error of the agent"
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
