// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package export

import (
	"maps"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"

	"podid/internal/cli/clusterconfig"
	"podid/internal/cli/setup"
	"podid/internal/cli/wellknown"
)

// defaultSession is IAM's longest session of a role, in seconds, where none
// is given.
const defaultSession = 3600

// textbook writes a role into its one association when `create
// podidentityassociation` would make exactly that role of it. Then eksctl can
// read the whole of it.
func textbook(u *user, have *setup.Role, inline []setup.InlinePolicy, boundary, account string) bool {
	in := &setup.AssociationInput{
		Cluster: u.cluster, Namespace: u.a.Namespace, ServiceAccount: u.a.ServiceAccountName, RoleName: aws.ToString(have.RoleName),
		PolicyARNs: have.Attached, Boundary: boundary, Tags: u.a.Tags,
	}
	in.WellKnown, in.Inline = known(inline, aws.ToString(have.Arn))
	if len(in.Inline) > 1 {
		return false
	}
	made, err := setup.PodRole(in, account, u.clusterARN)
	if err != nil || !equals(made, have) {
		return false
	}
	u.a.RoleARN, u.a.RoleName = "", in.RoleName
	u.a.PermissionPolicyARNs, u.a.PermissionsBoundaryARN, u.a.WellKnownPolicies = have.Attached, boundary, in.WellKnown
	for _, p := range in.Inline {
		u.a.PermissionPolicy = clusterconfig.Document(p.Document)
		if p.Name != clusterconfig.DefaultPolicyName {
			u.a.PermissionPolicyName = p.Name
		}
	}
	return true
}

// equals compares all but the policies, which the role was described by.
func equals(made *setup.RoleInput, have *setup.Role) bool {
	tags := settable(setup.TagMap(have.Tags))
	if tags[setup.TagCreatedBy] != setup.CreatedBy {
		return false
	}
	delete(tags, setup.TagCreatedBy)
	return aws.ToString(have.Path) == "/" && aws.ToString(have.Description) == made.Description && aws.ToInt32(have.MaxSessionDuration) == defaultSession &&
		clusterconfig.SameDocument(have.Trust, made.Trust) && maps.Equal(tags, made.Tags) &&
		slices.Equal(made.PolicyARNs, have.Attached)
}

// known finds the well-known policies among inline ones; rest is what they do
// not cover. A name counts when all of its documents are there, unchanged.
func known(inline []setup.InlinePolicy, roleARN string) (set wellknown.Set, rest []setup.InlinePolicy) {
	covered := map[string]bool{}
	for _, name := range wellknown.Names() {
		one := wellknown.Set{name: true}
		p, err := one.Policies(partition(roleARN))
		if err != nil || len(p.Inline) == 0 {
			continue
		}
		if !slices.ContainsFunc(p.Inline, func(w wellknown.Inline) bool { return !has(inline, w) }) {
			if set == nil {
				set = wellknown.Set{}
			}
			set[name] = true
			for _, w := range p.Inline {
				covered[w.Name] = true
			}
		}
	}
	for _, p := range inline {
		if !covered[p.Name] {
			rest = append(rest, p)
		}
	}
	return set, rest
}

func has(inline []setup.InlinePolicy, w wellknown.Inline) bool {
	return slices.ContainsFunc(inline, func(p setup.InlinePolicy) bool {
		return p.Name == w.Name && clusterconfig.SameDocument(p.Document, string(w.Document))
	})
}

// partition is the second field of an ARN.
func partition(anARN string) string {
	f := strings.SplitN(anARN, ":", 3)
	if len(f) < 3 {
		return "aws"
	}
	return f[1]
}
