// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package controlplane_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"
	"github.com/google/go-cmp/cmp"

	"podid/internal/controlplane/controlplanetest"
)

func testSDKUsers(t *testing.T, d *driven) {
	ctx, c, u, none := t.Context(), d.admin, aws.String("sdk-user"), aws.String("none")
	const noUser = "The user with name none cannot be found."
	made := must(c.CreateUser(ctx, &iam.CreateUserInput{UserName: u, Path: aws.String("/people/")}))(t)
	wantAPIError(t, refusal(c.CreateUser(ctx, &iam.CreateUserInput{UserName: aws.String("SDK-user")})), "EntityAlreadyExists", "User with name sdk-user already exists.")
	if got := must(c.GetUser(ctx, &iam.GetUserInput{}))(t); *got.User.UserName != "podid-admin" {
		t.Errorf("the caller is %s", *got.User.UserName)
	}
	wantAPIError(t, refusal(c.GetUser(ctx, &iam.GetUserInput{UserName: none})), "NoSuchEntity", noUser)
	if l := must(c.ListUsers(ctx, &iam.ListUsersInput{PathPrefix: aws.String("/people/")}))(t); len(l.Users) != 1 || *l.Users[0].UserId != *made.User.UserId || l.IsTruncated {
		t.Errorf("users = %+v", l.Users)
	}
	first := must(c.ListUsers(ctx, &iam.ListUsersInput{MaxItems: aws.Int32(1)}))(t)
	if !first.IsTruncated || len(must(c.ListUsers(ctx, &iam.ListUsersInput{Marker: first.Marker}))(t).Users) != 2 {
		t.Errorf("first part = %+v", first)
	}
	wantAPIError(t, refusal(c.ListUsers(ctx, &iam.ListUsersInput{PathPrefix: aws.String("people")})), "ValidationError", "")
	must(c.TagUser(ctx, &iam.TagUserInput{UserName: u, Tags: []types.Tag{{Key: aws.String("team"), Value: aws.String("a")}, {Key: aws.String("x"), Value: aws.String("")}}}))(t)
	wantAPIError(t, refusal(c.TagUser(ctx, &iam.TagUserInput{UserName: none, Tags: []types.Tag{{Key: aws.String("x"), Value: aws.String("")}}})), "NoSuchEntity", noUser)
	must(c.UntagUser(ctx, &iam.UntagUserInput{UserName: u, TagKeys: []string{"x"}}))(t)
	wantAPIError(t, refusal(c.UntagUser(ctx, &iam.UntagUserInput{UserName: none, TagKeys: []string{"x"}})), "NoSuchEntity", noUser)
	if l := must(c.ListUserTags(ctx, &iam.ListUserTagsInput{UserName: u}))(t); len(l.Tags) != 1 || *l.Tags[0].Value != "a" {
		t.Errorf("tags = %+v", l.Tags)
	}
	wantAPIError(t, refusal(c.ListUserTags(ctx, &iam.ListUserTagsInput{UserName: none})), "NoSuchEntity", noUser)
	must(c.PutUserPermissionsBoundary(ctx, &iam.PutUserPermissionsBoundaryInput{UserName: u, PermissionsBoundary: aws.String(s3Read)}))(t)
	wantAPIError(t, refusal(c.PutUserPermissionsBoundary(ctx, &iam.PutUserPermissionsBoundaryInput{UserName: none, PermissionsBoundary: aws.String(s3Read)})), "NoSuchEntity", noUser)
	must(c.DeleteUserPermissionsBoundary(ctx, &iam.DeleteUserPermissionsBoundaryInput{UserName: u}))(t)
	wantAPIError(t, refusal(c.DeleteUserPermissionsBoundary(ctx, &iam.DeleteUserPermissionsBoundaryInput{UserName: none})), "NoSuchEntity", noUser)

	must(c.UpdateUser(ctx, &iam.UpdateUserInput{UserName: u, NewUserName: aws.String("sdk-renamed"), NewPath: aws.String("/p/")}))(t)
	if got := must(c.GetUser(ctx, &iam.GetUserInput{UserName: aws.String("sdk-renamed")}))(t).User; *got.UserId != *made.User.UserId || *got.Arn != userARN+"p/sdk-renamed" || len(got.Tags) != 1 {
		t.Errorf("user = %+v", got)
	}
	wantAPIError(t, refusal(c.UpdateUser(ctx, &iam.UpdateUserInput{UserName: aws.String("sdk-renamed"), NewUserName: aws.String("nobody")})), "EntityAlreadyExists", "User with name nobody already exists.")
	wantAPIError(t, refusal(c.UpdateUser(ctx, &iam.UpdateUserInput{UserName: u})), "NoSuchEntity", "The user with name sdk-user cannot be found.")
	must(c.DeleteUser(ctx, &iam.DeleteUserInput{UserName: aws.String("sdk-renamed")}))(t)
	wantAPIError(t, refusal(c.DeleteUser(ctx, &iam.DeleteUserInput{UserName: none})), "NoSuchEntity", noUser)
}

