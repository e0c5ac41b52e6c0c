// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package controlplane_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/aws-sdk-go-v2/service/sts/types"
	"github.com/aws/smithy-go"

	"podid/internal/controlplane/controlplanetest"
)

// sdkTags are tags in pairs.
func sdkTags(pairs ...string) []types.Tag {
	var out []types.Tag
	for i := 0; i < len(pairs); i += 2 {
		out = append(out, types.Tag{Key: &pairs[i], Value: &pairs[i+1]})
	}
	return out
}

func numberedTags(n int) []types.Tag {
	var pairs []string
	for i := range n {
		pairs = append(pairs, fmt.Sprintf("k%d", i), "v")
	}
	return sdkTags(pairs...)
}

func policyARNs(arns ...string) []types.PolicyDescriptorType {
	var out []types.PolicyDescriptorType
	for i := range arns {
		out = append(out, types.PolicyDescriptorType{Arn: &arns[i]})
	}
	return out
}

const (
	oneError    = "1 validation error detected: "
	breaks      = " failed to satisfy constraint: "
	namesOnly   = `Member must satisfy regular expression pattern: [\w+=,.@-]*`
	tagChars    = `Member must satisfy regular expression pattern: [\p{L}\p{Z}\p{N}_.:/=+\-@]`
	readOnlyARN = "arn:aws:iam::aws:policy/ReadOnlyAccess"
)

func atMostChars(n int) string {
	return fmt.Sprintf("Member must have length less than or equal to %d", n)
}

func atLeastChars(n int) string {
	return fmt.Sprintf("Member must have length greater than or equal to %d", n)
}

func valueAt(v, member string) string {
	return oneError + "Value '" + v + "' at '" + member + "'" + breaks
}
func hiddenAt(member string) string { return oneError + "Value at '" + member + "'" + breaks }

type assumeLimit struct {
	name    string
	change  func(in *sts.AssumeRoleInput)
	code    string // "" = allowed
	message string
}

const (
	validationError = "ValidationError"
	invalidValue    = "InvalidParameterValue"
)

