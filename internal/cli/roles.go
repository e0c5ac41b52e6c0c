// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/spf13/cobra"

	"podid/internal/cli/clients"
	"podid/internal/cli/setup"
	"podid/internal/cli/trust"
)

// trustFor are the flags from which a trust policy is made.
type trustFor struct {
	kind     string // pod-identity
	clusters []string
	document string
}

func (a *app) trustFlags(cmd *cobra.Command, t *trustFor) {
	f := cmd.Flags()
	f.StringVar(&t.kind, "trust", "", "`kind` of trust policy to write: pod-identity")
	f.StringSliceVar(&t.clusters, "cluster", nil, "`names` of the clusters whose pods may assume the role; all of the account without it")
	f.StringVar(&t.document, "trust-policy", "", "trust policy: `JSON` or @file")
	register(cmd, "trust", cobra.FixedCompletions([]string{"pod-identity"}, cobra.ShellCompDirectiveNoFileComp))
	register(cmd, "cluster", a.completeClusters)
}

func (t *trustFor) check() error {
	switch {
	case (t.kind == "") == (t.document == ""):
		return usagef("--trust pod-identity or --trust-policy is needed, one of them")
	case t.kind != "" && t.kind != "pod-identity":
		return usagef("--trust %s: pod-identity is the kind there is", t.kind)
	case t.document != "" && len(t.clusters) > 0:
		return usagef("--cluster belongs to --trust pod-identity")
	}
	return nil
}

func (t *trustFor) policy(ctx context.Context, c *clients.Clients) (string, error) {
	if t.document != "" {
		return document("trust-policy", t.document)
	}
	id, err := c.STS.GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err != nil {
		return "", fmt.Errorf("ask for the account: %w", err)
	}
	arns := make([]string, len(t.clusters))
	for i, name := range t.clusters {
		out, err := c.EKS.DescribeCluster(ctx, &eks.DescribeClusterInput{Name: &name})
		if err != nil {
			return "", err
		}
		arns[i] = aws.ToString(out.Cluster.Arn)
	}
	return trust.ForPods(aws.ToString(id.Account), arns...), nil
}

func (a *app) createRole() *cobra.Command {
	var t trustFor
	var in setup.RoleInput
	cmd := &cobra.Command{
		Use:   "role NAME",
		Short: "Create a role for pods",
		Long: `Create a role. --trust pod-identity writes the trust policy that lets pods of this account assume
it, of the given clusters only if --cluster names some; --trust-policy takes one of your own.
It is all or nothing: when a policy cannot be attached, the role is deleted again.`,
		Example: `  podid create role s3-app-role --trust pod-identity --cluster my-cluster,other \
    --permission-policy-arns arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess
  podid create role ci --trust-policy @trust.json --path /build/`,
		Args: exactly(1, "the NAME of the role"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := t.check(); err != nil {
				return err
			}
			c, err := a.clients(cmd.Context())
			if err != nil {
				return err
			}
			if in.Trust, err = t.policy(cmd.Context(), c); err != nil {
				return err
			}
			in.Name = args[0]
			if _, err := setup.CreateRole(cmd.Context(), c, in, a.progress); err != nil {
				return err
			}
			return a.showRole(cmd.Context(), c, in.Name)
		},
	}
	a.trustFlags(cmd, &t)
	f := cmd.Flags()
	f.StringSliceVar(&in.PolicyARNs, "permission-policy-arns", nil, "`ARNs` of policies to attach, separated by commas")
	f.StringVar(&in.Path, "path", "", "`path` of the role: /team/")
	f.StringVar(&in.Boundary, "permissions-boundary-arn", "", "`ARN` of the policy that bounds the role")
	f.StringVar(&in.Description, "description", "", "`text` for people")
	f.StringToStringVar(&in.Tags, "tags", nil, "`tags` of the role: key=value,…")
	return cmd
}

func (a *app) updateRole() *cobra.Command {
	var t trustFor
	cmd := &cobra.Command{
		Use:   "role NAME",
		Short: "Replace a role's trust policy",
		Long: `Replace a role's trust policy, by the one for pods of the given clusters or by one of your own.
To add a cluster and keep the rest: podid create podidentityassociation --role-arn … --extend-trust.`,
		Example: `  podid update role s3-app-role --trust pod-identity --cluster my-cluster,other
  podid update role s3-app-role --trust-policy @trust.json`,
		Args: exactly(1, "the NAME of the role"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := t.check(); err != nil {
				return err
			}
			c, err := a.clients(cmd.Context())
			if err != nil {
				return err
			}
			text, err := t.policy(cmd.Context(), c)
			if err != nil {
				return err
			}
			if _, err := c.IAM.UpdateAssumeRolePolicy(cmd.Context(), &iam.UpdateAssumeRolePolicyInput{RoleName: &args[0], PolicyDocument: &text}); err != nil {
				return err
			}
			a.say("updated the trust policy of role %s", args[0])
			return a.showRole(cmd.Context(), c, args[0])
		},
	}
	a.trustFlags(cmd, &t)
	return cmd
}

