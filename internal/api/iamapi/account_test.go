// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package iamapi_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"
)

const (
	noAccess = "User: arn:aws:iam::111122223333:user/podid-admin is not authorized to perform: %s on resource: %s"
	sha1Hex  = "990F4193972F2BECF12DDEDA5237F9C952F20D9E"
)

func tagList(pairs ...string) []types.Tag {
	var out []types.Tag
	for i := 0; i < len(pairs); i += 2 {
		out = append(out, types.Tag{Key: aws.String(pairs[i]), Value: aws.String(pairs[i+1])})
	}
	return out
}

func TestSDKInstanceProfiles(t *testing.T) {
	c, s := newClient(t)
	ctx := t.Context()
	for _, r := range []string{"nodes", "other"} {
		_, err := c.CreateRole(ctx, &sdk.CreateRoleInput{RoleName: aws.String(r), AssumeRolePolicyDocument: aws.String(trust), Tags: tagList("a", "b")})
		ok(t, err)
	}
	name := aws.String("nodes-profile")
	made, err := c.CreateInstanceProfile(ctx, &sdk.CreateInstanceProfileInput{InstanceProfileName: name, Path: aws.String("/eks/"), Tags: tagList("team", "blue")})
	ok(t, err)
	if p := made.InstanceProfile; *p.Arn != "arn:aws:iam::111122223333:instance-profile/eks/nodes-profile" || !strings.HasPrefix(*p.InstanceProfileId, "AIPA") || len(p.Tags) != 1 || len(p.Roles) != 0 {
		t.Errorf("profile = %+v", p)
	}
	_, err = c.CreateInstanceProfile(ctx, &sdk.CreateInstanceProfileInput{InstanceProfileName: aws.String("Nodes-Profile")})
	code(t, err, "EntityAlreadyExists", "Instance Profile nodes-profile already exists.")
	add := func(role string) error {
		_, err := c.AddRoleToInstanceProfile(ctx, &sdk.AddRoleToInstanceProfileInput{InstanceProfileName: name, RoleName: aws.String(role)})
		return err
	}
	s.authz.deny = "iam:PassRole"
	code(t, add("nodes"), "AccessDenied", fmt.Sprintf(noAccess, "iam:PassRole", "arn:aws:iam::111122223333:role/nodes"))
	s.authz.deny = ""
	code(t, add("none"), "NoSuchEntity", "The role with name none cannot be found.")
	ok(t, add("nodes"))
	code(t, add("other"), "LimitExceeded", "Cannot exceed quota for InstanceSessionsPerInstanceProfile: 1")
	got, err := c.GetInstanceProfile(ctx, &sdk.GetInstanceProfileInput{InstanceProfileName: name})
	ok(t, err)
	if r := got.InstanceProfile.Roles; len(r) != 1 || *r[0].RoleName != "nodes" || decoded(t, r[0].AssumeRolePolicyDocument) != trust {
		t.Errorf("roles = %+v", r)
	}
	list, err := c.ListInstanceProfiles(ctx, &sdk.ListInstanceProfilesInput{PathPrefix: aws.String("/eks/")})
	ok(t, err)
	of, err := c.ListInstanceProfilesForRole(ctx, &sdk.ListInstanceProfilesForRoleInput{RoleName: aws.String("nodes")})
	ok(t, err)
	ofOther, err := c.ListInstanceProfilesForRole(ctx, &sdk.ListInstanceProfilesForRoleInput{RoleName: aws.String("other")})
	ok(t, err)
	if len(list.InstanceProfiles) != 1 || len(of.InstanceProfiles) != 1 || len(ofOther.InstanceProfiles) != 0 {
		t.Errorf("lists = %d, %d, %d", len(list.InstanceProfiles), len(of.InstanceProfiles), len(ofOther.InstanceProfiles))
	}
	const first = "Cannot delete entity, must remove roles from instance profile first."
	_, err = c.DeleteRole(ctx, &sdk.DeleteRoleInput{RoleName: aws.String("nodes")})
	code(t, err, "DeleteConflict", first)
	_, err = c.DeleteInstanceProfile(ctx, &sdk.DeleteInstanceProfileInput{InstanceProfileName: name})
	code(t, err, "DeleteConflict", first)
	_, err = c.TagInstanceProfile(ctx, &sdk.TagInstanceProfileInput{InstanceProfileName: name, Tags: tagList("Team", "red", "x", "y")})
	ok(t, err)
	_, err = c.UntagInstanceProfile(ctx, &sdk.UntagInstanceProfileInput{InstanceProfileName: name, TagKeys: []string{"x"}})
	ok(t, err)
	tags, err := c.ListInstanceProfileTags(ctx, &sdk.ListInstanceProfileTagsInput{InstanceProfileName: name})
	ok(t, err)
	if len(tags.Tags) != 1 || *tags.Tags[0].Value != "red" {
		t.Errorf("tags = %+v", tags.Tags)
	}
	remove := func(role string) error {
		_, err := c.RemoveRoleFromInstanceProfile(ctx, &sdk.RemoveRoleFromInstanceProfileInput{InstanceProfileName: name, RoleName: aws.String(role)})
		return err
	}
	code(t, remove("other"), "NoSuchEntity", "Role other in Instance Profile nodes-profile cannot be found.")
	ok(t, remove("nodes"))
	_, err = c.DeleteInstanceProfile(ctx, &sdk.DeleteInstanceProfileInput{InstanceProfileName: name})
	ok(t, err)
	_, err = c.GetInstanceProfile(ctx, &sdk.GetInstanceProfileInput{InstanceProfileName: name})
	code(t, err, "NoSuchEntity", "Instance Profile nodes-profile cannot be found.")
	_, err = c.DeleteRole(ctx, &sdk.DeleteRoleInput{RoleName: aws.String("nodes")})
	ok(t, err)
}

