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
	"net/url"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	ekstypes "github.com/aws/aws-sdk-go-v2/service/eks/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	iamtypes "github.com/aws/aws-sdk-go-v2/service/iam/types"

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
	out.Tags = tags(role.Tags)
	for _, name := range role.Inline {
		got, err := c.IAM.GetRolePolicy(ctx, &iam.GetRolePolicyInput{RoleName: &out.Name, PolicyName: &name})
		if err != nil {
			if err := unread(&out.Missing, "inline policy "+name, err); err != nil {
				return nil, err
			}
			continue
		}
		text, err := url.PathUnescape(aws.ToString(got.PolicyDocument))
		if err != nil {
			return nil, fmt.Errorf("decode inline policy %s of role %s: %w", name, out.Name, err)
		}
		out.Inline = append(out.Inline, ekssource.Document{Name: name, Text: text})
	}
	return out, nil
}

func fetchPolicy(ctx context.Context, c *clients.Clients, arn string) (*ekssource.Policy, error) {
	out := &ekssource.Policy{ARN: arn, Name: ekssource.NameOf(arn), Path: ekssource.PathOf(arn)}
	about, err := c.IAM.GetPolicy(ctx, &iam.GetPolicyInput{PolicyArn: &arn})
	if err != nil {
		return out, unread(&out.Missing, "policy "+arn, err)
	}
	out.Description, out.Tags = aws.ToString(about.Policy.Description), tags(about.Policy.Tags)
	version, err := c.IAM.GetPolicyVersion(ctx, &iam.GetPolicyVersionInput{PolicyArn: &arn, VersionId: about.Policy.DefaultVersionId})
	if err != nil {
		return out, unread(&out.Missing, "version "+aws.ToString(about.Policy.DefaultVersionId)+" of policy "+arn, err)
	}
	if out.Document, err = url.PathUnescape(aws.ToString(version.PolicyVersion.Document)); err != nil {
		return nil, fmt.Errorf("decode policy %s: %w", arn, err)
	}
	return out, nil
}

func tags(list []iamtypes.Tag) map[string]string {
	out := map[string]string{}
	for _, t := range list {
		out[aws.ToString(t.Key)] = aws.ToString(t.Value)
	}
	return out
}
