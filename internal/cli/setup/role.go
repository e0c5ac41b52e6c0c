// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package setup

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	iamtypes "github.com/aws/aws-sdk-go-v2/service/iam/types"

	"podid/internal/cli/clients"
)

// RoleInput describes a role to make.
type RoleInput struct {
	Name, Path  string
	Description string
	Trust       string // trust policy
	Boundary    string // ARN of the permissions boundary
	PolicyARNs  []string
	Inline      []InlinePolicy
	MaxSession  int32 // longest session in seconds; 0 for IAM's default
	Tags        map[string]string
	// TagsAsGiven leaves out TagCreatedBy, for roles that are copies.
	TagsAsGiven bool
}

// InlinePolicy is a policy inside of a role.
type InlinePolicy struct{ Name, Document string }

// CreateRole makes a role and attaches its policies, or leaves nothing behind.
// The role carries TagCreatedBy, but for TagsAsGiven. progress may be nil.
func CreateRole(ctx context.Context, c *clients.Clients, in RoleInput, progress func(string)) (string, error) {
	ch := &change{progress: progress}
	roleARN, err := ch.createRole(ctx, c, in)
	if err != nil {
		return "", ch.failed(ctx, err)
	}
	return roleARN, nil
}

func (ch *change) createRole(ctx context.Context, c *clients.Clients, in RoleInput) (string, error) {
	create := &iam.CreateRoleInput{
		RoleName: &in.Name, AssumeRolePolicyDocument: &in.Trust, Path: optional(in.Path), Description: optional(in.Description),
		PermissionsBoundary: optional(in.Boundary), Tags: in.tags(),
	}
	if in.MaxSession != 0 {
		create.MaxSessionDuration = &in.MaxSession
	}
	var roleARN string
	err := ch.do("role "+in.Name, "created role "+in.Name, func() error {
		out, err := c.IAM.CreateRole(ctx, create)
		if err == nil {
			roleARN = aws.ToString(out.Role.Arn)
		}
		return err
	}, func(ctx context.Context) error {
		_, err := c.IAM.DeleteRole(ctx, &iam.DeleteRoleInput{RoleName: &in.Name})
		return err
	})
	if err != nil {
		return "", err
	}
	for _, p := range in.PolicyARNs {
		err := ch.do("attachment of "+p, "attached "+p, func() error {
			_, err := c.IAM.AttachRolePolicy(ctx, &iam.AttachRolePolicyInput{RoleName: &in.Name, PolicyArn: &p})
			return err
		}, func(ctx context.Context) error {
			_, err := c.IAM.DetachRolePolicy(ctx, &iam.DetachRolePolicyInput{RoleName: &in.Name, PolicyArn: &p})
			return err
		})
		if err != nil {
			return "", fmt.Errorf("attach %s: %w", p, err)
		}
	}
	return roleARN, ch.putInline(ctx, c, &in)
}

// putInline writes the role's inline policies.
func (ch *change) putInline(ctx context.Context, c *clients.Clients, in *RoleInput) error {
	for _, p := range in.Inline {
		err := ch.do("inline policy "+p.Name, "wrote inline policy "+p.Name, func() error {
			_, err := c.IAM.PutRolePolicy(ctx, &iam.PutRolePolicyInput{RoleName: &in.Name, PolicyName: &p.Name, PolicyDocument: &p.Document})
			return err
		}, func(ctx context.Context) error {
			_, err := c.IAM.DeleteRolePolicy(ctx, &iam.DeleteRolePolicyInput{RoleName: &in.Name, PolicyName: &p.Name})
			return err
		})
		if err != nil {
			return fmt.Errorf("write inline policy %s: %w", p.Name, err)
		}
	}
	return nil
}

func (in *RoleInput) tags() []iamtypes.Tag {
	all := maps.Clone(in.Tags)
	if !in.TagsAsGiven {
		if all == nil {
			all = map[string]string{}
		}
		all[TagCreatedBy] = CreatedBy
	}
	var tags []iamtypes.Tag
	for _, k := range slices.Sorted(maps.Keys(all)) {
		tags = append(tags, iamtypes.Tag{Key: aws.String(k), Value: aws.String(all[k])})
	}
	return tags
}