func TestSDKOIDCProviders(t *testing.T) {
	c, s := newClient(t)
	ctx := t.Context()
	made, err := c.CreateOpenIDConnectProvider(ctx, &sdk.CreateOpenIDConnectProviderInput{
		Url: aws.String("https://idp.example.com/realms/a"), ClientIDList: []string{"one", "two"}, ThumbprintList: []string{sha1Hex}, Tags: tagList("team", "blue"),
	})
	ok(t, err)
	arn := made.OpenIDConnectProviderArn
	if *arn != "arn:aws:iam::111122223333:oidc-provider/idp.example.com/realms/a" || len(made.Tags) != 1 {
		t.Errorf("provider = %+v", made)
	}
	_, err = c.CreateOpenIDConnectProvider(ctx, &sdk.CreateOpenIDConnectProviderInput{Url: aws.String("https://idp.example.com/realms/a")})
	code(t, err, "EntityAlreadyExists", "Provider with url https://idp.example.com/realms/a already exists.")
	_, err = c.AddClientIDToOpenIDConnectProvider(ctx, &sdk.AddClientIDToOpenIDConnectProviderInput{OpenIDConnectProviderArn: arn, ClientID: aws.String("three")})
	ok(t, err)
	_, err = c.AddClientIDToOpenIDConnectProvider(ctx, &sdk.AddClientIDToOpenIDConnectProviderInput{OpenIDConnectProviderArn: arn, ClientID: aws.String("three")})
	ok(t, err)
	_, err = c.RemoveClientIDFromOpenIDConnectProvider(ctx, &sdk.RemoveClientIDFromOpenIDConnectProviderInput{OpenIDConnectProviderArn: arn, ClientID: aws.String("one")})
	ok(t, err)
	_, err = c.UpdateOpenIDConnectProviderThumbprint(ctx, &sdk.UpdateOpenIDConnectProviderThumbprintInput{OpenIDConnectProviderArn: arn, ThumbprintList: []string{strings.Repeat("a", 40), strings.Repeat("b", 40)}})
	ok(t, err)
	_, err = c.TagOpenIDConnectProvider(ctx, &sdk.TagOpenIDConnectProviderInput{OpenIDConnectProviderArn: arn, Tags: tagList("x", "y")})
	ok(t, err)
	_, err = c.UntagOpenIDConnectProvider(ctx, &sdk.UntagOpenIDConnectProviderInput{OpenIDConnectProviderArn: arn, TagKeys: []string{"team"}})
	ok(t, err)
	tags, err := c.ListOpenIDConnectProviderTags(ctx, &sdk.ListOpenIDConnectProviderTagsInput{OpenIDConnectProviderArn: arn})
	ok(t, err)
	got, err := c.GetOpenIDConnectProvider(ctx, &sdk.GetOpenIDConnectProviderInput{OpenIDConnectProviderArn: arn})
	ok(t, err)
	if *got.Url != "idp.example.com/realms/a" || !slices.Equal(got.ClientIDList, []string{"two", "three"}) || len(got.ThumbprintList) != 2 || len(got.Tags) != 1 || len(tags.Tags) != 1 || got.CreateDate == nil {
		t.Errorf("provider = %+v", got)
	}
	list, err := c.ListOpenIDConnectProviders(ctx, &sdk.ListOpenIDConnectProvidersInput{})
	ok(t, err)
	if len(list.OpenIDConnectProviderList) != 1 || *list.OpenIDConnectProviderList[0].Arn != *arn {
		t.Errorf("providers = %+v", list.OpenIDConnectProviderList)
	}
	for range 2 { // deleting what is not there is no error
		_, err = c.DeleteOpenIDConnectProvider(ctx, &sdk.DeleteOpenIDConnectProviderInput{OpenIDConnectProviderArn: arn})
		ok(t, err)
	}
	_, err = c.GetOpenIDConnectProvider(ctx, &sdk.GetOpenIDConnectProviderInput{OpenIDConnectProviderArn: arn})
	code(t, err, "NoSuchEntity", "OpenIDConnect Provider not found for arn "+*arn)
	s.authz.deny = "iam:GetOpenIDConnectProvider"
	_, err = c.GetOpenIDConnectProvider(ctx, &sdk.GetOpenIDConnectProviderInput{OpenIDConnectProviderArn: arn})
	code(t, err, "AccessDenied", fmt.Sprintf(noAccess, "iam:GetOpenIDConnectProvider", *arn))
}

