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
	"github.com/aws/aws-sdk-go-v2/service/eks/types"
	"github.com/spf13/cobra"

	"podid/internal/cli/clients"
	"podid/internal/cli/setup"
)

var associationAliases = []string{"podidentityassociations", "pia"}

// subject names a service account of a cluster.
type subject struct{ cluster, namespace, serviceAccount string }

func (s *subject) flags(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&s.cluster, "cluster", "", "`name` of the cluster")
	f.StringVar(&s.namespace, "namespace", "", "`namespace` of the service account")
	f.StringVar(&s.serviceAccount, "service-account-name", "", "`name` of the service account")
}

// associationJSON is an association as -o json and yaml show it: AWS' names.
type associationJSON struct {
	AssociationArn     string            `json:"associationArn"`
	AssociationID      string            `json:"associationId"`
	ClusterName        string            `json:"clusterName"`
	Namespace          string            `json:"namespace"`
	ServiceAccount     string            `json:"serviceAccount"`
	RoleArn            string            `json:"roleArn,omitempty"`
	TargetRoleArn      string            `json:"targetRoleArn,omitempty"`
	ExternalID         string            `json:"externalId,omitempty"`
	Policy             string            `json:"policy,omitempty"`
	DisableSessionTags bool              `json:"disableSessionTags"`
	OwnerArn           string            `json:"ownerArn,omitempty"`
	Tags               map[string]string `json:"tags,omitempty"`
	CreatedAt          time.Time         `json:"createdAt"`
	ModifiedAt         time.Time         `json:"modifiedAt"`
}

func associationOf(p *types.PodIdentityAssociation) associationJSON {
	return associationJSON{
		AssociationArn: aws.ToString(p.AssociationArn), AssociationID: aws.ToString(p.AssociationId), ClusterName: aws.ToString(p.ClusterName),
		Namespace: aws.ToString(p.Namespace), ServiceAccount: aws.ToString(p.ServiceAccount), RoleArn: aws.ToString(p.RoleArn),
		TargetRoleArn: aws.ToString(p.TargetRoleArn), ExternalID: aws.ToString(p.ExternalId), Policy: aws.ToString(p.Policy),
		DisableSessionTags: aws.ToBool(p.DisableSessionTags), OwnerArn: aws.ToString(p.OwnerArn), Tags: p.Tags,
		CreatedAt: aws.ToTime(p.CreatedAt).UTC(), ModifiedAt: aws.ToTime(p.ModifiedAt).UTC(),
	}
}

func (a *app) printAssociations(value any, list ...associationJSON) error {
	t := table{head: []string{"ASSOCIATION ID", "CLUSTER", "NAMESPACE", "SERVICE ACCOUNT", "ROLE", "TARGET ROLE"}}
	for _, p := range list {
		t.rows = append(t.rows, []string{p.AssociationID, p.ClusterName, p.Namespace, p.ServiceAccount, dash(roleName(p.RoleArn)), dash(roleName(p.TargetRoleArn))})
	}
	return a.print(value, t)
}

func (a *app) getAssociations() *cobra.Command {
	var s subject
	var id string
	c := &cobra.Command{
		Use: "podidentityassociation", Aliases: associationAliases, Short: "Show pod identity associations",
		Long: "Show the pod identity associations of a cluster, or those of a namespace or service account, or one by its id.",
		Example: `  podid get podidentityassociation --cluster my-cluster
  podid get pia --cluster my-cluster --namespace s3-app-ns --service-account-name s3-app-sa -o json`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := required(c, "cluster"); err != nil {
				return err
			}
			api, err := a.connect(c.Context())
			if err != nil {
				return err
			}
			if id != "" {
				one, err := describeAssociation(c.Context(), api, s.cluster, id)
				if err != nil {
					return err
				}
				return a.printAssociations(one, one)
			}
			list, err := findAssociations(c.Context(), api, s)
			if err != nil {
				return err
			}
			return a.printAssociations(list, list...)
		},
	}
	s.flags(c)
	c.Flags().StringVar(&id, "association-id", "", "`id` of one association")
	a.addOutput(c)
	return c
}

func describeAssociation(ctx context.Context, api *clients.Clients, cluster, id string) (associationJSON, error) {
	out, err := api.EKS.DescribePodIdentityAssociation(ctx, &eks.DescribePodIdentityAssociationInput{ClusterName: &cluster, AssociationId: &id})
	if err != nil {
		return associationJSON{}, err
	}
	return associationOf(out.Association), nil
}

func findAssociations(ctx context.Context, api *clients.Clients, s subject) ([]associationJSON, error) {
	in := &eks.ListPodIdentityAssociationsInput{ClusterName: &s.cluster}
	if s.namespace != "" {
		in.Namespace = &s.namespace
	}
	if s.serviceAccount != "" {
		in.ServiceAccount = &s.serviceAccount
	}
	found, err := setup.ListAssociations(ctx, api, in)
	list := make([]associationJSON, len(found))
	for i, p := range found {
		list[i] = associationOf(p)
	}
	return list, err
}

