// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	iamtypes "github.com/aws/aws-sdk-go-v2/service/iam/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/spf13/cobra"

	"podid/internal/cli/clients"
	"podid/internal/cli/setup"
	"podid/internal/cli/trust"
)

// roleJSON is a role as -o json and yaml show it.
type roleJSON struct {
	Name        string            `json:"roleName"`
	Arn         string            `json:"arn"`
	ID          string            `json:"roleId"`
	Trust       string            `json:"assumeRolePolicyDocument,omitempty"`
	Attached    []string          `json:"attachedPolicyArns,omitempty"`
	Inline      []string          `json:"inlinePolicyNames,omitempty"`
	Boundary    string            `json:"permissionsBoundary,omitempty"`
	Tags        map[string]string `json:"tags,omitempty"`
	CreatedDate time.Time         `json:"createDate"`
}

func roleOf(r *iamtypes.Role) roleJSON {
	out := roleJSON{Name: aws.ToString(r.RoleName), Arn: aws.ToString(r.Arn), ID: aws.ToString(r.RoleId), CreatedDate: aws.ToTime(r.CreateDate).UTC()}
	if r.PermissionsBoundary != nil {
		out.Boundary = aws.ToString(r.PermissionsBoundary.PermissionsBoundaryArn)
	}
	for _, t := range r.Tags {
		if out.Tags == nil {
			out.Tags = map[string]string{}
		}
		out.Tags[aws.ToString(t.Key)] = aws.ToString(t.Value)
	}
	return out
}

func describeRole(ctx context.Context, api *clients.Clients, name string) (roleJSON, error) {
	r, err := setup.DescribeRole(ctx, api, name)
	if err != nil {
		return roleJSON{}, err
	}
	out := roleOf(&r.Role)
	out.Trust, out.Attached, out.Inline = r.Trust, r.Attached, r.Inline
	return out, nil
}

func (a *app) printRoles(value any, list ...roleJSON) error {
	t := table{head: []string{"NAME", "ARN", "POLICIES", "CREATED"}}
	for _, r := range list {
		var names []string
		for _, p := range r.Attached {
			names = append(names, roleName(p))
		}
		t.rows = append(t.rows, []string{r.Name, r.Arn, dash(strings.Join(append(names, r.Inline...), ",")), r.CreatedDate.Format(time.DateOnly)})
	}
	return a.print(value, t)
}

func (a *app) createRole() *cobra.Command {
	var in setup.RoleInput
	var kind, clusterName, document string
	var tags []string
	c := &cobra.Command{
		Use: "role NAME", Short: "Make a role",
		Long: `Make a role that pods of a cluster may assume (--cluster), with the trust policy of AWS'
documentation bound to this account and cluster, or with a trust policy of your own
(--trust-policy). When a step fails, the steps before are rolled back.`,
		Example: `  podid create role s3-app --cluster my-cluster --permission-policy-arns arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess
  podid create role s3-app --trust-policy @trust.json`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if kind != "pod-identity" {
				return usage(c, fmt.Errorf("--trust %s: only pod-identity is known; for others give --trust-policy", kind))
			}
			if (clusterName == "") == (document == "") {
				return usage(c, errors.New("give either --cluster or --trust-policy"))
			}
			api, err := a.connect(c.Context())
			if err != nil {
				return err
			}
			if in.Trust, err = textOrFile(document); err != nil {
				return err
			}
			if clusterName != "" {
				if in.Trust, err = podTrust(c.Context(), api, clusterName); err != nil {
					return err
				}
			}
			if in.Tags, err = parseTags(c, tags); err != nil {
				return err
			}
			in.Name = args[0]
			if _, err := setup.CreateRole(c.Context(), api, in, a.progress); err != nil {
				return err
			}
			one, err := describeRole(c.Context(), api, in.Name)
			if err != nil {
				return err
			}
			return a.printRoles(one, one)
		},
	}
	f := c.Flags()
	f.StringVar(&kind, "trust", "pod-identity", "`kind` of the trust policy to make")
	f.StringVar(&clusterName, "cluster", "", "`name` of the cluster whose pods may assume the role")
	f.StringVar(&document, "trust-policy", "", "trust policy, JSON `text` or @file")
	f.StringSliceVar(&in.PolicyARNs, "permission-policy-arns", nil, "`ARNs` of managed policies to attach")
	f.StringVar(&in.Path, "path", "", "`path` of the role, such as /apps/")
	f.StringVar(&in.Description, "description", "", "`text` that says what the role is for")
	f.StringVar(&in.Boundary, "permissions-boundary", "", "`ARN` of the managed policy that bounds the role")
	f.StringSliceVar(&tags, "tags", nil, "`key=value` pairs")
	a.addOutput(c)
	return c
}

