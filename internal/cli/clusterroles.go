// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"slices"

	"podid/internal/cli/clients"
	"podid/internal/cli/setup"
)

// registered shows what registering made, and says what an operator cannot do.
func (a *app) registered(made *setup.Registered, in *setup.ClusterInput) clusterJSON {
	x := newCluster(made.Cluster)
	x.NodeRoleArn, x.OperatorRoleArn = made.NodeRoleARN, made.OperatorRoleARN
	if x.OperatorRoleArn != "" && len(in.PassRoles) == 0 {
		a.say("the operator may pass no role: objects of the CRD can bind none until podid update cluster %s --operator-pass-role ARN", in.Name)
	}
	return x
}

// setPassRoles replaces the roles that the cluster's operator may give pods.
func (a *app) setPassRoles(ctx context.Context, c *clients.Clients, cluster string, roles []string) error {
	roles = slices.DeleteFunc(roles, func(r string) bool { return r == "" })
	if err := checkPassRoles(roles); err != nil {
		return err
	}
	if _, err := setup.SetPassRoles(ctx, c, cluster, roles, a.progress); err != nil {
		return err
	}
	a.say("the operator of cluster %s may pass: %s", cluster, setup.PassRolesText(roles))
	return nil
}

func checkPassRoles(roles []string) error {
	if err := setup.CheckPassRoles(roles); err != nil {
		return usagef("--operator-pass-role: %w", err)
	}
	return nil
}
