// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	ekstypes "github.com/aws/aws-sdk-go-v2/service/eks/types"
	"github.com/spf13/cobra"

	"podid/internal/cli/clients"
	"podid/internal/cli/setup"
)

// which names one association: by id, or by service account.
type which struct {
	subject
	id string
}

func (a *app) whichFlags(cmd *cobra.Command, w *which) {
	a.subjectFlags(cmd, &w.subject)
	cmd.Flags().StringVar(&w.id, "association-id", "", "`id` of the association, instead of namespace and service account")
}

func (w *which) check() error {
	if w.id != "" {
		if w.namespace != "" || w.serviceAccount != "" {
			return usagef("give --association-id, or --namespace and --service-account-name, not both")
		}
		return missing("cluster", w.cluster)
	}
	return w.subject.check()
}

func (w *which) find(ctx context.Context, c *clients.Clients) (*ekstypes.PodIdentityAssociation, error) {
	if w.id == "" {
		return setup.FindAssociation(ctx, c, w.cluster, w.namespace, w.serviceAccount)
	}
	out, err := c.EKS.DescribePodIdentityAssociation(ctx, &eks.DescribePodIdentityAssociationInput{ClusterName: &w.cluster, AssociationId: &w.id})
	if err != nil {
		return nil, err
	}
	return out.Association, nil
}

func (a *app) updateAssociation() *cobra.Command {
	var w which
	var roleARN, target, policy string
	var disable bool
	cmd := &cobra.Command{
		Use: associationNoun, Aliases: associationAliases,
		Short: "Change role, target role, session tags or session policy of an association",
		Long: `Change an association. What no flag names stays as it is; --target-role-arn "" and
--policy "" take target role and session policy away. Namespace and service account of an
association never change. Pods have the new role when their credentials are renewed.`,
		Example: `  podid update podidentityassociation --cluster my-cluster --namespace s3-app-ns \
    --service-account-name s3-app-sa --role-arn arn:aws:iam::111122223333:role/s3-writer
  podid update pia --cluster my-cluster --association-id a-0123456789abcdefg --target-role-arn ""`,
		Args: upTo(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := w.check(); err != nil {
				return err
			}
			in := &eks.UpdatePodIdentityAssociationInput{ClusterName: &w.cluster}
			f := cmd.Flags()
			text, err := document("policy", policy)
			if err != nil {
				return err
			}
			for flag, set := range map[string]func(){
				"role-arn": func() { in.RoleArn = &roleARN }, "target-role-arn": func() { in.TargetRoleArn = &target },
				"policy": func() { in.Policy = &text }, "disable-session-tags": func() { in.DisableSessionTags = &disable },
			} {
				if f.Changed(flag) {
					set()
				}
			}
			if in.RoleArn == nil && in.TargetRoleArn == nil && in.Policy == nil && in.DisableSessionTags == nil {
				return usagef("--role-arn, --target-role-arn, --disable-session-tags or --policy is needed")
			}
			c, err := a.clients(cmd.Context())
			if err != nil {
				return err
			}
			found, err := w.find(cmd.Context(), c)
			if err != nil {
				return err
			}
			in.AssociationId = found.AssociationId
			out, err := c.EKS.UpdatePodIdentityAssociation(cmd.Context(), in)
			if err != nil {
				return err
			}
			a.say("updated association %s", aws.ToString(out.Association.AssociationId))
			return a.printAssociation(out.Association)
		},
	}
	a.whichFlags(cmd, &w)
	cmd.Flags().StringVar(&roleARN, "role-arn", "", "`ARN` of the role")
	cmd.Flags().StringVar(&target, "target-role-arn", "", "`ARN` of the target role, \"\" for none")
	cmd.Flags().BoolVar(&disable, "disable-session-tags", false, "do not add session tags; =false adds them again")
	cmd.Flags().StringVar(&policy, "policy", "", "session policy: `JSON` or @file, \"\" for none")
	return cmd
}

func (a *app) deleteAssociation() *cobra.Command {
	var w which
	var deleteRole bool
	cmd := &cobra.Command{
		Use: associationNoun, Aliases: associationAliases,
		Short: "Take a role from a service account",
		Long: `Delete an association. Credentials that pods have stay good until they expire.

With --delete-role the role goes too, if podid created it (tag ` + setup.TagCreatedBy + `=` + setup.CreatedBy + `) and no
other association of any cluster uses it; otherwise it stays, and the reason is told.`,
		Example: `  podid delete podidentityassociation --cluster my-cluster --namespace s3-app-ns --service-account-name s3-app-sa
  podid delete pia --cluster my-cluster --association-id a-0123456789abcdefg --delete-role`,
		Args: upTo(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := w.check(); err != nil {
				return err
			}
			c, err := a.clients(cmd.Context())
			if err != nil {
				return err
			}
			found, err := w.find(cmd.Context(), c)
			if err != nil {
				return err
			}
			out, err := c.EKS.DeletePodIdentityAssociation(cmd.Context(), &eks.DeletePodIdentityAssociationInput{ClusterName: &w.cluster, AssociationId: found.AssociationId})
			if err != nil {
				return err
			}
			a.say("deleted association %s", aws.ToString(found.AssociationId))
			if deleteRole {
				if err := a.deleteUnusedRole(cmd.Context(), c, aws.ToString(out.Association.RoleArn)); err != nil {
					return fmt.Errorf("the association is deleted, its role is not: %w", err)
				}
			}
			if a.output == formatTable {
				return nil
			}
			return a.printAssociation(out.Association)
		},
	}
	a.whichFlags(cmd, &w)
	cmd.Flags().BoolVar(&deleteRole, "delete-role", false, "delete the role too, if podid created it and nothing else uses it")
	return cmd
}

// deleteUnusedRole deletes a role of ours, and tells why it keeps one.
func (a *app) deleteUnusedRole(ctx context.Context, c *clients.Clients, roleARN string) error {
	name, err := setup.RoleName(roleARN)
	if err != nil {
		return err
	}
	role, err := setup.DescribeRole(ctx, c, name)
	if err != nil {
		return err
	}
	if !role.CreatedByPodid() {
		a.say("kept role %s: podid did not create it", name)
		return nil
	}
	users, err := setup.RoleUsers(ctx, c, roleARN)
	if err != nil {
		return err
	}
	if len(users) > 0 {
		a.say("kept role %s: it is used by %d other associations, such as %s", name, len(users), users[0])
		return nil
	}
	if err := setup.DeleteRole(ctx, c, role); err != nil {
		return err
	}
	a.say("deleted role %s", name)
	return nil
}