func testSDKUserPolicies(t *testing.T, d *driven) {
	ctx, c, u, p, none := t.Context(), d.admin, aws.String("sdk-user-policies"), aws.String("in"), aws.String("none")
	must(c.CreateUser(ctx, &iam.CreateUserInput{UserName: u}))(t)
	must(c.AttachUserPolicy(ctx, &iam.AttachUserPolicyInput{UserName: u, PolicyArn: aws.String(s3Read)}))(t)
	wantAPIError(t, refusal(c.AttachUserPolicy(ctx, &iam.AttachUserPolicyInput{UserName: u, PolicyArn: aws.String("arn:aws:iam::aws:policy/aws-service-role/AmazonEKSServiceRolePolicy")})),
		"PolicyNotAttachable", "Cannot attach a Service Role Policy to a Customer Role.")
	l := must(c.ListAttachedUserPolicies(ctx, &iam.ListAttachedUserPoliciesInput{UserName: u}))(t)
	if len(l.AttachedPolicies) != 1 || *l.AttachedPolicies[0].PolicyName != "AmazonS3ReadOnlyAccess" || *l.AttachedPolicies[0].PolicyArn != s3Read {
		t.Errorf("attached: %+v", l.AttachedPolicies)
	}
	wantAPIError(t, refusal(c.ListAttachedUserPolicies(ctx, &iam.ListAttachedUserPoliciesInput{UserName: none})), "NoSuchEntity", "")
	must(c.DetachUserPolicy(ctx, &iam.DetachUserPolicyInput{UserName: u, PolicyArn: aws.String(s3Read)}))(t)
	wantAPIError(t, refusal(c.DetachUserPolicy(ctx, &iam.DetachUserPolicyInput{UserName: u, PolicyArn: aws.String(s3Read)})), "NoSuchEntity", "Policy "+s3Read+" was not found.")
	must(c.PutUserPolicy(ctx, &iam.PutUserPolicyInput{UserName: u, PolicyName: p, PolicyDocument: d.identity}))(t)
	wantAPIError(t, refusal(c.PutUserPolicy(ctx, &iam.PutUserPolicyInput{UserName: u, PolicyName: p, PolicyDocument: aws.String(controlplanetest.JSON(t, controlplanetest.Document(allow("s3:"+strings.Repeat("G", 2048), "*", nil))))})),
		"LimitExceeded", "Maximum policy size of 2048 bytes exceeded for user sdk-user-policies")
	got := must(c.GetUserPolicy(ctx, &iam.GetUserPolicyInput{UserName: u, PolicyName: p}))(t)
	wantDocument(t, got.PolicyDocument, *d.identity)
	wantAPIError(t, refusal(c.GetUserPolicy(ctx, &iam.GetUserPolicyInput{UserName: u, PolicyName: none})), "NoSuchEntity", "The user policy with name none cannot be found.")
	if l := must(c.ListUserPolicies(ctx, &iam.ListUserPoliciesInput{UserName: u}))(t); !slices.Equal(l.PolicyNames, []string{"in"}) {
		t.Errorf("inline: %q", l.PolicyNames)
	}
	wantAPIError(t, refusal(c.ListUserPolicies(ctx, &iam.ListUserPoliciesInput{UserName: none})), "NoSuchEntity", "")
	must(c.DeleteUserPolicy(ctx, &iam.DeleteUserPolicyInput{UserName: u, PolicyName: p}))(t)
	wantAPIError(t, refusal(c.DeleteUserPolicy(ctx, &iam.DeleteUserPolicyInput{UserName: u, PolicyName: p})), "NoSuchEntity", "The user policy with name in cannot be found.")
}

