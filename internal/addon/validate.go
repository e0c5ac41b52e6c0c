// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package addon

import (
	"context"
	"regexp"
	"slices"

	"podid/internal/arn"
	"podid/internal/association"
	"podid/internal/cluster"
	"podid/internal/fault"
	"podid/internal/iam"
)

// maxConfiguration is in bytes; of podid's own choosing, EKS documents none.
const maxConfiguration = 32 << 10

var namespaceRE = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`)

func invalid(reason, format string, args ...any) *fault.Error {
	return fault.New(fault.InvalidParameter, format, args...).WithReason(reason)
}

// validate judges the input by itself and fills in the catalog's defaults.
func (in *CreateInput) validate() error {
	known, ok := Lookup(in.Name)
	if !ok {
		return invalid("addon-unknown", "Addon %.100s specified is not supported. DescribeAddonVersions lists those that are.", in.Name)
	}
	if in.Version == "" {
		in.Version = known.Versions[0]
	}
	if in.Namespace == "" {
		in.Namespace = known.Namespace
	}
	if !namespaceRE.MatchString(in.Namespace) {
		return invalid("namespace", "The namespace %.80q is not valid: 1 to 63 of a-z, 0-9 and '-', beginning and ending with a letter or digit.", in.Namespace)
	}
	if err := checkSettings(known, in.Version, in.ConfigurationValues, in.ResolveConflicts, in.Token, in.Roles); err != nil {
		return err
	}
	return cluster.CheckTags(in.Tags)
}

func checkSettings(known Known, version, configuration, conflicts, token string, roles []association.OwnedRole) error {
	if !slices.Contains(known.Versions, version) {
		return invalid("addon-version", "Addon version specified is not supported: %.100s of %s. DescribeAddonVersions lists those that are.", version, known.Name)
	}
	if len(configuration) > maxConfiguration {
		return invalid("configuration-values", "The configurationValues are longer than %d bytes.", maxConfiguration)
	}
	if !slices.Contains([]string{"", "OVERWRITE", "NONE", "PRESERVE"}, conflicts) {
		return invalid("resolve-conflicts", "resolveConflicts is %.40q; OVERWRITE, NONE or PRESERVE is wanted.", conflicts)
	}
	if err := cluster.CheckToken(token); err != nil {
		return err
	}
	if len(roles) > 0 && len(known.Accounts) == 0 {
		return invalid("addon-no-pod-identity", "Pod Identity feature is not supported for addon version: %s", version)
	}
	for _, r := range roles {
		if !known.has(r.ServiceAccount) {
			return invalid("addon-service-account", "Service account %.260s in pod identity configuration is not supported for addon %s", r.ServiceAccount, known.Name)
		}
	}
	return nil
}

// authorizePass asks for iam:PassRole on the role for IRSA, if one is named.
func (m *Manager) authorizePass(ctx context.Context, caller iam.Caller, clusterName, roleARN string) error {
	if roleARN == "" {
		return nil
	}
	role, err := arn.ParseRole(roleARN)
	if err != nil || role.Partition != m.Partition {
		return invalid("role-arn", "The serviceAccountRoleArn %.200q is not the ARN of a role in the partition %s.", roleARN, m.Partition).Because(err)
	}
	if role.Account != m.Account {
		return fault.New(fault.AccessDenied, "Cross-account pass role is not allowed.").WithReason("cross-account-role")
	}
	return m.Authz.Authorize(ctx, caller, iam.Query{Action: "iam:PassRole", Resource: role.String(), Keys: []iam.ConditionKey{
		{Name: "iam:PassedToService", Values: []string{"eks.amazonaws.com"}},
		{Name: "iam:AssociatedResourceArn", Values: []string{m.clusters().ARN(clusterName)}},
	}})
}

func (in CreateInput) withoutToken() CreateInput { in.Token = ""; return in }

func (in UpdateInput) withoutToken() UpdateInput { in.Token = ""; return in }
