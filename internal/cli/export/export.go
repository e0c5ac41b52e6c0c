// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Package export owns reading a control plane into the files that
// `podid create podidentityassociation -f` takes: every association of the
// chosen clusters, the roles they name, and the managed policies and
// boundaries of those. It only reads, with the caller's rights. It refuses to
// leave out what it cannot read; what the files have no place for is told.
package export

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	ekstypes "github.com/aws/aws-sdk-go-v2/service/eks/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"podid/internal/cli/clients"
	"podid/internal/cli/clusterconfig"
	"podid/internal/cli/setup"
)

// Result is what was read, and what has no place in the files.
type Result struct {
	Set   *clusterconfig.Set
	Notes []string
}

// tries bounds how often reading begins anew because somebody deletes what is
// being read.
const tries = 5

// moved is such an error.
type moved struct{ error }

func (e *moved) Unwrap() error { return e.error }

// orMoved marks that something is gone which was there a moment ago.
func orMoved(err error) error {
	if clients.IsNotFound(err) {
		return &moved{err}
	}
	return err
}

// Read exports the clusters of these names, all of them when there are none.
func Read(ctx context.Context, c *clients.Clients, names ...string) (*Result, error) {
	for n := 1; ; n++ {
		out, err := read(ctx, c, names...)
		var again *moved
		if n == tries || !errors.As(err, &again) {
			return out, err
		}
	}
}

func read(ctx context.Context, c *clients.Clients, names ...string) (*Result, error) {
	id, err := c.STS.GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err != nil {
		return nil, fmt.Errorf("ask for the account: %w", err)
	}
	all := len(names) == 0
	if all {
		if names, err = setup.ClusterNames(ctx, c); err != nil {
			return nil, err
		}
	}
	x := &exporter{c: c, account: aws.ToString(id.Account), roles: map[string]*role{}, policies: map[string]bool{}, out: &Result{Set: &clusterconfig.Set{}}}
	for _, name := range slices.Compact(slices.Sorted(slices.Values(names))) {
		err := x.cluster(ctx, name)
		if all {
			err = orMoved(err)
		}
		if err != nil {
			return nil, err
		}
	}
	iam := &clusterconfig.IAMConfig{Account: x.account}
	for _, roleARN := range slices.Sorted(maps.Keys(x.roles)) {
		if err := x.role(ctx, iam, roleARN); err != nil {
			return nil, err
		}
	}
	for _, policyARN := range slices.Sorted(maps.Keys(x.policies)) {
		if err := x.policy(ctx, iam, policyARN); err != nil {
			return nil, err
		}
	}
	if len(iam.Roles)+len(iam.Policies) > 0 {
		x.out.Set.IAM = []*clusterconfig.IAMConfig{iam}
	}
	return x.out, nil
}

type exporter struct {
	c        *clients.Clients
	account  string
	roles    map[string]*role // by ARN
	policies map[string]bool  // ARNs of the account's own managed policies
	out      *Result
}

// role is a role that associations name.
type role struct {
	users []user // as their role
	hops  int    // associations that name it as target role
}

type user struct {
	cluster, clusterARN string
	a                   *clusterconfig.Association
}

func (x *exporter) note(format string, args ...any) {
	x.out.Notes = append(x.out.Notes, fmt.Sprintf(format, args...))
}

func (x *exporter) cluster(ctx context.Context, name string) error {
	about, err := x.c.EKS.DescribeCluster(ctx, &eks.DescribeClusterInput{Name: &name})
	if err != nil {
		return fmt.Errorf("describe cluster %s: %w", name, err)
	}
	found, err := setup.ListAssociations(ctx, x.c, &eks.ListPodIdentityAssociationsInput{ClusterName: &name})
	if err != nil {
		return fmt.Errorf("list associations of cluster %s: %w", name, err)
	}
	out := &clusterconfig.ClusterConfig{Name: name, Region: x.c.Config.Region}
	for _, a := range found {
		if owner := aws.ToString(a.OwnerArn); owner != "" {
			x.note("cluster %s: the association of %s/%s is left out: it belongs to %s, which makes it", name, aws.ToString(a.Namespace), aws.ToString(a.ServiceAccount), owner)
			continue
		}
		one := association(a)
		out.Associations = append(out.Associations, one)
		x.use(one.RoleARN).users = append(x.use(one.RoleARN).users, user{name, aws.ToString(about.Cluster.Arn), one})
		if t := one.TargetRoleARN; t != "" {
			if !x.ours(t) {
				x.note("cluster %s: the role %s of another account is named, not exported", name, t)
				continue
			}
			x.use(t).hops++
		}
	}
	slices.SortFunc(out.Associations, func(a, b *clusterconfig.Association) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.ServiceAccountName, b.ServiceAccountName))
	})
	x.out.Set.Clusters = append(x.out.Set.Clusters, out)
	return nil
}

