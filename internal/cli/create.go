// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bufio"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"podid/internal/cli/clients"
	"podid/internal/cli/setup"
)

// progress tells on standard error what was done, so that standard output
// holds the result only.
func (a *app) progress(text string) { fmt.Fprintln(a.Err, text) }

// confirm asks a question on standard error; anything but yes is no.
func (a *app) confirm(question string) (bool, error) {
	fmt.Fprintf(a.Err, "%s [y/N] ", question)
	answer, err := bufio.NewReader(a.In).ReadString('\n')
	if err != nil && answer == "" {
		return false, errors.New("nobody answered; --yes answers in advance")
	}
	answer = strings.ToLower(strings.TrimSpace(answer))
	return answer == "y" || answer == "yes", nil
}

func (a *app) createAssociation() *cobra.Command {
	var s subject
	var in setup.AssociationInput
	var tags []string
	var yes, disable bool
	c := &cobra.Command{
		Use: "podidentityassociation", Aliases: associationAliases, Short: "Give the pods of a service account a role",
		Long: `Give the pods of a service account a role. With --role-name the role is made, with the trust
policy of AWS' documentation bound to this account and cluster, and --permission-policy-arns are
attached. With --role-arn an existing role is used; --extend-trust adds this cluster to its trust
policy, after showing the change.

All or nothing: when a step fails, the steps before are rolled back.`,
		Example: `  podid create podidentityassociation --cluster my-cluster --namespace s3-app-ns --service-account-name s3-app-sa \
    --role-name s3-app-eks-pod-identity-role --permission-policy-arns arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess

  podid create podidentityassociation --cluster other --namespace s3-app-ns --service-account-name s3-app-sa \
    --role-arn arn:aws:iam::111122223333:role/s3-app-eks-pod-identity-role --extend-trust`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := required(c, "cluster", "namespace", "service-account-name"); err != nil {
				return err
			}
			if err := checkRoleFlags(c, &in); err != nil {
				return err
			}
			var err error
			if in.Policy, err = textOrFile(in.Policy); err != nil {
				return err
			}
			if in.Tags, err = parseTags(c, tags); err != nil {
				return err
			}
			in.Cluster, in.Namespace, in.ServiceAccount, in.Progress = s.cluster, s.namespace, s.serviceAccount, a.progress
			if c.Flags().Changed("disable-session-tags") {
				in.DisableSessionTags = &disable
			}
			in.Confirm = func(diff string) (bool, error) {
				fmt.Fprint(a.Err, diff)
				if yes {
					return true, nil
				}
				return a.confirm("Change the trust policy?")
			}
			api, err := a.connect(c.Context())
			if err != nil {
				return err
			}
			out, err := setup.CreateAssociation(c.Context(), api, in)
			if err != nil {
				return err
			}
			one := associationOf(out)
			return a.printAssociations(one, one)
		},
	}
	s.flags(c)
	f := c.Flags()
	f.StringVar(&in.RoleName, "role-name", "", "`name` of the role to make")
	f.StringSliceVar(&in.PolicyARNs, "permission-policy-arns", nil, "`ARNs` of managed policies for the new role")
	f.StringVar(&in.RoleARN, "role-arn", "", "`ARN` of an existing role")
	f.BoolVar(&in.ExtendTrust, "extend-trust", false, "add this cluster to the trust policy of --role-arn")
	f.BoolVarP(&yes, "yes", "y", false, "do not ask")
	f.StringVar(&in.TargetRoleARN, "target-role-arn", "", "`ARN` of a role, of any account, to chain into")
	f.BoolVar(&disable, "disable-session-tags", false, "issue credentials without the six session tags")
	f.StringVar(&in.Policy, "policy", "", "session policy, JSON `text` or @file; wants --disable-session-tags")
	f.StringSliceVar(&tags, "tags", nil, "`key=value` pairs for association and new role")
	a.addOutput(c)
	return c
}

func checkRoleFlags(c *cobra.Command, in *setup.AssociationInput) error {
	switch {
	case (in.RoleName == "") == (in.RoleARN == ""):
		return usage(c, errors.New("give either --role-name, for a new role, or --role-arn"))
	case in.RoleName == "" && len(in.PolicyARNs) > 0:
		return usage(c, errors.New("--permission-policy-arns is for a new role: give --role-name"))
	case in.RoleARN == "" && in.ExtendTrust:
		return usage(c, errors.New("--extend-trust is for an existing role: give --role-arn"))
	}
	return nil
}

func (a *app) createToken() *cobra.Command {
	var s subject
	var in clients.TokenInput
	c := &cobra.Command{
		Use: "token", Short: "Print a service account token of a local cluster",
		Long: `Print a service account token, as kubelet would project it into a pod. Only podid dev holds
the keys of its clusters; for others, kubectl create token does this.`,
		Example: `  podid create token --cluster my-cluster --namespace s3-app-ns --service-account-name s3-app-sa > token`,
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := required(c, "cluster", "namespace", "service-account-name"); err != nil {
				return err
			}
			api, err := a.connect(c.Context())
			if err != nil {
				return err
			}
			in.Namespace, in.ServiceAccount = s.namespace, s.serviceAccount
			t, err := api.Podid.CreateToken(c.Context(), s.cluster, in)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(a.Out, string(t.Token))
			return err
		},
	}
	s.flags(c)
	c.Flags().StringVar(&in.PodName, "pod-name", "", "`name` of the pod that the token is bound to")
	c.Flags().StringVar(&in.Audience, "audience", "", "`audience` of the token (default pods.eks.amazonaws.com)")
	return c
}
