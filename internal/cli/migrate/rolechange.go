// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package migrate

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"podid/internal/cli/clients"
	"podid/internal/cli/setup"
)

// document is a named inline policy.
type document struct {
	Name string `json:"name"`
	Text string `json:"document"`
}

// roleChange creates a role with its policies.
type roleChange struct {
	ARN         string            `json:"arn"`
	Name        string            `json:"name"`
	Path        string            `json:"path"`
	Description string            `json:"description,omitempty"`
	MaxSession  int32             `json:"maxSessionDuration,omitempty"` // seconds; 0 is the service's default
	Trust       string            `json:"trustPolicy"`
	Boundary    string            `json:"permissionsBoundary,omitempty"`
	Attached    []string          `json:"attachedPolicies,omitempty"`
	Inline      []document        `json:"inlinePolicies,omitempty"`
	Tags        map[string]string `json:"tags,omitempty"`
}

func (x *roleChange) name() string { return nameRole }

func (x *roleChange) line() *Line {
	return &Line{Kind: KindRole, Name: x.Name, Action: Create}
}

// make leaves nothing behind when it fails; what could not be taken back is
// named in the error.
func (x *roleChange) make(ctx context.Context, c *clients.Clients) (string, error) {
	in := setup.RoleInput{
		Name: x.Name, Path: x.Path, Description: x.Description, Trust: x.Trust, Boundary: x.Boundary, MaxSession: x.MaxSession,
		PolicyARNs: x.Attached, Tags: x.Tags,
	}
	for _, p := range x.Inline {
		in.Inline = append(in.Inline, setup.InlinePolicy{Name: p.Name, Document: p.Text})
	}
	if _, err := setup.CreateRole(ctx, c, in, nil); err != nil {
		return "", err
	}
	made, err := c.IAM.GetRole(ctx, &iam.GetRoleInput{RoleName: &x.Name})
	if err != nil {
		return "", nil //nolint:nilerr // the role is made; without its id it is known by its tag
	}
	return aws.ToString(made.Role.RoleId), nil
}

// undo deletes the role, unless it is another one by now, has been given more,
// trusts others, or is in use.
func (x *roleChange) undo(ctx context.Context, c *clients.Clients, id string) error {
	now, err := setup.DescribeRole(ctx, c, x.Name)
	if err != nil {
		return lostOr(err)
	}
	if id != "" && aws.ToString(now.RoleId) != id || id == "" && !now.CreatedByPodid() {
		return changed("role %s is another role of that name", x.Name)
	}
	if !same(now.Trust, x.Trust) {
		return changed("role %s has another trust policy", x.Name)
	}
	if p, ok := subset(now.Attached, x.Attached); !ok {
		return changed("role %s has been given %s", x.Name, p)
	}
	inline, err := setup.InlinePolicies(ctx, c, now)
	if err != nil {
		return err
	}
	for _, p := range inline {
		if !x.has(p) {
			return changed("role %s has been given another inline policy %s", x.Name, p.Name)
		}
	}
	users, err := setup.RoleUsers(ctx, c, aws.ToString(now.Arn))
	if err != nil {
		return err
	}
	if len(users) > 0 {
		return fmt.Errorf("role %s is in use by %d associations, such as %s", x.Name, len(users), users[0])
	}
	return lostOr(setup.DeleteRole(ctx, c, now))
}

func (x *roleChange) has(p setup.InlinePolicy) bool {
	return slices.ContainsFunc(x.Inline, func(q document) bool { return q.Name == p.Name && same(q.Text, p.Document) })
}

// marked are tags with the mark of what podid made: only that is taken back
// when an answer was lost.
func marked(tags map[string]string) map[string]string {
	all := maps.Clone(tags)
	if all == nil {
		all = map[string]string{}
	}
	all[setup.TagCreatedBy] = setup.CreatedBy
	return all
}
