// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package setup

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	ekstypes "github.com/aws/aws-sdk-go-v2/service/eks/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"golang.org/x/sync/errgroup"

	"podid/internal/cli/clients"
	"podid/internal/cli/trust"
	"podid/internal/cli/wellknown"
)

// AssociationInput describes an association to make. Either RoleName, for a
// new role, or RoleARN is given.
type AssociationInput struct {
	Cluster, Namespace, ServiceAccount string

	RoleName   string
	PolicyARNs []string // for the new role, as the next three
	Inline     []InlinePolicy
	WellKnown  wellknown.Set
	Boundary   string // ARN of the permissions boundary

	RoleARN     string
	ExtendTrust bool
	// Confirm is asked before a trust policy changes; nil means yes.
	Confirm func(diff string) (bool, error)

	TargetRoleARN      string
	DisableSessionTags *bool
	Policy             string
	Tags               map[string]string // of the association and a new role

	// Finish is the last step; nil for none. When it fails, association and
	// role are taken back.
	Finish func(context.Context) error

	Progress func(string) // told what was done; may be nil
}

// ErrRoleExists is the refusal to make a role whose name is taken.
var ErrRoleExists = errors.New("role exists")

// ErrDeclined is the user's no.
var ErrDeclined = errors.New("not confirmed, nothing was changed")

// CreateAssociation makes an association with its role, or nothing.
func CreateAssociation(ctx context.Context, c *clients.Clients, in AssociationInput) (*ekstypes.PodIdentityAssociation, error) {
	ch := &change{progress: in.Progress}
	var prepare func() error
	switch {
	case in.RoleName != "":
		prepare = func() error { return ch.roleForPods(ctx, c, &in) }
	case in.ExtendTrust:
		prepare = func() error { return ch.extendTrust(ctx, c, &in) }
	default:
		prepare = func() error { return nil }
	}
	if err := prepare(); err != nil {
		return nil, ch.failed(ctx, err)
	}
	a, err := ch.associate(ctx, c, &in)
	if err != nil {
		return nil, ch.failed(ctx, err)
	}
	if in.Finish == nil {
		return a, nil
	}
	ch.steps = append(ch.steps, step{"association", func(ctx context.Context) error {
		_, err := c.EKS.DeletePodIdentityAssociation(ctx, &eks.DeletePodIdentityAssociationInput{ClusterName: &in.Cluster, AssociationId: a.AssociationId})
		return err
	}})
	if err := in.Finish(ctx); err != nil {
		return nil, ch.failed(ctx, err)
	}
	return a, nil
}

// roleForPods makes the textbook role: trusted for pods of this cluster only.
func (ch *change) roleForPods(ctx context.Context, c *clients.Clients, in *AssociationInput) error {
	account, cluster, err := sources(ctx, c, in.Cluster)
	if err != nil {
		return err
	}
	out, err := c.IAM.GetRole(ctx, &iam.GetRoleInput{RoleName: &in.RoleName})
	if err == nil {
		return &Failure{
			fmt.Errorf("%w: %s", ErrRoleExists, aws.ToString(out.Role.Arn)),
			fmt.Sprintf("to use it: --role-arn %s; add --extend-trust when its trust policy does not name this cluster yet", aws.ToString(out.Role.Arn)),
		}
	}
	if !clients.IsNotFound(err) {
		return fmt.Errorf("look for role %s: %w", in.RoleName, err)
	}
	role, err := PodRole(in, account, cluster)
	if err != nil {
		return err
	}
	in.RoleARN, err = ch.createRole(ctx, c, *role)
	return err
}

// PodRole is the role that CreateAssociation makes for an association.
func PodRole(in *AssociationInput, account, clusterARN string) (*RoleInput, error) {
	known, err := in.WellKnown.Policies(strings.SplitN(clusterARN, ":", 3)[1])
	if err != nil {
		return nil, err
	}
	role := &RoleInput{
		Name: in.RoleName, Trust: trust.ForPods(account, clusterARN), Boundary: in.Boundary, Tags: in.Tags, Inline: slices.Clone(in.Inline),
		Description: fmt.Sprintf("Pods of %s/%s in cluster %s", in.Namespace, in.ServiceAccount, in.Cluster),
	}
	for _, p := range known.Inline {
		role.Inline = append(role.Inline, InlinePolicy{p.Name, string(p.Document)})
	}
	for _, p := range slices.Concat(in.PolicyARNs, known.Managed) {
		if !slices.Contains(role.PolicyARNs, p) {
			role.PolicyARNs = append(role.PolicyARNs, p)
		}
	}
	return role, nil
}

// PodRoleName makes up a name for the role of an association. It is the same
// each time, and ends in a hash, so that no two service accounts share it.
func PodRoleName(cluster, namespace, serviceAccount string) string {
	sum := sha256.Sum256([]byte(cluster + "/" + namespace + "/" + serviceAccount))
	name := "podid-" + cluster + "-" + namespace + "-" + strings.ReplaceAll(serviceAccount, ":", "-")
	return name[:min(len(name), maxRoleName-9)] + "-" + hex.EncodeToString(sum[:4])
}

// sources are the values of aws:SourceAccount and aws:SourceArn.
func sources(ctx context.Context, c *clients.Clients, cluster string) (account, clusterARN string, err error) {
	id, err := c.STS.GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err != nil {
		return "", "", fmt.Errorf("ask for the account: %w", err)
	}
	out, err := c.EKS.DescribeCluster(ctx, &eks.DescribeClusterInput{Name: &cluster})
	if err != nil {
		return "", "", err
	}
	return aws.ToString(id.Account), aws.ToString(out.Cluster.Arn), nil
}

