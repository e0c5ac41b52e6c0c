// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package operator

import (
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/eks"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"podid/internal/operator/controller"
	"podid/internal/operator/feed"
	"podid/internal/operator/missed"
)

// callsPerSecond bounds what the controllers ask of the control plane.
const callsPerSecond = 20

// Objects is what is done about podid.dev's objects.
type Objects struct {
	Off    bool          // they are left to others
	Resync time.Duration // how often each is compared with its association; 0 is controller.DefaultResync
}

func (c *Objects) validate() error {
	if c.Resync != 0 && c.Resync < time.Minute {
		return fmt.Errorf("resync of objects every %v: want a minute or more", c.Resync)
	}
	return nil
}

// view is the feed as controllers look at it.
type view struct{ *feed.Feed }

// Known implements controller.Feed.
func (v view) Known(namespace, serviceAccount string) (id string, revision int64, ok bool) {
	a, ok := v.Get(namespace, serviceAccount)
	return a.ID, a.Revision, ok
}

// addObjects makes the cluster's objects into associations, on the leader.
func addObjects(mgr manager.Manager, cfg *Config, r *rooms) error {
	if cfg.Objects.Off {
		return nil
	}
	if err := cfg.Objects.validate(); err != nil {
		return err
	}
	if cfg.ControlPlane == nil {
		return errors.New("there is no client of the control plane")
	}
	m, err := controller.NewMetrics(metrics.Registry)
	if err != nil {
		return fmt.Errorf("register metrics: %w", err)
	}
	calls := controller.Limited(cfg.ControlPlane.AWS(), callsPerSecond)
	return controller.Add(mgr, controller.Config{
		Cluster: cfg.Cluster, EKS: eks.NewFromConfig(calls), Roles: iam.NewFromConfig(calls), Feed: view{r.feed},
		Metrics: m, Log: cfg.Log, Resync: cfg.Objects.Resync, Now: time.Now,
	})
}

// MissedPods is what is done about pods that were not injected.
type MissedPods struct {
	Off      bool // they are not looked for
	Restart  missed.Rate
	Excluded []string // namespaces that the webhook is not asked about, beside kube-system and the operator's own
}

// addMissedPods looks for pods that were not injected, on the leader.
func addMissedPods(mgr manager.Manager, cfg *Config, r *rooms) error {
	if cfg.MissedPods.Off {
		return nil
	}
	c, err := watching(mgr)
	if err != nil {
		return err
	}
	m, err := missed.NewMetrics(metrics.Registry)
	if err != nil {
		return fmt.Errorf("register metrics: %w", err)
	}
	f, err := missed.New(missed.Config{
		Client: c, Feed: view{r.feed}, Namespace: cfg.Namespace, Excluded: cfg.MissedPods.Excluded, Restart: cfg.MissedPods.Restart, Metrics: m, Log: cfg.Log, Now: time.Now,
	})
	if err != nil {
		return err
	}
	return mgr.Add(f)
}
