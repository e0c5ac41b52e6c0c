// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Package operator is podid's part in each cluster: it puts its rooms together
// under one manager of controller-runtime and runs them. It owns which of them
// run on every replica (the webhook, and what feeds it) and which on the
// leader only (controllers), and nothing of what they do. It refuses a
// configuration that cannot work before it starts anything, with all that is
// wrong with it.
package operator

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"podid/internal/operator/feed"
	"podid/internal/operator/identities"
	"podid/internal/operator/lastknown"
	"podid/internal/operator/podidclient"
)

// Config is what an operator is told. Fields without a default are required.
type Config struct {
	Cluster   string // name of this cluster at the control plane
	Namespace string // the operator's own

	MetricsAddress string // host:port; "0" serves none
	HealthAddress  string // host:port of /livez and /readyz
	LeaderElection bool   // controllers run on one replica only
	IdentitiesFile string // for AWS' own webhook; "" for none

	EnrolmentKeyFile string // with which the cluster's keys are brought; "": others bring them

	Injection Injection
	Objects   Objects

	MissedPods MissedPods

	ControlPlane *podidclient.Client
	Kubernetes   *rest.Config
	Log          *slog.Logger
}

func (c *Config) validate() error {
	var problems []error
	if c.Cluster == "" {
		problems = append(problems, errors.New("the name of the cluster is missing"))
	}
	if c.Namespace == "" {
		problems = append(problems, errors.New("the operator's own namespace is missing"))
	}
	return errors.Join(problems...)
}

// Run serves until ctx ends, or until a room cannot go on.
func Run(ctx context.Context, cfg Config) error {
	if err := cfg.validate(); err != nil {
		return err
	}
	scheme := runtime.NewScheme()
	if err := corev1.AddToScheme(scheme); err != nil {
		return fmt.Errorf("register types: %w", err)
	}
	mgr, err := manager.New(cfg.Kubernetes, manager.Options{
		Scheme: scheme, Logger: logr.FromSlogHandler(cfg.Log.Handler()), Cache: cache.Options{DefaultTransform: cache.TransformStripManagedFields()},
		Metrics:                server.Options{BindAddress: cfg.MetricsAddress},
		HealthProbeBindAddress: cfg.HealthAddress, LivenessEndpointName: "/livez", ReadinessEndpointName: "/readyz",
		LeaderElection: cfg.LeaderElection, LeaderElectionID: "podid-operator", LeaderElectionNamespace: cfg.Namespace, LeaderElectionReleaseOnCancel: true,
	})
	if err != nil {
		return fmt.Errorf("make the manager: %w", err)
	}
	if err := mgr.AddHealthzCheck("ping", healthz.Ping); err != nil {
		return fmt.Errorf("add health check: %w", err)
	}
	var r rooms
	for _, p := range parts() {
		if err := p.add(mgr, &cfg, &r); err != nil {
			return fmt.Errorf("set up %s: %w", p.name, err)
		}
	}
	return mgr.Start(ctx)
}

// rooms are what a room may need of those set up before it.
type rooms struct {
	feed *feed.Feed
}

// A part is one room that the manager runs.
type part struct {
	name string
	add  func(manager.Manager, *Config, *rooms) error
}

// parts are in the order in which they are set up.
func parts() []part {
	return []part{
		{"the feed of associations", addFeed},
		{"the webhook", addInjection},
		{"podid.dev's objects", addObjects},
		{"the search for pods that were not injected", addMissedPods},
		{"the upkeep of keys", addKeys},
		{"the telling of refusals", addRefusals},
	}
}

// addFeed follows the associations, on every replica.
func addFeed(mgr manager.Manager, cfg *Config, r *rooms) error {
	m, err := feed.NewMetrics(metrics.Registry)
	if err != nil {
		return fmt.Errorf("register metrics: %w", err)
	}
	kube, err := uncached(mgr)
	if err != nil {
		return err
	}
	store := &lastknown.Secrets{Client: kube, Namespace: cfg.Namespace, Cluster: cfg.Cluster, Log: cfg.Log}
	r.feed = feed.New(feed.Config{Cluster: cfg.Cluster, Caller: cfg.ControlPlane, Store: store, Metrics: m, Log: cfg.Log})
	if err := mgr.AddReadyzCheck("associations", r.feed.Check); err != nil {
		return fmt.Errorf("add readiness check: %w", err)
	}
	problems := []error{mgr.Add(r.feed), mgr.Add(&lastknown.Keeper{Feed: r.feed, Secrets: store, Log: cfg.Log})}
	if cfg.IdentitiesFile != "" {
		problems = append(problems, mgr.Add(&identities.Writer{Feed: r.feed, Path: cfg.IdentitiesFile, Log: cfg.Log}))
	}
	return errors.Join(problems...)
}

// uncached is a client that asks the API server each time: a cached one keeps
// all objects of a kind that it was asked for once.
func uncached(mgr manager.Manager) (client.Client, error) {
	c, err := client.New(mgr.GetConfig(), client.Options{HTTPClient: mgr.GetHTTPClient(), Scheme: mgr.GetScheme(), Mapper: mgr.GetRESTMapper()})
	if err != nil {
		return nil, fmt.Errorf("make a client of the API server: %w", err)
	}
	return c, nil
}