// testSDKDeleteUser does what Terraform does before it deletes a user by force.
func testSDKDeleteUser(t *testing.T, d *driven) {
	ctx, c, u, none := t.Context(), d.admin, aws.String("sdk-leaver"), aws.String("none")
	const noUser = "The user with name none cannot be found."
	d.w.User(*u, controlplanetest.Document(allow("s3:*", "*", nil)))
	must(c.AttachUserPolicy(ctx, &iam.AttachUserPolicyInput{UserName: u, PolicyArn: aws.String(s3Read)}))(t)
	must(c.CreateGroup(ctx, &iam.CreateGroupInput{GroupName: aws.String("leavers")}))(t)
	must(c.AddUserToGroup(ctx, &iam.AddUserToGroupInput{GroupName: aws.String("leavers"), UserName: u}))(t)
	conflict := func(message string) {
		t.Helper()
		wantAPIError(t, refusal(c.DeleteUser(ctx, &iam.DeleteUserInput{UserName: u})), "DeleteConflict", message)
	}

	if l := must(c.ListMFADevices(ctx, &iam.ListMFADevicesInput{UserName: u}))(t); len(l.MFADevices) != 0 || l.IsTruncated {
		t.Errorf("%+v", l)
	}
	wantAPIError(t, refusal(c.ListMFADevices(ctx, &iam.ListMFADevicesInput{UserName: none})), "NoSuchEntity", noUser)
	if l := must(c.ListVirtualMFADevices(ctx, &iam.ListVirtualMFADevicesInput{AssignmentStatus: types.AssignmentStatusTypeAssigned}))(t); len(l.VirtualMFADevices) != 0 {
		t.Errorf("%+v", l)
	}
	wantAPIError(t, refusal(c.ListVirtualMFADevices(ctx, &iam.ListVirtualMFADevicesInput{AssignmentStatus: "Lost"})), "ValidationError", "")
	if l := must(c.ListSSHPublicKeys(ctx, &iam.ListSSHPublicKeysInput{UserName: u}))(t); len(l.SSHPublicKeys) != 0 {
		t.Errorf("%+v", l)
	}
	wantAPIError(t, refusal(c.ListSSHPublicKeys(ctx, &iam.ListSSHPublicKeysInput{UserName: none})), "NoSuchEntity", noUser)
	if l := must(c.ListSigningCertificates(ctx, &iam.ListSigningCertificatesInput{UserName: u}))(t); len(l.Certificates) != 0 {
		t.Errorf("%+v", l)
	}
	wantAPIError(t, refusal(c.ListSigningCertificates(ctx, &iam.ListSigningCertificatesInput{UserName: none})), "NoSuchEntity", noUser)
	for _, in := range []*iam.ListServiceSpecificCredentialsInput{{}, {UserName: u}, {AllUsers: aws.Bool(true)}} {
		if l := must(c.ListServiceSpecificCredentials(ctx, in))(t); len(l.ServiceSpecificCredentials) != 0 {
			t.Errorf("%+v", l)
		}
	}
	wantAPIError(t, refusal(c.ListServiceSpecificCredentials(ctx, &iam.ListServiceSpecificCredentialsInput{UserName: none})), "NoSuchEntity", noUser)
	wantAPIError(t, refusal(c.GetLoginProfile(ctx, &iam.GetLoginProfileInput{UserName: u})), "NoSuchEntity", "Login Profile for User sdk-leaver cannot be found.")
	wantAPIError(t, refusal(c.DeleteLoginProfile(ctx, &iam.DeleteLoginProfileInput{UserName: u})), "NoSuchEntity", "Login Profile for User sdk-leaver cannot be found.")

	conflict("Cannot delete entity, must delete access keys first.")
	for _, k := range must(c.ListAccessKeys(ctx, &iam.ListAccessKeysInput{UserName: u}))(t).AccessKeyMetadata {
		must(c.DeleteAccessKey(ctx, &iam.DeleteAccessKeyInput{UserName: u, AccessKeyId: k.AccessKeyId}))(t)
	}
	conflict("Cannot delete entity, must detach all policies first.")
	must(c.DetachUserPolicy(ctx, &iam.DetachUserPolicyInput{UserName: u, PolicyArn: aws.String(s3Read)}))(t)
	conflict("Cannot delete entity, must delete policies first.")
	must(c.DeleteUserPolicy(ctx, &iam.DeleteUserPolicyInput{UserName: u, PolicyName: aws.String("test")}))(t)
	conflict("Cannot delete entity, must remove users from group first.")
	for _, g := range must(c.ListGroupsForUser(ctx, &iam.ListGroupsForUserInput{UserName: u}))(t).Groups {
		must(c.RemoveUserFromGroup(ctx, &iam.RemoveUserFromGroupInput{GroupName: g.GroupName, UserName: u}))(t)
	}
	must(c.DeleteUser(ctx, &iam.DeleteUserInput{UserName: u}))(t)
}

