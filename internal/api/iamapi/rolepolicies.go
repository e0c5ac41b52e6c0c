// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package iamapi

import (
	"context"

	"podid/internal/api/awsquery"
	"podid/internal/api/call"
)

func (a api) rolePolicies() []awsquery.Operation {
	return []awsquery.Operation{
		write("AttachRolePolicy", onRole, a.attachRolePolicy, "RoleName", "PolicyArn"),
		write("DetachRolePolicy", onRole, a.detachRolePolicy, "RoleName", "PolicyArn"),
		read("ListAttachedRolePolicies", onRole, a.listAttachedRolePolicies, "RoleName"),
		write("PutRolePolicy", onRole, a.putRolePolicy, "RoleName", "PolicyName", "PolicyDocument"),
		read("GetRolePolicy", onRole, a.getRolePolicy, "RoleName", "PolicyName"),
		write("DeleteRolePolicy", onRole, a.deleteRolePolicy, "RoleName", "PolicyName"),
		read("ListRolePolicies", onRole, a.listRolePolicies, "RoleName"),
	}
}

func (a api) attachRolePolicy(ctx context.Context, c *call.Call, f *awsquery.Form) (any, error) {
	return nil, a.iam.AttachRolePolicy(ctx, c.Caller, f.String("RoleName"), f.String("PolicyArn"))
}

func (a api) detachRolePolicy(ctx context.Context, c *call.Call, f *awsquery.Form) (any, error) {
	return nil, a.iam.DetachRolePolicy(ctx, c.Caller, f.String("RoleName"), f.String("PolicyArn"))
}

func (a api) listAttachedRolePolicies(ctx context.Context, c *call.Call, f *awsquery.Form) (any, error) {
	p, err := page(f)
	if err != nil {
		return nil, err
	}
	l, err := a.iam.ListAttachedRolePolicies(ctx, c.Caller, f.String("RoleName"), f.String("PathPrefix"), p)
	if err != nil {
		return nil, err
	}
	return toAttached(l), nil
}

func (a api) putRolePolicy(ctx context.Context, c *call.Call, f *awsquery.Form) (any, error) {
	return nil, a.iam.PutRolePolicy(ctx, c.Caller, f.String("RoleName"), f.String("PolicyName"), f.String("PolicyDocument"))
}

func (a api) getRolePolicy(ctx context.Context, c *call.Call, f *awsquery.Form) (any, error) {
	r, p, err := a.iam.GetRolePolicy(ctx, c.Caller, f.String("RoleName"), f.String("PolicyName"))
	if err != nil {
		return nil, err
	}
	return struct{ RoleName, PolicyName, PolicyDocument string }{r.Name, p.Name, document(p.Document)}, nil
}

func (a api) deleteRolePolicy(ctx context.Context, c *call.Call, f *awsquery.Form) (any, error) {
	return nil, a.iam.DeleteRolePolicy(ctx, c.Caller, f.String("RoleName"), f.String("PolicyName"))
}

func (a api) listRolePolicies(ctx context.Context, c *call.Call, f *awsquery.Form) (any, error) {
	p, err := page(f)
	if err != nil {
		return nil, err
	}
	l, err := a.iam.ListRolePolicies(ctx, c.Caller, f.String("RoleName"), p)
	if err != nil {
		return nil, err
	}
	return toNames(l), nil
}
