// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Package live reads an EKS cluster that is to be taken over from its account,
// through AWS' own API and with the caller's rights, into a snapshot of
// internal/cli/ekssource. It only reads. What the caller may not see is noted
// with the role or policy that lacks it; any other failure ends the reading.
package live

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	ekstypes "github.com/aws/aws-sdk-go-v2/service/eks/types"

	"podid/internal/cli/clients"
	"podid/internal/cli/ekssource"
	"podid/internal/cli/setup"
)

// Read reads a cluster of the account that c calls, by reading calls only:
// DescribeCluster, ListPodIdentityAssociations, DescribePodIdentityAssociation,
// GetRole, ListAttachedRolePolicies, ListRolePolicies, GetRolePolicy, GetPolicy
// and GetPolicyVersion. A role or policy that the caller may not read is noted
// as missing; whatever else fails is an error.
func Read(ctx context.Context, c *clients.Clients, cluster string) (*ekssource.Snapshot, error) {
	about, err := c.EKS.DescribeCluster(ctx, &eks.DescribeClusterInput{Name: &cluster})
	if err != nil {
		return nil, fmt.Errorf("describe cluster %s: %w", cluster, err)
	}
	s := &ekssource.Snapshot{Cluster: cluster, ClusterARN: aws.ToString(about.Cluster.Arn), Roles: map[string]*ekssource.Role{}, Policies: map[string]*ekssource.Policy{}}
	s.Account = ekssource.AccountOf(s.ClusterARN)
	found, err := setup.ListAssociations(ctx, c, &eks.ListPodIdentityAssociationsInput{ClusterName: &cluster})
	if err != nil {
		return nil, fmt.Errorf("list associations of cluster %s: %w", cluster, err)
	}
	for _, a := range found {
		s.Associations = append(s.Associations, association(a))
	}
	s.Sort()
	for _, a := range s.Associations {
		if s.Roles[a.RoleARN] != nil || ekssource.AccountOf(a.RoleARN) != s.Account {
			continue
		}
		if s.Roles[a.RoleARN], err = fetchRole(ctx, c, a.RoleARN); err != nil {
			return nil, err
		}
	}
	for _, arn := range s.Needed() {
		if s.Policies[arn], err = fetchPolicy(ctx, c, arn); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func association(a *ekstypes.PodIdentityAssociation) ekssource.Association {
	return ekssource.Association{
		ID: aws.ToString(a.AssociationId), Namespace: aws.ToString(a.Namespace), ServiceAccount: aws.ToString(a.ServiceAccount),
		RoleARN: aws.ToString(a.RoleArn), TargetRoleARN: aws.ToString(a.TargetRoleArn), Policy: aws.ToString(a.Policy),
		DisableSessionTags: aws.ToBool(a.DisableSessionTags), Tags: a.Tags, OwnerARN: aws.ToString(a.OwnerArn),
	}
}

// unread notes an answer that says no. Everything else, a lost connection
// above all, ends the reading: the next call would fail as well.
func unread(missing *[]string, what string, err error) error {
	if clients.IsNotFound(err) || clients.Code(err) == "AccessDenied" || clients.Code(err) == "AccessDeniedException" {
		*missing = append(*missing, what+" ("+clients.Code(err)+")")
		return nil
	}
	return fmt.Errorf("read %s: %w", what, err)
}

func fetchRole(ctx context.Context, c *clients.Clients, arn string) (*ekssource.Role, error) {
	out := &ekssource.Role{ARN: arn, Name: ekssource.NameOf(arn), Path: ekssource.PathOf(arn)}
	role, err := setup.DescribeRole(ctx, c, out.Name)
	if err != nil {
		return out, unread(&out.Missing, "role "+out.Name, err)
	}
	out.Description, out.MaxSession, out.Trust, out.Attached = aws.ToString(role.Description), aws.ToInt32(role.MaxSessionDuration), role.Trust, role.Attached
	if role.PermissionsBoundary != nil {
		out.BoundaryARN = aws.ToString(role.PermissionsBoundary.PermissionsBoundaryArn)
	}
	out.Tags = setup.TagMap(role.Tags)
	inline, err := setup.InlinePolicies(ctx, c, role)
	if err != nil {
		return out, unread(&out.Missing, "inline policies of role "+out.Name, err)
	}
	for _, p := range inline {
		out.Inline = append(out.Inline, ekssource.Document{Name: p.Name, Text: p.Document})
	}
	return out, nil
}

func fetchPolicy(ctx context.Context, c *clients.Clients, arn string) (*ekssource.Policy, error) {
	out := &ekssource.Policy{ARN: arn, Name: ekssource.NameOf(arn), Path: ekssource.PathOf(arn)}
	about, err := setup.DescribePolicy(ctx, c, arn)
	if err != nil {
		return out, unread(&out.Missing, "policy "+arn, err)
	}
	out.Description, out.Document, out.Tags = aws.ToString(about.Description), about.Document, setup.TagMap(about.Tags)
	return out, nil
}
