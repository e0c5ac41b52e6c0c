// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package setup

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"podid/internal/cli/clients"
)

// EnsureCluster brings a cluster to what in says, from wherever it is: it
// registers it or gives it keys, version, endpoint and CA, and makes or mends
// its roles. Old keys stay good until their tokens have expired. It can be
// repeated, and several may run at once; nothing is undone where it fails.
// Without PassRoles those that the operator's role has stay. A cluster of
// another issuer, and roles that podid did not make for the cluster, are
// refused.
func EnsureCluster(ctx context.Context, c *clients.Clients, in ClusterInput) (*Registered, error) {
	if err := CheckPassRoles(in.PassRoles); err != nil {
		return nil, err
	}
	cluster, err := c.Podid.RegisterCluster(ctx, clients.RegisterInput{
		Name: in.Name, Issuer: in.Issuer, JWKS: in.JWKS, Discover: in.Discover, NodeBinding: in.NodeBinding, Version: in.Version,
		Endpoint: in.Endpoint, CertificateAuthority: in.CA, Tags: in.Tags,
	})
	switch {
	case err == nil:
		if in.Progress != nil {
			in.Progress("registered cluster " + in.Name)
		}
	case clients.IsConflict(err):
		if cluster, err = updateCluster(ctx, c, &in); err != nil {
			return nil, err
		}
	default:
		return nil, fmt.Errorf("register cluster %s: %w", in.Name, err)
	}
	out := &Registered{Cluster: cluster}
	if !in.NoNodeRole {
		boundary, err := ensureBoundary(ctx, c, &in, cluster)
		if err != nil {
			return nil, err
		}
		if out.NodeRoleARN, err = ensureRole(ctx, c, &in, nodeRole(&in, cluster, boundary)); err != nil {
			return nil, err
		}
	}
	if !in.NoOperatorRole {
		if out.OperatorRoleARN, err = ensureRole(ctx, c, &in, operatorRole(&in, cluster)); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// updateCluster brings a cluster that is registered to what in says.
func updateCluster(ctx context.Context, c *clients.Clients, in *ClusterInput) (*clients.Cluster, error) {
	have, err := c.Podid.DescribeCluster(ctx, in.Name)
	if err != nil {
		return nil, fmt.Errorf("describe cluster %s: %w", in.Name, err)
	}
	if in.Issuer != "" && have.Issuer != in.Issuer {
		return nil, &Failure{
			fmt.Errorf("cluster %s is registered with the issuer %s, and this one's is %s", in.Name, have.Issuer, in.Issuer),
			"it is another cluster: choose another name, or delete the one that is registered",
		}
	}
	change := clients.UpdateInput{JWKS: in.JWKS, KeepOldKeys: in.JWKS != nil, Version: optional(in.Version), Endpoint: optional(in.Endpoint), CertificateAuthority: optional(in.CA)}
	if change.JWKS == nil && change.Version == nil && change.Endpoint == nil && change.CertificateAuthority == nil {
		return have, nil
	}
	out, err := c.Podid.UpdateCluster(ctx, in.Name, change)
	if err != nil {
		return nil, fmt.Errorf("update cluster %s: %w", in.Name, err)
	}
	return out, nil
}

func ensureBoundary(ctx context.Context, c *clients.Clients, in *ClusterInput, cluster *clients.Cluster) (string, error) {
	parts := strings.SplitN(cluster.Arn, ":", 6)
	name := nodeBoundaryName(in.Name)
	_, err := (&change{progress: in.Progress}).nodeBoundary(ctx, c, in, cluster)
	if err != nil && !clients.IsConflict(err) {
		return "", fmt.Errorf("create policy %s: %w", name, err)
	}
	return fmt.Sprintf("arn:%s:iam::%s:policy/%s", parts[1], parts[4], name), nil
}

// ensureRole makes a role, or gives the one that podid made for the cluster
// what it lacks.
func ensureRole(ctx context.Context, c *clients.Clients, in *ClusterInput, want RoleInput) (string, error) {
	ch := &change{progress: in.Progress}
	have, err := DescribeRole(ctx, c, want.Name)
	if clients.IsNotFound(err) {
		bare := want
		bare.PolicyARNs, bare.Inline = nil, nil
		if _, err = ch.createRole(ctx, c, bare); err == nil || clients.IsConflict(err) {
			have, err = DescribeRole(ctx, c, want.Name)
		}
	}
	if err != nil {
		return "", fmt.Errorf("make role %s: %w", want.Name, err)
	}
	if !have.madeFor(in.Name) {
		return "", fmt.Errorf("role %s was not made for cluster %s: it is left as it is", want.Name, in.Name)
	}
	if err := ch.mendRole(ctx, c, have, &want); err != nil {
		return "", fmt.Errorf("mend role %s: %w", want.Name, err)
	}
	return aws.ToString(have.Arn), nil
}

func (ch *change) mendRole(ctx context.Context, c *clients.Clients, have *Role, want *RoleInput) error {
	if have.Trust != want.Trust { // that of an earlier cluster of the name
		if _, err := c.IAM.UpdateAssumeRolePolicy(ctx, &iam.UpdateAssumeRolePolicyInput{RoleName: &want.Name, PolicyDocument: &want.Trust}); err != nil {
			return fmt.Errorf("write trust policy: %w", err)
		}
	}
	if want.Boundary != "" && (have.PermissionsBoundary == nil || aws.ToString(have.PermissionsBoundary.PermissionsBoundaryArn) != want.Boundary) {
		if _, err := c.IAM.PutRolePermissionsBoundary(ctx, &iam.PutRolePermissionsBoundaryInput{RoleName: &want.Name, PermissionsBoundary: &want.Boundary}); err != nil {
			return fmt.Errorf("write boundary: %w", err)
		}
	}
	for _, p := range want.PolicyARNs {
		if slices.Contains(have.Attached, p) {
			continue
		}
		if _, err := c.IAM.AttachRolePolicy(ctx, &iam.AttachRolePolicyInput{RoleName: &want.Name, PolicyArn: &p}); err != nil {
			return fmt.Errorf("attach %s: %w", p, err)
		}
	}
	now, err := InlinePolicies(ctx, c, have)
	if err != nil {
		return err
	}
	lacking := RoleInput{Name: want.Name}
	for _, p := range want.Inline {
		if !slices.Contains(now, p) {
			lacking.Inline = append(lacking.Inline, p)
		}
	}
	return ch.putInline(ctx, c, &lacking)
}
