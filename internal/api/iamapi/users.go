// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package iamapi

import (
	"context"

	"podid/internal/api/awsquery"
	"podid/internal/api/call"
	"podid/internal/iam"
)

func (a api) users() []awsquery.Operation {
	return []awsquery.Operation{
		write("CreateUser", onUser, a.createUser, "UserName"),
		read("GetUser", onUser, a.getUser),
		read("ListUsers", onUser, a.listUsers),
		write("DeleteUser", onUser, a.deleteUser, "UserName"),
		write("TagUser", onUser, a.tagUser, "UserName"),
		write("UntagUser", onUser, a.untagUser, "UserName"),
		read("ListUserTags", onUser, a.listUserTags, "UserName"),
		write("PutUserPermissionsBoundary", onUser, a.putUserBoundary, "UserName", "PermissionsBoundary"),
		write("DeleteUserPermissionsBoundary", onUser, a.deleteUserBoundary, "UserName"),
	}
}

func (a api) keys() []awsquery.Operation {
	return []awsquery.Operation{
		write("CreateAccessKey", onUser, a.createAccessKey),
		read("ListAccessKeys", onUser, a.listAccessKeys),
		write("UpdateAccessKey", onUser, a.updateAccessKey, "AccessKeyId", "Status"),
		write("DeleteAccessKey", onUser, a.deleteAccessKey, "AccessKeyId"),
	}
}

func (a api) account() []awsquery.Operation {
	return []awsquery.Operation{
		write("CreateAccountAlias", onAll, a.createAccountAlias, "AccountAlias"),
		write("DeleteAccountAlias", onAll, a.deleteAccountAlias, "AccountAlias"),
		read("ListAccountAliases", onAll, a.listAccountAliases),
		read("GetAccountAuthorizationDetails", onAll, a.getAccountAuthorizationDetails),
		write("CreateServiceLinkedRole", onRole, a.createServiceLinkedRole, "AWSServiceName"),
		read("GetAccountSummary", onAll, a.getAccountSummary),
	}
}

type wireUser struct {
	Path                string
	UserName            string
	UserID              string `xml:"UserId"`
	ARN                 string `xml:"Arn"`
	CreateDate          awsquery.Timestamp
	PermissionsBoundary *boundary
	Tags                *awsquery.List[wireTag]
}

// listedUser leaves out what ListUsers leaves out.
func listedUser(u *iam.User) wireUser {
	return wireUser{Path: u.Path, UserName: u.Name, UserID: u.ID, ARN: u.ARN(), CreateDate: awsquery.Timestamp(u.Created)}
}

type userResult struct{ User wireUser }

func toUser(u *iam.User) userResult {
	w := listedUser(u)
	w.PermissionsBoundary, w.Tags = toBoundary(u.Boundary), optionalTags(u.Tags)
	return userResult{w}
}

func (a api) createUser(ctx context.Context, c *call.Call, f *awsquery.Form) (any, error) {
	t, err := tags(f)
	if err != nil {
		return nil, err
	}
	u, err := a.iam.CreateUser(ctx, c.Caller, iam.CreateUserInput{
		Path: f.String("Path"), Name: f.String("UserName"), Boundary: f.String("PermissionsBoundary"), Tags: t,
	})
	if err != nil {
		return nil, err
	}
	c.Event.ResponseElements = map[string]any{"user": map[string]string{"userName": u.Name, "userId": u.ID, "arn": u.ARN()}}
	return toUser(u), nil
}

func (a api) getUser(ctx context.Context, c *call.Call, f *awsquery.Form) (any, error) {
	u, err := a.iam.GetUser(ctx, c.Caller, f.String("UserName"))
	if err != nil {
		return nil, err
	}
	return toUser(u), nil
}

func (a api) listUsers(ctx context.Context, c *call.Call, f *awsquery.Form) (any, error) {
	p, err := page(f)
	if err != nil {
		return nil, err
	}
	l, err := a.iam.ListUsers(ctx, c.Caller, f.String("PathPrefix"), p)
	if err != nil {
		return nil, err
	}
	return struct {
		Users awsquery.List[wireUser]
		part
	}{listOf(l.Items, listedUser), partOf(l)}, nil
}

func (a api) deleteUser(ctx context.Context, c *call.Call, f *awsquery.Form) (any, error) {
	return nil, a.iam.DeleteUser(ctx, c.Caller, f.String("UserName"))
}

func (a api) tagUser(ctx context.Context, c *call.Call, f *awsquery.Form) (any, error) {
	t, err := tags(f)
	if err != nil {
		return nil, err
	}
	return nil, a.iam.TagUser(ctx, c.Caller, f.String("UserName"), t)
}

