// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package iamapi

import (
	"context"

	"podid/internal/api/awsquery"
	"podid/internal/api/call"
	"podid/internal/iam"
)

func (a api) policies() []awsquery.Operation {
	return []awsquery.Operation{
		write("CreatePolicy", onPolicy, a.createPolicy, "PolicyName", "PolicyDocument"),
		read("GetPolicy", onPolicy, a.getPolicy, "PolicyArn"),
		read("ListPolicies", onPolicy, a.listPolicies),
		write("DeletePolicy", onPolicy, a.deletePolicy, "PolicyArn"),
		read("ListEntitiesForPolicy", onPolicy, a.listEntitiesForPolicy, "PolicyArn"),
		write("TagPolicy", onPolicy, a.tagPolicy, "PolicyArn"),
		write("UntagPolicy", onPolicy, a.untagPolicy, "PolicyArn"),
		read("ListPolicyTags", onPolicy, a.listPolicyTags, "PolicyArn"),
		read("GetPolicyVersion", onPolicy, a.getPolicyVersion, "PolicyArn", "VersionId"),
		read("ListPolicyVersions", onPolicy, a.listPolicyVersions, "PolicyArn"),
		write("CreatePolicyVersion", onPolicy, a.createPolicyVersion, "PolicyArn", "PolicyDocument"),
		write("DeletePolicyVersion", onPolicy, a.deletePolicyVersion, "PolicyArn", "VersionId"),
		write("SetDefaultPolicyVersion", onPolicy, a.setDefaultPolicyVersion, "PolicyArn", "VersionId"),
	}
}

type wirePolicy struct {
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
	Tags                          *awsquery.List[wireTag]
}

// listedPolicy leaves out what ListPolicies leaves out.
func listedPolicy(p iam.PolicyInfo) wirePolicy {
	return wirePolicy{
		PolicyName: p.Name, PolicyID: p.ID, ARN: p.ARN(), Path: p.Path, DefaultVersionID: p.Default, AttachmentCount: p.Attachments,
		PermissionsBoundaryUsageCount: p.Boundaries, IsAttachable: true,
		CreateDate: awsquery.Timestamp(p.Created), UpdateDate: awsquery.Timestamp(p.Updated),
	}
}

type policyResult struct{ Policy wirePolicy }

func toPolicy(p iam.PolicyInfo) policyResult {
	w := listedPolicy(p)
	w.Description, w.Tags = p.Description, optionalTags(p.Tags)
	return policyResult{w}
}

type wireVersion struct {
	Document         string `xml:",omitempty"`
	VersionID        string `xml:"VersionId"`
	IsDefaultVersion bool
	CreateDate       awsquery.Timestamp
}

// listedVersion leaves the document out, as ListPolicyVersions does.
func listedVersion(v iam.VersionInfo) wireVersion {
	return wireVersion{VersionID: v.ID, IsDefaultVersion: v.Default, CreateDate: awsquery.Timestamp(v.Created)}
}

type versionResult struct{ PolicyVersion wireVersion }

func (a api) createPolicy(ctx context.Context, c *call.Call, f *awsquery.Form) (any, error) {
	t, err := tags(f)
	if err != nil {
		return nil, err
	}
	p, err := a.iam.CreatePolicy(ctx, c.Caller, iam.CreatePolicyInput{
		Path: f.String("Path"), Name: f.String("PolicyName"), Document: f.String("PolicyDocument"), Description: f.String("Description"), Tags: t,
	})
	if err != nil {
		return nil, err
	}
	c.Event.ResponseElements = map[string]any{"policy": map[string]string{"policyName": p.Name, "policyId": p.ID, "arn": p.ARN()}}
	w := toPolicy(p)
	w.Policy.Description = "" // the model shows it in GetPolicy only
	return w, nil
}

func (a api) getPolicy(ctx context.Context, c *call.Call, f *awsquery.Form) (any, error) {
	p, err := a.iam.GetPolicy(ctx, c.Caller, f.String("PolicyArn"))
	if err != nil {
		return nil, err
	}
	return toPolicy(p), nil
}

func (a api) listPolicies(ctx context.Context, c *call.Call, f *awsquery.Form) (any, error) {
	in := iam.ListPoliciesInput{Scope: f.String("Scope"), PathPrefix: f.String("PathPrefix"), UsageFilter: f.String("PolicyUsageFilter")}
	if b := f.Bool("OnlyAttached"); b != nil {
		in.OnlyAttached = *b
	}
	var err error
	if in.Page, err = page(f); err != nil {
		return nil, err
	}
	l, err := a.iam.ListPolicies(ctx, c.Caller, in)
	if err != nil {
		return nil, err
	}
	return struct {
		Policies awsquery.List[wirePolicy]
		part
	}{listOf(l.Items, listedPolicy), partOf(l)}, nil
}

