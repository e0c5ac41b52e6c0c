// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	"github.com/spf13/cobra"

	"podid/internal/cli/clients"
)

const accessPolicyNoun = "accesspolicy"

var accessPolicyAliases = []string{"accesspolicies"}

// policyARN makes the ARN of an access policy of its name; an ARN stays.
func policyARN(policy, principal string) string {
	if strings.HasPrefix(policy, "arn:") {
		return policy
	}
	partition := "aws"
	if parts := strings.SplitN(principal, ":", 3); len(parts) == 3 && parts[0] == "arn" {
		partition = parts[1]
	}
	return "arn:" + partition + ":eks::aws:cluster-access-policy/" + policy
}

// policyJSON is an access policy that there is.
type policyJSON struct {
	Name string `json:"name"`
	Arn  string `json:"arn"`
}

func accessPolicies(ctx context.Context, c *clients.Clients) ([]policyJSON, error) {
	all := []policyJSON{}
	pages := eks.NewListAccessPoliciesPaginator(c.EKS, &eks.ListAccessPoliciesInput{})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("list access policies: %w", err)
		}
		for _, p := range page.AccessPolicies {
			all = append(all, policyJSON{aws.ToString(p.Name), aws.ToString(p.Arn)})
		}
	}
	return all, nil
}

func (a *app) getAccessPolicies() *cobra.Command {
	return &cobra.Command{
		Use: accessPolicyNoun, Aliases: accessPolicyAliases,
		Short:   "Show the access policies that there are",
		Long:    `Show the access policies that access entries may have. Which an entry has is shown by podid get accessentry.`,
		Example: "  podid get accesspolicies\n  podid get accesspolicies -o json",
		Args:    upTo(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.clients(cmd.Context())
			if err != nil {
				return err
			}
			all, err := accessPolicies(cmd.Context(), c)
			if err != nil {
				return err
			}
			lines := make([][]string, len(all))
			for i, p := range all {
				lines[i] = []string{p.Name, p.Arn}
			}
			return a.print(all, func(w io.Writer) error { return rows(w, "NAME ARN", lines) })
		},
	}
}

func (a *app) policyFlag(cmd *cobra.Command, e *entryOf, policy *string) {
	a.entryFlags(cmd, e)
	cmd.Flags().StringVar(policy, "policy", "", "`name` or ARN of the access policy")
	register(cmd, "policy", func(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
		ctx, cancel := context.WithTimeout(cmd.Context(), completeTime)
		defer cancel()
		c, err := a.clients(ctx)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		all, err := accessPolicies(ctx, c)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		var names []string
		for _, p := range all {
			names = append(names, p.Name)
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	})
}

func (a *app) associateAccessPolicy() *cobra.Command {
	var e entryOf
	var policy string
	var namespaces []string
	cmd := &cobra.Command{
		Use: accessPolicyNoun, Aliases: accessPolicyAliases,
		Short: "Give an access entry an access policy",
		Long: `Give an access entry an access policy, for the whole cluster or for namespaces; given again, its scope
is replaced. In Kubernetes the policy is a group that manifests give its meaning:
docs/operations/kubectl-access.md.`,
		Example: `  podid associate accesspolicy --cluster my-cluster --principal-arn arn:aws:iam::111122223333:role/dev \
    --policy AmazonEKSViewPolicy --namespaces s3-app-ns`,
		Args: upTo(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := missing("cluster", e.cluster, "principal-arn", e.principal, "policy", policy); err != nil {
				return err
			}
			c, err := a.clients(cmd.Context())
			if err != nil {
				return err
			}
			_, err = c.EKS.AssociateAccessPolicy(cmd.Context(), &eks.AssociateAccessPolicyInput{
				ClusterName: &e.cluster, PrincipalArn: &e.principal, PolicyArn: aws.String(policyARN(policy, e.principal)), AccessScope: scopeOf(namespaces),
			})
			if err != nil {
				return err
			}
			a.say("associated %s with the access entry of %s", policy, e.principal)
			return a.showEntry(cmd.Context(), c, e)
		},
	}
	a.policyFlag(cmd, &e, &policy)
	cmd.Flags().StringSliceVar(&namespaces, "namespaces", nil, "`namespaces` that the policy counts in; the whole cluster without it")
	return cmd
}

func (a *app) disassociateAccessPolicy() *cobra.Command {
	var e entryOf
	var policy string
	cmd := &cobra.Command{
		Use: accessPolicyNoun, Aliases: accessPolicyAliases,
		Short:   "Take an access policy from an access entry",
		Long:    `Take an access policy from an access entry, in all namespaces that it counts in.`,
		Example: `  podid disassociate accesspolicy --cluster my-cluster --principal-arn arn:aws:iam::111122223333:role/dev --policy AmazonEKSViewPolicy`,
		Args:    upTo(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := missing("cluster", e.cluster, "principal-arn", e.principal, "policy", policy); err != nil {
				return err
			}
			c, err := a.clients(cmd.Context())
			if err != nil {
				return err
			}
			_, err = c.EKS.DisassociateAccessPolicy(cmd.Context(), &eks.DisassociateAccessPolicyInput{
				ClusterName: &e.cluster, PrincipalArn: &e.principal, PolicyArn: aws.String(policyARN(policy, e.principal)),
			})
			if err != nil {
				return err
			}
			a.say("disassociated %s from the access entry of %s", policy, e.principal)
			return a.showEntry(cmd.Context(), c, e)
		},
	}
	a.policyFlag(cmd, &e, &policy)
	return cmd
}
