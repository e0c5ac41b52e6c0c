// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	ekstypes "github.com/aws/aws-sdk-go-v2/service/eks/types"
	"github.com/spf13/cobra"

	"podid/internal/cli/clients"
	"podid/internal/cli/setup"
)

const associationNoun = "podidentityassociation"

var associationAliases = []string{"podidentityassociations", "pia"}

// subject is a service account in a cluster.
type subject struct{ cluster, namespace, serviceAccount string }

func (a *app) subjectFlags(cmd *cobra.Command, s *subject) {
	a.clusterFlag(cmd, &s.cluster)
	cmd.Flags().StringVar(&s.namespace, "namespace", "", "`namespace` of the service account")
	cmd.Flags().StringVar(&s.serviceAccount, "service-account-name", "", "`name` of the service account")
}

func (a *app) clusterFlag(cmd *cobra.Command, name *string) {
	cmd.Flags().StringVar(name, "cluster", a.lookup("PODID_CLUSTER"), "`name` of the cluster (PODID_CLUSTER)")
	register(cmd, "cluster", a.completeClusters)
}

func (s subject) check() error {
	return missing("cluster", s.cluster, "namespace", s.namespace, "service-account-name", s.serviceAccount)
}

// association is an association in JSON and YAML, with AWS' member names.
type association struct {
	ClusterName        string            `json:"clusterName"`
	Namespace          string            `json:"namespace"`
	ServiceAccount     string            `json:"serviceAccount"`
	RoleArn            string            `json:"roleArn"`
	AssociationArn     string            `json:"associationArn"`
	AssociationID      string            `json:"associationId"`
	TargetRoleArn      string            `json:"targetRoleArn,omitempty"`
	ExternalID         string            `json:"externalId,omitempty"`
	DisableSessionTags bool              `json:"disableSessionTags"`
	Policy             string            `json:"policy,omitempty"`
	OwnerArn           string            `json:"ownerArn,omitempty"`
	Tags               map[string]string `json:"tags"`
	CreatedAt          time.Time         `json:"createdAt"`
	ModifiedAt         time.Time         `json:"modifiedAt"`
}

func newAssociation(a *ekstypes.PodIdentityAssociation) association {
	out := association{
		ClusterName: aws.ToString(a.ClusterName), Namespace: aws.ToString(a.Namespace), ServiceAccount: aws.ToString(a.ServiceAccount),
		RoleArn: aws.ToString(a.RoleArn), AssociationArn: aws.ToString(a.AssociationArn), AssociationID: aws.ToString(a.AssociationId),
		TargetRoleArn: aws.ToString(a.TargetRoleArn), ExternalID: aws.ToString(a.ExternalId), DisableSessionTags: aws.ToBool(a.DisableSessionTags),
		Policy: aws.ToString(a.Policy), OwnerArn: aws.ToString(a.OwnerArn), Tags: a.Tags, CreatedAt: aws.ToTime(a.CreatedAt), ModifiedAt: aws.ToTime(a.ModifiedAt),
	}
	if out.Tags == nil {
		out.Tags = map[string]string{}
	}
	return out
}

func (x association) fields(w io.Writer) error {
	return fields(w, "association", x.AssociationID, "arn", x.AssociationArn, "cluster", x.ClusterName, "namespace", x.Namespace,
		"service account", x.ServiceAccount, "role", x.RoleArn, "target role", x.TargetRoleArn, "external id", x.ExternalID,
		"session tags", map[bool]string{false: "on", true: "off"}[x.DisableSessionTags], "session policy", x.Policy, "owner", x.OwnerArn,
		"tags", tagText(x.Tags), "created", x.CreatedAt.Format(time.RFC3339), "modified", x.ModifiedAt.Format(time.RFC3339))
}

func (a *app) printAssociation(p *ekstypes.PodIdentityAssociation) error {
	x := newAssociation(p)
	return a.print(x, x.fields)
}

// errorsFirst is the first error.
func errorsFirst(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

var errNobody = errors.New("nobody answered, nothing was changed; --yes answers in advance")

// confirm asks on standard error and reads the answer. Without an answer
// nothing is done.
func (a *app) confirm(ctx context.Context, yes bool, question string) (bool, error) {
	if yes {
		return true, nil
	}
	fmt.Fprintf(a.Err, "%s [y/N] ", question)
	answer := make(chan string, 1)
	go func() { // ends with the program at the latest: a terminal's read cannot be interrupted
		line, err := bufio.NewReader(a.In).ReadString('\n')
		if err != nil && line == "" {
			close(answer)
			return
		}
		answer <- strings.ToLower(strings.TrimSpace(line))
	}()
	select {
	case <-ctx.Done():
		return false, ctx.Err()
	case line, answered := <-answer:
		if !answered {
			return false, errNobody
		}
		return line == "y" || line == "yes", nil
	}
}

func (a *app) getAssociations() *cobra.Command {
	var s subject
	var id string
	cmd := &cobra.Command{
		Use: associationNoun, Aliases: associationAliases,
		Short: "Show the associations of a cluster",
		Long: `Show the associations of a cluster, all of them or those of a namespace or service account.
All pages are followed. JSON and YAML hold a list; with --association-id, the one association.`,
		Example: `  podid get podidentityassociation --cluster my-cluster
  podid get podidentityassociation --cluster my-cluster --namespace s3-app-ns -o yaml
  podid get pia --cluster my-cluster --association-id a-0123456789abcdefg`,
		Args: upTo(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := missing("cluster", s.cluster); err != nil {
				return err
			}
			if id != "" && (s.namespace != "" || s.serviceAccount != "") {
				return usagef("--association-id names one association: give no filter with it")
			}
			c, err := a.clients(cmd.Context())
			if err != nil {
				return err
			}
			if id != "" {
				out, err := c.EKS.DescribePodIdentityAssociation(cmd.Context(), &eks.DescribePodIdentityAssociationInput{ClusterName: &s.cluster, AssociationId: &id})
				if err != nil {
					return err
				}
				return a.printAssociation(out.Association)
			}
			return a.listAssociations(cmd.Context(), c, s)
		},
	}
	a.subjectFlags(cmd, &s)
	cmd.Flags().StringVar(&id, "association-id", "", "show the association of this `id`")
	return cmd
}

func (a *app) listAssociations(ctx context.Context, c *clients.Clients, s subject) error {
	in := &eks.ListPodIdentityAssociationsInput{ClusterName: &s.cluster}
	if s.namespace != "" {
		in.Namespace = &s.namespace
	}
	if s.serviceAccount != "" {
		in.ServiceAccount = &s.serviceAccount
	}
	found, err := setup.ListAssociations(ctx, c, in)
	if err != nil {
		return err
	}
	all := make([]association, len(found))
	lines := make([][]string, len(found))
	for i, f := range found {
		x := newAssociation(f)
		all[i] = x
		lines[i] = []string{x.AssociationID, x.Namespace, x.ServiceAccount, x.RoleArn, x.TargetRoleArn}
	}
	return a.print(all, func(w io.Writer) error {
		return rows(w, "ASSOCIATION NAMESPACE SERVICE-ACCOUNT ROLE TARGET-ROLE", lines)
	})
}
