// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package migrate

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	iamtypes "github.com/aws/aws-sdk-go-v2/service/iam/types"

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

// takeBackTime bounds taking back half a role. It runs on after an interrupt.
const takeBackTime = 30 * time.Second

func (x *roleChange) make(ctx context.Context, c *clients.Clients) (string, error) {
	in := &iam.CreateRoleInput{RoleName: &x.Name, Path: &x.Path, AssumeRolePolicyDocument: &x.Trust, Tags: iamTags(x.Tags)}
	if x.Description != "" {
		in.Description = &x.Description
	}
	if x.MaxSession != 0 {
		in.MaxSessionDuration = &x.MaxSession
	}
	if x.Boundary != "" {
		in.PermissionsBoundary = &x.Boundary
	}
	out, err := c.IAM.CreateRole(ctx, in)
	if err != nil {
		return "", err
	}
	id := aws.ToString(out.Role.RoleId)
	cause := x.givePolicies(ctx, c)
	if cause == nil {
		return id, nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), takeBackTime)
	defer cancel()
	if err := x.undo(ctx, c, id); err != nil && !errors.Is(err, errGone) {
		return "", &leftBehind{cause: cause, what: "role " + x.Name, why: err}
	}
	return "", cause
}

// leftBehind is a change that was made in part, which could not be taken back.
type leftBehind struct {
	cause error
	what  string
	why   error
}

func (l *leftBehind) Error() string {
	return fmt.Sprintf("%v; left behind, please look after it: %s (%v)", l.cause, l.what, l.why)
}
func (l *leftBehind) Unwrap() error { return l.cause }

func (x *roleChange) givePolicies(ctx context.Context, c *clients.Clients) error {
	for _, p := range x.Attached {
		if _, err := c.IAM.AttachRolePolicy(ctx, &iam.AttachRolePolicyInput{RoleName: &x.Name, PolicyArn: &p}); err != nil {
			return fmt.Errorf("attach %s: %w", p, err)
		}
	}
	for _, p := range x.Inline {
		if _, err := c.IAM.PutRolePolicy(ctx, &iam.PutRolePolicyInput{RoleName: &x.Name, PolicyName: &p.Name, PolicyDocument: &p.Text}); err != nil {
			return fmt.Errorf("put inline policy %s: %w", p.Name, err)
		}
	}
	return nil
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
	for _, name := range now.Inline {
		if err := x.sameInline(ctx, c, name); err != nil {
			return err
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

func (x *roleChange) sameInline(ctx context.Context, c *clients.Clients, name string) error {
	got, err := c.IAM.GetRolePolicy(ctx, &iam.GetRolePolicyInput{RoleName: &x.Name, PolicyName: &name})
	if err != nil {
		return err
	}
	text, err := decoded(got.PolicyDocument)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(x.Inline, func(p document) bool { return p.Name == name && same(p.Text, text) }) {
		return changed("role %s has been given another inline policy %s", x.Name, name)
	}
	return nil
}

// iamTags are tags in the order of their keys, with the mark of what podid
// made: only that is taken back when an answer was lost.
func iamTags(tags map[string]string) []iamtypes.Tag {
	all := maps.Clone(tags)
	if all == nil {
		all = map[string]string{}
	}
	all[setup.TagCreatedBy] = setup.CreatedBy
	var out []iamtypes.Tag
	for _, k := range slices.Sorted(maps.Keys(all)) {
		out = append(out, iamtypes.Tag{Key: aws.String(k), Value: aws.String(all[k])})
	}
	return out
}

// decoded undoes the URL encoding of documents in IAM's answers.
func decoded(s *string) (string, error) {
	text, err := url.PathUnescape(aws.ToString(s))
	if err != nil {
		return "", fmt.Errorf("decode document: %w", err)
	}
	return text, nil
}
