// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package iamapi

import (
	"context"

	"podid/internal/api/awsquery"
	"podid/internal/api/call"
	"podid/internal/iam"
)

func (a api) createAccountAlias(ctx context.Context, c *call.Call, f *awsquery.Form) (any, error) {
	return nil, a.iam.CreateAccountAlias(ctx, c.Caller, f.String("AccountAlias"))
}

func (a api) deleteAccountAlias(ctx context.Context, c *call.Call, f *awsquery.Form) (any, error) {
	return nil, a.iam.DeleteAccountAlias(ctx, c.Caller, f.String("AccountAlias"))
}

func (a api) createServiceLinkedRole(ctx context.Context, c *call.Call, f *awsquery.Form) (any, error) {
	return nil, a.iam.CreateServiceLinkedRole(ctx, c.Caller, f.String("AWSServiceName"))
}

type policyDetail struct {
	PolicyName     string
	PolicyDocument string
}

func toInline(p iam.InlinePolicy) policyDetail { return policyDetail{p.Name, document(p.Document)} }

// toManaged names attached policies.
func toManaged(arns []string) awsquery.List[attachedPolicy] {
	return listOf(iam.Attached(arns), func(p iam.AttachedPolicy) attachedPolicy { return attachedPolicy{p.Name, p.ARN} })
}

type userDetail struct {
	Path                    string
	UserName                string
	UserID                  string `xml:"UserId"`
	ARN                     string `xml:"Arn"`
	CreateDate              awsquery.Timestamp
	UserPolicyList          *awsquery.List[policyDetail]
	GroupList               awsquery.List[string]
	AttachedManagedPolicies awsquery.List[attachedPolicy]
	PermissionsBoundary     *boundary
	Tags                    awsquery.List[wireTag]
}

type groupDetail struct {
	Path                    string
	GroupName               string
	GroupID                 string `xml:"GroupId"`
	ARN                     string `xml:"Arn"`
	CreateDate              awsquery.Timestamp
	GroupPolicyList         awsquery.List[policyDetail]
	AttachedManagedPolicies awsquery.List[attachedPolicy]
}

type roleDetail struct {
	Path                     string
	RoleName                 string
	RoleID                   string `xml:"RoleId"`
	ARN                      string `xml:"Arn"`
	CreateDate               awsquery.Timestamp
	AssumeRolePolicyDocument string
	InstanceProfileList      awsquery.List[wireProfile]
	RolePolicyList           awsquery.List[policyDetail]
	AttachedManagedPolicies  awsquery.List[attachedPolicy]
	PermissionsBoundary      *boundary
	Tags                     awsquery.List[wireTag]
	RoleLastUsed             lastUsed
}

type managedDetail struct {
	PolicyName                    string
	PolicyID                      string `xml:"PolicyId"`
	ARN                           string `xml:"Arn"`
	Path                          string
	DefaultVersionID              string `xml:"DefaultVersionId"`
	AttachmentCount               int
	PermissionsBoundaryUsageCount int
	IsAttachable                  bool
	Description                   string `xml:",omitempty"`
	CreateDate                    awsquery.Timestamp
	UpdateDate                    awsquery.Timestamp
	PolicyVersionList             awsquery.List[wireVersion]
}

type detailsResult struct {
	UserDetailList  awsquery.List[userDetail]
	GroupDetailList awsquery.List[groupDetail]
	RoleDetailList  awsquery.List[roleDetail]
	Policies        awsquery.List[managedDetail]
	part
}

func (r *detailsResult) add(d iam.Detail) {
	switch {
	case d.User != nil:
		u := d.User
		w := userDetail{
			Path: u.Path, UserName: u.Name, UserID: u.ID, ARN: u.ARN(), CreateDate: awsquery.Timestamp(u.Created), GroupList: listOf(d.Groups, same),
			AttachedManagedPolicies: toManaged(u.Attached), PermissionsBoundary: toBoundary(u.Boundary), Tags: listOf(u.Tags, toTag),
		}
		if len(u.Inline) > 0 {
			l := listOf(u.Inline, toInline)
			w.UserPolicyList = &l
		}
		r.UserDetailList.Member = append(r.UserDetailList.Member, w)
	case d.Group != nil:
		g := d.Group
		r.GroupDetailList.Member = append(r.GroupDetailList.Member, groupDetail{
			Path: g.Path, GroupName: g.Name, GroupID: g.ID, ARN: g.ARN(), CreateDate: awsquery.Timestamp(g.Created),
			GroupPolicyList: listOf(g.Inline, toInline), AttachedManagedPolicies: toManaged(g.Attached),
		})
	case d.Role != nil:
		r.RoleDetailList.Member = append(r.RoleDetailList.Member, toRoleDetail(d))
	default:
		p := d.Policy
		r.Policies.Member = append(r.Policies.Member, managedDetail{
			PolicyName: p.Name, PolicyID: p.ID, ARN: p.ARN(), Path: p.Path, DefaultVersionID: p.Default, AttachmentCount: p.Attachments,
			PermissionsBoundaryUsageCount: p.Boundaries, IsAttachable: true, Description: p.Description,
			CreateDate: awsquery.Timestamp(p.Created), UpdateDate: awsquery.Timestamp(p.Updated),
			PolicyVersionList: listOf(p.AllVersions(), func(v iam.VersionInfo) wireVersion {
				w := listedVersion(v)
				w.Document = document(v.Document)
				return w
			}),
		})
	}
}

func toRoleDetail(d iam.Detail) roleDetail {
	r := d.Role
	w := roleDetail{
		Path: r.Path, RoleName: r.Name, RoleID: r.ID, ARN: r.ARN(), CreateDate: awsquery.Timestamp(r.Created), AssumeRolePolicyDocument: document(r.Trust),
		InstanceProfileList: listOf(d.Profiles, listedProfile), RolePolicyList: listOf(r.Inline, toInline), AttachedManagedPolicies: toManaged(r.Attached),
		PermissionsBoundary: toBoundary(r.Boundary), Tags: listOf(r.Tags, toTag),
	}
	if !r.LastUsed.IsZero() {
		t := awsquery.Timestamp(r.LastUsed)
		w.RoleLastUsed.LastUsedDate = &t
	}
	return w
}

func (a api) getAccountAuthorizationDetails(ctx context.Context, c *call.Call, f *awsquery.Form) (any, error) {
	filter := f.Strings("Filter")
	p, err := page(f)
	if err != nil {
		return nil, err
	}
	l, err := a.iam.AccountDetails(ctx, c.Caller, filter, p)
	if err != nil {
		return nil, err
	}
	out := &detailsResult{part: partOf(l)}
	for _, d := range l.Items {
		out.add(d)
	}
	return out, nil
}