func TestSDKOIDCProviderRefusals(t *testing.T) {
	c, _ := newClient(t)
	ids := make([]string, 101)
	for i := range ids {
		ids[i] = fmt.Sprint("client-", i)
	}
	for _, tc := range []struct {
		name, url       string
		ids, prints     []string
		code, inMessage string
	}{
		{"http", "http://idp.example.com", nil, nil, "ValidationError", "it must begin with https://"},
		{"no host", "https:///a", nil, nil, "ValidationError", "it cannot be read"},
		{"query", "https://idp.example.com/?a=b", nil, nil, "ValidationError", "neither query nor fragment"},
		{"fragment", "https://idp.example.com/#a", nil, nil, "ValidationError", "neither query nor fragment"},
		{"user", "https://a:b@idp.example.com", nil, nil, "ValidationError", "must not name a user"},
		{"asterisk", "https://*.example.com", nil, nil, "ValidationError", "a character that no URL has"},
		{"too long", "https://idp.example.com/" + strings.Repeat("a", 256), nil, nil, "ValidationError", "less than or equal to 255"},
		{"client ids", "https://idp.example.com", ids, nil, "LimitExceeded", "Cannot exceed quota for ClientIdsPerOpenIdConnectProvider: 100"},
		{"client id too long", "https://idp.example.com", []string{strings.Repeat("a", 256)}, nil, "ValidationError", "less than or equal to 255"},
		{"thumbprints", "https://idp.example.com", nil, slices.Repeat([]string{sha1Hex}, 6), "ValidationError", "Thumbprint list must contain fewer than 6 entries."},
		{"thumbprint short", "https://idp.example.com", nil, []string{"abcd"}, "ValidationError", "greater than or equal to 40"},
		{"thumbprint no hex", "https://idp.example.com", nil, []string{strings.Repeat("z", 40)}, "ValidationError", "Invalid thumbprint"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := c.CreateOpenIDConnectProvider(t.Context(), &sdk.CreateOpenIDConnectProviderInput{Url: aws.String(tc.url), ClientIDList: tc.ids, ThumbprintList: tc.prints})
			if err == nil || !strings.Contains(err.Error(), tc.code) || !strings.Contains(err.Error(), tc.inMessage) {
				t.Errorf("err = %v, want %s: …%s…", err, tc.code, tc.inMessage)
			}
		})
	}
}

