// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package apply

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	ekstypes "github.com/aws/aws-sdk-go-v2/service/eks/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"podid/internal/cli/clients"
	"podid/internal/cli/clusterconfig"
	"podid/internal/cli/setup"
)

// defaultSession is IAM's longest session of a role, in seconds, where none
// is given.
const defaultSession = 3600

// differences names the members that are not equal.
func differences(pairs ...any) string {
	var out []string
	for i := 0; i+1 < len(pairs); i += 2 {
		if same, _ := pairs[i+1].(bool); !same {
			out = append(out, pairs[i].(string))
		}
	}
	return strings.Join(out, ", ")
}

// judge makes a line of what differs.
func (l *Line) judge(what string) {
	l.Action = Keep
	if what != "" {
		l.Action, l.Note = Conflict, "it exists with other "+what
	}
}

func (p *planner) arn(kind, path, name string) string {
	return fmt.Sprintf("arn:%s:iam::%s:%s%s%s", p.partition, p.account, kind, orSlash(path), name)
}

func orSlash(path string) string {
	if path == "" {
		return "/"
	}
	return path
}

func (p *planner) policy(ctx context.Context, want *clusterconfig.ManagedPolicy) error {
	l := &Line{Kind: KindPolicy, Name: want.Name, Action: Create, Place: want.At.String()}
	p.add(l)
	have, err := setup.DescribePolicy(ctx, p.c, p.arn("policy", want.Path, want.Name))
	switch {
	case clients.IsNotFound(err):
		in := &iam.CreatePolicyInput{
			PolicyName: &want.Name, Path: aws.String(orSlash(want.Path)), PolicyDocument: aws.String(string(want.Document)), Tags: setup.IAMTags(want.Tags),
		}
		if want.Description != "" {
			in.Description = &want.Description
		}
		l.run = func(ctx context.Context) error { return setup.CreatePolicy(ctx, p.c, in, p.o.Progress) }
	case err != nil:
		return err
	default:
		l.judge(differences("document", clusterconfig.SameDocument(string(want.Document), have.Document),
			"description", want.Description == aws.ToString(have.Description), "tags", maps.Equal(want.Tags, setup.TagMap(have.Tags))))
	}
	return nil
}

func (p *planner) role(ctx context.Context, want *clusterconfig.Role) error {
	l := &Line{Kind: KindRole, Name: want.Name, Action: Create, Place: want.At.String()}
	p.add(l)
	p.made[p.arn("role", want.Path, want.Name)] = true
	in := setup.RoleInput{
		Name: want.Name, Path: orSlash(want.Path), Description: want.Description, Trust: string(want.TrustPolicy), Boundary: want.PermissionsBoundaryARN,
		PolicyARNs: want.PermissionPolicyARNs, MaxSession: want.MaxSessionDuration, Tags: want.Tags, TagsAsGiven: true,
	}
	for _, x := range want.InlinePolicies {
		in.Inline = append(in.Inline, setup.InlinePolicy{Name: x.Name, Document: string(x.Document)})
	}
	have, err := p.describe(ctx, want.Name)
	switch {
	case err != nil:
		return err
	case have == nil:
		l.run = func(ctx context.Context) error {
			_, err := setup.CreateRole(ctx, p.c, in, p.o.Progress)
			return err
		}
		return nil
	}
	permissions, err := p.permissions(ctx, &in, have)
	if err != nil {
		return err
	}
	session := want.MaxSessionDuration
	if session == 0 {
		session = defaultSession
	}
	l.judge(joined(differences("path", orSlash(want.Path) == aws.ToString(have.Path), "description", want.Description == aws.ToString(have.Description),
		"maxSessionDuration", session == aws.ToInt32(have.MaxSessionDuration), "trustPolicy", clusterconfig.SameDocument(in.Trust, have.Trust),
		"tags", maps.Equal(want.Tags, setup.TagMap(have.Tags))), permissions))
	return nil
}

func joined(lists ...string) string {
	return strings.Join(slices.DeleteFunc(lists, func(s string) bool { return s == "" }), ", ")
}

// permissions names what a role may otherwise than it was to.
func (p *planner) permissions(ctx context.Context, want *setup.RoleInput, have *setup.Role) (string, error) {
	inline, err := setup.InlinePolicies(ctx, p.c, have)
	if err != nil {
		return "", err
	}
	documents := map[string]string{}
	for _, x := range inline {
		documents[x.Name] = x.Document
	}
	sameInline := len(inline) == len(want.Inline)
	for _, x := range want.Inline {
		sameInline = sameInline && clusterconfig.SameDocument(x.Document, documents[x.Name])
	}
	boundary := ""
	if b := have.PermissionsBoundary; b != nil {
		boundary = aws.ToString(b.PermissionsBoundaryArn)
	}
	return differences("managed policies", slices.Equal(slices.Sorted(slices.Values(want.PolicyARNs)), slices.Sorted(slices.Values(have.Attached))),
		"inline policies", sameInline, "permissions boundary", boundary == want.Boundary), nil
}

