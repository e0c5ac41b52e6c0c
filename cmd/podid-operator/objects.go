// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/pflag"

	"podid/internal/operator"
	"podid/internal/operator/controller"
	"podid/internal/operator/missed"
)

// objectOptions are the flags about podid.dev's objects.
type objectOptions struct {
	on     bool
	resync time.Duration
}

func (o *objectOptions) register(f *pflag.FlagSet) {
	f.BoolVar(&o.on, "objects", true, "make PodIdentityAssociation objects into associations, as PodIdentityRolePolicies allow")
	f.DurationVar(&o.resync, "object-resync", controller.DefaultResync, "how often each object is compared with its association, beside when the feed tells a change")
}

func (o *objectOptions) config() operator.Objects {
	return operator.Objects{Off: !o.on, Resync: o.resync}
}

// missedOptions are the flags about pods that were not injected.
type missedOptions struct {
	on       bool
	restart  string
	excluded []string
}

func (o *missedOptions) register(f *pflag.FlagSet) {
	f.BoolVar(&o.on, "missed-pods", true, "find pods that were not injected though their service account has an association, and tell them by Events")
	f.StringVar(&o.restart, "restart-missed", "off", "restart the Deployments, StatefulSets and DaemonSets of such pods: off, or how many in what time, such as 10/h")
	f.StringSliceVar(&o.excluded, "excluded-namespaces", nil, "namespaces that the webhook's configuration excludes, beside kube-system and the operator's own: their pods are told so, and not restarted")
}

func (o *missedOptions) config() (operator.MissedPods, error) {
	rate, err := missed.ParseRate(o.restart)
	if err != nil {
		return operator.MissedPods{}, fmt.Errorf("--restart-missed: %w", err)
	}
	if !o.on && rate != (missed.Rate{}) {
		return operator.MissedPods{}, errors.New("--restart-missed needs --missed-pods")
	}
	return operator.MissedPods{Off: !o.on, Restart: rate, Excluded: o.excluded}, nil
}
