// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package setup

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"podid/internal/cli/clients"
	"podid/internal/cli/trust"
)

// The operator's service account, as podid's manifests name it.
const (
	OperatorNamespace      = "podid-system"
	OperatorServiceAccount = "podid-operator"
)

// Names of inline policies of a cluster's own roles.
const (
	agentPolicy    = "podid-agent"
	operatorPolicy = "podid-operator"
	passRolePolicy = "podid-operator-pass-role"
)

// OperatorRoleName is the name of the role of a cluster's operator; names that
// would be too long end in a hash of the cluster's name.
func OperatorRoleName(cluster string) string { return fit("podid-operator-", cluster, maxRoleName) }

// operatorRole is the role that a cluster's operator assumes.
func operatorRole(in *ClusterInput, cluster *clients.Cluster) RoleInput {
	out := RoleInput{
		Name: OperatorRoleName(in.Name), Description: "Operator of cluster " + in.Name, Tags: map[string]string{TagCluster: in.Name},
		Trust:  trust.ForAgent(cluster.ProviderArn, or(in.OperatorNamespace, OperatorNamespace), or(in.OperatorServiceAccount, OperatorServiceAccount)),
		Inline: []InlinePolicy{{operatorPolicy, trust.OperatorPolicy(cluster.Arn)}},
	}
	if len(in.PassRoles) > 0 {
		out.Inline = append(out.Inline, InlinePolicy{passRolePolicy, trust.OperatorPassRole(cluster.Arn, in.PassRoles)})
	}
	return out
}

// maxPassRoles bounds the patterns, so that the policy fits into a role.
const maxPassRoles = 30

var roleForm = regexp.MustCompile(`^arn:[a-z-]+:iam::[0-9]{12}:role/[\w+=,.@/*?-]{1,512}$`)

// CheckPassRoles refuses what is no ARN of a role, nor a pattern of the roles
// of one account.
func CheckPassRoles(roles []string) error {
	var problems []error
	for _, r := range roles {
		if !roleForm.MatchString(r) {
			problems = append(problems, fmt.Errorf("%q is no role that an operator may pass: write arn:aws:iam::111122223333:role/NAME; the name may have * and ?", r))
		}
	}
	if len(roles) > maxPassRoles {
		problems = append(problems, fmt.Errorf("%d roles that an operator may pass are given, at most %d fit into its policy: use patterns", len(roles), maxPassRoles))
	}
	return errors.Join(problems...)
}

// SetPassRoles replaces the roles that a cluster's operator may pass; none
// takes the right away. It returns the ARN of the operator's role, which has
// to be one that podid made for the cluster.
func SetPassRoles(ctx context.Context, c *clients.Clients, cluster string, roles []string, progress func(string)) (string, error) {
	if err := CheckPassRoles(roles); err != nil {
		return "", err
	}
	name := OperatorRoleName(cluster)
	role, err := DescribeRole(ctx, c, name)
	if err != nil {
		return "", fmt.Errorf("look for role %s: %w", name, err)
	}
	if !role.madeFor(cluster) {
		return "", fmt.Errorf("role %s was not made for the operator of cluster %s: its policies are left as they are", name, cluster)
	}
	_, clusterARN, err := sources(ctx, c, cluster)
	if err != nil {
		return "", err
	}
	return aws.ToString(role.Arn), putPassRoles(ctx, c, name, clusterARN, roles, progress)
}

func putPassRoles(ctx context.Context, c *clients.Clients, name, clusterARN string, roles []string, progress func(string)) error {
	ch := &change{progress: progress}
	if len(roles) > 0 {
		return ch.putInline(ctx, c, &RoleInput{Name: name, Inline: []InlinePolicy{{passRolePolicy, trust.OperatorPassRole(clusterARN, roles)}}})
	}
	_, err := c.IAM.DeleteRolePolicy(ctx, &iam.DeleteRolePolicyInput{RoleName: &name, PolicyName: aws.String(passRolePolicy)})
	if err != nil && !clients.IsNotFound(err) {
		return fmt.Errorf("delete inline policy %s: %w", passRolePolicy, err)
	}
	return nil
}

// PassRolesText says what an operator may pass, for people.
func PassRolesText(roles []string) string {
	if len(roles) == 0 {
		return "none: objects of the CRD can bind no role"
	}
	return strings.Join(roles, ", ")
}
