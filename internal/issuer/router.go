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
	CheckRole(ctx context.Context, r store.Reader, c *cluster.Cluster, a *association.Association) error
}

// Router is the Plugin that asks the one which the cluster's account has
// chosen. Both are required; AWSSTS asks other STSes in either way.
type Router struct{ Embedded, AWSSTS Plugin }

var _ Plugin = (*Router)(nil)

func (x *Router) plugin(r store.Reader, account string) (Plugin, error) {
	switch kind := Find(r, account).Kind; kind {
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
	p, err := x.plugin(r, o.Cluster.Account)
	if err != nil {
		return nil, err
	}
	return p.Issue(ctx, r, o, t)
}

// CheckRole implements association.RoleChecker.
func (x *Router) CheckRole(ctx context.Context, r store.Reader, c *cluster.Cluster, a *association.Association) error {
	p, err := x.plugin(r, c.Account)
	if err != nil {
		return err
	}
	return p.CheckRole(ctx, r, c, a)
}
