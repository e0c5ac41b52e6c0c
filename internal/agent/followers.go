// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"

	"podid/internal/agent/assocfeed"
	"podid/internal/agent/eksauthclient"
	"podid/internal/agent/podwatch"
)

// follower learns elsewhere what the cache has to know, until ctx ends. What it cannot learn is no error.
type follower interface {
	Run(ctx context.Context) error
}

func (a *Agent) addFollowers() error {
	cfg := &a.cfg
	if k := cfg.Kubernetes; k != nil {
		pods, err := podwatch.New(podwatch.Config{
			API: k.API, Node: k.Node, Cache: a.cache, Log: cfg.Log, Following: a.metrics.follows("pods"), Rand: cfg.Rand,
		})
		if err != nil {
			return err
		}
		a.followers = append(a.followers, pods)
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
		a.followers = append(a.followers, feed)
	}
	return nil
}
