// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package eksapi

import (
	"context"
	"net/url"
	"strconv"

	"podid/internal/api/call"
	"podid/internal/api/restjson"
	"podid/internal/cluster"
	"podid/internal/fault"
)

// clusterJSON is Cluster as EKS describes a cluster of its own: without
// connectorConfig, since clients refuse connected clusters.
type clusterJSON struct {
	Name                    string            `json:"name"`
	Arn                     string            `json:"arn"`
	CreatedAt               restjson.Time     `json:"createdAt"`
	Version                 string            `json:"version,omitempty"`
	Endpoint                string            `json:"endpoint"`
	ResourcesVpcConfig      vpcConfigJSON     `json:"resourcesVpcConfig"`
	KubernetesNetworkConfig networkConfigJSON `json:"kubernetesNetworkConfig"`
	Identity                identityJSON      `json:"identity"`
	Status                  string            `json:"status"`
	CertificateAuthority    certificateJSON   `json:"certificateAuthority"`
	PlatformVersion         string            `json:"platformVersion"`
	Tags                    map[string]string `json:"tags"`
}

type vpcConfigJSON struct {
	SubnetIDs        []string `json:"subnetIds"`
	SecurityGroupIDs []string `json:"securityGroupIds"`
}

type networkConfigJSON struct {
	IPFamily string `json:"ipFamily"`
}

type identityJSON struct {
	Oidc oidcJSON `json:"oidc"`
}

type oidcJSON struct {
	Issuer string `json:"issuer"`
}

// certificateJSON's data is "" when the cluster has no authority registered;
// clients accept that, but not its absence.
type certificateJSON struct {
	Data string `json:"data"`
}

type clusterOutput struct {
	Cluster clusterJSON `json:"cluster"`
}

type listClustersOutput struct {
	Clusters  []string `json:"clusters"`
	NextToken string   `json:"nextToken,omitempty"`
}

// States of clusters.
const (
	statusActive   = "ACTIVE"
	statusPending  = "PENDING"
	statusDeleting = "DELETING"
)

// platformVersion has EKS' form, which clients parse.
const platformVersion = "eks.1"

func newCluster(c *cluster.Cluster, status string) clusterOutput {
	return clusterOutput{clusterJSON{
		Name: c.Name, Arn: c.ARN(), CreatedAt: restjson.Time(c.Created), Version: c.Version, Endpoint: c.Endpoint,
		ResourcesVpcConfig:      vpcConfigJSON{SubnetIDs: []string{}, SecurityGroupIDs: []string{}},
		KubernetesNetworkConfig: networkConfigJSON{IPFamily: "ipv4"},
		Identity:                identityJSON{oidcJSON{c.Issuer}}, Status: status,
		CertificateAuthority: certificateJSON{c.CA}, PlatformVersion: platformVersion, Tags: tagsOrEmpty(c.Tags),
	}}
}

func (a *API) describeCluster(ctx context.Context, c *call.Call) (any, error) {
	in := nameInput{Name: c.HTTP.PathValue("name")}
	c.Event.RequestParameters = in
	out, err := a.Clusters.Describe(ctx, c.Caller, in.Name)
	if err != nil {
		return nil, err
	}
	return described(out, statusActive), nil
}

func (a *API) deleteCluster(ctx context.Context, c *call.Call) (any, error) {
	in := nameInput{Name: c.HTTP.PathValue("name")}
	c.Event.RequestParameters = in
	was, err := a.Clusters.Delete(ctx, c.Caller, in.Name)
	if err != nil {
		return nil, err
	}
	return a.changedCluster(c, was, described(was, statusDeleting)), nil
}

// listClustersInput is ListClustersRequest. Include "all" lists clusters that
// are not EKS' own, which here are those that are PENDING.
type listClustersInput struct {
	Include    []string `json:"include,omitempty"`
	MaxResults int      `json:"maxResults,omitempty"`
	NextToken  string   `json:"nextToken,omitempty"`
}

func readListClustersInput(u *url.URL) (in listClustersInput, err error) {
	q, err := restjson.Query(u, "include")
	if err != nil {
		return in, err
	}
	in = listClustersInput{Include: q["include"], NextToken: q.Get("nextToken")}
	for _, v := range in.Include {
		if v != "all" {
			return in, fault.New(fault.InvalidParameter, "include is %.40q; all, or nothing, is wanted.", v).WithReason("include")
		}
	}
	in.MaxResults, err = restjson.MaxResults(q)
	return in, err
}

func (a *API) listClusters(ctx context.Context, c *call.Call) (any, error) {
	in, err := readListClustersInput(c.HTTP.URL)
	if err != nil {
		return nil, err
	}
	c.Event.RequestParameters = in
	all := len(in.Include) > 0
	list := []string{"ListClusters", a.Account, a.Region, strconv.FormatBool(all)}
	after, err := a.Pages.After(in.NextToken, list...)
	if err != nil {
		return nil, err
	}
	names, next, err := a.Clusters.List(ctx, c.Caller, cluster.ListInput{After: after, Max: in.MaxResults, Pending: all})
	if err != nil {
		return nil, err
	}
	return listClustersOutput{Clusters: names, NextToken: a.Pages.Token(next, list...)}, nil
}
