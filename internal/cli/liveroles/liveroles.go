// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Package liveroles reads roles with the text of every policy that bears on
// them from a control plane, by IAM's own calls and with the caller's rights:
// GetRole, ListRolePolicies, GetRolePolicy, ListAttachedRolePolicies, GetPolicy
// and GetPolicyVersion. It only reads, and refuses to leave a policy out: a
// document that the caller may not see is an error that names it. It stands
// between `podid policy --against` and the wire.
package liveroles

import (
	"context"
	"fmt"
	"net/url"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"podid/internal/cli/clients"
	"podid/internal/cli/setup"
)

// A Document is a policy. Name is that of the policy, ARN is empty for inline ones.
type Document struct{ Name, ARN, Text string }

// A Role is a role with its documents.
type Role struct {
	Name, ARN string
	Trust     string
	Boundary  *Document
	Inline    []Document
	Attached  []Document
	Tags      map[string]string
}

// Fetch reads one role by name. Errors are the service's, wrapped.
func Fetch(ctx context.Context, c *clients.Clients, name string) (*Role, error) {
	role, err := setup.DescribeRole(ctx, c, name)
	if err != nil {
		return nil, fmt.Errorf("read role %s: %w", name, err)
	}
	out := &Role{Name: name, ARN: aws.ToString(role.Arn), Trust: role.Trust, Tags: map[string]string{}}
	for _, t := range role.Tags {
		out.Tags[aws.ToString(t.Key)] = aws.ToString(t.Value)
	}
	for _, policy := range role.Inline {
		got, err := c.IAM.GetRolePolicy(ctx, &iam.GetRolePolicyInput{RoleName: &name, PolicyName: &policy})
		if err != nil {
			return nil, fmt.Errorf("read inline policy %s of role %s: %w", policy, name, err)
		}
		text, err := decoded(got.PolicyDocument)
		if err != nil {
			return nil, fmt.Errorf("read inline policy %s of role %s: %w", policy, name, err)
		}
		out.Inline = append(out.Inline, Document{Name: policy, Text: text})
	}
	for _, arn := range role.Attached {
		doc, err := fetchManaged(ctx, c, arn)
		if err != nil {
			return nil, err
		}
		out.Attached = append(out.Attached, *doc)
	}
	if b := role.PermissionsBoundary; b != nil {
		if out.Boundary, err = fetchManaged(ctx, c, aws.ToString(b.PermissionsBoundaryArn)); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// fetchManaged reads a managed policy's default version.
func fetchManaged(ctx context.Context, c *clients.Clients, arn string) (*Document, error) {
	about, err := c.IAM.GetPolicy(ctx, &iam.GetPolicyInput{PolicyArn: &arn})
	if err != nil {
		return nil, fmt.Errorf("read policy %s: %w", arn, err)
	}
	version, err := c.IAM.GetPolicyVersion(ctx, &iam.GetPolicyVersionInput{PolicyArn: &arn, VersionId: about.Policy.DefaultVersionId})
	if err != nil {
		return nil, fmt.Errorf("read version %s of policy %s: %w", aws.ToString(about.Policy.DefaultVersionId), arn, err)
	}
	text, err := decoded(version.PolicyVersion.Document)
	if err != nil {
		return nil, fmt.Errorf("read policy %s: %w", arn, err)
	}
	return &Document{Name: aws.ToString(about.Policy.PolicyName), ARN: arn, Text: text}, nil
}

// decoded undoes the URL encoding of documents in IAM's answers.
func decoded(s *string) (string, error) {
	text, err := url.PathUnescape(aws.ToString(s))
	if err != nil {
		return "", fmt.Errorf("decode document: %w", err)
	}
	return text, nil
}