// cluster plans the associations of a cluster.
func (p *planner) cluster(ctx context.Context, cfg *clusterconfig.ClusterConfig) error {
	out, err := p.c.EKS.DescribeCluster(ctx, &eks.DescribeClusterInput{Name: &cfg.Name})
	if err != nil {
		return fmt.Errorf("%s: cluster %s: %w", cfg.At, cfg.Name, err)
	}
	found, err := setup.ListAssociations(ctx, p.c, &eks.ListPodIdentityAssociationsInput{ClusterName: &cfg.Name})
	if err != nil {
		return fmt.Errorf("list associations of cluster %s: %w", cfg.Name, err)
	}
	there := map[string]*ekstypes.PodIdentityAssociation{}
	for _, a := range found {
		there[aws.ToString(a.Namespace)+"/"+aws.ToString(a.ServiceAccount)] = a
	}
	for _, a := range cfg.Associations {
		if err := p.association(ctx, cfg.Name, aws.ToString(out.Cluster.Arn), a, there[a.Subject()]); err != nil {
			return err
		}
	}
	return nil
}

func (p *planner) association(ctx context.Context, cluster, clusterARN string, want *clusterconfig.Association, have *ekstypes.PodIdentityAssociation) error {
	in := p.input(cluster, want)
	l := &Line{Kind: KindAssociation, Cluster: cluster, Name: want.Subject(), Action: Create, Place: want.At.String(), Note: "role " + in.RoleARN + in.RoleName}
	if want.CreateServiceAccount {
		l.Note += ", service account"
	}
	p.add(l)
	role, err := p.lookUp(ctx, in)
	if err != nil {
		return err
	}
	switch {
	case have != nil:
		different, err := p.compare(ctx, in, clusterARN, role, have)
		if err != nil {
			return err
		}
		l.judge(different)
		if l.Action == Keep {
			l.run = in.Finish
		}
		return nil
	case in.RoleName != "" && role != nil:
		l.Action, l.Note = Conflict, "role "+in.RoleName+" exists: give roleARN to use it"
	case in.RoleName == "" && role == nil && !p.made[in.RoleARN]:
		l.Action, l.Note = Conflict, "role "+in.RoleARN+" does not exist, and no file makes it"
	default:
		l.run = func(ctx context.Context) error {
			_, err := setup.CreateAssociation(ctx, p.c, *in)
			return err
		}
	}
	return nil
}

// lookUp finds the association's role; nil when it does not exist.
func (p *planner) lookUp(ctx context.Context, in *setup.AssociationInput) (*setup.Role, error) {
	name := in.RoleName
	if name == "" {
		var err error
		if name, err = setup.RoleName(in.RoleARN); err != nil {
			return nil, &BadFile{err}
		}
	}
	role, err := p.describe(ctx, name)
	if role != nil && in.RoleARN != "" && aws.ToString(role.Arn) != in.RoleARN {
		return nil, nil // of that name, with another path
	}
	return role, err
}

// describe reads a role, once; nil when it does not exist.
func (p *planner) describe(ctx context.Context, name string) (*setup.Role, error) {
	if role, ok := p.roles[name]; ok {
		return role, nil
	}
	role, err := setup.DescribeRole(ctx, p.c, name)
	if err != nil && !clients.IsNotFound(err) {
		return nil, fmt.Errorf("look for role %s: %w", name, err)
	}
	p.roles[name] = role // nil, with an error
	return role, nil
}

// input is what setup makes of an association of a file.
func (p *planner) input(cluster string, a *clusterconfig.Association) *setup.AssociationInput {
	in := &setup.AssociationInput{
		Cluster: cluster, Namespace: a.Namespace, ServiceAccount: a.ServiceAccountName, RoleARN: a.RoleARN, PolicyARNs: a.PermissionPolicyARNs,
		WellKnown: a.WellKnownPolicies, Boundary: a.PermissionsBoundaryARN, TargetRoleARN: a.TargetRoleARN, Policy: a.Policy, Tags: a.Tags, Progress: p.o.Progress,
	}
	switch {
	case a.RoleARN != "":
	case a.RoleName != "":
		in.RoleName = a.RoleName
	default:
		in.RoleName = setup.PodRoleName(cluster, a.Namespace, a.ServiceAccountName)
	}
	if a.PermissionPolicy != nil {
		name := a.PermissionPolicyName
		if name == "" {
			name = clusterconfig.DefaultPolicyName
		}
		in.Inline = []setup.InlinePolicy{{Name: name, Document: string(a.PermissionPolicy)}}
	}
	if a.DisableSessionTags {
		in.DisableSessionTags = aws.Bool(true)
	}
	if a.CreateServiceAccount {
		in.Finish = func(ctx context.Context) error { return p.o.Account(ctx, a.Namespace, a.ServiceAccountName) }
	}
	return in
}

// compare names what an association, and the permissions of a role that was
// made for it, have otherwise. Trust and tags of the role are not compared:
// it may serve further clusters by now.
func (p *planner) compare(ctx context.Context, want *setup.AssociationInput, clusterARN string, role *setup.Role, have *ekstypes.PodIdentityAssociation) (string, error) {
	sameRole := role != nil && aws.ToString(role.Arn) == aws.ToString(have.RoleArn)
	different := differences("role", sameRole, "targetRoleARN", want.TargetRoleARN == aws.ToString(have.TargetRoleArn),
		"disableSessionTags", aws.ToBool(want.DisableSessionTags) == aws.ToBool(have.DisableSessionTags),
		"policy", clusterconfig.SameDocument(want.Policy, aws.ToString(have.Policy)), "tags", maps.Equal(want.Tags, have.Tags))
	if want.RoleName == "" || !sameRole {
		return different, nil
	}
	made, err := setup.PodRole(want, p.account, clusterARN)
	if err != nil {
		return "", err
	}
	permissions, err := p.permissions(ctx, made, role)
	return joined(different, permissions), err
}