// optional is nil for "": AWS' APIs tell absent from empty.
func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// RoleName is the name at the end of a role's ARN.
func RoleName(roleARN string) (string, error) {
	if !strings.HasPrefix(roleARN, "arn:") || !strings.Contains(roleARN, ":role/") || strings.HasSuffix(roleARN, "/") {
		return "", fmt.Errorf("%q is not the ARN of a role", roleARN)
	}
	return roleARN[strings.LastIndexByte(roleARN, '/')+1:], nil
}

// Role is a role with what belongs to it.
type Role struct {
	iamtypes.Role
	Trust    string // decoded
	Attached []string
	Inline   []string
}

// CreatedByPodid reports whether the CLI made the role.
func (r *Role) CreatedByPodid() bool { return r.Tag(TagCreatedBy) == CreatedBy }

// Tag is the value of a tag, or "".
func (r *Role) Tag(key string) string {
	for _, t := range r.Tags {
		if aws.ToString(t.Key) == key {
			return aws.ToString(t.Value)
		}
	}
	return ""
}

// DescribeRole reads a role and all its policies' names.
func DescribeRole(ctx context.Context, c *clients.Clients, name string) (*Role, error) {
	out, err := c.IAM.GetRole(ctx, &iam.GetRoleInput{RoleName: &name})
	if err != nil {
		return nil, err
	}
	r := &Role{Role: *out.Role}
	if r.Trust, err = url.PathUnescape(aws.ToString(out.Role.AssumeRolePolicyDocument)); err != nil {
		return nil, fmt.Errorf("read trust policy: %w", err)
	}
	attached := iam.NewListAttachedRolePoliciesPaginator(c.IAM, &iam.ListAttachedRolePoliciesInput{RoleName: &name})
	for attached.HasMorePages() {
		page, err := attached.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, p := range page.AttachedPolicies {
			r.Attached = append(r.Attached, aws.ToString(p.PolicyArn))
		}
	}
	inline := iam.NewListRolePoliciesPaginator(c.IAM, &iam.ListRolePoliciesInput{RoleName: &name})
	for inline.HasMorePages() {
		page, err := inline.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		r.Inline = append(r.Inline, page.PolicyNames...)
	}
	return r, nil
}

// DeleteRole detaches and deletes all policies of a role and then the role.
// It is no transaction: deleting can be repeated until it is complete.
func DeleteRole(ctx context.Context, c *clients.Clients, r *Role) error {
	for _, p := range r.Attached {
		if _, err := c.IAM.DetachRolePolicy(ctx, &iam.DetachRolePolicyInput{RoleName: r.RoleName, PolicyArn: &p}); err != nil && !clients.IsNotFound(err) {
			return fmt.Errorf("detach %s: %w", p, err)
		}
	}
	for _, p := range r.Inline {
		if _, err := c.IAM.DeleteRolePolicy(ctx, &iam.DeleteRolePolicyInput{RoleName: r.RoleName, PolicyName: &p}); err != nil && !clients.IsNotFound(err) {
			return fmt.Errorf("delete inline policy %s: %w", p, err)
		}
	}
	_, err := c.IAM.DeleteRole(ctx, &iam.DeleteRoleInput{RoleName: r.RoleName})
	return err
}

// RoleUsers lists "cluster namespace/serviceAccount (id)" of every association
// that names the role as its role or target role.
func RoleUsers(ctx context.Context, c *clients.Clients, roleARN string) ([]string, error) {
	var users []string
	names, err := ClusterNames(ctx, c)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		all, err := ListAssociations(ctx, c, &eks.ListPodIdentityAssociationsInput{ClusterName: &name})
		if clients.IsNotFound(err) {
			continue // deleted meanwhile
		}
		if err != nil {
			return nil, fmt.Errorf("list associations of cluster %s: %w", name, err)
		}
		for _, a := range all {
			if aws.ToString(a.RoleArn) == roleARN || aws.ToString(a.TargetRoleArn) == roleARN {
				users = append(users, fmt.Sprintf("%s %s/%s (%s)", name, aws.ToString(a.Namespace), aws.ToString(a.ServiceAccount), aws.ToString(a.AssociationId)))
			}
		}
	}
	return users, nil
}

// errInUse is the cause of refusing to delete a role that associations name.
var errInUse = errors.New("the role is in use")

// InUse is the refusal to delete a role with users.
func InUse(users []string) error { return fmt.Errorf("%w by %s", errInUse, strings.Join(users, ", ")) }

// IsInUse reports whether err is such a refusal.
func IsInUse(err error) bool { return errors.Is(err, errInUse) }
