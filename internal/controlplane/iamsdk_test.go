// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package controlplane_test

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"
	"github.com/aws/smithy-go/middleware"

	"podid/internal/controlplane"
	"podid/internal/controlplane/controlplanetest"
)

const (
	s3Read  = "arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess"
	ownARN  = "arn:aws:iam::111122223333:policy/"
	userARN = "arn:aws:iam::111122223333:user/"
)

// driven notes which operations AWS' SDK has driven, well and ill.
type driven struct {
	w          *controlplanetest.ControlPlane
	admin      *iam.Client
	nobody     *iam.Client // may not do anything
	identity   *string     // a policy document
	identities []string

	mu        sync.Mutex
	good, bad map[string]bool
}

func newDriven(t *testing.T, cp *controlplanetest.ControlPlane) *driven {
	t.Helper()
	d := &driven{good: map[string]bool{}, bad: map[string]bool{}, w: cp}
	d.admin, d.nobody = d.client(cp.Admin), d.client(cp.User("nobody", nil))
	for _, action := range []string{"s3:GetObject", "s3:PutObject"} {
		d.identities = append(d.identities, controlplanetest.JSON(t, controlplanetest.Document(allow(action, "*", nil))))
	}
	d.identity = &d.identities[0]
	return d
}

func (d *driven) client(p aws.CredentialsProvider) *iam.Client {
	note := middleware.InitializeMiddlewareFunc("note", func(ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler) (middleware.InitializeOutput, middleware.Metadata, error) {
		out, md, err := next.HandleInitialize(ctx, in)
		d.mu.Lock()
		defer d.mu.Unlock()
		if err == nil {
			d.good[awsmiddleware.GetOperationName(ctx)] = true
		} else {
			d.bad[awsmiddleware.GetOperationName(ctx)] = true
		}
		return out, md, err
	})
	return iam.NewFromConfig(d.w.Config(p), iam.WithAPIOptions(func(s *middleware.Stack) error { return s.Initialize.Add(note, middleware.After) }))
}

// must is the answer of a call that goes well.
func must[T any](out T, err error) func(t *testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
}

// refusal is the error of a call that does not.
func refusal[T any](_ T, err error) error { return err }

const denies = "User: " + userARN + "nobody is not authorized to perform: iam:%s on resource: %s because no identity-based policy allows the iam:%[1]s action"

// elsewhere are the parts of names of operations that other tests drive.
var elsewhere = []string{
	"InstanceProfile", "OpenIDConnectProvider", "AccountAlias", "Simulate", "ContextKeys", "AccountAuthorizationDetails", "ServiceLinked", "OrganizationsFeatures",
}

// TestIAMBySDK: AWS' SDK drives every operation of IAM, with at least one good
// answer and one refusal, whose code the SDK knows.
func TestIAMBySDK(t *testing.T) {
	t.Parallel()
	d := newDriven(t, controlplanetest.Start(t, controlplanetest.Options{}))
	t.Run("roles", func(t *testing.T) { testSDKRoles(t, d) })
	t.Run("role policies", func(t *testing.T) { testSDKRolePolicies(t, d) })
	t.Run("users", func(t *testing.T) { testSDKUsers(t, d) })
	t.Run("user policies", func(t *testing.T) { testSDKUserPolicies(t, d) })
	t.Run("user deletion", func(t *testing.T) { testSDKDeleteUser(t, d) })
	t.Run("keys", func(t *testing.T) { testSDKKeys(t, d) })
	t.Run("groups", func(t *testing.T) { testSDKGroups(t, d) })
	t.Run("group policies", func(t *testing.T) { testSDKGroupPolicies(t, d) })
	t.Run("policies", func(t *testing.T) { testSDKPolicies(t, d) })
	t.Run("versions", func(t *testing.T) { testSDKVersions(t, d) })
	t.Run("account", func(t *testing.T) { testSDKAccount(t, d) })
	if t.Failed() {
		return
	}
	_, services := controlplane.Surface()
	for _, s := range services {
		for _, op := range s.Operations {
			if s.Name != "iam" || slices.ContainsFunc(elsewhere, func(part string) bool { return strings.Contains(op.Name, part) }) {
				continue
			}
			alwaysRefused := strings.HasSuffix(op.Name, "LoginProfile")
			if !d.good[op.Name] && !alwaysRefused || !d.bad[op.Name] {
				t.Errorf("%s: good answer %v, refusal %v", op.Name, d.good[op.Name], d.bad[op.Name])
			}
		}
	}
}

