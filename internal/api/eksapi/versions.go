// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package eksapi

import (
	"context"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"podid/internal/api/call"
	"podid/internal/api/restjson"
	"podid/internal/cluster"
	"podid/internal/fault"
)

// versionJSON is ClusterVersionInformation. It has no dates: EKS' ends of
// support mean nothing to clusters that are not EKS'.
type versionJSON struct {
	ClusterVersion         string `json:"clusterVersion"`
	ClusterType            string `json:"clusterType"`
	DefaultPlatformVersion string `json:"defaultPlatformVersion"`
	DefaultVersion         bool   `json:"defaultVersion"`
	Status                 string `json:"status"`
	VersionStatus          string `json:"versionStatus"`
}

type versionsOutput struct {
	ClusterVersions []versionJSON `json:"clusterVersions"`
	NextToken       string        `json:"nextToken,omitempty"`
}

// versionsInput is DescribeClusterVersionsRequest.
type versionsInput struct {
	ClusterType     string   `json:"clusterType,omitempty"`
	ClusterVersions []string `json:"clusterVersions,omitempty"`
	DefaultOnly     bool     `json:"defaultOnly,omitempty"`
	IncludeAll      bool     `json:"includeAll,omitempty"`
	Status          string   `json:"status,omitempty"`
	VersionStatus   string   `json:"versionStatus,omitempty"`
	MaxResults      int      `json:"maxResults,omitempty"`
	NextToken       string   `json:"nextToken,omitempty"`
}

// What every version is: podid ends no support.
const (
	versionStatus = "STANDARD_SUPPORT"
	statusOld     = "standard-support" // the deprecated member's form
)

// queryBool reads a boolean of the query; absent is false.
func queryBool(q url.Values, name string) (bool, error) {
	switch v := q.Get(name); v {
	case "", "false":
		return false, nil
	case "true":
		return true, nil
	default:
		return false, fault.New(fault.InvalidParameter, "%s is %.40q; true or false is wanted.", name, v).WithReason("boolean")
	}
}

func readVersionsInput(u *url.URL) (in versionsInput, err error) {
	q, err := restjson.Query(u, "clusterVersions")
	if err != nil {
		return in, err
	}
	in = versionsInput{
		ClusterType: q.Get("clusterType"), ClusterVersions: q["clusterVersions"], Status: q.Get("status"), VersionStatus: q.Get("versionStatus"),
		NextToken: q.Get("nextToken"),
	}
	if in.DefaultOnly, err = queryBool(q, "defaultOnly"); err != nil {
		return in, err
	}
	if in.IncludeAll, err = queryBool(q, "includeAll"); err != nil {
		return in, err
	}
	if !slices.Contains([]string{"", "UNSUPPORTED", "STANDARD_SUPPORT", "EXTENDED_SUPPORT"}, in.VersionStatus) {
		return in, fault.New(fault.InvalidParameter, "versionStatus is %.40q; UNSUPPORTED, STANDARD_SUPPORT or EXTENDED_SUPPORT is wanted.", in.VersionStatus).WithReason("version-status")
	}
	in.MaxResults, err = restjson.MaxResults(q)
	return in, err
}

func (in *versionsInput) wants(version string) bool {
	return (in.ClusterType == "" || in.ClusterType == "eks") && (in.VersionStatus == "" || in.VersionStatus == versionStatus) &&
		(in.Status == "" || strings.EqualFold(in.Status, statusOld)) && (!in.DefaultOnly || version == cluster.DefaultVersion) &&
		(len(in.ClusterVersions) == 0 || slices.Contains(in.ClusterVersions, version))
}

func (a *API) describeVersions(ctx context.Context, c *call.Call) (any, error) {
	in, err := readVersionsInput(c.HTTP.URL)
	if err != nil {
		return nil, err
	}
	c.Event.RequestParameters = in
	list := append([]string{
		"DescribeClusterVersions", a.Account, a.Region, in.ClusterType, in.Status, in.VersionStatus, strconv.FormatBool(in.DefaultOnly),
	}, in.ClusterVersions...)
	after, err := a.Pages.After(in.NextToken, list...)
	if err != nil {
		return nil, err
	}
	all, err := a.Versions.Versions(ctx, c.Caller)
	if err != nil {
		return nil, err
	}
	if i := slices.Index(all, after); i >= 0 {
		all = all[i+1:]
	}
	out := versionsOutput{ClusterVersions: []versionJSON{}}
	for _, v := range all {
		if !in.wants(v) {
			continue
		}
		if n := len(out.ClusterVersions); n == in.MaxResults {
			out.NextToken = a.Pages.Token(out.ClusterVersions[n-1].ClusterVersion, list...)
			break
		}
		out.ClusterVersions = append(out.ClusterVersions, versionJSON{v, "eks", platformVersion, v == cluster.DefaultVersion, statusOld, versionStatus})
	}
	return out, nil
}
