// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package controlplane_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"

	"podid/internal/controlplane/controlplanetest"
)

const importPath = "/podid/v1/managed-policies"

// published is a managed policy as the AWS CLI prints it, with one statement.
func published(name, version, action string) object {
	return object{
		"PolicyName": name, "PolicyId": "ANPAJ2P4NXCHAT7NDPNR4", "Arn": "arn:aws:iam::aws:policy/" + name, "Path": "/", "DefaultVersionId": version,
		"AttachmentCount": 0, "PermissionsBoundaryUsageCount": 0, "IsAttachable": true, "CreateDate": "2020-01-02T03:04:05+00:00", "UpdateDate": "2024-01-02T03:04:05+00:00",
		"PolicyVersionList": []object{{
			"Document":  object{"Version": "2012-10-17", "Statement": []object{{"Sid": strings.Repeat("a", 4000), "Effect": "Allow", "Action": action, "Resource": "*"}}},
			"VersionId": version, "IsDefaultVersion": true, "CreateDate": "2024-01-02T03:04:05+00:00",
		}},
	}
}

// TestImportManagedPolicies: a file of some megabytes goes in over HTTPS, and
// what it says is what attached policies allow from then on, in all accounts.
func TestImportManagedPolicies(t *testing.T) {
	t.Parallel()
	cp := controlplanetest.Start(t, controlplanetest.Options{})
	ctx := t.Context()
	var all []object
	for i := range 400 {
		all = append(all, published(fmt.Sprintf("Filler%03d", i), "v1", "s3:Get*"))
	}
	file := object{"Policies": append(all, published("OddPolicy", "v1", "iam:ListRoles"))}
	rest(t, cp, cp.Admin, "podid", http.MethodPost, importPath+"?dryRun=perhaps", file).Want(t, 400, "InvalidParameterException", "The parameter dryRun must be true or false.")
	a := rest(t, cp, cp.Admin, "podid", http.MethodPost, importPath+"?dryRun=true", file)
	if a.Status != 200 || a.Body["dryRun"] != true || len(a.Body["added"].([]any)) != 401 {
		t.Fatalf("dry run: %d %.300s", a.Status, a.Raw)
	}
	if a = rest(t, cp, cp.Admin, "podid", http.MethodPost, importPath, file); a.Status != 200 || a.Body["policies"] != 401.0 {
		t.Fatalf("import: %d %.300s", a.Status, a.Raw)
	}
	if e := cp.LastAudit("ImportManagedPolicies"); e.ErrorCode != "" || !strings.Contains(controlplanetest.JSON(t, e), `"added":401`) {
		t.Errorf("event %s", controlplanetest.JSON(t, e))
	}

	ann := cp.User("ann", nil)
	odd := aws.String("arn:aws:iam::aws:policy/OddPolicy")
	_, err := cp.IAM().AttachUserPolicy(ctx, &iam.AttachUserPolicyInput{UserName: aws.String("ann"), PolicyArn: odd})
	if err != nil {
		t.Fatal(err)
	}
	api := iam.NewFromConfig(cp.Config(ann))
	if _, err := api.ListRoles(ctx, &iam.ListRolesInput{}); err != nil {
		t.Errorf("the imported policy does not allow: %v", err)
	}
	a = rest(t, cp, cp.Admin, "podid", http.MethodPost, importPath, object{"Policies": []object{published("OddPolicy", "v2", "iam:ListUsers")}})
	if a.Status != 200 || len(a.Body["updated"].([]any)) != 1 {
		t.Fatalf("import: %d %s", a.Status, a.Raw)
	}
	if _, err := api.ListUsers(ctx, &iam.ListUsersInput{}); err != nil {
		t.Errorf("the new document does not allow: %v", err)
	}
	_, err = api.ListRoles(ctx, &iam.ListRolesInput{})
	wantAPIError(t, err, "AccessDenied", "iam:ListRoles")
	n := 0
	for p := iam.NewGetAccountAuthorizationDetailsPaginator(cp.IAM(), &iam.GetAccountAuthorizationDetailsInput{Filter: []types.EntityType{types.EntityTypeAWSManagedPolicy}}); p.HasMorePages(); {
		out, err := p.NextPage(ctx)
		if err != nil {
			t.Fatal(err)
		}
		n += len(out.Policies)
	}
	if n < 441 {
		t.Errorf("%d policies of AWS", n)
	}

	second := cp.NewAccount("444455556666")
	rest(t, second, second.Admin, "podid", http.MethodPost, importPath, file).Want(t, 403, "AccessDeniedException", "")
	if _, err := second.IAM().GetPolicy(ctx, &iam.GetPolicyInput{PolicyArn: odd}); err != nil {
		t.Errorf("another account does not see it: %v", err)
	}
	rest(t, cp, ann, "podid", http.MethodPost, importPath, file).Want(t, 403, "AccessDeniedException", "")
	bad := published("OddPolicy", "v3", "iam:ListUsers")
	bad["Path"] = "x"
	rest(t, cp, cp.Admin, "podid", http.MethodPost, importPath, object{"Policies": []object{published("New", "v1", "s3:Get*"), bad}}).Want(t, 400, "InvalidParameterException", "")
	_, err = cp.IAM().GetPolicy(ctx, &iam.GetPolicyInput{PolicyArn: aws.String("arn:aws:iam::aws:policy/New")})
	wantAPIError(t, err, "NoSuchEntity", "")
}

// TestAccountAliases: an alias belongs to one account of the installation, and
// keeps it from being deleted.
func TestAccountAliases(t *testing.T) {
	t.Parallel()
	cp := controlplanetest.Start(t, controlplanetest.Options{})
	second := cp.NewAccount("444455556666")
	ctx := t.Context()
	alias := aws.String("my-company")
	if _, err := cp.IAM().CreateAccountAlias(ctx, &iam.CreateAccountAliasInput{AccountAlias: alias}); err != nil {
		t.Fatal(err)
	}
	_, err := second.IAM().CreateAccountAlias(ctx, &iam.CreateAccountAliasInput{AccountAlias: alias})
	wantAPIError(t, err, "EntityAlreadyExists", "The account alias my-company already exists.")
	_, err = second.IAM().DeleteAccountAlias(ctx, &iam.DeleteAccountAliasInput{AccountAlias: alias})
	wantAPIError(t, err, "NoSuchEntity", "")
	if _, err := cp.IAM().CreateAccountAlias(ctx, &iam.CreateAccountAliasInput{AccountAlias: aws.String("my-other-company")}); err != nil {
		t.Fatal(err)
	}
	if _, err := second.IAM().CreateAccountAlias(ctx, &iam.CreateAccountAliasInput{AccountAlias: alias}); err != nil {
		t.Errorf("an alias that was given up is taken: %v", err)
	}
	rest(t, cp, cp.Admin, "podid", http.MethodDelete, "/podid/v1/accounts/444455556666", nil).Want(t, 409, "ResourceInUseException", "")
}