func testSDKRoles(t *testing.T, d *driven) {
	ctx, c, r, none := t.Context(), d.admin, aws.String("sdk-role"), aws.String("none")
	const noRole = "The role with name none cannot be found."
	trust := controlplanetest.JSON(t, podTrust(nil))
	made := must(c.CreateRole(ctx, &iam.CreateRoleInput{RoleName: r, AssumeRolePolicyDocument: &trust}))(t)
	wantAPIError(t, refusal(c.CreateRole(ctx, &iam.CreateRoleInput{RoleName: r, AssumeRolePolicyDocument: &trust})), "EntityAlreadyExists", "Role with name sdk-role already exists.")
	if got := must(c.GetRole(ctx, &iam.GetRoleInput{RoleName: r}))(t); *got.Role.RoleId != *made.Role.RoleId {
		t.Errorf("role = %+v", got.Role)
	}
	wantAPIError(t, refusal(c.GetRole(ctx, &iam.GetRoleInput{RoleName: none})), "NoSuchEntity", noRole)
	if l := must(c.ListRoles(ctx, &iam.ListRolesInput{PathPrefix: aws.String("/")}))(t); len(l.Roles) != 1 {
		t.Errorf("roles = %+v", l.Roles)
	}
	wantAPIError(t, refusal(c.ListRoles(ctx, &iam.ListRolesInput{Marker: aws.String("x")})), "ValidationError", "Invalid Marker.")
	must(c.UpdateRole(ctx, &iam.UpdateRoleInput{RoleName: r, MaxSessionDuration: aws.Int32(7200)}))(t)
	wantAPIError(t, refusal(c.UpdateRole(ctx, &iam.UpdateRoleInput{RoleName: none})), "NoSuchEntity", noRole)
	described := must(c.UpdateRoleDescription(ctx, &iam.UpdateRoleDescriptionInput{RoleName: r, Description: aws.String("what it is for")}))(t)
	if *described.Role.Description != "what it is for" || *described.Role.MaxSessionDuration != 7200 || *described.Role.RoleId != *made.Role.RoleId {
		t.Errorf("role = %+v", described.Role)
	}
	wantAPIError(t, refusal(c.UpdateRoleDescription(ctx, &iam.UpdateRoleDescriptionInput{RoleName: none, Description: aws.String("")})), "NoSuchEntity", noRole)
	must(c.UpdateAssumeRolePolicy(ctx, &iam.UpdateAssumeRolePolicyInput{RoleName: r, PolicyDocument: &trust}))(t)
	wantAPIError(t, refusal(c.UpdateAssumeRolePolicy(ctx, &iam.UpdateAssumeRolePolicyInput{RoleName: r, PolicyDocument: aws.String("{")})), "MalformedPolicyDocument", "")
	must(c.TagRole(ctx, &iam.TagRoleInput{RoleName: r, Tags: []types.Tag{{Key: aws.String("k"), Value: aws.String("v")}}}))(t)
	wantAPIError(t, refusal(c.TagRole(ctx, &iam.TagRoleInput{RoleName: r, Tags: []types.Tag{{Key: aws.String("aws:k"), Value: aws.String("v")}}})), "InvalidInput", "")
	if l := must(c.ListRoleTags(ctx, &iam.ListRoleTagsInput{RoleName: r}))(t); len(l.Tags) != 1 {
		t.Errorf("tags = %+v", l.Tags)
	}
	wantAPIError(t, refusal(c.ListRoleTags(ctx, &iam.ListRoleTagsInput{RoleName: none})), "NoSuchEntity", noRole)
	must(c.UntagRole(ctx, &iam.UntagRoleInput{RoleName: r, TagKeys: []string{"k"}}))(t)
	wantAPIError(t, refusal(c.UntagRole(ctx, &iam.UntagRoleInput{RoleName: none, TagKeys: []string{"k"}})), "NoSuchEntity", noRole)
	must(c.PutRolePermissionsBoundary(ctx, &iam.PutRolePermissionsBoundaryInput{RoleName: r, PermissionsBoundary: aws.String(s3Read)}))(t)
	wantAPIError(t, refusal(c.PutRolePermissionsBoundary(ctx, &iam.PutRolePermissionsBoundaryInput{RoleName: r, PermissionsBoundary: aws.String(ownARN + "none")})), "NoSuchEntity",
		"Policy "+ownARN+"none does not exist or is not attachable.")
	must(c.DeleteRolePermissionsBoundary(ctx, &iam.DeleteRolePermissionsBoundaryInput{RoleName: r}))(t)
	wantAPIError(t, refusal(c.DeleteRolePermissionsBoundary(ctx, &iam.DeleteRolePermissionsBoundaryInput{RoleName: none})), "NoSuchEntity", noRole)
	must(c.DeleteRole(ctx, &iam.DeleteRoleInput{RoleName: r}))(t)
	wantAPIError(t, refusal(c.DeleteRole(ctx, &iam.DeleteRoleInput{RoleName: r})), "NoSuchEntity", "The role with name sdk-role cannot be found.")
}