// nameLimits are those of names, identities and times.
func nameLimits() []assumeLimit {
	x := func(c string, n int) *string { return aws.String(strings.Repeat(c, n)) }
	return []assumeLimit{
		{"role ARN of 19", func(in *sts.AssumeRoleInput) { in.RoleArn = x("r", 19) }, validationError, valueAt(strings.Repeat("r", 19), "roleArn") + atLeastChars(20)},
		{"role ARN of 20", func(in *sts.AssumeRoleInput) { in.RoleArn = x("r", 20) }, validationError, strings.Repeat("r", 20) + " is invalid"},
		{"role ARN of 2049", func(in *sts.AssumeRoleInput) { in.RoleArn = x("r", 2049) }, validationError, atMostChars(2048)},
		{"session name of 1", func(in *sts.AssumeRoleInput) { in.RoleSessionName = x("s", 1) }, validationError, valueAt("s", "roleSessionName") + atLeastChars(2)},
		{"session name of 2", func(in *sts.AssumeRoleInput) { in.RoleSessionName = x("s", 2) }, "", ""},
		{"session name of 64", func(in *sts.AssumeRoleInput) {
			in.RoleSessionName = aws.String(strings.Repeat("aZ0_+=,.@-", 6) + "abcd")
		}, "", ""},
		{"session name of 65", func(in *sts.AssumeRoleInput) { in.RoleSessionName = x("s", 65) }, validationError, valueAt(strings.Repeat("s", 65), "roleSessionName") + atMostChars(64)},
		{"session name with a colon", func(in *sts.AssumeRoleInput) { in.RoleSessionName = aws.String("a:b") }, validationError, valueAt("a:b", "roleSessionName") + namesOnly},
		{"session name in Greek", func(in *sts.AssumeRoleInput) { in.RoleSessionName = aws.String("αβγ") }, validationError, valueAt("αβγ", "roleSessionName") + namesOnly},
		{"source identity of 1", func(in *sts.AssumeRoleInput) { in.SourceIdentity = x("s", 1) }, validationError, valueAt("s", "sourceIdentity") + atLeastChars(2)},
		{"source identity of 64", func(in *sts.AssumeRoleInput) { in.SourceIdentity = x("s", 64) }, "", ""},
		{"source identity of 65", func(in *sts.AssumeRoleInput) { in.SourceIdentity = x("s", 65) }, validationError, atMostChars(64)},
		{"source identity aws:", func(in *sts.AssumeRoleInput) { in.SourceIdentity = aws.String("aws:me") }, validationError, valueAt("aws:me", "sourceIdentity") + namesOnly},
		{"external id of 1", func(in *sts.AssumeRoleInput) { in.ExternalId = x("e", 1) }, validationError, hiddenAt("externalId") + atLeastChars(2)},
		{"external id of 1224", func(in *sts.AssumeRoleInput) { in.ExternalId = aws.String(strings.Repeat("aZ0_+=,.@:/-", 102)) }, "", ""},
		{"external id of 1225", func(in *sts.AssumeRoleInput) { in.ExternalId = x("e", 1225) }, validationError, hiddenAt("externalId") + atMostChars(1224)},
		{"external id with a blank", func(in *sts.AssumeRoleInput) { in.ExternalId = aws.String("a b") }, validationError, hiddenAt("externalId") + `Member must satisfy regular expression pattern: [\w+=,.@:\/-]*`},
		{"899 seconds", func(in *sts.AssumeRoleInput) { in.DurationSeconds = aws.Int32(899) }, validationError, valueAt("899", "durationSeconds") + "Member must have value greater than or equal to 900"},
		{"900 seconds", func(in *sts.AssumeRoleInput) { in.DurationSeconds = aws.Int32(900) }, "", ""},
		{"seconds of the role", func(in *sts.AssumeRoleInput) { in.DurationSeconds = aws.Int32(7200) }, "", ""},
		{"seconds above the role's", func(in *sts.AssumeRoleInput) { in.DurationSeconds = aws.Int32(7201) }, validationError, "The requested DurationSeconds exceeds the MaxSessionDuration set for this role."},
		{"43201 seconds", func(in *sts.AssumeRoleInput) { in.DurationSeconds = aws.Int32(43201) }, validationError, valueAt("43201", "durationSeconds") + "Member must have value less than or equal to 43200"},
		{"token size -1", func(in *sts.AssumeRoleInput) { in.MinimumSessionTokenSize = aws.Int32(-1) }, validationError, "Member must have value greater than or equal to 0"},
		{"token size 4096", func(in *sts.AssumeRoleInput) { in.MinimumSessionTokenSize = aws.Int32(4096) }, "", ""},
		{"token size 4097", func(in *sts.AssumeRoleInput) { in.MinimumSessionTokenSize = aws.Int32(4097) }, validationError, "Member must have value less than or equal to 4096"},
		{"MFA", func(in *sts.AssumeRoleInput) {
			in.SerialNumber, in.TokenCode = aws.String("GAHT12345678"), aws.String("123456")
		}, "AccessDenied", "MultiFactorAuthentication failed"},
		{"context providers", func(in *sts.AssumeRoleInput) {
			in.ProvidedContexts = []types.ProvidedContext{{ProviderArn: aws.String("arn:aws:iam::aws:contextProvider/IdentityCenter"), ContextAssertion: aws.String("abcd")}}
		}, validationError, "ProvidedContexts"},
		{"several at once", func(in *sts.AssumeRoleInput) {
			in.RoleSessionName, in.DurationSeconds = aws.String("s"), aws.Int32(1)
		}, validationError, "2 validation errors detected: Value 's' at 'roleSessionName'" + breaks + atLeastChars(2) + "; Value '1' at 'durationSeconds'" + breaks + "Member must have value greater than or equal to 900"},
	}
}