// resolve returns the id of the association that the flags name.
func (s *subject) resolve(c *cobra.Command, api *clients.Clients, id string) (string, error) {
	if id != "" {
		return id, nil
	}
	if s.namespace == "" || s.serviceAccount == "" {
		return "", usage(c, errors.New("give --association-id, or --namespace and --service-account-name"))
	}
	one, err := setup.FindAssociation(c.Context(), api, s.cluster, s.namespace, s.serviceAccount)
	if err != nil {
		return "", err
	}
	return aws.ToString(one.AssociationId), nil
}

func (a *app) updateAssociation() *cobra.Command {
	var s subject
	var id, roleARN, target, policy string
	var disable bool
	c := &cobra.Command{
		Use: "podidentityassociation", Aliases: associationAliases, Short: "Change an association",
		Long: `Change an association: its role, target role, session policy or session tags. What no flag names
stays. An empty --target-role-arn or --policy takes it away.`,
		Example: `  podid update podidentityassociation --cluster my-cluster --namespace s3-app-ns --service-account-name s3-app-sa \
    --role-arn arn:aws:iam::111122223333:role/other`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := required(c, "cluster"); err != nil {
				return err
			}
			api, err := a.connect(c.Context())
			if err != nil {
				return err
			}
			if id, err = s.resolve(c, api, id); err != nil {
				return err
			}
			in := &eks.UpdatePodIdentityAssociationInput{ClusterName: &s.cluster, AssociationId: &id}
			changed := c.Flags().Changed
			if changed("role-arn") {
				in.RoleArn = &roleARN
			}
			if changed("target-role-arn") {
				in.TargetRoleArn = &target
			}
			if changed("disable-session-tags") {
				in.DisableSessionTags = &disable
			}
			if changed("policy") {
				if policy, err = textOrFile(policy); err != nil {
					return err
				}
				in.Policy = &policy
			}
			out, err := api.EKS.UpdatePodIdentityAssociation(c.Context(), in)
			if err != nil {
				return err
			}
			one := associationOf(out.Association)
			return a.printAssociations(one, one)
		},
	}
	s.flags(c)
	f := c.Flags()
	f.StringVar(&id, "association-id", "", "`id` of the association, instead of namespace and service account")
	f.StringVar(&roleARN, "role-arn", "", "`ARN` of the new role")
	f.StringVar(&target, "target-role-arn", "", "`ARN` of the role to chain into; empty to take it away")
	f.StringVar(&policy, "policy", "", "session policy, JSON `text` or @file; empty to take it away")
	f.BoolVar(&disable, "disable-session-tags", false, "issue credentials without the six session tags")
	a.addOutput(c)
	return c
}

func (a *app) deleteAssociation() *cobra.Command {
	var s subject
	var id string
	var withRole bool
	c := &cobra.Command{
		Use: "podidentityassociation", Aliases: associationAliases, Short: "Delete an association",
		Long: `Delete an association. Credentials that were issued go on until they expire. With --delete-role
the role goes too, if podid made it and no other association of the cluster uses it.`,
		Example: `  podid delete podidentityassociation --cluster my-cluster --namespace s3-app-ns --service-account-name s3-app-sa`,
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := required(c, "cluster"); err != nil {
				return err
			}
			api, err := a.connect(c.Context())
			if err != nil {
				return err
			}
			if id, err = s.resolve(c, api, id); err != nil {
				return err
			}
			out, err := api.EKS.DeletePodIdentityAssociation(c.Context(), &eks.DeletePodIdentityAssociationInput{ClusterName: &s.cluster, AssociationId: &id})
			if err != nil {
				return err
			}
			fmt.Fprintf(a.Out, "deleted association %s of %s/%s\n", id, *out.Association.Namespace, *out.Association.ServiceAccount)
			if !withRole {
				return nil
			}
			return a.deleteOwnRole(c.Context(), api, aws.ToString(out.Association.RoleArn))
		},
	}
	s.flags(c)
	c.Flags().StringVar(&id, "association-id", "", "`id` of the association, instead of namespace and service account")
	c.Flags().BoolVar(&withRole, "delete-role", false, "delete the role too, if podid made it")
	return c
}

// parseTags reads k=v pairs.
func parseTags(c *cobra.Command, pairs []string) (map[string]string, error) {
	if len(pairs) == 0 {
		return nil, nil
	}
	out := make(map[string]string, len(pairs))
	for _, p := range pairs {
		k, v, ok := strings.Cut(p, "=")
		if !ok || k == "" {
			return nil, usage(c, fmt.Errorf("--tags %q is not key=value", p))
		}
		out[k] = v
	}
	return out, nil
}
