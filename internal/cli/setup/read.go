// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package setup

import (
	"context"
	"fmt"
	"net/url"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	iamtypes "github.com/aws/aws-sdk-go-v2/service/iam/types"

	"podid/internal/cli/clients"
)

// InlinePolicies reads the documents of a role's inline policies, in the
// order of their names.
func InlinePolicies(ctx context.Context, c *clients.Clients, r *Role) ([]InlinePolicy, error) {
	var out []InlinePolicy
	for _, name := range r.Inline {
		got, err := c.IAM.GetRolePolicy(ctx, &iam.GetRolePolicyInput{RoleName: r.RoleName, PolicyName: &name})
		if err != nil {
			return nil, fmt.Errorf("read inline policy %s of role %s: %w", name, aws.ToString(r.RoleName), err)
		}
		text, err := url.PathUnescape(aws.ToString(got.PolicyDocument)) // IAM's answers are URL-encoded
		if err != nil {
			return nil, fmt.Errorf("read inline policy %s of role %s: %w", name, aws.ToString(r.RoleName), err)
		}
		out = append(out, InlinePolicy{name, text})
	}
	return out, nil
}

// ManagedPolicy is a managed policy with its default version's document.
type ManagedPolicy struct {
	iamtypes.Policy
	Document string
}

// DescribePolicy reads a managed policy by its ARN.
func DescribePolicy(ctx context.Context, c *clients.Clients, policyARN string) (*ManagedPolicy, error) {
	about, err := c.IAM.GetPolicy(ctx, &iam.GetPolicyInput{PolicyArn: &policyARN})
	if err != nil {
		return nil, fmt.Errorf("read policy %s: %w", policyARN, err)
	}
	version, err := c.IAM.GetPolicyVersion(ctx, &iam.GetPolicyVersionInput{PolicyArn: &policyARN, VersionId: about.Policy.DefaultVersionId})
	if err != nil {
		return nil, fmt.Errorf("read policy %s: %w", policyARN, err)
	}
	out := &ManagedPolicy{Policy: *about.Policy}
	if out.Document, err = url.PathUnescape(aws.ToString(version.PolicyVersion.Document)); err != nil {
		return nil, fmt.Errorf("read policy %s: %w", policyARN, err)
	}
	return out, nil
}

// TagMap is IAM's list of tags as a map; nil for none.
func TagMap(tags []iamtypes.Tag) map[string]string {
	if len(tags) == 0 {
		return nil
	}
	out := make(map[string]string, len(tags))
	for _, t := range tags {
		out[aws.ToString(t.Key)] = aws.ToString(t.Value)
	}
	return out
}

// CreatePolicy makes a managed policy with exactly these tags.
func CreatePolicy(ctx context.Context, c *clients.Clients, in *iam.CreatePolicyInput, progress func(string)) error {
	ch := &change{progress: progress}
	name := aws.ToString(in.PolicyName)
	err := ch.do("policy "+name, "created policy "+name, func() error {
		_, err := c.IAM.CreatePolicy(ctx, in)
		return err
	}, nil)
	if err != nil {
		return ch.failed(ctx, err)
	}
	return nil
}

// IAMTags is a map of tags as IAM's list, in order.
func IAMTags(tags map[string]string) []iamtypes.Tag {
	return (&RoleInput{Tags: tags, TagsAsGiven: true}).tags()
}
