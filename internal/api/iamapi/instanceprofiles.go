// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package iamapi

import (
	"context"

	"podid/internal/api/awsquery"
	"podid/internal/api/call"
	"podid/internal/iam"
)

const onProfile = "arn:{partition}:iam::{account}:instance-profile{path}{name}"

func (a api) instanceProfiles() []awsquery.Operation {
	const name = "InstanceProfileName"
	return []awsquery.Operation{
		write("CreateInstanceProfile", onProfile, a.createInstanceProfile, name),
		read("GetInstanceProfile", onProfile, a.getInstanceProfile, name),
		read("ListInstanceProfiles", onProfile, a.listInstanceProfiles),
		read("ListInstanceProfilesForRole", onRole, a.listInstanceProfilesForRole, "RoleName"),
		write("DeleteInstanceProfile", onProfile, a.deleteInstanceProfile, name),
		write("AddRoleToInstanceProfile", onProfile, a.addRoleToInstanceProfile, name, "RoleName"),
		write("RemoveRoleFromInstanceProfile", onProfile, a.removeRoleFromInstanceProfile, name, "RoleName"),
		write("TagInstanceProfile", onProfile, a.tagInstanceProfile, name),
		write("UntagInstanceProfile", onProfile, a.untagInstanceProfile, name),
		read("ListInstanceProfileTags", onProfile, a.listInstanceProfileTags, name),
	}
}

type wireProfile struct {
	Path                string
	InstanceProfileName string
	InstanceProfileID   string `xml:"InstanceProfileId"`
	ARN                 string `xml:"Arn"`
	CreateDate          awsquery.Timestamp
	Roles               awsquery.List[wireRole]
	Tags                *awsquery.List[wireTag]
}

// listedProfile leaves out what ListInstanceProfiles leaves out.
func listedProfile(p iam.ProfileInfo) wireProfile {
	w := wireProfile{Path: p.Path, InstanceProfileName: p.Name, InstanceProfileID: p.ID, ARN: p.ARN(), CreateDate: awsquery.Timestamp(p.Created)}
	if p.Role != nil {
		w.Roles.Member = []wireRole{listedRole(p.Role)}
	}
	return w
}

type profileResult struct{ InstanceProfile wireProfile }

func toProfile(p iam.ProfileInfo) profileResult {
	w := listedProfile(p)
	w.Tags = optionalTags(p.Tags)
	return profileResult{w}
}

type profilesResult struct {
	InstanceProfiles awsquery.List[wireProfile]
	part
}

func (a api) createInstanceProfile(ctx context.Context, c *call.Call, f *awsquery.Form) (any, error) {
	t, err := tags(f)
	if err != nil {
		return nil, err
	}
	p, err := a.iam.CreateInstanceProfile(ctx, c.Caller, f.String("Path"), f.String("InstanceProfileName"), t)
	if err != nil {
		return nil, err
	}
	c.Event.ResponseElements = map[string]any{"instanceProfile": map[string]string{"instanceProfileName": p.Name, "instanceProfileId": p.ID, "arn": p.ARN()}}
	return toProfile(p), nil
}

func (a api) getInstanceProfile(ctx context.Context, c *call.Call, f *awsquery.Form) (any, error) {
	p, err := a.iam.GetInstanceProfile(ctx, c.Caller, f.String("InstanceProfileName"))
	if err != nil {
		return nil, err
	}
	return toProfile(p), nil
}

func (a api) listInstanceProfiles(ctx context.Context, c *call.Call, f *awsquery.Form) (any, error) {
	p, err := page(f)
	if err != nil {
		return nil, err
	}
	l, err := a.iam.ListInstanceProfiles(ctx, c.Caller, f.String("PathPrefix"), p)
	if err != nil {
		return nil, err
	}
	return profilesResult{listOf(l.Items, listedProfile), partOf(l)}, nil
}

func (a api) listInstanceProfilesForRole(ctx context.Context, c *call.Call, f *awsquery.Form) (any, error) {
	p, err := page(f)
	if err != nil {
		return nil, err
	}
	l, err := a.iam.ListInstanceProfilesForRole(ctx, c.Caller, f.String("RoleName"), p)
	if err != nil {
		return nil, err
	}
	return profilesResult{listOf(l.Items, listedProfile), partOf(l)}, nil
}

func (a api) deleteInstanceProfile(ctx context.Context, c *call.Call, f *awsquery.Form) (any, error) {
	return nil, a.iam.DeleteInstanceProfile(ctx, c.Caller, f.String("InstanceProfileName"))
}

func (a api) addRoleToInstanceProfile(ctx context.Context, c *call.Call, f *awsquery.Form) (any, error) {
	return nil, a.iam.AddRoleToInstanceProfile(ctx, c.Caller, f.String("InstanceProfileName"), f.String("RoleName"))
}

func (a api) removeRoleFromInstanceProfile(ctx context.Context, c *call.Call, f *awsquery.Form) (any, error) {
	return nil, a.iam.RemoveRoleFromInstanceProfile(ctx, c.Caller, f.String("InstanceProfileName"), f.String("RoleName"))
}

func (a api) tagInstanceProfile(ctx context.Context, c *call.Call, f *awsquery.Form) (any, error) {
	t, err := tags(f)
	if err != nil {
		return nil, err
	}
	return nil, a.iam.TagInstanceProfile(ctx, c.Caller, f.String("InstanceProfileName"), t)
}

func (a api) untagInstanceProfile(ctx context.Context, c *call.Call, f *awsquery.Form) (any, error) {
	keys, err := tagKeys(f)
	if err != nil {
		return nil, err
	}
	return nil, a.iam.UntagInstanceProfile(ctx, c.Caller, f.String("InstanceProfileName"), keys)
}

func (a api) listInstanceProfileTags(ctx context.Context, c *call.Call, f *awsquery.Form) (any, error) {
	p, err := page(f)
	if err != nil {
		return nil, err
	}
	l, err := a.iam.ListInstanceProfileTags(ctx, c.Caller, f.String("InstanceProfileName"), p)
	if err != nil {
		return nil, err
	}
	return toTags(l), nil
}
