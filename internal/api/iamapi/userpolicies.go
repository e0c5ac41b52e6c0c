// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package iamapi

import (
	"context"

	"podid/internal/api/awsquery"
	"podid/internal/api/call"
)

func (a api) userPolicies() []awsquery.Operation {
	return []awsquery.Operation{
		write("AttachUserPolicy", onUser, a.attachUserPolicy, "UserName", "PolicyArn"),
		write("DetachUserPolicy", onUser, a.detachUserPolicy, "UserName", "PolicyArn"),
		read("ListAttachedUserPolicies", onUser, a.listAttachedUserPolicies, "UserName"),
		write("PutUserPolicy", onUser, a.putUserPolicy, "UserName", "PolicyName", "PolicyDocument"),
		read("GetUserPolicy", onUser, a.getUserPolicy, "UserName", "PolicyName"),
		write("DeleteUserPolicy", onUser, a.deleteUserPolicy, "UserName", "PolicyName"),
		read("ListUserPolicies", onUser, a.listUserPolicies, "UserName"),
	}
}

func (a api) attachUserPolicy(ctx context.Context, c *call.Call, f *awsquery.Form) (any, error) {
	return nil, a.iam.AttachUserPolicy(ctx, c.Caller, f.String("UserName"), f.String("PolicyArn"))
}

func (a api) detachUserPolicy(ctx context.Context, c *call.Call, f *awsquery.Form) (any, error) {
	return nil, a.iam.DetachUserPolicy(ctx, c.Caller, f.String("UserName"), f.String("PolicyArn"))
}

func (a api) listAttachedUserPolicies(ctx context.Context, c *call.Call, f *awsquery.Form) (any, error) {
	p, err := page(f)
	if err != nil {
		return nil, err
	}
	l, err := a.iam.ListAttachedUserPolicies(ctx, c.Caller, f.String("UserName"), f.String("PathPrefix"), p)
	if err != nil {
		return nil, err
	}
	return toAttached(l), nil
}

func (a api) putUserPolicy(ctx context.Context, c *call.Call, f *awsquery.Form) (any, error) {
	return nil, a.iam.PutUserPolicy(ctx, c.Caller, f.String("UserName"), f.String("PolicyName"), f.String("PolicyDocument"))
}

func (a api) getUserPolicy(ctx context.Context, c *call.Call, f *awsquery.Form) (any, error) {
	u, p, err := a.iam.GetUserPolicy(ctx, c.Caller, f.String("UserName"), f.String("PolicyName"))
	if err != nil {
		return nil, err
	}
	return struct{ UserName, PolicyName, PolicyDocument string }{u.Name, p.Name, document(p.Document)}, nil
}

func (a api) deleteUserPolicy(ctx context.Context, c *call.Call, f *awsquery.Form) (any, error) {
	return nil, a.iam.DeleteUserPolicy(ctx, c.Caller, f.String("UserName"), f.String("PolicyName"))
}

func (a api) listUserPolicies(ctx context.Context, c *call.Call, f *awsquery.Form) (any, error) {
	p, err := page(f)
	if err != nil {
		return nil, err
	}
	l, err := a.iam.ListUserPolicies(ctx, c.Caller, f.String("UserName"), p)
	if err != nil {
		return nil, err
	}
	return toNames(l), nil
}