func testSDKKeys(t *testing.T, d *driven) {
	ctx, c, u, none := t.Context(), d.admin, aws.String("sdk-keys"), aws.String("none")
	must(c.CreateUser(ctx, &iam.CreateUserInput{UserName: u}))(t)
	first := must(c.CreateAccessKey(ctx, &iam.CreateAccessKeyInput{UserName: u}))(t).AccessKey
	must(c.CreateAccessKey(ctx, &iam.CreateAccessKeyInput{UserName: u}))(t)
	wantAPIError(t, refusal(c.CreateAccessKey(ctx, &iam.CreateAccessKeyInput{UserName: u})), "LimitExceeded", "Cannot exceed quota for AccessKeysPerUser: 2")
	if l := must(c.ListAccessKeys(ctx, &iam.ListAccessKeysInput{UserName: u}))(t); len(l.AccessKeyMetadata) != 2 || l.AccessKeyMetadata[0].Status != types.StatusTypeActive {
		t.Errorf("keys = %+v", l.AccessKeyMetadata)
	}
	if l := must(c.ListAccessKeys(ctx, &iam.ListAccessKeysInput{}))(t); len(l.AccessKeyMetadata) != 1 || *l.AccessKeyMetadata[0].AccessKeyId != d.w.AdminID {
		t.Errorf("the caller's own keys = %+v", l.AccessKeyMetadata)
	}
	wantAPIError(t, refusal(c.ListAccessKeys(ctx, &iam.ListAccessKeysInput{UserName: none})), "NoSuchEntity", "The user with name none cannot be found.")
	unused := must(c.GetAccessKeyLastUsed(ctx, &iam.GetAccessKeyLastUsedInput{AccessKeyId: first.AccessKeyId}))(t)
	if *unused.UserName != "sdk-keys" || unused.AccessKeyLastUsed.LastUsedDate != nil || *unused.AccessKeyLastUsed.ServiceName != "N/A" || *unused.AccessKeyLastUsed.Region != "N/A" {
		t.Errorf("last use = %+v", unused.AccessKeyLastUsed)
	}
	used := must(c.GetAccessKeyLastUsed(ctx, &iam.GetAccessKeyLastUsedInput{AccessKeyId: &d.w.AdminID}))(t)
	if used.AccessKeyLastUsed.LastUsedDate == nil || *used.AccessKeyLastUsed.ServiceName != "iam" || *used.AccessKeyLastUsed.Region == "" {
		t.Errorf("last use = %+v", used.AccessKeyLastUsed)
	}
	wantAPIError(t, refusal(c.GetAccessKeyLastUsed(ctx, &iam.GetAccessKeyLastUsedInput{AccessKeyId: aws.String("AKIAIOSFODNN7EXAMPLE")})), "NoSuchEntity", "The Access Key with id AKIAIOSFODNN7EXAMPLE cannot be found.")
	must(c.UpdateAccessKey(ctx, &iam.UpdateAccessKeyInput{UserName: u, AccessKeyId: first.AccessKeyId, Status: types.StatusTypeInactive}))(t)
	wantAPIError(t, refusal(c.UpdateAccessKey(ctx, &iam.UpdateAccessKeyInput{UserName: u, AccessKeyId: first.AccessKeyId, Status: "Off"})), "ValidationError", "")
	must(c.DeleteAccessKey(ctx, &iam.DeleteAccessKeyInput{UserName: u, AccessKeyId: first.AccessKeyId}))(t)
	wantAPIError(t, refusal(c.DeleteAccessKey(ctx, &iam.DeleteAccessKeyInput{UserName: u, AccessKeyId: first.AccessKeyId})), "NoSuchEntity", "The Access Key with id "+*first.AccessKeyId+" cannot be found.")
}

