// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"

	"podid/internal/agent/assocfeed"
	"podid/internal/agent/eksauthclient"
	"podid/internal/agent/nodesign"
	"podid/internal/agent/otlp"
	"podid/internal/agent/podwatch"
)

// follower learns elsewhere what the cache has to know, until ctx ends. What it cannot learn is no error.
type follower interface {
	Run(ctx context.Context) error
}

func (a *Agent) addFollowers() error {
	cfg := &a.cfg
	if k := cfg.Kubernetes; k != nil && k.Pods {
		pods, err := podwatch.New(podwatch.Config{
			API: k.API, Node: k.Node, Cache: a.cache, Log: cfg.Log, Following: a.metrics.follows("pods"), Rand: cfg.Rand,
		})
		if err != nil {
			return err
		}
		a.followers = append(a.followers, pods)
	}
	if k := cfg.Kubernetes; k != nil && k.Sign {
		sign, err := nodesign.New(nodesign.Config{
			API: k.API, Node: k.Node, State: a.state, Succeeded: a.succeeded.Load, Log: cfg.Log, Following: a.metrics.follows("node"), Now: cfg.Now, Rand: cfg.Rand,
		})
		if err != nil {
			return err
		}
		a.followers = append(a.followers, sign)
	}
	if cfg.FollowAssociations {
		endpoints, err := eksauthclient.ParseEndpoints(cfg.Endpoint, cfg.AllowHTTPEndpoint)
		if err != nil {
			return err
		}
		feed, err := assocfeed.New(assocfeed.Config{
			Endpoints: endpoints, Cluster: cfg.Cluster, Region: cfg.Region, Credentials: cfg.Credentials, HTTP: cfg.HTTP,
			Cache: a.cache, Log: cfg.Log, Following: a.metrics.follows("associations"), Now: cfg.Now, Rand: cfg.Rand,
		})
		if err != nil {
			return err
		}
		a.feed = feed
		a.followers = append(a.followers, feed)
	}
	return nil
}

// addExporter makes what pushes metrics. It is no follower: it outlives the doors, so that its last push tells of all requests.
func (a *Agent) addExporter() error {
	cfg := &a.cfg
	if cfg.OTLP == nil {
		return nil
	}
	exporter, err := otlp.New(otlp.Config{
		Settings: *cfg.OTLP, Gatherer: cfg.Gatherer, Version: cfg.Version, Node: cfg.Node, Cluster: cfg.Cluster,
		// The process that has taken over pushes for the node.
		Idle: a.succeeded.Load, Log: cfg.Log, Now: cfg.Now, Rand: cfg.Rand,
	})
	a.exporter = exporter
	return err
}

// state is what the node shows: the agent can serve when all its addresses answer and it has had credentials of its own.
// An outage later is no reason to keep pods away: those that have credentials are served.
func (a *Agent) state(ctx context.Context) nodesign.State {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	for addr, err := range a.probe.check(ctx) {
		return nodesign.State{Reason: nodesign.ReasonNot, Message: addr + ": " + err.Error()}
	}
	if !a.identified.Load() {
		if _, err := a.cfg.Credentials.Retrieve(ctx); err != nil {
			return nodesign.State{Reason: nodesign.ReasonNot, Message: "the agent has no credentials of its own yet: " + err.Error()}
		}
		a.identified.Store(true)
	}
	if a.metrics.upstreamDown() {
		return nodesign.State{Ready: true, Reason: nodesign.ReasonCached, Message: "EKS Auth does not answer; pods that have credentials are served"}
	}
	return nodesign.State{Ready: true, Reason: nodesign.ReasonServing, Message: "serving credentials"}
}
