// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Package agent is the node agent: it serves pods their credentials on the node's link-local addresses, at
// /v1/credentials, as the AWS SDKs' container credential provider asks for them.
//
// It owns the HTTP door on the node: the Host rule, the reading of tokens, the limits, the texts of refusals, probes and
// metrics. It refuses requests through any address but its own, tokens that are no JWT or outside their time, those that
// podtoken does not find genuine, and more requests of one pod than its limit. Where podtoken has no source of keys, EKS
// Auth judges each token that is new. In the flow: pod's SDK → agent → podtoken → credcache → eksauthclient → control
// plane. It speaks only the wire; what it shares with the server side are the rules of tokens (ADR 0009).
package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"podid/internal/agent/assocfeed"
	"podid/internal/agent/credcache"
	"podid/internal/agent/eksauthclient"
	"podid/internal/agent/handover"
	"podid/internal/agent/otlp"
	"podid/internal/agent/podtoken"
)

// Agent serves credentials while [Agent.Run] runs.
type Agent struct {
	cfg     Config
	cache   *credcache.Cache
	tokens  *podtoken.Verifier // nil: EKS Auth judges tokens
	handler *credentialsHandler
	probe   *probe
	metrics *metrics
	conns   *connections
	doors   []*door
	// followers learn elsewhere what the cache has to know.
	followers  []follower
	feed       *assocfeed.Follower // nil: not followed
	saved      *handover.State     // nil: nothing is kept over a restart
	exporter   *otlp.Exporter      // nil: metrics are not pushed
	arrival    *handover.Arrival   // nil: not yet, or nobody is told
	succeeded  atomic.Bool         // another process serves instead
	identified atomic.Bool         // the agent has had credentials of its own
	started    atomic.Bool
	ready      chan struct{}

	mu                     sync.Mutex // guards the addresses, which are known once the listeners stand
	addrs                  []string
	probeAddr, metricsAddr string
}

// New checks the configuration, reporting every problem of it at once, and returns an agent that does nothing yet.
func New(cfg Config) (*Agent, error) {
	cfg.setDefaults()
	problem := cfg.validate()
	if cfg.Log == nil || cfg.Registerer == nil {
		return nil, fmt.Errorf("agent configuration: %w", problem)
	}
	m := newMetrics(cfg.Version)
	client, err := eksauthclient.New(eksauthclient.Config{
		Endpoint:       cfg.Endpoint,
		AllowPlainHTTP: cfg.AllowHTTPEndpoint,
		Cluster:        cfg.Cluster,
		Region:         cfg.Region,
		Credentials:    cfg.Credentials,
		HTTP:           cfg.HTTP,
		AttemptTimeout: cfg.AttemptTimeout,
		TotalTimeout:   cfg.TotalTimeout,
		MaxAttempts:    cfg.MaxAttempts,
		UserAgent:      "podid-agent/" + cfg.Version,
		Now:            cfg.Now,
		Rand:           cfg.Rand,
		Observe:        m.upstream,
	})
	cache, cacheErr := credcache.New(credcache.Config{
		Exchanger:    client,
		MaxEntries:   cfg.MaxCacheSize,
		MaxBytes:     cfg.MaxCacheBytes,
		Retention:    cfg.Retention,
		RenewFloor:   cfg.RenewFloor,
		RefreshQPS:   cfg.RefreshQPS,
		FetchTimeout: cfg.TotalTimeout,
		WaitTimeout:  cfg.WaitTimeout,
		PodRate:      max(cfg.RequestRate, 0),
		PodBurst:     cfg.RequestBurst,
		Log:          cfg.Log,
		Observer:     m,
		Now:          cfg.Now,
		Rand:         cfg.Rand,
	})
	if problem := errors.Join(problem, err, cacheErr); problem != nil {
		return nil, fmt.Errorf("agent configuration: %w", problem)
	}
	a := &Agent{cfg: cfg, cache: cache, metrics: m, ready: make(chan struct{})}
	var verifier Verifier
	if cfg.Tokens.Source != nil {
		if a.tokens, err = newTokens(&cfg, cache); err != nil {
			return nil, fmt.Errorf("agent configuration: %w", err)
		}
		verifier = a.tokens
	}
	if err := m.register(cfg.Registerer, cache.Stats); err != nil {
		return nil, err
	}
	witness, err := newWitness(cfg.Rand)
	if err != nil {
		return nil, err
	}
	var long *offences
	if cfg.RequestRate > 0 {
		long = newOffences(longRate, longBurst)
	}
	a.handler = newCredentialsHandler(&cfg, cache, verifier, m)
	a.handler.witness = witness
	a.probe = newProbe(a.Addrs, witness, m.upstreamDown)
	a.conns = newConnections(maxConnections, maxSourceConnections, long, cfg.Now, m.closed)
	a.addDoors()
	if cfg.StateDir != "" {
		// Refused, and no reason not to serve: what is lost is the cache at a restart.
		if a.saved, err = handover.OpenState(cfg.StateDir, cfg.HandoverDir); err != nil {
			cfg.Log.Error("nothing is kept over a restart", slog.String("err", err.Error()))
		}
	}
	if err := errors.Join(a.addFollowers(), a.addExporter()); err != nil {
		return nil, fmt.Errorf("agent configuration: %w", err)
	}
	return a, nil
}