func testSDKGroups(t *testing.T, d *driven) {
	ctx, c, g, u, none := t.Context(), d.admin, aws.String("sdk-group"), aws.String("sdk-member"), aws.String("none")
	const noGroup = "The group with name none cannot be found."
	must(c.CreateUser(ctx, &iam.CreateUserInput{UserName: u}))(t)
	made := must(c.CreateGroup(ctx, &iam.CreateGroupInput{GroupName: g, Path: aws.String("/teams/")}))(t)
	if *made.Group.Arn != "arn:aws:iam::111122223333:group/teams/sdk-group" || !strings.HasPrefix(*made.Group.GroupId, "AGPA") || made.Group.CreateDate == nil {
		t.Errorf("group = %+v", made.Group)
	}
	wantAPIError(t, refusal(c.CreateGroup(ctx, &iam.CreateGroupInput{GroupName: g})), "EntityAlreadyExists", "Group with name sdk-group already exists.")
	must(c.AddUserToGroup(ctx, &iam.AddUserToGroupInput{GroupName: g, UserName: u}))(t)
	wantAPIError(t, refusal(c.AddUserToGroup(ctx, &iam.AddUserToGroupInput{GroupName: none, UserName: u})), "NoSuchEntity", noGroup)
	got := must(c.GetGroup(ctx, &iam.GetGroupInput{GroupName: g}))(t)
	if d := cmp.Diff(*made.Group.GroupId, *got.Group.GroupId); d != "" || len(got.Users) != 1 || *got.Users[0].Arn != userARN+"sdk-member" || got.IsTruncated {
		t.Errorf("group = %+v of %+v", got.Group, got.Users)
	}
	wantAPIError(t, refusal(c.GetGroup(ctx, &iam.GetGroupInput{GroupName: none})), "NoSuchEntity", noGroup)
	if l := must(c.ListGroups(ctx, &iam.ListGroupsInput{PathPrefix: aws.String("/teams/")}))(t); len(l.Groups) != 1 || *l.Groups[0].Path != "/teams/" {
		t.Errorf("groups = %+v", l.Groups)
	}
	wantAPIError(t, refusal(d.nobody.ListGroups(ctx, &iam.ListGroupsInput{})), "AccessDenied", fmt.Sprintf(denies, "ListGroups", "arn:aws:iam::111122223333:group/"))
	if l := must(c.ListGroupsForUser(ctx, &iam.ListGroupsForUserInput{UserName: u}))(t); len(l.Groups) != 1 || *l.Groups[0].GroupName != "sdk-group" {
		t.Errorf("groups = %+v", l.Groups)
	}
	wantAPIError(t, refusal(c.ListGroupsForUser(ctx, &iam.ListGroupsForUserInput{UserName: none})), "NoSuchEntity", "The user with name none cannot be found.")
	must(c.UpdateGroup(ctx, &iam.UpdateGroupInput{GroupName: g, NewGroupName: aws.String("sdk-team"), NewPath: aws.String("/")}))(t)
	wantAPIError(t, refusal(c.UpdateGroup(ctx, &iam.UpdateGroupInput{GroupName: g, NewGroupName: aws.String("x")})), "NoSuchEntity", "The group with name sdk-group cannot be found.")
	g = aws.String("sdk-team")
	if got := must(c.GetGroup(ctx, &iam.GetGroupInput{GroupName: g}))(t); *got.Group.GroupId != *made.Group.GroupId || len(got.Users) != 1 {
		t.Errorf("group = %+v of %+v", got.Group, got.Users)
	}
	wantAPIError(t, refusal(c.DeleteGroup(ctx, &iam.DeleteGroupInput{GroupName: g})), "DeleteConflict", "Cannot delete entity, must remove users from group first.")
	must(c.RemoveUserFromGroup(ctx, &iam.RemoveUserFromGroupInput{GroupName: g, UserName: u}))(t)
	wantAPIError(t, refusal(c.RemoveUserFromGroup(ctx, &iam.RemoveUserFromGroupInput{GroupName: g, UserName: u})), "NoSuchEntity", "User sdk-member not in group sdk-team")
	must(c.DeleteGroup(ctx, &iam.DeleteGroupInput{GroupName: g}))(t)
}

