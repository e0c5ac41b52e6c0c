// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package iamapi

import (
	"context"

	"podid/internal/api/awsquery"
	"podid/internal/api/call"
	"podid/internal/iam"
)

func (a api) roles() []awsquery.Operation {
	return []awsquery.Operation{
		write("CreateRole", onRole, a.createRole, "RoleName", "AssumeRolePolicyDocument"),
		read("GetRole", onRole, a.getRole, "RoleName"),
		read("ListRoles", onRole, a.listRoles),
		write("DeleteRole", onRole, a.deleteRole, "RoleName"),
		write("UpdateRole", onRole, a.updateRole, "RoleName"),
		write("UpdateRoleDescription", onRole, a.updateRoleDescription, "RoleName", "Description"),
		write("UpdateAssumeRolePolicy", onRole, a.updateAssumeRolePolicy, "RoleName", "PolicyDocument"),
		write("TagRole", onRole, a.tagRole, "RoleName"),
		write("UntagRole", onRole, a.untagRole, "RoleName"),
		read("ListRoleTags", onRole, a.listRoleTags, "RoleName"),
		write("PutRolePermissionsBoundary", onRole, a.putRoleBoundary, "RoleName", "PermissionsBoundary"),
		write("DeleteRolePermissionsBoundary", onRole, a.deleteRoleBoundary, "RoleName"),
	}
}

type wireRole struct {
	Path                     string
	RoleName                 string
	RoleID                   string `xml:"RoleId"`
	ARN                      string `xml:"Arn"`
	CreateDate               awsquery.Timestamp
	AssumeRolePolicyDocument string
	Description              string `xml:",omitempty"`
	MaxSessionDuration       int32
	PermissionsBoundary      *boundary
	Tags                     *awsquery.List[wireTag]
	RoleLastUsed             *lastUsed
}

type lastUsed struct {
	LastUsedDate *awsquery.Timestamp
}

// listedRole leaves out what ListRoles leaves out.
func listedRole(r *iam.Role) wireRole {
	return wireRole{
		Path: r.Path, RoleName: r.Name, RoleID: r.ID, ARN: r.ARN(), CreateDate: awsquery.Timestamp(r.Created),
		AssumeRolePolicyDocument: document(r.Trust), Description: r.Description, MaxSessionDuration: r.MaxSession,
	}
}

func toRole(r *iam.Role) wireRole {
	w := listedRole(r)
	w.PermissionsBoundary, w.Tags, w.RoleLastUsed = toBoundary(r.Boundary), optionalTags(r.Tags), &lastUsed{}
	if !r.LastUsed.IsZero() {
		t := awsquery.Timestamp(r.LastUsed)
		w.RoleLastUsed.LastUsedDate = &t
	}
	return w
}

type roleResult struct{ Role wireRole }

func (a api) createRole(ctx context.Context, c *call.Call, f *awsquery.Form) (any, error) {
	in := iam.CreateRoleInput{
		Path: f.String("Path"), Name: f.String("RoleName"), Trust: f.String("AssumeRolePolicyDocument"), Description: f.String("Description"),
		Boundary: f.String("PermissionsBoundary"), MaxSession: f.Int32("MaxSessionDuration"),
	}
	var err error
	if in.Tags, err = tags(f); err != nil {
		return nil, err
	}
	r, err := a.iam.CreateRole(ctx, c.Caller, in)
	if err != nil {
		return nil, err
	}
	c.Event.ResponseElements = map[string]any{"role": map[string]string{"roleName": r.Name, "roleId": r.ID, "arn": r.ARN()}}
	w := toRole(r)
	w.RoleLastUsed = nil
	return roleResult{w}, nil
}

func (a api) getRole(ctx context.Context, c *call.Call, f *awsquery.Form) (any, error) {
	r, err := a.iam.GetRole(ctx, c.Caller, f.String("RoleName"))
	if err != nil {
		return nil, err
	}
	return roleResult{toRole(r)}, nil
}

func (a api) listRoles(ctx context.Context, c *call.Call, f *awsquery.Form) (any, error) {
	p, err := page(f)
	if err != nil {
		return nil, err
	}
	l, err := a.iam.ListRoles(ctx, c.Caller, f.String("PathPrefix"), p)
	if err != nil {
		return nil, err
	}
	return struct {
		Roles awsquery.List[wireRole]
		part
	}{listOf(l.Items, listedRole), partOf(l)}, nil
}

func (a api) deleteRole(ctx context.Context, c *call.Call, f *awsquery.Form) (any, error) {
	return nil, a.iam.DeleteRole(ctx, c.Caller, f.String("RoleName"))
}

func (a api) updateRole(ctx context.Context, c *call.Call, f *awsquery.Form) (any, error) {
	longest := f.Int32("MaxSessionDuration")
	if err := f.Err(); err != nil {
		return nil, err
	}
	// UpdateRole has an empty result element, unlike operations without output.
	return struct{}{}, a.iam.UpdateRole(ctx, c.Caller, f.String("RoleName"), f.Ptr("Description"), longest)
}

func (a api) updateRoleDescription(ctx context.Context, c *call.Call, f *awsquery.Form) (any, error) {
	r, err := a.iam.UpdateRoleDescription(ctx, c.Caller, f.String("RoleName"), f.String("Description"))
	if err != nil {
		return nil, err
	}
	return roleResult{toRole(r)}, nil
}

func (a api) updateAssumeRolePolicy(ctx context.Context, c *call.Call, f *awsquery.Form) (any, error) {
	return nil, a.iam.UpdateAssumeRolePolicy(ctx, c.Caller, f.String("RoleName"), f.String("PolicyDocument"))
}

func (a api) tagRole(ctx context.Context, c *call.Call, f *awsquery.Form) (any, error) {
	t, err := tags(f)
	if err != nil {
		return nil, err
	}
	return nil, a.iam.TagRole(ctx, c.Caller, f.String("RoleName"), t)
}

func (a api) untagRole(ctx context.Context, c *call.Call, f *awsquery.Form) (any, error) {
	keys, err := tagKeys(f)
	if err != nil {
		return nil, err
	}
	return nil, a.iam.UntagRole(ctx, c.Caller, f.String("RoleName"), keys)
}

func (a api) listRoleTags(ctx context.Context, c *call.Call, f *awsquery.Form) (any, error) {
	p, err := page(f)
	if err != nil {
		return nil, err
	}
	l, err := a.iam.ListRoleTags(ctx, c.Caller, f.String("RoleName"), p)
	if err != nil {
		return nil, err
	}
	return toTags(l), nil
}

func (a api) putRoleBoundary(ctx context.Context, c *call.Call, f *awsquery.Form) (any, error) {
	return nil, a.iam.PutRolePermissionsBoundary(ctx, c.Caller, f.String("RoleName"), f.String("PermissionsBoundary"))
}

func (a api) deleteRoleBoundary(ctx context.Context, c *call.Call, f *awsquery.Form) (any, error) {
	return nil, a.iam.DeleteRolePermissionsBoundary(ctx, c.Caller, f.String("RoleName"))
}