// newTokens makes the judge of tokens, whose clock, log and randomness are the agent's.
func newTokens(cfg *Config, cache *credcache.Cache) (*podtoken.Verifier, error) {
	tokens := cfg.Tokens
	tokens.Log, tokens.Now, tokens.Rand, tokens.Changed = cfg.Log, cfg.Now, cfg.Rand, cache.ForgetProofs
	return podtoken.New(tokens)
}

// Ready is closed once the agent listens.
func (a *Agent) Ready() <-chan struct{} { return a.ready }

// Addrs returns the addresses that serve credentials, as host:port; empty before Ready.
func (a *Agent) Addrs() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]string(nil), a.addrs...)
}

// ProbeAddr and MetricsAddr are the addresses of probes and metrics; empty before Ready, or when there are none.
func (a *Agent) ProbeAddr() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.probeAddr
}

// MetricsAddr is described at ProbeAddr.
func (a *Agent) MetricsAddr() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.metricsAddr
}

// Work is how many requests were answered from the cache and how many calls upstream were begun, in all.
func (a *Agent) Work() (hits, fetches uint64) { return a.cache.Work() }

// Run listens and serves until ctx ends, then lets requests under way finish for up to 35 s. It returns nil after an
// orderly stop, and can be called once.
func (a *Agent) Run(ctx context.Context) error {
	if !a.started.CompareAndSwap(false, true) {
		return errors.New("agent has been run before")
	}
	defer a.depart()
	sockets, tie := a.inherit(ctx)
	if tie != nil {
		// Whoever stands by serves again as soon as this one stops.
		defer tie.Close() //nolint:errcheck // nothing is written to it any more
		defer context.AfterFunc(ctx, func() { _ = tie.Close() })()
	}
	if err := a.open(ctx, sockets); err != nil {
		return err
	}
	close(a.ready)

	group, failed := errgroup.WithContext(ctx)
	// The cache outlives the listeners: requests under way still wait for it, and the last push counts them.
	cacheCtx, stopCache := context.WithCancel(context.WithoutCancel(ctx))
	group.Go(func() error { return a.cache.Run(cacheCtx) })
	if a.exporter != nil {
		group.Go(func() error { return a.exporter.Run(cacheCtx) })
	}
	if a.tokens != nil {
		group.Go(func() error { return a.tokens.Run(cacheCtx) })
	}
	group.Go(func() error { a.checkIdentity(failed); return nil })
	group.Go(func() error {
		defer stopCache()
		defer a.closeDoors()
		return a.work(failed)
	})
	if tie != nil {
		if err := tie.Taken(); err != nil {
			a.cfg.Log.WarnContext(ctx, "tell the process before that it is done", slog.String("err", err.Error()))
		}
	}
	a.arrive(ctx)
	return group.Wait()
}

// serve is the agent at work: it answers pods and follows what the cache has to know, until ctx ends and requests under
// way are done.
func (a *Agent) serve(ctx context.Context) error {
	group, failed := errgroup.WithContext(ctx)
	for _, f := range a.followers {
		group.Go(func() error { return f.Run(failed) })
	}
	group.Go(func() error { a.selfCheck(failed); return nil })
	for _, d := range a.doors {
		group.Go(func() error { return a.serveDoor(failed, d) })
	}
	return group.Wait()
}

// checkIdentity fetches the agent's own credentials before the first pod needs them, and says so when there are none.
func (a *Agent) checkIdentity(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	if _, err := a.cfg.Credentials.Retrieve(ctx); err != nil && ctx.Err() == nil {
		a.cfg.Log.WarnContext(ctx, "fetch the agent's own credentials; pods are refused until this works", slog.String("err", err.Error()))
	}
}