func testSDKRolePolicies(t *testing.T, d *driven) {
	ctx, c, r, p := t.Context(), d.admin, aws.String("sdk-role-policies"), aws.String("in")
	d.w.Role(*r, podTrust(nil))
	must(c.AttachRolePolicy(ctx, &iam.AttachRolePolicyInput{RoleName: r, PolicyArn: aws.String(s3Read)}))(t)
	wantAPIError(t, refusal(c.AttachRolePolicy(ctx, &iam.AttachRolePolicyInput{RoleName: r, PolicyArn: aws.String("arn:aws:iam::aws:policy/None")})), "NoSuchEntity", "")
	if l := must(c.ListAttachedRolePolicies(ctx, &iam.ListAttachedRolePoliciesInput{RoleName: r}))(t); len(l.AttachedPolicies) != 1 {
		t.Errorf("attached: %+v", l.AttachedPolicies)
	}
	wantAPIError(t, refusal(c.ListAttachedRolePolicies(ctx, &iam.ListAttachedRolePoliciesInput{RoleName: aws.String("none")})), "NoSuchEntity", "")
	must(c.PutRolePolicy(ctx, &iam.PutRolePolicyInput{RoleName: r, PolicyName: p, PolicyDocument: d.identity}))(t)
	wantAPIError(t, refusal(c.PutRolePolicy(ctx, &iam.PutRolePolicyInput{RoleName: r, PolicyName: p, PolicyDocument: aws.String("{}")})), "MalformedPolicyDocument", "")
	got := must(c.GetRolePolicy(ctx, &iam.GetRolePolicyInput{RoleName: r, PolicyName: p}))(t)
	wantDocument(t, got.PolicyDocument, *d.identity)
	wantAPIError(t, refusal(c.GetRolePolicy(ctx, &iam.GetRolePolicyInput{RoleName: r, PolicyName: aws.String("none")})), "NoSuchEntity", "The role policy with name none cannot be found.")
	if l := must(c.ListRolePolicies(ctx, &iam.ListRolePoliciesInput{RoleName: r}))(t); !slices.Equal(l.PolicyNames, []string{"in"}) {
		t.Errorf("inline: %q", l.PolicyNames)
	}
	wantAPIError(t, refusal(c.ListRolePolicies(ctx, &iam.ListRolePoliciesInput{RoleName: r, MaxItems: aws.Int32(1001)})), "ValidationError", "")
	wantAPIError(t, refusal(c.DeleteRole(ctx, &iam.DeleteRoleInput{RoleName: r})), "DeleteConflict", "Cannot delete entity, must detach all policies first.")
	must(c.DetachRolePolicy(ctx, &iam.DetachRolePolicyInput{RoleName: r, PolicyArn: aws.String(s3Read)}))(t)
	wantAPIError(t, refusal(c.DetachRolePolicy(ctx, &iam.DetachRolePolicyInput{RoleName: r, PolicyArn: aws.String(s3Read)})), "NoSuchEntity", "Policy "+s3Read+" was not found.")
	wantAPIError(t, refusal(c.DeleteRole(ctx, &iam.DeleteRoleInput{RoleName: r})), "DeleteConflict", "Cannot delete entity, must delete policies first.")
	must(c.DeleteRolePolicy(ctx, &iam.DeleteRolePolicyInput{RoleName: r, PolicyName: p}))(t)
	wantAPIError(t, refusal(c.DeleteRolePolicy(ctx, &iam.DeleteRolePolicyInput{RoleName: r, PolicyName: p})), "NoSuchEntity", "The role policy with name in cannot be found.")
}

