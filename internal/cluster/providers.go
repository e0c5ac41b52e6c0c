// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"podid/internal/iam"
	"podid/internal/store"
)

// Tags that a cluster's own OIDC provider shows in IAM.
const (
	TagCluster = "podid.dev/cluster" // ARN of the cluster
	TagIssuer  = "podid.dev/issuer"
)

// Providers shows clusters of a region as the OIDC providers that they are.
type Providers struct {
	Region    string
	Audiences []string // that the clusters' tokens may be exchanged with
}

// OIDCProviders implements iam.ClusterProviders: one provider for each
// cluster, in the order of their names.
func (p Providers) OIDCProviders(r store.Reader, account string) []*iam.OIDCProvider {
	var out []*iam.OIDCProvider
	for _, c := range Clusters.List(r, store.Scope{Account: account, Region: p.Region}, "", "") {
		if c.Pending() {
			continue // no keys stand behind it yet
		}
		out = append(out, &iam.OIDCProvider{
			ID: c.UID, Partition: c.Partition, Account: c.Account, URL: c.ProviderHost(), ClientIDs: p.Audiences, Created: c.Created,
			Tags: []iam.Tag{{Key: TagCluster, Value: c.ARN()}, {Key: TagIssuer, Value: c.Issuer}},
		})
	}
	return out
}
