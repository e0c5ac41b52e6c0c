// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"time"

	"github.com/spf13/pflag"

	"podid/internal/operator"
	"podid/internal/operator/controller"
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