// tagLimits are those of session tags.
func tagLimits() []assumeLimit {
	tagged := func(tags []types.Tag, transitive ...string) func(*sts.AssumeRoleInput) {
		return func(in *sts.AssumeRoleInput) { in.Tags, in.TransitiveTagKeys = tags, transitive }
	}
	const twice = "Duplicate tag keys found. Please note that Tag keys are case insensitive."
	return []assumeLimit{
		{"50 tags", tagged(numberedTags(50)), "", ""},
		{"51 tags", tagged(numberedTags(51)), validationError, hiddenAt("tags") + atMostChars(50)},
		{"51 transitive keys", tagged(numberedTags(1), strings.Split(strings.Repeat("k,", 51), ",")[:51]...), validationError, hiddenAt("transitiveTagKeys") + atMostChars(50)},
		{"key of none", tagged(sdkTags("", "v")), validationError, valueAt("", "tags.1.member.key") + atLeastChars(1)},
		{"key of 128", tagged(sdkTags(strings.Repeat("é", 128), "v")), "", ""},
		{"key of 129", tagged(sdkTags("a", "b", strings.Repeat("k", 129), "v")), validationError, valueAt(strings.Repeat("k", 129), "tags.2.member.key") + atMostChars(128)},
		{"value of none", tagged(sdkTags("k", "")), "", ""},
		{"value of 256", tagged(sdkTags("k", strings.Repeat("v", 256))), "", ""},
		{"value of 257", tagged(sdkTags("k", strings.Repeat("v", 257))), validationError, atMostChars(256)},
		{"all characters", tagged(sdkTags("Größe 1_.:/=+-@ Ⅷ", "ß٣ \u00a0_.:/=+-@")), "", ""},
		{"key with a star", tagged(sdkTags("k*", "v")), validationError, valueAt("k*", "tags.1.member.key") + tagChars + "+"},
		{"value with a star", tagged(sdkTags("k", "*")), validationError, valueAt("*", "tags.1.member.value") + tagChars + "*"},
		{"value with a line end", tagged(sdkTags("k", "a\nb")), validationError, tagChars + "*"},
		{"key of AWS", tagged(sdkTags("aws:k", "v")), validationError, "reserved"},
		{"key of Aws", tagged(sdkTags("AwS:k", "v")), validationError, "reserved"},
		{"key twice", tagged(sdkTags("k", "a", "k", "b")), invalidValue, twice},
		{"key twice but for case", tagged(sdkTags("Team", "a", "team", "b")), invalidValue, twice},
		{"transitive", tagged(sdkTags("Team", "a"), "team"), "", ""},
		{"transitive that is not passed", tagged(sdkTags("a", "b"), "c"), invalidValue, "The specified transitive tag key must be included in the requested tags."},
	}
}

// policyLimits are those of session policies.
func policyLimits() []assumeLimit {
	inline := func(text string) func(*sts.AssumeRoleInput) {
		return func(in *sts.AssumeRoleInput) { in.Policy = &text }
	}
	arns := func(arns ...string) func(*sts.AssumeRoleInput) {
		return func(in *sts.AssumeRoleInput) { in.PolicyArns = policyARNs(arns...) }
	}
	const text = `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"s3:*","Resource":"*"}}`
	ten := strings.Split(strings.Repeat(readOnlyARN+" ", 11), " ")
	return []assumeLimit{
		{"policy of 2048", inline(text + strings.Repeat(" ", 2048-len(text))), "", ""},
		{"policy of 2049", inline(text + strings.Repeat(" ", 2049-len(text))), validationError, hiddenAt("policy") + atMostChars(2048)},
		{"policy in Greek", inline(strings.Replace(text, "s3:*", "s3:α", 1)), validationError, hiddenAt("policy") + `Member must satisfy regular expression pattern: [\u0009\u000A\u000D\u0020-\u00FF]+`},
		{"policy not JSON", inline("{"), "MalformedPolicyDocument", "Syntax errors in policy."},
		{"10 policy ARNs", arns(ten[:10]...), "", ""},
		{"11 policy ARNs", arns(ten[:11]...), validationError, hiddenAt("policyArns") + atMostChars(10)},
		{"policy ARN of 19", arns(strings.Repeat("p", 19)), validationError, valueAt(strings.Repeat("p", 19), "policyArns.1.member.arn") + atLeastChars(20)},
		{"policy ARN of nothing", arns(readOnlyARN, "arn:aws:iam::aws:policy/Nothing"), validationError, "PolicyArn arn:aws:iam::aws:policy/Nothing does not exist or is not attachable."},
	}
}