// wantDocument compares a document of an answer, which is percent-encoded.
func wantDocument(t *testing.T, got *string, want string) {
	t.Helper()
	if text, err := url.PathUnescape(aws.ToString(got)); err != nil || text != want {
		t.Errorf("document %q, %v, want %q", text, err, want)
	}
}

func testSDKPolicies(t *testing.T, d *driven) {
	ctx, c, p, none := t.Context(), d.admin, aws.String(ownARN+"sdk-policy"), aws.String(ownARN+"none")
	const noPolicy = "Policy " + ownARN + "none was not found."
	must(c.CreatePolicy(ctx, &iam.CreatePolicyInput{PolicyName: aws.String("sdk-policy"), PolicyDocument: d.identity}))(t)
	wantAPIError(t, refusal(c.CreatePolicy(ctx, &iam.CreatePolicyInput{PolicyName: aws.String("sdk-policy"), PolicyDocument: d.identity})), "EntityAlreadyExists", "A policy called sdk-policy already exists. Duplicate names are not allowed.")
	if got := must(c.GetPolicy(ctx, &iam.GetPolicyInput{PolicyArn: p}))(t); *got.Policy.AttachmentCount != 0 || !got.Policy.IsAttachable {
		t.Errorf("policy = %+v", got.Policy)
	}
	wantAPIError(t, refusal(c.GetPolicy(ctx, &iam.GetPolicyInput{PolicyArn: none})), "NoSuchEntity", noPolicy)
	if l := must(c.ListPolicies(ctx, &iam.ListPoliciesInput{Scope: types.PolicyScopeTypeLocal}))(t); len(l.Policies) != 1 {
		t.Errorf("policies = %+v", l.Policies)
	}
	wantAPIError(t, refusal(c.ListPolicies(ctx, &iam.ListPoliciesInput{Scope: "Mine"})), "ValidationError", "")
	wantAPIError(t, refusal(c.ListEntitiesForPolicy(ctx, &iam.ListEntitiesForPolicyInput{PolicyArn: none})), "NoSuchEntity", noPolicy)
	must(c.TagPolicy(ctx, &iam.TagPolicyInput{PolicyArn: p, Tags: []types.Tag{{Key: aws.String("team"), Value: aws.String("a")}}}))(t)
	wantAPIError(t, refusal(c.TagPolicy(ctx, &iam.TagPolicyInput{PolicyArn: none, Tags: []types.Tag{{Key: aws.String("team"), Value: aws.String("a")}}})), "NoSuchEntity", noPolicy)
	if l := must(c.ListPolicyTags(ctx, &iam.ListPolicyTagsInput{PolicyArn: p}))(t); len(l.Tags) != 1 || *l.Tags[0].Key != "team" {
		t.Errorf("tags = %+v", l.Tags)
	}
	wantAPIError(t, refusal(c.ListPolicyTags(ctx, &iam.ListPolicyTagsInput{PolicyArn: none})), "NoSuchEntity", noPolicy)
	must(c.UntagPolicy(ctx, &iam.UntagPolicyInput{PolicyArn: p, TagKeys: []string{"team"}}))(t)
	wantAPIError(t, refusal(c.UntagPolicy(ctx, &iam.UntagPolicyInput{PolicyArn: none, TagKeys: []string{"team"}})), "NoSuchEntity", noPolicy)
	wantAPIError(t, refusal(c.TagPolicy(ctx, &iam.TagPolicyInput{PolicyArn: aws.String(s3Read), Tags: []types.Tag{{Key: aws.String("team"), Value: aws.String("a")}}})), "AccessDenied", "")
	must(c.DeletePolicy(ctx, &iam.DeletePolicyInput{PolicyArn: p}))(t)
	wantAPIError(t, refusal(c.DeletePolicy(ctx, &iam.DeletePolicyInput{PolicyArn: none})), "NoSuchEntity", noPolicy)
}