// extendTrust adds the cluster to the role's trust policy. Rolling back
// writes the old policy, unless somebody else has changed it meanwhile.
func (ch *change) extendTrust(ctx context.Context, c *clients.Clients, in *AssociationInput) error {
	name, err := RoleName(in.RoleARN)
	if err != nil {
		return err
	}
	account, cluster, err := sources(ctx, c, in.Cluster)
	if err != nil {
		return err
	}
	role, err := DescribeRole(ctx, c, name)
	if err != nil {
		return err
	}
	if got := aws.ToString(role.Arn); got != in.RoleARN {
		return fmt.Errorf("the role of that name is %s, not %s", got, in.RoleARN)
	}
	x, err := trust.Extend(role.Trust, account, cluster)
	if err != nil || !x.Changed {
		return err
	}
	if in.Confirm != nil {
		ok, err := in.Confirm(x.Diff("trust policy of "+name, "with cluster "+in.Cluster))
		if err != nil {
			return err
		}
		if !ok {
			return ErrDeclined
		}
	}
	put := func(ctx context.Context, document string) error {
		_, err := c.IAM.UpdateAssumeRolePolicy(ctx, &iam.UpdateAssumeRolePolicyInput{RoleName: &name, PolicyDocument: &document})
		return err
	}
	return ch.do("trust policy of "+name, "extended the trust policy of "+name, func() error { return put(ctx, x.New) },
		func(ctx context.Context) error {
			now, err := DescribeRole(ctx, c, name)
			if err != nil {
				return err
			}
			if text, err := trust.Format(now.Trust); err != nil || text != x.New {
				return errors.New("it was changed by somebody else meanwhile")
			}
			return put(ctx, role.Trust)
		})
}

func (ch *change) associate(ctx context.Context, c *clients.Clients, in *AssociationInput) (*ekstypes.PodIdentityAssociation, error) {
	create := &eks.CreatePodIdentityAssociationInput{
		ClusterName: &in.Cluster, Namespace: &in.Namespace, ServiceAccount: &in.ServiceAccount, RoleArn: &in.RoleARN,
		TargetRoleArn: optional(in.TargetRoleARN), DisableSessionTags: in.DisableSessionTags, Policy: optional(in.Policy), Tags: in.Tags,
	}
	out, err := c.EKS.CreatePodIdentityAssociation(ctx, create)
	if err == nil {
		return out.Association, nil
	}
	if clients.Code(err) == "" && in.RoleName != "" {
		ch.lostAssociation(c, in)
	}
	return nil, err
}

// lostAssociation makes rolling back look for an association whose answer was
// lost. It is ours when it names the role that was made a moment ago.
func (ch *change) lostAssociation(c *clients.Clients, in *AssociationInput) {
	ch.steps = append(ch.steps, step{"association", func(ctx context.Context) error {
		found, err := ListAssociations(ctx, c, &eks.ListPodIdentityAssociationsInput{
			ClusterName: &in.Cluster, Namespace: &in.Namespace, ServiceAccount: &in.ServiceAccount,
		})
		for _, a := range found {
			if err == nil && aws.ToString(a.RoleArn) == in.RoleARN {
				_, err = c.EKS.DeletePodIdentityAssociation(ctx, &eks.DeletePodIdentityAssociationInput{ClusterName: &in.Cluster, AssociationId: a.AssociationId})
			}
		}
		return err
	}})
}

// describers bounds the calls that are under way at once.
const describers = 8

// ListAssociations follows all pages and describes each association: a
// summary does not name the role. What is deleted meanwhile is left out.
func ListAssociations(ctx context.Context, c *clients.Clients, in *eks.ListPodIdentityAssociationsInput) ([]*ekstypes.PodIdentityAssociation, error) {
	var found []ekstypes.PodIdentityAssociationSummary
	pages := eks.NewListPodIdentityAssociationsPaginator(c.EKS, in)
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		found = append(found, page.Associations...)
	}
	all := make([]*ekstypes.PodIdentityAssociation, len(found))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(describers)
	for i, s := range found {
		group.Go(func() error {
			out, err := c.EKS.DescribePodIdentityAssociation(ctx, &eks.DescribePodIdentityAssociationInput{ClusterName: in.ClusterName, AssociationId: s.AssociationId})
			if err == nil {
				all[i] = out.Association
			}
			if clients.IsNotFound(err) {
				return nil
			}
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	kept := all[:0]
	for _, a := range all {
		if a != nil {
			kept = append(kept, a)
		}
	}
	return kept, nil
}

// FindAssociation finds the one association of a service account.
func FindAssociation(ctx context.Context, c *clients.Clients, cluster, namespace, serviceAccount string) (*ekstypes.PodIdentityAssociation, error) {
	found, err := ListAssociations(ctx, c, &eks.ListPodIdentityAssociationsInput{ClusterName: &cluster, Namespace: &namespace, ServiceAccount: &serviceAccount})
	if err != nil {
		return nil, err
	}
	if len(found) != 1 {
		return nil, fmt.Errorf("%w for service account %s/%s in cluster %s", ErrNoAssociation, namespace, serviceAccount, cluster)
	}
	return found[0], nil
}

// ErrNoAssociation says that a service account has no association.
var ErrNoAssociation = errors.New("no association found")