// podTrust is the textbook trust policy for pods of a cluster.
func podTrust(ctx context.Context, api *clients.Clients, clusterName string) (string, error) {
	id, err := api.STS.GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err != nil {
		return "", err
	}
	out, err := api.EKS.DescribeCluster(ctx, &eks.DescribeClusterInput{Name: &clusterName})
	if err != nil {
		return "", err
	}
	return trust.ForPods(aws.ToString(id.Account), aws.ToString(out.Cluster.Arn)), nil
}

func (a *app) getRoles() *cobra.Command {
	var prefix string
	c := &cobra.Command{
		Use: "role [NAME]", Aliases: []string{"roles"}, Short: "Show roles",
		Long:    "Show all roles, or one with its trust policy and the names of its policies.",
		Example: "  podid get roles\n  podid get role s3-app -o yaml",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			api, err := a.connect(c.Context())
			if err != nil {
				return err
			}
			if len(args) == 1 {
				one, err := describeRole(c.Context(), api, args[0])
				if err != nil {
					return err
				}
				return a.printRoles(one, one)
			}
			in := &iam.ListRolesInput{}
			if prefix != "" {
				in.PathPrefix = &prefix
			}
			list := []roleJSON{}
			for p := iam.NewListRolesPaginator(api.IAM, in); p.HasMorePages(); {
				page, err := p.NextPage(c.Context())
				if err != nil {
					return err
				}
				for i := range page.Roles {
					list = append(list, roleOf(&page.Roles[i]))
				}
			}
			return a.printRoles(list, list...)
		},
	}
	c.Flags().StringVar(&prefix, "path-prefix", "", "`path` that the roles' paths begin with")
	a.addOutput(c)
	return c
}

func (a *app) updateRole() *cobra.Command {
	var document string
	c := &cobra.Command{
		Use: "role NAME", Short: "Replace a role's trust policy",
		Long:    "Replace a role's trust policy. Sessions that were issued go on until they expire.",
		Example: "  podid update role s3-app --trust-policy @trust.json",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := required(c, "trust-policy"); err != nil {
				return err
			}
			text, err := textOrFile(document)
			if err != nil {
				return err
			}
			api, err := a.connect(c.Context())
			if err != nil {
				return err
			}
			if _, err := api.IAM.UpdateAssumeRolePolicy(c.Context(), &iam.UpdateAssumeRolePolicyInput{RoleName: &args[0], PolicyDocument: &text}); err != nil {
				return err
			}
			one, err := describeRole(c.Context(), api, args[0])
			if err != nil {
				return err
			}
			return a.printRoles(one, one)
		},
	}
	c.Flags().StringVar(&document, "trust-policy", "", "the new trust policy, JSON `text` or @file")
	a.addOutput(c)
	return c
}

func (a *app) deleteRole() *cobra.Command {
	var force bool
	c := &cobra.Command{
		Use: "role NAME", Short: "Delete a role with its inline policies",
		Long:    "Delete a role: its policies are detached or, if inline, deleted first. Refused while associations name the role, unless --force.",
		Example: "  podid delete role s3-app",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			api, err := a.connect(c.Context())
			if err != nil {
				return err
			}
			r, err := setup.DescribeRole(c.Context(), api, args[0])
			if err != nil {
				return err
			}
			if !force {
				users, err := setup.RoleUsers(c.Context(), api, aws.ToString(r.Arn))
				if err != nil {
					return err
				}
				if len(users) > 0 {
					return &setup.Failure{Err: setup.InUse(users), Hint: "delete the associations first, or give --force: their pods then get no credentials"}
				}
			}
			if err := setup.DeleteRole(c.Context(), api, r); err != nil {
				return err
			}
			_, err = fmt.Fprintln(a.Out, "deleted role "+args[0])
			return err
		},
	}
	c.Flags().BoolVar(&force, "force", false, "delete the role although associations name it")
	return c
}

// deleteOwnRole deletes a role that podid made and nothing else uses.
func (a *app) deleteOwnRole(ctx context.Context, api *clients.Clients, roleARN string) error {
	r, err := setup.DescribeRole(ctx, api, roleName(roleARN))
	if err != nil {
		return err
	}
	if !r.CreatedByPodid() {
		_, err := fmt.Fprintln(a.Out, "kept role "+roleName(roleARN)+": podid did not make it")
		return err
	}
	users, err := setup.RoleUsers(ctx, api, roleARN)
	if err != nil {
		return err
	}
	if len(users) > 0 {
		_, err := fmt.Fprintln(a.Out, "kept role "+roleName(roleARN)+": used by "+strings.Join(users, ", "))
		return err
	}
	if err := setup.DeleteRole(ctx, api, r); err != nil {
		return err
	}
	_, err = fmt.Fprintln(a.Out, "deleted role "+roleName(roleARN))
	return err
}