func (x *exporter) use(roleARN string) *role {
	if x.roles[roleARN] == nil {
		x.roles[roleARN] = &role{}
	}
	return x.roles[roleARN]
}

func (x *exporter) ours(anARN string) bool {
	f := strings.SplitN(anARN, ":", 6)
	return len(f) == 6 && f[4] == x.account
}

func association(a *ekstypes.PodIdentityAssociation) *clusterconfig.Association {
	return &clusterconfig.Association{
		Namespace: aws.ToString(a.Namespace), ServiceAccountName: aws.ToString(a.ServiceAccount), RoleARN: aws.ToString(a.RoleArn),
		TargetRoleARN: aws.ToString(a.TargetRoleArn), DisableSessionTags: aws.ToBool(a.DisableSessionTags), Policy: aws.ToString(a.Policy), Tags: settable(a.Tags),
	}
}

// settable leaves out the tags that only services set.
func settable(tags map[string]string) map[string]string {
	maps.DeleteFunc(tags, func(k, _ string) bool { return strings.HasPrefix(strings.ToLower(k), "aws:") })
	return tags
}

// role reads a role and writes it into its association, where eksctl's schema
// can say it, or else into podid's own document.
func (x *exporter) role(ctx context.Context, iam *clusterconfig.IAMConfig, roleARN string) error {
	name, err := setup.RoleName(roleARN)
	if err != nil {
		return err
	}
	have, err := setup.DescribeRole(ctx, x.c, name)
	if clients.IsNotFound(err) || err == nil && aws.ToString(have.Arn) != roleARN {
		x.note("role %s does not exist: its associations cannot be made again as they are", roleARN)
		return nil
	}
	if err != nil {
		return fmt.Errorf("read role %s: %w", name, err)
	}
	inline, err := setup.InlinePolicies(ctx, x.c, have)
	if err != nil {
		return orMoved(err)
	}
	boundary := ""
	if b := have.PermissionsBoundary; b != nil {
		boundary = aws.ToString(b.PermissionsBoundaryArn)
	}
	for _, p := range append(slices.Clone(have.Attached), boundary) {
		if x.ours(p) {
			x.policies[p] = true
		}
	}
	slices.Sort(have.Attached)
	if u := x.roles[roleARN]; len(u.users) == 1 && u.hops == 0 && textbook(&u.users[0], have, inline, boundary, x.account) {
		return nil
	}
	one := &clusterconfig.Role{
		Name: name, Path: notDefault(aws.ToString(have.Path)), Description: aws.ToString(have.Description), TrustPolicy: clusterconfig.Document(have.Trust),
		PermissionPolicyARNs: have.Attached, PermissionsBoundaryARN: boundary, Tags: settable(setup.TagMap(have.Tags)),
	}
	if d := aws.ToInt32(have.MaxSessionDuration); d != defaultSession {
		one.MaxSessionDuration = d
	}
	for _, p := range inline {
		one.InlinePolicies = append(one.InlinePolicies, clusterconfig.InlinePolicy{Name: p.Name, Document: clusterconfig.Document(p.Document)})
	}
	iam.Roles = append(iam.Roles, one)
	return nil
}

func notDefault(path string) string {
	if path == "/" {
		return ""
	}
	return path
}

func (x *exporter) policy(ctx context.Context, iam *clusterconfig.IAMConfig, policyARN string) error {
	have, err := setup.DescribePolicy(ctx, x.c, policyARN)
	if err != nil {
		return orMoved(err)
	}
	if v := aws.ToString(have.DefaultVersionId); v != "v1" {
		x.note("policy %s: its default version %s becomes the only one", policyARN, v)
	}
	iam.Policies = append(iam.Policies, &clusterconfig.ManagedPolicy{
		Name: aws.ToString(have.PolicyName), Path: notDefault(aws.ToString(have.Path)), Description: aws.ToString(have.Description),
		Document: clusterconfig.Document(have.Document), Tags: settable(setup.TagMap(have.Tags)),
	})
	return nil
}
