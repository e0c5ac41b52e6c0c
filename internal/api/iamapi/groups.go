// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package iamapi

import (
	"context"

	"podid/internal/api/awsquery"
	"podid/internal/api/call"
	"podid/internal/iam"
)

func (a api) groups() []awsquery.Operation {
	return []awsquery.Operation{
		write("CreateGroup", onGroup, a.createGroup, "GroupName"),
		read("GetGroup", onGroup, a.getGroup, "GroupName"),
		read("ListGroups", onGroup, a.listGroups),
		write("UpdateGroup", onGroup, a.updateGroup, "GroupName"),
		write("DeleteGroup", onGroup, a.deleteGroup, "GroupName"),
		write("AddUserToGroup", onGroup, a.addUserToGroup, "GroupName", "UserName"),
		write("RemoveUserFromGroup", onGroup, a.removeUserFromGroup, "GroupName", "UserName"),
		read("ListGroupsForUser", onUser, a.listGroupsForUser, "UserName"),
		write("AttachGroupPolicy", onGroup, a.attachGroupPolicy, "GroupName", "PolicyArn"),
		write("DetachGroupPolicy", onGroup, a.detachGroupPolicy, "GroupName", "PolicyArn"),
		read("ListAttachedGroupPolicies", onGroup, a.listAttachedGroupPolicies, "GroupName"),
		write("PutGroupPolicy", onGroup, a.putGroupPolicy, "GroupName", "PolicyName", "PolicyDocument"),
		read("GetGroupPolicy", onGroup, a.getGroupPolicy, "GroupName", "PolicyName"),
		write("DeleteGroupPolicy", onGroup, a.deleteGroupPolicy, "GroupName", "PolicyName"),
		read("ListGroupPolicies", onGroup, a.listGroupPolicies, "GroupName"),
	}
}

type wireGroup struct {
	Path       string
	GroupName  string
	GroupID    string `xml:"GroupId"`
	ARN        string `xml:"Arn"`
	CreateDate awsquery.Timestamp
}

func toGroup(g *iam.Group) wireGroup {
	return wireGroup{Path: g.Path, GroupName: g.Name, GroupID: g.ID, ARN: g.ARN(), CreateDate: awsquery.Timestamp(g.Created)}
}

type groupsResult struct {
	Groups awsquery.List[wireGroup]
	part
}

func (a api) createGroup(ctx context.Context, c *call.Call, f *awsquery.Form) (any, error) {
	g, err := a.iam.CreateGroup(ctx, c.Caller, f.String("Path"), f.String("GroupName"))
	if err != nil {
		return nil, err
	}
	c.Event.ResponseElements = map[string]any{"group": map[string]string{"groupName": g.Name, "groupId": g.ID, "arn": g.ARN()}}
	return struct{ Group wireGroup }{toGroup(g)}, nil
}

func (a api) getGroup(ctx context.Context, c *call.Call, f *awsquery.Form) (any, error) {
	p, err := page(f)
	if err != nil {
		return nil, err
	}
	g, l, err := a.iam.GetGroup(ctx, c.Caller, f.String("GroupName"), p)
	if err != nil {
		return nil, err
	}
	return struct {
		Group wireGroup
		Users awsquery.List[wireUser]
		part
	}{toGroup(g), listOf(l.Items, listedUser), partOf(l)}, nil
}

func (a api) listGroups(ctx context.Context, c *call.Call, f *awsquery.Form) (any, error) {
	p, err := page(f)
	if err != nil {
		return nil, err
	}
	l, err := a.iam.ListGroups(ctx, c.Caller, f.String("PathPrefix"), p)
	if err != nil {
		return nil, err
	}
	return groupsResult{listOf(l.Items, toGroup), partOf(l)}, nil
}

func (a api) updateGroup(ctx context.Context, c *call.Call, f *awsquery.Form) (any, error) {
	return nil, a.iam.UpdateGroup(ctx, c.Caller, f.String("GroupName"), f.Ptr("NewGroupName"), f.Ptr("NewPath"))
}

func (a api) deleteGroup(ctx context.Context, c *call.Call, f *awsquery.Form) (any, error) {
	return nil, a.iam.DeleteGroup(ctx, c.Caller, f.String("GroupName"))
}

func (a api) addUserToGroup(ctx context.Context, c *call.Call, f *awsquery.Form) (any, error) {
	return nil, a.iam.AddUserToGroup(ctx, c.Caller, f.String("GroupName"), f.String("UserName"))
}

func (a api) removeUserFromGroup(ctx context.Context, c *call.Call, f *awsquery.Form) (any, error) {
	return nil, a.iam.RemoveUserFromGroup(ctx, c.Caller, f.String("GroupName"), f.String("UserName"))
}

func (a api) listGroupsForUser(ctx context.Context, c *call.Call, f *awsquery.Form) (any, error) {
	p, err := page(f)
	if err != nil {
		return nil, err
	}
	l, err := a.iam.ListGroupsForUser(ctx, c.Caller, f.String("UserName"), p)
	if err != nil {
		return nil, err
	}
	return groupsResult{listOf(l.Items, toGroup), partOf(l)}, nil
}

func (a api) attachGroupPolicy(ctx context.Context, c *call.Call, f *awsquery.Form) (any, error) {
	return nil, a.iam.AttachGroupPolicy(ctx, c.Caller, f.String("GroupName"), f.String("PolicyArn"))
}

func (a api) detachGroupPolicy(ctx context.Context, c *call.Call, f *awsquery.Form) (any, error) {
	return nil, a.iam.DetachGroupPolicy(ctx, c.Caller, f.String("GroupName"), f.String("PolicyArn"))
}

func (a api) listAttachedGroupPolicies(ctx context.Context, c *call.Call, f *awsquery.Form) (any, error) {
	p, err := page(f)
	if err != nil {
		return nil, err
	}
	l, err := a.iam.ListAttachedGroupPolicies(ctx, c.Caller, f.String("GroupName"), f.String("PathPrefix"), p)
	if err != nil {
		return nil, err
	}
	return toAttached(l), nil
}

func (a api) putGroupPolicy(ctx context.Context, c *call.Call, f *awsquery.Form) (any, error) {
	return nil, a.iam.PutGroupPolicy(ctx, c.Caller, f.String("GroupName"), f.String("PolicyName"), f.String("PolicyDocument"))
}

func (a api) getGroupPolicy(ctx context.Context, c *call.Call, f *awsquery.Form) (any, error) {
	g, p, err := a.iam.GetGroupPolicy(ctx, c.Caller, f.String("GroupName"), f.String("PolicyName"))
	if err != nil {
		return nil, err
	}
	return struct{ GroupName, PolicyName, PolicyDocument string }{g.Name, p.Name, document(p.Document)}, nil
}

func (a api) deleteGroupPolicy(ctx context.Context, c *call.Call, f *awsquery.Form) (any, error) {
	return nil, a.iam.DeleteGroupPolicy(ctx, c.Caller, f.String("GroupName"), f.String("PolicyName"))
}

func (a api) listGroupPolicies(ctx context.Context, c *call.Call, f *awsquery.Form) (any, error) {
	p, err := page(f)
	if err != nil {
		return nil, err
	}
	l, err := a.iam.ListGroupPolicies(ctx, c.Caller, f.String("GroupName"), p)
	if err != nil {
		return nil, err
	}
	return toNames(l), nil
}