// TestAssumeRoleLimits: every limit of AssumeRole with its error, as AWS' SDK
// sees it (STS API Reference; IAM User Guide, "IAM and STS quotas").
func TestAssumeRoleLimits(t *testing.T) {
	t.Parallel()
	w := newWorld(t, controlplanetest.Options{})
	w.Role("any", root(object{"Action": []string{"sts:AssumeRole", "sts:TagSession", "sts:SetSourceIdentity"}}))
	ctx := context.Background()
	if _, err := w.IAM().UpdateRole(ctx, &iam.UpdateRoleInput{RoleName: aws.String("any"), MaxSessionDuration: aws.Int32(7200)}); err != nil {
		t.Fatal(err)
	}
	for group, limits := range map[string][]assumeLimit{"names": nameLimits(), "tags": tagLimits(), "policies": policyLimits()} {
		for _, tc := range limits {
			t.Run(group+"/"+tc.name, func(t *testing.T) {
				in := &sts.AssumeRoleInput{RoleArn: aws.String(roleARN + "any"), RoleSessionName: aws.String("me")}
				tc.change(in)
				out, err := w.STS().AssumeRole(ctx, in)
				if tc.code != "" {
					wantAPIError(t, err, tc.code, tc.message)
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				checkSizes(t, in, out)
			})
		}
	}
	t.Run("chain", func(t *testing.T) { testChainLimits(t, w) })
	t.Run("too large", func(t *testing.T) { testPackedTooLarge(t, w) })
	t.Run("web identity", func(t *testing.T) { testWebIdentityLimits(t, w) })
}

// packed is the size that clients of before September 2026 read.
func packed(out *sts.AssumeRoleOutput) *int32 {
	return out.PackedPolicySize //nolint:staticcheck // deprecated, and answered all the same
}

// checkSizes: the sizes that the answer tells are true.
func checkSizes(t *testing.T, in *sts.AssumeRoleInput, out *sts.AssumeRoleOutput) {
	t.Helper()
	n := len(*out.Credentials.SessionToken)
	if int(*out.SessionTokenSize) != n || int(*out.SessionTokenUtilization) != (n*100+4095)/4096 {
		t.Errorf("token of %d bytes: size %d, utilization %d", n, *out.SessionTokenSize, *out.SessionTokenUtilization)
	}
	if in.MinimumSessionTokenSize != nil && n < int(*in.MinimumSessionTokenSize) || n > 4096 {
		t.Errorf("token of %d bytes, asked for %v", n, *in.MinimumSessionTokenSize)
	}
	if passed := len(in.Tags)+len(in.PolicyArns) > 0 || in.Policy != nil; passed != (packed(out) != nil) {
		t.Errorf("packed policy size %v where something was passed: %v", packed(out), passed)
	}
}

func testChainLimits(t *testing.T, w *world) {
	ctx := context.Background()
	w.RolePolicy("any", controlplanetest.Document(controlplanetest.Statement("Allow", []string{"sts:*"}, "*", nil)))
	first, err := w.STS().AssumeRole(ctx, &sts.AssumeRoleInput{
		RoleArn: aws.String(roleARN + "any"), RoleSessionName: aws.String("me"), Tags: sdkTags("Team", "blue", "stage", "dev"), TransitiveTagKeys: []string{"Team"}, SourceIdentity: aws.String("jane"),
	})
	if err != nil {
		t.Fatal(err)
	}
	again := func(change func(*sts.AssumeRoleInput)) (*sts.AssumeRoleOutput, error) {
		in := &sts.AssumeRoleInput{RoleArn: aws.String(roleARN + "any"), RoleSessionName: aws.String("me")}
		change(in)
		return stsAs(w.ControlPlane, static(first.Credentials)).AssumeRole(ctx, in)
	}
	for _, tc := range []assumeLimit{
		{"3600 seconds", func(in *sts.AssumeRoleInput) { in.DurationSeconds = aws.Int32(3600) }, "", ""},
		{"3601 seconds", func(in *sts.AssumeRoleInput) { in.DurationSeconds = aws.Int32(3601) }, validationError, "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining"},
		{"inherited tag", func(in *sts.AssumeRoleInput) { in.Tags = sdkTags("TEAM", "red") }, invalidValue, "One of the specified transitive tag keys can't be set because it conflicts with a transitive tag key from the calling session."},
		{"tag that stayed behind", func(in *sts.AssumeRoleInput) { in.Tags = sdkTags("stage", "prod") }, "", ""},
		{"49 tags beside an inherited one", func(in *sts.AssumeRoleInput) { in.Tags = numberedTags(49) }, "", ""},
		{"50 tags beside an inherited one", func(in *sts.AssumeRoleInput) { in.Tags = numberedTags(50) }, validationError, hiddenAt("tags") + atMostChars(50)},
		{"same source identity", func(in *sts.AssumeRoleInput) { in.SourceIdentity = aws.String("jane") }, "", ""},
		{"another source identity", func(in *sts.AssumeRoleInput) { in.SourceIdentity = aws.String("bob") }, "AccessDenied", "sts:SetSourceIdentity"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			out, err := again(tc.change)
			if tc.code != "" {
				wantAPIError(t, err, tc.code, tc.message)
				return
			}
			if err != nil || aws.ToString(out.SourceIdentity) != "jane" {
				t.Errorf("%+v, %v", out, err)
			}
		})
	}
}