func TestSDKAccount(t *testing.T) {
	c, _ := newClient(t)
	ctx := t.Context()
	alias := func(name string) error {
		_, err := c.CreateAccountAlias(ctx, &sdk.CreateAccountAliasInput{AccountAlias: aws.String(name)})
		return err
	}
	for _, bad := range []string{"ab", "Upper", "-a-b", "a--b", "abc-", strings.Repeat("a", 64)} {
		if err := alias(bad); err == nil || !strings.Contains(err.Error(), "ValidationError") {
			t.Errorf("alias %q: %v", bad, err)
		}
	}
	ok(t, alias("my-first"))
	ok(t, alias("my-company")) // in the place of the first
	list, err := c.ListAccountAliases(ctx, &sdk.ListAccountAliasesInput{})
	ok(t, err)
	if !slices.Equal(list.AccountAliases, []string{"my-company"}) {
		t.Errorf("aliases = %q", list.AccountAliases)
	}
	drop := func(name string) error {
		_, err := c.DeleteAccountAlias(ctx, &sdk.DeleteAccountAliasInput{AccountAlias: aws.String(name)})
		return err
	}
	code(t, drop("my-first"), "NoSuchEntity", "The account alias my-first cannot be found.")
	ok(t, drop("my-company"))
	_, err = c.CreateServiceLinkedRole(ctx, &sdk.CreateServiceLinkedRoleInput{AWSServiceName: aws.String("eks.amazonaws.com")})
	code(t, err, "InvalidInput", "Service-linked roles are made for services of AWS, and eks.amazonaws.com does not run here. Make an ordinary role with CreateRole instead.")
	for _, in := range []*sdk.CreateRoleInput{
		{RoleName: aws.String("AWSServiceRoleForAmazonEKS"), AssumeRolePolicyDocument: aws.String(trust)},
		{RoleName: aws.String("a"), Path: aws.String("/aws-service-role/eks.amazonaws.com/"), AssumeRolePolicyDocument: aws.String(trust)},
	} {
		_, err := c.CreateRole(ctx, in)
		if e := (*types.InvalidInputException)(nil); !errors.As(err, &e) || !strings.Contains(*e.Message, "service-linked roles") {
			t.Errorf("err = %v", err)
		}
	}
}

