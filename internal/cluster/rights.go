// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"

	"podid/internal/arn"
	"podid/internal/iam"
	"podid/internal/store"
)

// Rights asks for actions on the clusters of one account and region, for every
// room whose verbs are on clusters.
type Rights struct {
	Store                      store.Store
	Authz                      Authorizer
	Partition, Account, Region string
}

// Scope is where the clusters stand.
func (r Rights) Scope() store.Scope { return store.Scope{Account: r.Account, Region: r.Region} }

// ARN is that of the cluster of a name, which may not exist.
func (r Rights) ARN(name string) string { return arn.Cluster(r.Partition, r.Region, r.Account, name) }

// On asks for action on the cluster of that name, which may not exist, and
// returns it as it was judged, nil when there was none, with the view that it
// was looked up in. That is what any replica has acknowledged: a tag that
// forbids must count at once. What is written then has to be AsJudged.
func (r Rights) On(ctx context.Context, caller iam.Caller, action, name string, keys ...iam.ConditionKey) (*store.View, *Cluster, error) {
	v, err := r.Store.Fence(ctx)
	if err != nil {
		return nil, nil, StoreFault("authorize "+action, err)
	}
	c, ok := Clusters.Get(v, r.Scope(), name)
	if ok {
		keys = append(keys, ResourceTags(c.Tags)...)
	}
	return v, c, r.Authz.Authorize(ctx, caller, iam.Query{Action: action, Resource: r.ARN(name), Keys: keys})
}