func (a api) untagUser(ctx context.Context, c *call.Call, f *awsquery.Form) (any, error) {
	keys, err := tagKeys(f)
	if err != nil {
		return nil, err
	}
	return nil, a.iam.UntagUser(ctx, c.Caller, f.String("UserName"), keys)
}

func (a api) listUserTags(ctx context.Context, c *call.Call, f *awsquery.Form) (any, error) {
	p, err := page(f)
	if err != nil {
		return nil, err
	}
	l, err := a.iam.ListUserTags(ctx, c.Caller, f.String("UserName"), p)
	if err != nil {
		return nil, err
	}
	return toTags(l), nil
}

func (a api) putUserBoundary(ctx context.Context, c *call.Call, f *awsquery.Form) (any, error) {
	return nil, a.iam.PutUserPermissionsBoundary(ctx, c.Caller, f.String("UserName"), f.String("PermissionsBoundary"))
}

func (a api) deleteUserBoundary(ctx context.Context, c *call.Call, f *awsquery.Form) (any, error) {
	return nil, a.iam.DeleteUserPermissionsBoundary(ctx, c.Caller, f.String("UserName"))
}

type wireKey struct {
	UserName        string
	AccessKeyID     string `xml:"AccessKeyId"`
	Status          string
	SecretAccessKey string `xml:",omitempty"`
	CreateDate      awsquery.Timestamp
}

func toKey(u *iam.User, k iam.AccessKey) wireKey {
	status := "Inactive"
	if k.Active {
		status = "Active"
	}
	return wireKey{UserName: u.Name, AccessKeyID: k.ID, Status: status, CreateDate: awsquery.Timestamp(k.Created)}
}

func (a api) createAccessKey(ctx context.Context, c *call.Call, f *awsquery.Form) (any, error) {
	k, err := a.iam.CreateAccessKey(ctx, c.Caller, f.String("UserName"))
	if err != nil {
		return nil, err
	}
	w := toKey(k.User, k.Key)
	c.Event.ResponseElements = map[string]any{"accessKey": map[string]string{"userName": w.UserName, "accessKeyId": w.AccessKeyID, "status": w.Status}}
	c.Extra().AccessKeyIDIssued = w.AccessKeyID
	w.SecretAccessKey = k.Secret.Reveal()
	return struct{ AccessKey wireKey }{w}, nil
}

func (a api) listAccessKeys(ctx context.Context, c *call.Call, f *awsquery.Form) (any, error) {
	p, err := page(f)
	if err != nil {
		return nil, err
	}
	u, l, err := a.iam.ListAccessKeys(ctx, c.Caller, f.String("UserName"), p)
	if err != nil {
		return nil, err
	}
	return struct {
		AccessKeyMetadata awsquery.List[wireKey]
		part
	}{listOf(l.Items, func(k iam.AccessKey) wireKey { return toKey(u, k) }), partOf(l)}, nil
}

func (a api) updateAccessKey(ctx context.Context, c *call.Call, f *awsquery.Form) (any, error) {
	return nil, a.iam.UpdateAccessKey(ctx, c.Caller, f.String("UserName"), f.String("AccessKeyId"), f.String("Status"))
}

func (a api) deleteAccessKey(ctx context.Context, c *call.Call, f *awsquery.Form) (any, error) {
	return nil, a.iam.DeleteAccessKey(ctx, c.Caller, f.String("UserName"), f.String("AccessKeyId"))
}

func (a api) listAccountAliases(ctx context.Context, c *call.Call, f *awsquery.Form) (any, error) {
	p, err := page(f)
	if err != nil {
		return nil, err
	}
	l, err := a.iam.ListAccountAliases(ctx, c.Caller, p)
	if err != nil {
		return nil, err
	}
	return struct {
		AccountAliases awsquery.List[string]
		part
	}{listOf(l.Items, same), partOf(l)}, nil
}

type summaryEntry struct {
	Key   string `xml:"key"`
	Value int    `xml:"value"`
}

func (a api) getAccountSummary(ctx context.Context, c *call.Call, _ *awsquery.Form) (any, error) {
	counts, err := a.iam.GetAccountSummary(ctx, c.Caller)
	if err != nil {
		return nil, err
	}
	var out struct {
		SummaryMap struct {
			Entry []summaryEntry `xml:"entry"`
		}
	}
	for _, n := range counts {
		out.SummaryMap.Entry = append(out.SummaryMap.Entry, summaryEntry{n.Name, n.Value})
	}
	return out, nil
}