// TestSDKAccountDetails: what is there is counted and shown, each kind by its
// filter, over parts.
func TestSDKAccountDetails(t *testing.T) {
	c, s := newClient(t)
	ctx := t.Context()
	_, err := c.CreateUser(ctx, &sdk.CreateUserInput{UserName: aws.String("ann"), Tags: tagList("a", "b")})
	ok(t, err)
	_, err = c.CreateGroup(ctx, &sdk.CreateGroupInput{GroupName: aws.String("devs")})
	ok(t, err)
	_, err = c.AddUserToGroup(ctx, &sdk.AddUserToGroupInput{GroupName: aws.String("devs"), UserName: aws.String("ann")})
	ok(t, err)
	_, err = c.PutUserPolicy(ctx, &sdk.PutUserPolicyInput{UserName: aws.String("ann"), PolicyName: aws.String("in"), PolicyDocument: aws.String(identity)})
	ok(t, err)
	_, err = c.CreateRole(ctx, &sdk.CreateRoleInput{RoleName: aws.String("web"), AssumeRolePolicyDocument: aws.String(trust), PermissionsBoundary: aws.String(s3Read)})
	ok(t, err)
	_, err = c.AttachRolePolicy(ctx, &sdk.AttachRolePolicyInput{RoleName: aws.String("web"), PolicyArn: aws.String(s3Read)})
	ok(t, err)
	_, err = c.CreateInstanceProfile(ctx, &sdk.CreateInstanceProfileInput{InstanceProfileName: aws.String("p")})
	ok(t, err)
	_, err = c.AddRoleToInstanceProfile(ctx, &sdk.AddRoleToInstanceProfileInput{InstanceProfileName: aws.String("p"), RoleName: aws.String("web")})
	ok(t, err)
	_, err = c.CreatePolicy(ctx, &sdk.CreatePolicyInput{PolicyName: aws.String("own"), PolicyDocument: aws.String(identity)})
	ok(t, err)
	details := func(filter ...types.EntityType) *sdk.GetAccountAuthorizationDetailsOutput {
		t.Helper()
		all := &sdk.GetAccountAuthorizationDetailsOutput{}
		for p := sdk.NewGetAccountAuthorizationDetailsPaginator(c, &sdk.GetAccountAuthorizationDetailsInput{Filter: filter, MaxItems: aws.Int32(7)}); p.HasMorePages(); {
			out, err := p.NextPage(ctx)
			ok(t, err)
			all.UserDetailList = append(all.UserDetailList, out.UserDetailList...)
			all.GroupDetailList = append(all.GroupDetailList, out.GroupDetailList...)
			all.RoleDetailList = append(all.RoleDetailList, out.RoleDetailList...)
			all.Policies = append(all.Policies, out.Policies...)
		}
		return all
	}
	all := details()
	if len(all.UserDetailList) != 1 || len(all.GroupDetailList) != 1 || len(all.RoleDetailList) != 1 || len(all.Policies) < 41 {
		t.Fatalf("details: %d users, %d groups, %d roles, %d policies", len(all.UserDetailList), len(all.GroupDetailList), len(all.RoleDetailList), len(all.Policies))
	}
	if u := all.UserDetailList[0]; !slices.Equal(u.GroupList, []string{"devs"}) || len(u.UserPolicyList) != 1 || decoded(t, u.UserPolicyList[0].PolicyDocument) != identity || len(u.Tags) != 1 {
		t.Errorf("user = %+v", u)
	}
	if r := all.RoleDetailList[0]; len(r.InstanceProfileList) != 1 || len(r.AttachedManagedPolicies) != 1 || *r.PermissionsBoundary.PermissionsBoundaryArn != s3Read || decoded(t, r.AssumeRolePolicyDocument) != trust {
		t.Errorf("role = %+v", r)
	}
	own := details(types.EntityTypeLocalManagedPolicy)
	if len(own.Policies) != 1 || len(own.UserDetailList)+len(own.RoleDetailList)+len(own.GroupDetailList) != 0 || decoded(t, own.Policies[0].PolicyVersionList[0].Document) != identity {
		t.Errorf("local = %+v", own)
	}
	if n := len(details(types.EntityTypeAWSManagedPolicy).Policies); n != len(all.Policies)-1 {
		t.Errorf("%d policies of AWS, of %d", n, len(all.Policies))
	}
	if g := details(types.EntityTypeGroup); len(g.GroupDetailList) != 1 || len(g.Policies) != 0 {
		t.Errorf("groups = %+v", g)
	}
	_, err = c.GetAccountAuthorizationDetails(ctx, &sdk.GetAccountAuthorizationDetailsInput{Filter: []types.EntityType{"Planet"}})
	code(t, err, "ValidationError", "1 validation error detected: Value 'Planet' at 'filter' failed to satisfy constraint: Member must satisfy enum value set: [User, Role, Group, LocalManagedPolicy, AWSManagedPolicy]")
	summary, err := c.GetAccountSummary(ctx, &sdk.GetAccountSummaryInput{})
	ok(t, err)
	for k, want := range map[string]int32{
		"Users": 1, "Groups": 1, "Roles": 1, "Policies": 1, "PolicyVersionsInUse": 1, "InstanceProfiles": 1, "Providers": 0, "UsersQuota": 5000, "RolesQuota": 1000,
		"GroupsQuota": 300, "InstanceProfilesQuota": 1000, "GroupsPerUserQuota": 10, "AccountMFAEnabled": 0,
	} {
		if summary.SummaryMap[k] != want {
			t.Errorf("%s = %d, want %d", k, summary.SummaryMap[k], want)
		}
	}
	s.authz.deny = "iam:GetAccountAuthorizationDetails"
	_, err = c.GetAccountAuthorizationDetails(ctx, &sdk.GetAccountAuthorizationDetailsInput{})
	code(t, err, "AccessDenied", fmt.Sprintf(noAccess, "iam:GetAccountAuthorizationDetails", "*"))
	_, err = c.GetServiceLinkedRoleDeletionStatus(ctx, &sdk.GetServiceLinkedRoleDeletionStatusInput{DeletionTaskId: aws.String("x")})
	if err == nil || !strings.Contains(err.Error(), "InvalidAction") {
		t.Errorf("err = %v", err)
	}
}
