// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package iamapi

import (
	"context"

	"podid/internal/api/awsquery"
	"podid/internal/api/call"
	"podid/internal/fault"
)

// userCredentials are the operations on what a user may have beside access
// keys. There is none of it here: lists are empty, and nothing is found.
func (a api) userCredentials() []awsquery.Operation {
	return []awsquery.Operation{
		write("UpdateUser", onUser, a.updateUser, "UserName"),
		read("GetAccessKeyLastUsed", onUser, a.getAccessKeyLastUsed, "AccessKeyId"),
		read("ListMFADevices", onUser, a.listMFADevices),
		read("ListVirtualMFADevices", onAll, a.listVirtualMFADevices),
		read("ListSSHPublicKeys", onUser, a.listSSHPublicKeys),
		read("ListSigningCertificates", onUser, a.listSigningCertificates),
		read("ListServiceSpecificCredentials", onUser, a.listServiceSpecificCredentials),
		read("GetLoginProfile", onUser, a.getLoginProfile),
		write("DeleteLoginProfile", onUser, a.deleteLoginProfile),
	}
}

func (a api) updateUser(ctx context.Context, c *call.Call, f *awsquery.Form) (any, error) {
	return nil, a.iam.UpdateUser(ctx, c.Caller, f.String("UserName"), f.Ptr("NewUserName"), f.Ptr("NewPath"))
}

// notUsed is what AWS answers for the service and region of a key that was
// never used; the date is absent then.
const notUsed = "N/A"

type lastUsedResult struct {
	UserName          string
	AccessKeyLastUsed struct {
		LastUsedDate *awsquery.Timestamp
		ServiceName  string
		Region       string
	}
}

func (a api) getAccessKeyLastUsed(ctx context.Context, c *call.Call, f *awsquery.Form) (any, error) {
	u, use, known, err := a.iam.GetAccessKeyLastUsed(ctx, c.Caller, f.String("AccessKeyId"))
	if err != nil {
		return nil, err
	}
	var out lastUsedResult
	out.UserName = u.Name
	out.AccessKeyLastUsed.ServiceName, out.AccessKeyLastUsed.Region = notUsed, notUsed
	if known {
		at := awsquery.Timestamp(use.Time)
		out.AccessKeyLastUsed.LastUsedDate, out.AccessKeyLastUsed.ServiceName, out.AccessKeyLastUsed.Region = &at, use.Service, use.Region
	}
	return out, nil
}

// nothing is a list without members: no type says what they would be.
type nothing = awsquery.List[struct{}]

// listNone asks for a list of what no user has.
func (a api) listNone(ctx context.Context, c *call.Call, f *awsquery.Form, action string) error {
	p, err := page(f)
	if err != nil {
		return err
	}
	return a.iam.ListNone(ctx, c.Caller, action, f.String("UserName"), p)
}

func (a api) listMFADevices(ctx context.Context, c *call.Call, f *awsquery.Form) (any, error) {
	return struct {
		MFADevices nothing
		part
	}{}, a.listNone(ctx, c, f, "iam:ListMFADevices")
}

func (a api) listSSHPublicKeys(ctx context.Context, c *call.Call, f *awsquery.Form) (any, error) {
	return struct {
		SSHPublicKeys nothing
		part
	}{}, a.listNone(ctx, c, f, "iam:ListSSHPublicKeys")
}

func (a api) listSigningCertificates(ctx context.Context, c *call.Call, f *awsquery.Form) (any, error) {
	return struct {
		Certificates nothing
		part
	}{}, a.listNone(ctx, c, f, "iam:ListSigningCertificates")
}

// listServiceSpecificCredentials asks about one user, or with AllUsers about
// the account.
func (a api) listServiceSpecificCredentials(ctx context.Context, c *call.Call, f *awsquery.Form) (any, error) {
	const action = "iam:ListServiceSpecificCredentials"
	out := struct {
		ServiceSpecificCredentials nothing
		part
	}{}
	all := f.Bool("AllUsers")
	p, err := page(f)
	if err != nil {
		return nil, err
	}
	if all == nil || !*all {
		return out, a.listNone(ctx, c, f, action)
	}
	if _, named := f.Lookup("UserName"); named {
		return nil, fault.New(fault.InvalidParameter, "UserName and AllUsers cannot be given together.").WithReason("invalid-all-users")
	}
	return out, a.iam.ListNoneOfAll(ctx, c.Caller, action, p)
}

func (a api) listVirtualMFADevices(ctx context.Context, c *call.Call, f *awsquery.Form) (any, error) {
	p, err := page(f)
	if err != nil {
		return nil, err
	}
	switch s := f.String("AssignmentStatus"); s {
	case "", "Any", "Assigned", "Unassigned":
	default:
		return nil, fault.New(fault.InvalidParameter, "1 validation error detected: Value '%.256s' at 'assignmentStatus' failed to satisfy constraint: Member must satisfy enum value set: [Assigned, Unassigned, Any]", s).
			WithReason("invalid-assignment-status")
	}
	return struct {
		VirtualMFADevices nothing
		part
	}{}, a.iam.ListNoneOfAll(ctx, c.Caller, "iam:ListVirtualMFADevices", p)
}

func (a api) getLoginProfile(ctx context.Context, c *call.Call, f *awsquery.Form) (any, error) {
	return nil, a.iam.LoginProfile(ctx, c.Caller, "iam:GetLoginProfile", f.String("UserName"))
}

func (a api) deleteLoginProfile(ctx context.Context, c *call.Call, f *awsquery.Form) (any, error) {
	return nil, a.iam.LoginProfile(ctx, c.Caller, "iam:DeleteLoginProfile", f.String("UserName"))
}
