// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"podid/internal/iam"
)

// Kubernetes versions that are listed whether or not a cluster has them. podid
// works with any; clients of EKS want to find theirs in the list.
const (
	oldestMinor = 30
	newestMinor = 36
)

// DefaultVersion is the version that EKS' clients are told to take.
const DefaultVersion = "1.34"

// UsualVersions are the versions that are listed for everybody.
func UsualVersions() []string {
	var out []string
	for minor := newestMinor; minor >= oldestMinor; minor-- {
		out = append(out, "1."+strconv.Itoa(minor))
	}
	return out
}

// Versions lists Kubernetes versions, newest first: the usual ones and those
// of the account's clusters. Action: eks:DescribeClusterVersions on *.
func (m *Manager) Versions(ctx context.Context, caller iam.Caller) ([]string, error) {
	if err := m.Authz.Authorize(ctx, caller, iam.Query{Action: "eks:DescribeClusterVersions", Resource: "*"}); err != nil {
		return nil, err
	}
	v, err := m.Store.Fence(ctx)
	if err != nil {
		return nil, StoreFault("list versions", err)
	}
	out := UsualVersions()
	for _, c := range Clusters.List(v, m.Scope(), "", "") {
		if c.Version != "" {
			out = append(out, c.Version)
		}
	}
	slices.SortFunc(out, func(a, b string) int { return compareVersions(b, a) })
	return slices.Compact(out), nil
}

// compareVersions compares versions of the form 1.34 by their numbers.
func compareVersions(a, b string) int {
	if c := versionNumber(a) - versionNumber(b); c != 0 {
		return c
	}
	return strings.Compare(a, b)
}

func versionNumber(s string) int {
	major, minor, _ := strings.Cut(s, ".")
	x, err := strconv.Atoi(major)
	if err != nil {
		return 0
	}
	y, err := strconv.Atoi(minor)
	if err != nil {
		return 0
	}
	return x*1000 + y
}