func (a api) deletePolicy(ctx context.Context, c *call.Call, f *awsquery.Form) (any, error) {
	return nil, a.iam.DeletePolicy(ctx, c.Caller, f.String("PolicyArn"))
}

type entityGroup struct {
	GroupName string
	GroupID   string `xml:"GroupId"`
}

type entityRole struct {
	RoleName string
	RoleID   string `xml:"RoleId"`
}

type entityUser struct {
	UserName string
	UserID   string `xml:"UserId"`
}

func (a api) listEntitiesForPolicy(ctx context.Context, c *call.Call, f *awsquery.Form) (any, error) {
	p, err := page(f)
	if err != nil {
		return nil, err
	}
	l, err := a.iam.ListEntitiesForPolicy(ctx, c.Caller, iam.ListEntitiesInput{
		PolicyARN: f.String("PolicyArn"), Filter: f.String("EntityFilter"), PathPrefix: f.String("PathPrefix"), UsageFilter: f.String("PolicyUsageFilter"), Page: p,
	})
	if err != nil {
		return nil, err
	}
	var out struct {
		PolicyGroups awsquery.List[entityGroup]
		PolicyUsers  awsquery.List[entityUser]
		PolicyRoles  awsquery.List[entityRole]
		part
	}
	for _, e := range l.Items {
		switch e.Kind {
		case "Group":
			out.PolicyGroups.Member = append(out.PolicyGroups.Member, entityGroup{e.Name, e.ID})
		case "Role":
			out.PolicyRoles.Member = append(out.PolicyRoles.Member, entityRole{e.Name, e.ID})
		default:
			out.PolicyUsers.Member = append(out.PolicyUsers.Member, entityUser{e.Name, e.ID})
		}
	}
	out.part = partOf(l)
	return out, nil
}

func (a api) tagPolicy(ctx context.Context, c *call.Call, f *awsquery.Form) (any, error) {
	t, err := tags(f)
	if err != nil {
		return nil, err
	}
	return nil, a.iam.TagPolicy(ctx, c.Caller, f.String("PolicyArn"), t)
}

func (a api) untagPolicy(ctx context.Context, c *call.Call, f *awsquery.Form) (any, error) {
	keys, err := tagKeys(f)
	if err != nil {
		return nil, err
	}
	return nil, a.iam.UntagPolicy(ctx, c.Caller, f.String("PolicyArn"), keys)
}

func (a api) listPolicyTags(ctx context.Context, c *call.Call, f *awsquery.Form) (any, error) {
	p, err := page(f)
	if err != nil {
		return nil, err
	}
	l, err := a.iam.ListPolicyTags(ctx, c.Caller, f.String("PolicyArn"), p)
	if err != nil {
		return nil, err
	}
	return toTags(l), nil
}

func (a api) getPolicyVersion(ctx context.Context, c *call.Call, f *awsquery.Form) (any, error) {
	v, err := a.iam.GetPolicyVersion(ctx, c.Caller, f.String("PolicyArn"), f.String("VersionId"))
	if err != nil {
		return nil, err
	}
	w := listedVersion(v)
	w.Document = document(v.Document)
	return versionResult{w}, nil
}

func (a api) listPolicyVersions(ctx context.Context, c *call.Call, f *awsquery.Form) (any, error) {
	p, err := page(f)
	if err != nil {
		return nil, err
	}
	l, err := a.iam.ListPolicyVersions(ctx, c.Caller, f.String("PolicyArn"), p)
	if err != nil {
		return nil, err
	}
	return struct {
		Versions awsquery.List[wireVersion]
		part
	}{listOf(l.Items, listedVersion), partOf(l)}, nil
}

func (a api) createPolicyVersion(ctx context.Context, c *call.Call, f *awsquery.Form) (any, error) {
	set := f.Bool("SetAsDefault")
	if err := f.Err(); err != nil {
		return nil, err
	}
	v, err := a.iam.CreatePolicyVersion(ctx, c.Caller, f.String("PolicyArn"), f.String("PolicyDocument"), set != nil && *set)
	if err != nil {
		return nil, err
	}
	return versionResult{listedVersion(v)}, nil
}

func (a api) deletePolicyVersion(ctx context.Context, c *call.Call, f *awsquery.Form) (any, error) {
	return nil, a.iam.DeletePolicyVersion(ctx, c.Caller, f.String("PolicyArn"), f.String("VersionId"))
}

func (a api) setDefaultPolicyVersion(ctx context.Context, c *call.Call, f *awsquery.Form) (any, error) {
	return nil, a.iam.SetDefaultPolicyVersion(ctx, c.Caller, f.String("PolicyArn"), f.String("VersionId"))
}