func testSDKVersions(t *testing.T, d *driven) {
	ctx, c, p, none := t.Context(), d.admin, aws.String(ownARN+"sdk-versions"), aws.String(ownARN+"none")
	must(c.CreatePolicy(ctx, &iam.CreatePolicyInput{PolicyName: aws.String("sdk-versions"), PolicyDocument: d.identity}))(t)
	v2 := must(c.CreatePolicyVersion(ctx, &iam.CreatePolicyVersionInput{PolicyArn: p, PolicyDocument: &d.identities[1], SetAsDefault: true}))(t)
	wantAPIError(t, refusal(c.CreatePolicyVersion(ctx, &iam.CreatePolicyVersionInput{PolicyArn: p, PolicyDocument: aws.String("{")})), "MalformedPolicyDocument", "")
	got := must(c.GetPolicyVersion(ctx, &iam.GetPolicyVersionInput{PolicyArn: p, VersionId: v2.PolicyVersion.VersionId}))(t)
	wantDocument(t, got.PolicyVersion.Document, d.identities[1])
	wantAPIError(t, refusal(c.GetPolicyVersion(ctx, &iam.GetPolicyVersionInput{PolicyArn: p, VersionId: aws.String("v9")})), "NoSuchEntity", "Policy "+*p+" version v9 does not exist or is not attachable.")
	l := must(c.ListPolicyVersions(ctx, &iam.ListPolicyVersionsInput{PolicyArn: p}))(t)
	if len(l.Versions) != 2 || *l.Versions[0].VersionId != "v2" || !l.Versions[0].IsDefaultVersion || l.Versions[1].IsDefaultVersion || l.Versions[0].CreateDate == nil {
		t.Errorf("versions = %+v", l.Versions)
	}
	wantAPIError(t, refusal(c.ListPolicyVersions(ctx, &iam.ListPolicyVersionsInput{PolicyArn: none})), "NoSuchEntity", "Policy "+*none+" was not found.")
	wantAPIError(t, refusal(c.DeletePolicyVersion(ctx, &iam.DeletePolicyVersionInput{PolicyArn: p, VersionId: aws.String("v2")})), "DeleteConflict", "Cannot delete the default version of a policy.")
	must(c.SetDefaultPolicyVersion(ctx, &iam.SetDefaultPolicyVersionInput{PolicyArn: p, VersionId: aws.String("v1")}))(t)
	wantAPIError(t, refusal(c.SetDefaultPolicyVersion(ctx, &iam.SetDefaultPolicyVersionInput{PolicyArn: p, VersionId: aws.String("v9")})), "NoSuchEntity", "")
	wantAPIError(t, refusal(c.DeletePolicy(ctx, &iam.DeletePolicyInput{PolicyArn: p})), "DeleteConflict", "")
	must(c.DeletePolicyVersion(ctx, &iam.DeletePolicyVersionInput{PolicyArn: p, VersionId: aws.String("v2")}))(t)
	must(c.DeletePolicy(ctx, &iam.DeletePolicyInput{PolicyArn: p}))(t)
}

func testSDKAccount(t *testing.T, d *driven) {
	ctx := t.Context()
	summary := must(d.admin.GetAccountSummary(ctx, &iam.GetAccountSummaryInput{}))(t).SummaryMap
	if summary["AccessKeysPerUserQuota"] != 2 || summary["UserPolicySizeQuota"] != 2048 || summary["AttachedPoliciesPerRoleQuota"] != 10 {
		t.Errorf("summary = %v", summary)
	}
	wantAPIError(t, refusal(d.nobody.GetAccountSummary(ctx, &iam.GetAccountSummaryInput{})), "AccessDenied", fmt.Sprintf(denies, "GetAccountSummary", "*"))
}
