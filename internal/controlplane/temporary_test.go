// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package controlplane_test

import (
	"context"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/aws-sdk-go-v2/service/sts/types"

	"podid/internal/controlplane/controlplanetest"
)

// static are the credentials of an answer.
func static(c *types.Credentials) aws.CredentialsProvider {
	return credentials.NewStaticCredentialsProvider(*c.AccessKeyId, *c.SecretAccessKey, *c.SessionToken)
}

func stsAs(cp *controlplanetest.ControlPlane, p aws.CredentialsProvider) *sts.Client {
	return sts.NewFromConfig(cp.Config(p))
}

// TestTemporary: the sessions of users and of those they vouch for, through
// AWS' SDK.
func TestTemporary(t *testing.T) {
	t.Parallel()
	w := newWorld(t, controlplanetest.Options{})
	jane := w.User("jane", controlplanetest.Document(
		controlplanetest.Statement("Allow", []string{"eks:ListClusters", "eks:DescribeCluster", "sts:AssumeRole", "sts:TagSession", "iam:*"}, "*", nil),
		controlplanetest.Statement("Allow", []string{"sts:GetFederationToken"}, "arn:aws:sts::111122223333:federated-user/b*", nil)))
	w.Role("any", root(nil))
	t.Run("session token", func(t *testing.T) { testSessionToken(t, w, jane) })
	t.Run("federation token", func(t *testing.T) { testFederationToken(t, w, jane) })
	t.Run("refusals", func(t *testing.T) { testTemporaryRefusals(t, w, jane) })
	t.Run("access key info", func(t *testing.T) { testAccessKeyInfo(t, w, jane) })
}