// testPackedTooLarge: a packed size above 100 % refuses nothing; a token that
// would pass 4,096 bytes does, and the answer says by how much.
func testPackedTooLarge(t *testing.T, w *world) {
	long := func(n int) []types.Tag {
		var pairs []string
		for i := range n {
			pairs = append(pairs, fmt.Sprintf("%02d", i)+strings.Repeat("k", 10), strings.Repeat("v", 100))
		}
		return sdkTags(pairs...)
	}
	call := func(n int) (*sts.AssumeRoleOutput, error) {
		return w.STS().AssumeRole(context.Background(), &sts.AssumeRoleInput{RoleArn: aws.String(roleARN + "any"), RoleSessionName: aws.String("me"), Tags: long(n)})
	}
	out, err := call(20)
	if err != nil || *packed(out) <= 100 {
		t.Errorf("%v, %+v", err, out)
	}
	_, err = call(50)
	var api smithy.APIError
	if !errors.As(err, &api) || api.ErrorCode() != "PackedPolicyTooLarge" || !strings.Contains(api.ErrorMessage(), "Packed size of session tags and session policies consumes ") ||
		!strings.Contains(api.ErrorMessage(), " more than the 4096 that are allowed.") {
		t.Errorf("%v", err)
	}
	six, err := w.STS().AssumeRole(context.Background(), &sts.AssumeRoleInput{RoleArn: aws.String(roleARN + "any"), RoleSessionName: aws.String("me"), Tags: sdkTags(
		"eks-cluster-arn", w.cl.ARN(), "eks-cluster-name", "my-cluster", "kubernetes-namespace", "s3-app-ns", "kubernetes-service-account", "s3-app-sa",
		"kubernetes-pod-name", "app1-v1-56b9f94b4-dvd5c", "kubernetes-pod-uid", "0b1c2d3e-0000-4000-8000-1234567890ab")})
	if err != nil || *packed(six) < 55 || *packed(six) > 61 {
		t.Errorf("the six tags: %v, %+v", err, six)
	}
}

func testWebIdentityLimits(t *testing.T, w *world) {
	w.Role("web-limits", providerTrust(w.cl, "web-limits"))
	good := w.cl.Token(pod{ServiceAccount: "web-limits", Audience: "sts.amazonaws.com"})
	for _, tc := range []struct {
		name          string
		change        func(in *sts.AssumeRoleWithWebIdentityInput)
		code, message string
	}{
		{"good", func(*sts.AssumeRoleWithWebIdentityInput) {}, "", ""},
		{"token of 3", func(in *sts.AssumeRoleWithWebIdentityInput) { in.WebIdentityToken = aws.String("abc") }, validationError, hiddenAt("webIdentityToken") + atLeastChars(4)},
		{"token of 20000", func(in *sts.AssumeRoleWithWebIdentityInput) {
			in.WebIdentityToken = aws.String(strings.Repeat("a", 20000))
		}, "InvalidIdentityToken", ""},
		{"token of 20001", func(in *sts.AssumeRoleWithWebIdentityInput) {
			in.WebIdentityToken = aws.String(strings.Repeat("a", 20001))
		}, validationError, hiddenAt("webIdentityToken") + atMostChars(20000)},
		{"session name of 1", func(in *sts.AssumeRoleWithWebIdentityInput) { in.RoleSessionName = aws.String("s") }, validationError, atLeastChars(2)},
		{"899 seconds", func(in *sts.AssumeRoleWithWebIdentityInput) { in.DurationSeconds = aws.Int32(899) }, validationError, "greater than or equal to 900"},
		{"above the role's", func(in *sts.AssumeRoleWithWebIdentityInput) { in.DurationSeconds = aws.Int32(3601) }, validationError, "MaxSessionDuration"},
		{"policy of 2049", func(in *sts.AssumeRoleWithWebIdentityInput) { in.Policy = aws.String(strings.Repeat(" ", 2049)) }, validationError, atMostChars(2048)},
		{"11 policy ARNs", func(in *sts.AssumeRoleWithWebIdentityInput) {
			in.PolicyArns = policyARNs(strings.Split(strings.Repeat(readOnlyARN+" ", 11), " ")[:11]...)
		}, validationError, atMostChars(10)},
		{"token size", func(in *sts.AssumeRoleWithWebIdentityInput) { in.MinimumSessionTokenSize = aws.Int32(3000) }, "", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			in := &sts.AssumeRoleWithWebIdentityInput{RoleArn: aws.String(roleARN + "web-limits"), RoleSessionName: aws.String("me"), WebIdentityToken: &good}
			tc.change(in)
			out, err := w.STS().AssumeRoleWithWebIdentity(context.Background(), in)
			if tc.code != "" {
				wantAPIError(t, err, tc.code, tc.message)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if n := len(*out.Credentials.SessionToken); int(*out.SessionTokenSize) != n || in.MinimumSessionTokenSize != nil && n < int(*in.MinimumSessionTokenSize) {
				t.Errorf("token of %d bytes: %d", n, *out.SessionTokenSize)
			}
		})
	}
}
