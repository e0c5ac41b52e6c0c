// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package issuer

import (
	"context"

	"podid/internal/association"
	"podid/internal/cluster"
	"podid/internal/exchange"
	"podid/internal/fault"
	"podid/internal/store"
)

// Plugin is an issuer: it checks a role when an association is made, and
// issues when a pod asks.
type Plugin interface {
	Issue(ctx context.Context, r store.Reader, o *exchange.Order, t *exchange.Trace) (*exchange.Issued, error)
	AskRole(ctx context.Context, r store.Reader, c *cluster.Cluster, a *association.Association) association.RoleCheck
}

// Router is the Plugin that asks the one which the cluster's account has
// chosen. Both are required; AWSSTS asks other STSes in either way.
type Router struct{ Embedded, AWSSTS Plugin }

var _ Plugin = (*Router)(nil)

func (x *Router) plugin(kind Kind) (Plugin, error) {
	switch kind {
	case Embedded:
		return x.Embedded, nil
	case AWSSTS, WebIdentity:
		return x.AWSSTS, nil
	default:
		return nil, fault.New(fault.Unavailable, "The account's issuer is not known to this release.").WithReason("issuer-unknown").
			WithDetail(map[string]string{"issuer": string(kind)})
	}
}

// Issue implements exchange.Issuer.
func (x *Router) Issue(ctx context.Context, r store.Reader, o *exchange.Order, t *exchange.Trace) (*exchange.Issued, error) {
	p, err := x.plugin(Find(r, o.Cluster.Account).Kind)
	if err != nil {
		return nil, err
	}
	return p.Issue(ctx, r, o, t)
}

// AskRole implements association.RoleChecker. The check holds for the choice
// that was asked.
func (x *Router) AskRole(ctx context.Context, r store.Reader, c *cluster.Cluster, a *association.Association) association.RoleCheck {
	asked := Find(r, c.Account)
	p, err := x.plugin(asked.Kind)
	if err != nil {
		return func(context.Context, store.Reader, *cluster.Cluster, *association.Association) error { return err }
	}
	check := p.AskRole(ctx, r, c, a)
	return func(ctx context.Context, r store.Reader, c *cluster.Cluster, a *association.Association) error {
		if now := Find(r, c.Account); now.Kind != asked.Kind || now.AWS != asked.AWS {
			return cluster.ChangedMeanwhile("account's issuer")
		}
		return check(ctx, r, c, a)
	}
}