func testSessionToken(t *testing.T, w *world, jane aws.CredentialsProvider) {
	ctx := context.Background()
	out, err := stsAs(w.ControlPlane, jane).GetSessionToken(ctx, &sts.GetSessionTokenInput{})
	if err != nil {
		t.Fatal(err)
	}
	if life := time.Until(*out.Credentials.Expiration); life > 12*time.Hour || life < 12*time.Hour-time.Minute {
		t.Errorf("lives %s, want 12h", life)
	}
	if int(*out.SessionTokenSize) != len(*out.Credentials.SessionToken) || *out.SessionTokenUtilization < 1 || *out.SessionTokenUtilization > 100 {
		t.Errorf("sizes %d %d", *out.SessionTokenSize, *out.SessionTokenUtilization)
	}
	p := static(out.Credentials)
	id, err := stsAs(w.ControlPlane, p).GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err != nil || *id.Arn != "arn:aws:iam::111122223333:user/jane" || !strings.HasPrefix(*id.UserId, "AIDA") {
		t.Fatalf("%+v, %v", id, err)
	}
	if _, err := eks.NewFromConfig(w.Config(p)).ListClusters(ctx, &eks.ListClustersInput{}); err != nil {
		t.Errorf("the user's permissions: %v", err)
	}
	_, err = iam.NewFromConfig(w.Config(p)).ListRoles(ctx, &iam.ListRolesInput{})
	wantAPIError(t, err, "InvalidClientTokenId", "The security token included in the request is invalid")
	// Not a role chain: the role's own limit holds, and nothing is inherited.
	if _, err := w.IAM().UpdateRole(ctx, &iam.UpdateRoleInput{RoleName: aws.String("any"), MaxSessionDuration: aws.Int32(7200)}); err != nil {
		t.Fatal(err)
	}
	next, err := stsAs(w.ControlPlane, p).AssumeRole(ctx, &sts.AssumeRoleInput{RoleArn: aws.String(roleARN + "any"), RoleSessionName: aws.String("me"), DurationSeconds: aws.Int32(7200)})
	if err != nil {
		t.Fatal(err)
	}
	if packed(next) != nil || int(*next.SessionTokenSize) != len(*next.Credentials.SessionToken) {
		t.Errorf("packed %v, size %d", packed(next), *next.SessionTokenSize)
	}
	// Without his key his sessions go on, as with AWS; without himself they are over.
	if a := w.LastAudit("AssumeRole"); a.UserIdentity.Type != "IAMUser" || a.UserIdentity.UserName != "jane" {
		t.Errorf("audit %+v", a.UserIdentity)
	}
	gone := w.User("gone", nil)
	out, err = stsAs(w.ControlPlane, gone).GetSessionToken(ctx, &sts.GetSessionTokenInput{DurationSeconds: aws.Int32(129600)})
	if err != nil {
		t.Fatal(err)
	}
	c, err := gone.Retrieve(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.IAM().DeleteAccessKey(ctx, &iam.DeleteAccessKeyInput{UserName: aws.String("gone"), AccessKeyId: &c.AccessKeyID}); err != nil {
		t.Fatal(err)
	}
	if a := whoami(w.ControlPlane, static(out.Credentials)); a.Status != 200 {
		t.Errorf("after the key: %d %s", a.Status, a.Raw)
	}
	if _, err := w.IAM().DeleteUser(ctx, &iam.DeleteUserInput{UserName: aws.String("gone")}); err != nil {
		t.Fatal(err)
	}
	whoami(w.ControlPlane, static(out.Credentials)).Want(t, 403, "InvalidClientTokenId", badToken)
}

func testFederationToken(t *testing.T, w *world, jane aws.CredentialsProvider) {
	ctx := context.Background()
	federate := func(change func(*sts.GetFederationTokenInput)) (*sts.GetFederationTokenOutput, error) {
		in := &sts.GetFederationTokenInput{Name: aws.String("bob")}
		if change != nil {
			change(in)
		}
		return stsAs(w.ControlPlane, jane).GetFederationToken(ctx, in)
	}
	list := aws.String(controlplanetest.JSON(t, controlplanetest.Document(controlplanetest.Statement("Allow", []string{"eks:List*", "eks:RegisterCluster", "sts:*"}, "*", nil))))
	for name, tc := range map[string]struct {
		change  func(*sts.GetFederationTokenInput)
		allowed bool
	}{
		"no policy":          {nil, false},
		"policy that allows": {func(in *sts.GetFederationTokenInput) { in.Policy = list }, true},
		"policy of other things": {func(in *sts.GetFederationTokenInput) {
			in.Policy = aws.String(controlplanetest.JSON(t, controlplanetest.Document(controlplanetest.Statement("Allow", []string{"s3:*"}, "*", nil))))
		}, false},
		"managed policy": {func(in *sts.GetFederationTokenInput) {
			in.PolicyArns = []types.PolicyDescriptorType{{Arn: aws.String("arn:aws:iam::aws:policy/AdministratorAccess")}}
		}, true},
		"by tag": {func(in *sts.GetFederationTokenInput) {
			in.Tags = []types.Tag{{Key: aws.String("team"), Value: aws.String("blue")}}
			in.Policy = aws.String(controlplanetest.JSON(t, controlplanetest.Document(controlplanetest.Statement("Allow", []string{"eks:*"}, "*", object{
				"Condition": object{"StringEquals": object{"aws:PrincipalTag/team": "blue", "aws:userid": "111122223333:bob", "aws:PrincipalType": "FederatedUser"}},
			}))))
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			out, err := federate(tc.change)
			if err != nil {
				t.Fatal(err)
			}
			if *out.FederatedUser.Arn != "arn:aws:sts::111122223333:federated-user/bob" || *out.FederatedUser.FederatedUserId != "111122223333:bob" {
				t.Errorf("%+v", out.FederatedUser)
			}
			p := static(out.Credentials)
			id, err := stsAs(w.ControlPlane, p).GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
			if err != nil || *id.Arn != *out.FederatedUser.Arn || *id.UserId != *out.FederatedUser.FederatedUserId {
				t.Errorf("%+v, %v", id, err)
			}
			if _, err = eks.NewFromConfig(w.Config(p)).ListClusters(ctx, &eks.ListClustersInput{}); (err == nil) != tc.allowed {
				t.Errorf("%v, want allowed %v", err, tc.allowed)
			}
			// What the user himself may not, nobody gets from him.
			if _, err = eks.NewFromConfig(w.Config(p)).DeleteCluster(ctx, &eks.DeleteClusterInput{Name: aws.String("my-cluster")}); err == nil {
				t.Error("more than the user")
			}
			_, err = stsAs(w.ControlPlane, p).AssumeRole(ctx, &sts.AssumeRoleInput{RoleArn: aws.String(roleARN + "any"), RoleSessionName: aws.String("me")})
			wantAPIError(t, err, "AccessDenied", "Cannot call AssumeRole with session credentials")
			_, err = iam.NewFromConfig(w.Config(p)).GetUser(ctx, &iam.GetUserInput{})
			wantAPIError(t, err, "InvalidClientTokenId", "")
		})
	}
	if id := w.LastAudit("DeleteCluster").UserIdentity; id.Type != "FederatedUser" || id.SessionContext == nil || id.SessionContext.SessionIssuer.UserName != "jane" {
		t.Errorf("audit %+v", id)
	}
	_, err := federate(func(in *sts.GetFederationTokenInput) { in.Name = aws.String("alice") })
	wantAPIError(t, err, "AccessDenied", "is not authorized to perform: sts:GetFederationToken on resource: arn:aws:sts::111122223333:federated-user/alice")
	plain := w.User("plain", controlplanetest.Document(controlplanetest.Statement("Allow", []string{"sts:GetFederationToken"}, "*", nil)))
	_, err = stsAs(w.ControlPlane, plain).GetFederationToken(ctx, &sts.GetFederationTokenInput{Name: aws.String("bob"), Tags: []types.Tag{{Key: aws.String("a"), Value: aws.String("b")}}})
	wantAPIError(t, err, "AccessDenied", "sts:TagSession")
}

func testTemporaryRefusals(t *testing.T, w *world, jane aws.CredentialsProvider) {
	ctx := context.Background()
	own, err := stsAs(w.ControlPlane, jane).GetSessionToken(ctx, &sts.GetSessionTokenInput{})
	if err != nil {
		t.Fatal(err)
	}
	role, err := stsAs(w.ControlPlane, jane).AssumeRole(ctx, &sts.AssumeRoleInput{RoleArn: aws.String(roleARN + "any"), RoleSessionName: aws.String("me")})
	if err != nil {
		t.Fatal(err)
	}
	fed, err := stsAs(w.ControlPlane, jane).GetFederationToken(ctx, &sts.GetFederationTokenInput{Name: aws.String("bob")})
	if err != nil {
		t.Fatal(err)
	}
	get := func(more url.Values) url.Values {
		f := url.Values{"Action": {"GetSessionToken"}}
		for k, v := range more {
			f[k] = v
		}
		return f
	}
	federate := func(more url.Values) url.Values {
		f := url.Values{"Action": {"GetFederationToken"}, "Name": {"bob"}}
		for k, v := range more {
			f[k] = v
		}
		return f
	}
	for name, tc := range map[string]struct {
		caller  aws.CredentialsProvider
		form    url.Values
		status  int
		code    string
		message string
	}{
		"too short":                     {jane, get(url.Values{"DurationSeconds": {"899"}}), 400, "ValidationError", "1 validation error detected: Value '899' at 'durationSeconds' failed to satisfy constraint: Member must have value greater than or equal to 900"},
		"too long":                      {jane, get(url.Values{"DurationSeconds": {"129601"}}), 400, "ValidationError", "1 validation error detected: Value '129601' at 'durationSeconds' failed to satisfy constraint: Member must have value less than or equal to 129600"},
		"federated too long":            {jane, federate(url.Values{"DurationSeconds": {"129601"}}), 400, "ValidationError", "1 validation error detected: Value '129601' at 'durationSeconds' failed to satisfy constraint: Member must have value less than or equal to 129600"},
		"MFA":                           {jane, get(url.Values{"SerialNumber": {"arn:aws:iam::111122223333:mfa/jane"}, "TokenCode": {"123456"}}), 403, "AccessDenied", "MultiFactorAuthentication failed, unable to validate MFA code. Please verify your MFA serial number is valid and associated with this user. podid has no MFA devices: leave SerialNumber and TokenCode out."},
		"by a user's session":           {static(own.Credentials), get(nil), 403, "AccessDenied", "Cannot call GetSessionToken with session credentials"},
		"by a role's session":           {static(role.Credentials), get(nil), 403, "AccessDenied", "Cannot call GetSessionToken with session credentials"},
		"by a federated user":           {static(fed.Credentials), get(nil), 403, "AccessDenied", "Cannot call GetSessionToken with session credentials"},
		"federated by a user's session": {static(own.Credentials), federate(nil), 403, "AccessDenied", "Cannot call GetFederationToken with session credentials"},
		"federated by a role's session": {static(role.Credentials), federate(nil), 403, "AccessDenied", "Cannot call GetFederationToken with session credentials"},
		"key info by a user's session":  {static(own.Credentials), url.Values{"Action": {"GetAccessKeyInfo"}, "AccessKeyId": {w.AdminID}}, 403, "AccessDenied", "Cannot call GetAccessKeyInfo with session credentials"},
		"name of one":                   {jane, federate(url.Values{"Name": {"b"}}), 400, "ValidationError", "1 validation error detected: Value 'b' at 'name' failed to satisfy constraint: Member must have length greater than or equal to 2"},
		"name of 33":                    {jane, federate(url.Values{"Name": {strings.Repeat("b", 33)}}), 400, "ValidationError", "1 validation error detected: Value '" + strings.Repeat("b", 33) + "' at 'name' failed to satisfy constraint: Member must have length less than or equal to 32"},
		"name with a blank":             {jane, federate(url.Values{"Name": {"b b"}}), 400, "ValidationError", `1 validation error detected: Value 'b b' at 'name' failed to satisfy constraint: Member must satisfy regular expression pattern: [\w+=,.@-]*`},
		"two wrong at once":             {jane, federate(url.Values{"Name": {"b"}, "DurationSeconds": {"1"}}), 400, "ValidationError", "2 validation errors detected: Value 'b' at 'name' failed to satisfy constraint: Member must have length greater than or equal to 2; Value '1' at 'durationSeconds' failed to satisfy constraint: Member must have value greater than or equal to 900"},
		"policy malformed":              {jane, federate(url.Values{"Policy": {"{"}}), 400, "MalformedPolicyDocument", ""},
		"policy ARN of nothing":         {jane, federate(url.Values{"PolicyArns.member.1.arn": {"arn:aws:iam::aws:policy/Nothing"}}), 400, "ValidationError", "PolicyArn arn:aws:iam::aws:policy/Nothing does not exist or is not attachable."},
		"tags twice":                    {jane, federate(tags("Team", "a", "team", "b")), 400, "InvalidParameterValue", "Duplicate tag keys found. Please note that Tag keys are case insensitive."},
		"token size":                    {jane, get(url.Values{"MinimumSessionTokenSize": {"4097"}}), 400, "ValidationError", "1 validation error detected: Value '4097' at 'minimumSessionTokenSize' failed to satisfy constraint: Member must have value less than or equal to 4096"},
		"not here: AssumeRoot":          {jane, url.Values{"Action": {"AssumeRoot"}}, 400, "InvalidAction", ""},
		"not here: GetDelegatedAccess":  {jane, url.Values{"Action": {"GetDelegatedAccessToken"}}, 400, "InvalidAction", ""},
		"not here: GetWebIdentityToken": {jane, url.Values{"Action": {"GetWebIdentityToken"}}, 400, "InvalidAction", ""},
		"not here: AssumeRoleWithSAML":  {jane, url.Values{"Action": {"AssumeRoleWithSAML"}}, 400, "InvalidAction", ""},
	} {
		t.Run(name, func(t *testing.T) { w.STSQuery(tc.caller, tc.form).Want(t, tc.status, tc.code, tc.message) })
	}
}

func testAccessKeyInfo(t *testing.T, w *world, jane aws.CredentialsProvider) {
	ctx := context.Background()
	out, err := w.STS().GetSessionToken(ctx, &sts.GetSessionTokenInput{})
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{w.AdminID, *out.Credentials.AccessKeyId} {
		info, err := w.STS().GetAccessKeyInfo(ctx, &sts.GetAccessKeyInfoInput{AccessKeyId: &id})
		if err != nil || *info.Account != controlplanetest.Account {
			t.Errorf("%s: %+v, %v", id, info, err)
		}
	}
	for id, message := range map[string]string{
		"AKIAIOSFODNN7EXAMPLE": "is not one that podid issues", "ASIA777777777777": "is not one that podid issues", "AKIA": "greater than or equal to 16", "AKIA-OSFODNN7EXAMPLE": "regular expression",
	} {
		_, err := w.STS().GetAccessKeyInfo(ctx, &sts.GetAccessKeyInfoInput{AccessKeyId: &id})
		if id == "AKIAIOSFODNN7EXAMPLE" && err == nil {
			continue // it decodes to some account, as any id of the form may
		}
		wantAPIError(t, err, "ValidationError", message)
	}
	_, err = stsAs(w.ControlPlane, jane).GetAccessKeyInfo(ctx, &sts.GetAccessKeyInfoInput{AccessKeyId: &w.AdminID})
	wantAPIError(t, err, "AccessDenied", "sts:GetAccessKeyInfo")
}