// roleJSON is a role in JSON and YAML.
type roleJSON struct {
	RoleName            string            `json:"roleName"`
	Arn                 string            `json:"arn"`
	RoleID              string            `json:"roleId"`
	Path                string            `json:"path"`
	Description         string            `json:"description,omitempty"`
	MaxSessionDuration  int32             `json:"maxSessionDuration"` // seconds
	PermissionsBoundary string            `json:"permissionsBoundary,omitempty"`
	TrustPolicy         json.RawMessage   `json:"trustPolicy,omitempty"`
	AttachedPolicies    []string          `json:"attachedPolicies,omitempty"`
	InlinePolicies      []string          `json:"inlinePolicies,omitempty"`
	Tags                map[string]string `json:"tags,omitempty"`
	CreatedAt           time.Time         `json:"createdAt"`
}

func newRole(r *setup.Role) roleJSON {
	x := roleJSON{
		RoleName: aws.ToString(r.RoleName), Arn: aws.ToString(r.Arn), RoleID: aws.ToString(r.RoleId), Path: aws.ToString(r.Path),
		Description: aws.ToString(r.Description), MaxSessionDuration: aws.ToInt32(r.MaxSessionDuration), TrustPolicy: json.RawMessage(r.Trust),
		AttachedPolicies: r.Attached, InlinePolicies: r.Inline, Tags: map[string]string{}, CreatedAt: aws.ToTime(r.CreateDate),
	}
	if r.PermissionsBoundary != nil {
		x.PermissionsBoundary = aws.ToString(r.PermissionsBoundary.PermissionsBoundaryArn)
	}
	for _, t := range r.Tags {
		x.Tags[aws.ToString(t.Key)] = aws.ToString(t.Value)
	}
	return x
}

func (a *app) showRole(ctx context.Context, c *clients.Clients, name string) error {
	role, err := setup.DescribeRole(ctx, c, name)
	if err != nil {
		return err
	}
	x := newRole(role)
	return a.print(x, func(w io.Writer) error {
		document, err := trust.Format(role.Trust)
		if err != nil {
			document = role.Trust
		}
		return fields(w, "role", x.RoleName, "arn", x.Arn, "unique id", x.RoleID, "description", x.Description,
			"boundary", x.PermissionsBoundary, "policies", strings.Join(x.AttachedPolicies, "\n"), "inline policies", strings.Join(x.InlinePolicies, "\n"),
			"tags", tagText(x.Tags), "longest session", (time.Duration(x.MaxSessionDuration) * time.Second).String(),
			"created", x.CreatedAt.Format(time.RFC3339), "trust policy", document)
	})
}

func (a *app) getRoles() *cobra.Command {
	var prefix string
	cmd := &cobra.Command{
		Use: "role [NAME]", Aliases: []string{"roles"},
		Short: "Show the roles of the account, or one with its policies",
		Long:  `Show the roles of the account, all pages, or one role with its trust policy, policies and tags.`,
		Example: `  podid get roles
  podid get roles --path-prefix /team/
  podid get role s3-app-role -o yaml`,
		Args: upTo(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.clients(cmd.Context())
			if err != nil {
				return err
			}
			if len(args) == 1 {
				return a.showRole(cmd.Context(), c, args[0])
			}
			in := &iam.ListRolesInput{}
			if prefix != "" {
				in.PathPrefix = &prefix
			}
			all := []roleJSON{}
			lines := [][]string{}
			for pages := iam.NewListRolesPaginator(c.IAM, in); pages.HasMorePages(); {
				page, err := pages.NextPage(cmd.Context())
				if err != nil {
					return err
				}
				for _, r := range page.Roles {
					x := newRole(&setup.Role{Role: r})
					x.TrustPolicy = nil // the list's form of it is encoded; ask for the role to see it
					all = append(all, x)
					lines = append(lines, []string{x.RoleName, x.Arn, x.CreatedAt.Format(time.RFC3339)})
				}
			}
			return a.print(all, func(w io.Writer) error { return rows(w, "ROLE ARN CREATED", lines) })
		},
	}
	cmd.Flags().StringVar(&prefix, "path-prefix", "", "only roles whose `path` begins with this")
	return cmd
}

func (a *app) deleteRole() *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:   "role NAME",
		Short: "Delete a role with its policies",
		Long: `Delete a role: its policies are detached, its inline policies deleted. Sessions of the role end at
once. A role that an association of any cluster names is kept, unless --force is given.`,
		Example: `  podid delete role s3-app-role
  podid delete role s3-app-role --force`,
		Args: exactly(1, "the NAME of the role"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.clients(cmd.Context())
			if err != nil {
				return err
			}
			role, err := setup.DescribeRole(cmd.Context(), c, args[0])
			if err != nil {
				return err
			}
			if !force {
				users, err := setup.RoleUsers(cmd.Context(), c, aws.ToString(role.Arn))
				if err != nil {
					return err
				}
				if len(users) > 0 {
					return &setup.Failure{Err: setup.InUse(users), Hint: "delete those associations first, or give --force: their pods then get no credentials"}
				}
			}
			if err := setup.DeleteRole(cmd.Context(), c, role); err != nil {
				return err
			}
			a.say("deleted role %s", args[0])
			return nil
		},
	}
	cmd.Flags().BoolVar(&force, "force", false, "delete it even if associations use it")
	return cmd
}