func testSDKGroupPolicies(t *testing.T, d *driven) {
	ctx, c, g, p, none := t.Context(), d.admin, aws.String("sdk-group-policies"), aws.String("in"), aws.String("none")
	const noGroup = "The group with name none cannot be found."
	must(c.CreateGroup(ctx, &iam.CreateGroupInput{GroupName: g}))(t)
	must(c.AttachGroupPolicy(ctx, &iam.AttachGroupPolicyInput{GroupName: g, PolicyArn: aws.String(s3Read)}))(t)
	wantAPIError(t, refusal(c.AttachGroupPolicy(ctx, &iam.AttachGroupPolicyInput{GroupName: none, PolicyArn: aws.String(s3Read)})), "NoSuchEntity", noGroup)
	if l := must(c.ListAttachedGroupPolicies(ctx, &iam.ListAttachedGroupPoliciesInput{GroupName: g}))(t); len(l.AttachedPolicies) != 1 || *l.AttachedPolicies[0].PolicyArn != s3Read {
		t.Errorf("attached: %+v", l.AttachedPolicies)
	}
	wantAPIError(t, refusal(c.ListAttachedGroupPolicies(ctx, &iam.ListAttachedGroupPoliciesInput{GroupName: none})), "NoSuchEntity", noGroup)
	if l := must(c.ListEntitiesForPolicy(ctx, &iam.ListEntitiesForPolicyInput{PolicyArn: aws.String(s3Read)}))(t); len(l.PolicyGroups) != 1 || *l.PolicyGroups[0].GroupName != *g || !strings.HasPrefix(*l.PolicyGroups[0].GroupId, "AGPA") {
		t.Errorf("entities = %+v", l.PolicyGroups)
	}
	must(c.DetachGroupPolicy(ctx, &iam.DetachGroupPolicyInput{GroupName: g, PolicyArn: aws.String(s3Read)}))(t)
	wantAPIError(t, refusal(c.DetachGroupPolicy(ctx, &iam.DetachGroupPolicyInput{GroupName: g, PolicyArn: aws.String(s3Read)})), "NoSuchEntity", "Policy "+s3Read+" was not found.")
	must(c.PutGroupPolicy(ctx, &iam.PutGroupPolicyInput{GroupName: g, PolicyName: p, PolicyDocument: d.identity}))(t)
	wantAPIError(t, refusal(c.PutGroupPolicy(ctx, &iam.PutGroupPolicyInput{GroupName: g, PolicyName: p, PolicyDocument: aws.String("{}")})), "MalformedPolicyDocument", "")
	got := must(c.GetGroupPolicy(ctx, &iam.GetGroupPolicyInput{GroupName: g, PolicyName: p}))(t)
	wantDocument(t, got.PolicyDocument, *d.identity)
	wantAPIError(t, refusal(c.GetGroupPolicy(ctx, &iam.GetGroupPolicyInput{GroupName: g, PolicyName: none})), "NoSuchEntity", "The group policy with name none cannot be found.")
	if l := must(c.ListGroupPolicies(ctx, &iam.ListGroupPoliciesInput{GroupName: g}))(t); !slices.Equal(l.PolicyNames, []string{"in"}) {
		t.Errorf("inline: %q", l.PolicyNames)
	}
	wantAPIError(t, refusal(c.ListGroupPolicies(ctx, &iam.ListGroupPoliciesInput{GroupName: none})), "NoSuchEntity", noGroup)
	must(c.DeleteGroupPolicy(ctx, &iam.DeleteGroupPolicyInput{GroupName: g, PolicyName: p}))(t)
	wantAPIError(t, refusal(c.DeleteGroupPolicy(ctx, &iam.DeleteGroupPolicyInput{GroupName: g, PolicyName: p})), "NoSuchEntity", "The group policy with name in cannot be found.")
}
