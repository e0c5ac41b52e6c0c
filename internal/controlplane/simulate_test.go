// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package controlplane_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"
	"github.com/aws/smithy-go"
	"github.com/google/go-cmp/cmp"

	"podid/internal/controlplane/controlplanetest"
)

const (
	simBucket = "arn:aws:s3:::bucket"
	simAllow  = `{
  "Version": "2012-10-17",
  "Statement":{
    "Effect": "Allow",
    "Action": "s3:*",
    "Resource": "*"
  }
}`
	simDenyPut   = `{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":"s3:Put*","Resource":"*"}]}`
	simNeedsKeys = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::bucket/${aws:username}/*","Condition":{"StringEquals":{"s3:ExistingObjectTag/team":"blue"},"Bool":{"AWS:SecureTransport":"true"}}}]}`
	simToJane    = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:user/jane"},"Action":"s3:GetObject","Resource":"*"}]}`
)

// shownResult is a result as one line: decision, matched statements, missing
// keys, and what there is of details.
func shownResult(r types.EvaluationResult) string {
	out := fmt.Sprintf("%s %s %s%s%s", aws.ToString(r.EvalActionName), aws.ToString(r.EvalResourceName), r.EvalDecision, shownMatches(r.MatchedStatements), shownDetails(r.EvalDecisionDetails))
	if len(r.MissingContextValues) > 0 {
		out += " missing " + strings.Join(r.MissingContextValues, ",")
	}
	if d := r.PermissionsBoundaryDecisionDetail; d != nil {
		out += fmt.Sprintf(" boundary=%v", d.AllowedByPermissionsBoundary)
	}
	if d := r.OrganizationsDecisionDetail; d != nil {
		out += fmt.Sprintf(" organization=%v", d.AllowedByOrganizations)
	}
	for _, e := range r.ResourceSpecificResults {
		out += fmt.Sprintf("\n  %s %s%s%s", aws.ToString(e.EvalResourceName), e.EvalResourceDecision, shownMatches(e.MatchedStatements), shownDetails(e.EvalDecisionDetails))
		if len(e.MissingContextValues) > 0 {
			out += " missing " + strings.Join(e.MissingContextValues, ",")
		}
	}
	return out
}

func shownMatches(statements []types.Statement) string {
	out := ""
	for _, s := range statements {
		out += fmt.Sprintf(" [%s %s %d:%d-%d:%d]", aws.ToString(s.SourcePolicyId), s.SourcePolicyType, s.StartPosition.Line, s.StartPosition.Column, s.EndPosition.Line, s.EndPosition.Column)
	}
	return out
}

func shownDetails(d map[string]types.PolicyEvaluationDecisionType) string {
	out := ""
	for _, k := range slices.Sorted(maps.Keys(d)) {
		out += fmt.Sprintf(" (%s %s)", k, d[k])
	}
	return out
}

func shownResults(results []types.EvaluationResult) string {
	var out []string
	for _, r := range results {
		out = append(out, shownResult(r))
	}
	return strings.Join(out, "\n")
}

func entry(key string, kind types.ContextKeyTypeEnum, values ...string) types.ContextEntry {
	return types.ContextEntry{ContextKeyName: &key, ContextKeyType: kind, ContextKeyValues: values}
}

func TestSimulateCustomPolicy(t *testing.T) {
	t.Parallel()
	w := newWorld(t, controlplanetest.Options{})
	client := w.IAM()
	jane := aws.String("arn:aws:iam::111122223333:user/jane")
	for _, tc := range []struct {
		name string
		in   iam.SimulateCustomPolicyInput
		want string
	}{
		{
			"allowed",
			iam.SimulateCustomPolicyInput{PolicyInputList: []string{simAllow}, ActionNames: []string{"s3:ListBucket"}},
			"s3:ListBucket * allowed [PolicyInputList.1 IAM Policy 3:16-7:4]",
		},
		{
			"two actions, the denial alone",
			iam.SimulateCustomPolicyInput{PolicyInputList: []string{simAllow, simDenyPut}, ActionNames: []string{"s3:PutObject", "ec2:RunInstances"}},
			"s3:PutObject * explicitDeny [PolicyInputList.2 IAM Policy 1:38-1:89]\nec2:RunInstances * implicitDeny",
		},
		{
			"keys are missing",
			iam.SimulateCustomPolicyInput{PolicyInputList: []string{simNeedsKeys}, ActionNames: []string{"s3:GetObject"}, ResourceArns: []string{simBucket + "/jane/a", "arn:aws:s3:::other/a"}},
			"s3:GetObject * implicitDeny missing AWS:SecureTransport,aws:username,s3:ExistingObjectTag/team\n" +
				"  arn:aws:s3:::bucket/jane/a implicitDeny missing AWS:SecureTransport,aws:username,s3:ExistingObjectTag/team\n  arn:aws:s3:::other/a implicitDeny",
		},
		{
			"keys are given",
			iam.SimulateCustomPolicyInput{
				PolicyInputList: []string{simNeedsKeys}, ActionNames: []string{"s3:GetObject"}, ResourceArns: []string{simBucket + "/jane/a"}, CallerArn: jane,
				ContextEntries: []types.ContextEntry{entry("s3:existingobjecttag/team", types.ContextKeyTypeEnumString, "blue"), entry("aws:SecureTransport", types.ContextKeyTypeEnumBoolean, "true")},
			},
			"s3:GetObject arn:aws:s3:::bucket/jane/a allowed [PolicyInputList.1 IAM Policy 1:38-1:235]\n  arn:aws:s3:::bucket/jane/a allowed [PolicyInputList.1 IAM Policy 1:38-1:235]",
		},
		{
			"the strictest of two resources",
			iam.SimulateCustomPolicyInput{
				PolicyInputList: []string{`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"s3:*","Resource":"arn:aws:s3:::a"}}`}, ActionNames: []string{"s3:ListBucket"}, ResourceArns: []string{"arn:aws:s3:::a", "arn:aws:s3:::b"},
			},
			"s3:ListBucket * implicitDeny\n  arn:aws:s3:::a allowed [PolicyInputList.1 IAM Policy 1:38-1:99]\n  arn:aws:s3:::b implicitDeny",
		},
		{
			"boundary",
			iam.SimulateCustomPolicyInput{PolicyInputList: []string{simAllow}, PermissionsBoundaryPolicyInputList: []string{simDenyPut}, ActionNames: []string{"s3:GetObject", "s3:PutObject"}},
			"s3:GetObject * implicitDeny boundary=false\ns3:PutObject * explicitDeny [PermissionsBoundaryPolicyInputList.1 Permissions Boundary Policy 1:38-1:89] boundary=false",
		},
		{
			"resource policy in the account",
			iam.SimulateCustomPolicyInput{PolicyInputList: []string{simDenyPut}, ResourcePolicy: aws.String(simToJane), CallerArn: jane, ActionNames: []string{"s3:GetObject"}, ResourceArns: []string{simBucket}},
			"s3:GetObject arn:aws:s3:::bucket allowed [ResourcePolicy Resource Policy 1:38-1:153]\n  arn:aws:s3:::bucket allowed [ResourcePolicy Resource Policy 1:38-1:153]",
		},
		{
			"resource policy across accounts",
			iam.SimulateCustomPolicyInput{
				PolicyInputList: []string{simDenyPut}, ResourcePolicy: aws.String(simToJane), CallerArn: jane, ActionNames: []string{"s3:GetObject"}, ResourceArns: []string{simBucket}, ResourceOwner: aws.String("arn:aws:iam::444455556666:root"),
			},
			"s3:GetObject arn:aws:s3:::bucket implicitDeny (IAM Policy implicitDeny) (Resource Policy allowed)\n  arn:aws:s3:::bucket implicitDeny (IAM Policy implicitDeny) (Resource Policy allowed)",
		},
		{
			"organisation",
			iam.SimulateCustomPolicyInput{
				PolicyInputList: []string{simAllow}, ActionNames: []string{"s3:GetObject", "s3:PutObject"},
				OrderedOrganizationPolicyInputList: []types.OrderedOrganizationPolicyType{{ServiceControlPolicyInputList: []string{simAllow}}, {ServiceControlPolicyInputList: []string{simAllow, simDenyPut}}},
			},
			"s3:GetObject * allowed [PolicyInputList.1 IAM Policy 3:16-7:4] organization=true\ns3:PutObject * explicitDeny organization=false",
		},
		{
			"scenario of EC2",
			iam.SimulateCustomPolicyInput{
				PolicyInputList: []string{`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"ec2:*","Resource":"*"}}`}, ActionNames: []string{"ec2:RunInstances"}, ResourceHandlingOption: aws.String("EC2-VPC-InstanceStore"),
				ResourceArns: []string{ec2("instance"), ec2("image"), ec2("security-group"), ec2("network-interface")},
			},
			"ec2:RunInstances * allowed [PolicyInputList.1 IAM Policy 1:38-1:87]" + eachEC2("instance", "image", "security-group", "network-interface"),
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			out, err := client.SimulateCustomPolicy(t.Context(), &tc.in)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, shownResults(out.EvaluationResults)); diff != "" || out.IsTruncated {
				t.Error(diff)
			}
		})
	}
}

func ec2(kind string) string { return "arn:aws:ec2:us-west-2:111122223333:" + kind + "/x-1" }

func eachEC2(kinds ...string) string {
	out := ""
	for _, k := range kinds {
		out += "\n  " + ec2(k) + " allowed [PolicyInputList.1 IAM Policy 1:38-1:87]"
	}
	return out
}

func TestSimulateRefuses(t *testing.T) {
	t.Parallel()
	w := newWorld(t, controlplanetest.Options{})
	client := w.IAM()
	ok := func(change func(*iam.SimulateCustomPolicyInput)) *iam.SimulateCustomPolicyInput {
		in := &iam.SimulateCustomPolicyInput{PolicyInputList: []string{simAllow}, ActionNames: []string{"s3:GetObject"}}
		change(in)
		return in
	}
	for _, tc := range []struct {
		name          string
		change        func(*iam.SimulateCustomPolicyInput)
		code, message string
	}{
		{"no policy", func(in *iam.SimulateCustomPolicyInput) { in.PolicyInputList = []string{} }, "ValidationError", "policyInputList"},
		{"no action", func(in *iam.SimulateCustomPolicyInput) { in.ActionNames = []string{} }, "ValidationError", "actionNames"},
		{"malformed policy", func(in *iam.SimulateCustomPolicyInput) { in.PolicyInputList = append(in.PolicyInputList, "{") }, "InvalidInput", "PolicyInputList.2 is invalid: Syntax errors in policy."},
		{"malformed boundary", func(in *iam.SimulateCustomPolicyInput) { in.PermissionsBoundaryPolicyInputList = []string{"{"} }, "InvalidInput", "PermissionsBoundaryPolicyInputList.1"},
		{"two boundaries", func(in *iam.SimulateCustomPolicyInput) {
			in.PermissionsBoundaryPolicyInputList = []string{simAllow, simAllow}
		}, "InvalidInput", "only one"},
		{"action without service", func(in *iam.SimulateCustomPolicyInput) { in.ActionNames = []string{"GetObject"} }, "InvalidInput", "Invalid input actions: GetObject"},
		{"action with a wildcard", func(in *iam.SimulateCustomPolicyInput) { in.ActionNames = []string{"s3:*"} }, "InvalidInput", "Invalid input actions: s3:*"},
		{"short action", func(in *iam.SimulateCustomPolicyInput) { in.ActionNames = []string{"a:"} }, "ValidationError", "actionNames.1.member"},
		{"resource no ARN", func(in *iam.SimulateCustomPolicyInput) { in.ResourceArns = []string{"bucket"} }, "InvalidInput", "bucket is not an ARN"},
		{"all and one resource", func(in *iam.SimulateCustomPolicyInput) { in.ResourceArns = []string{"*", simBucket} }, "InvalidInput", "stand alone"},
		{"resource policy without caller", func(in *iam.SimulateCustomPolicyInput) { in.ResourcePolicy = aws.String(simToJane) }, "InvalidInput", "CallerArn must be specified"},
		{"caller is a session", func(in *iam.SimulateCustomPolicyInput) {
			in.CallerArn = aws.String("arn:aws:sts::111122223333:assumed-role/r/s")
		}, "InvalidInput", "Invalid Entity Arn: arn:aws:sts::111122223333:assumed-role/r/s does not clearly define entity type and name."},
		{"caller is a service", func(in *iam.SimulateCustomPolicyInput) { in.CallerArn = aws.String("ec2.amazonaws.com") }, "InvalidInput", "Invalid Entity Arn"},
		{"owner", func(in *iam.SimulateCustomPolicyInput) { in.ResourceOwner = aws.String("jane") }, "InvalidInput", "ResourceOwner"},
		{"policy of a role", func(in *iam.SimulateCustomPolicyInput) {
			in.CallerArn, in.ResourcePolicy, in.ResourceArns = aws.String("arn:aws:iam::111122223333:user/jane"), aws.String(simToJane), []string{roleARN + "app"}
		}, "InvalidInput", "isn't supported for IAM roles"},
		{"scenario unknown", func(in *iam.SimulateCustomPolicyInput) { in.ResourceHandlingOption = aws.String("EC2-Classic-EBS") }, "InvalidInput", "ResourceHandlingOption"},
		{"scenario incomplete", func(in *iam.SimulateCustomPolicyInput) {
			in.ResourceHandlingOption, in.ResourceArns = aws.String("EC2-VPC-EBS"), []string{ec2("instance"), ec2("image")}
		}, "InvalidInput", "security-group"},
		{"key without value", func(in *iam.SimulateCustomPolicyInput) {
			in.ContextEntries = []types.ContextEntry{entry("aws:SourceIp", types.ContextKeyTypeEnumIp)}
		}, "InvalidInput", "needs one value"},
		{"key with two values", func(in *iam.SimulateCustomPolicyInput) {
			in.ContextEntries = []types.ContextEntry{entry("aws:SourceIp", types.ContextKeyTypeEnumString, "a", "b")}
		}, "InvalidInput", "needs one value"},
		{"key twice", func(in *iam.SimulateCustomPolicyInput) {
			in.ContextEntries = []types.ContextEntry{entry("aws:SourceIp", types.ContextKeyTypeEnumString, "a"), entry("aws:sourceip", types.ContextKeyTypeEnumString, "a")}
		}, "InvalidInput", "given twice"},
		{"no address", func(in *iam.SimulateCustomPolicyInput) {
			in.ContextEntries = []types.ContextEntry{entry("aws:SourceIp", types.ContextKeyTypeEnumIpList, "10.0.0.1", "ten")}
		}, "InvalidInput", `"ten"`},
		{"no number", func(in *iam.SimulateCustomPolicyInput) {
			in.ContextEntries = []types.ContextEntry{entry("s3:max-keys", types.ContextKeyTypeEnumNumeric, "1e3")}
		}, "InvalidInput", "not of type numeric"},
		{"no date", func(in *iam.SimulateCustomPolicyInput) {
			in.ContextEntries = []types.ContextEntry{entry("aws:CurrentTime", types.ContextKeyTypeEnumDate, "today")}
		}, "InvalidInput", "not of type date"},
		{"no truth", func(in *iam.SimulateCustomPolicyInput) {
			in.ContextEntries = []types.ContextEntry{entry("aws:SecureTransport", types.ContextKeyTypeEnumBooleanList, "yes")}
		}, "InvalidInput", "not of type boolean"},
		{"no bytes", func(in *iam.SimulateCustomPolicyInput) {
			in.ContextEntries = []types.ContextEntry{entry("some:Bytes", types.ContextKeyTypeEnumBinary, "?")}
		}, "InvalidInput", "not of type binary"},
		{"no type", func(in *iam.SimulateCustomPolicyInput) {
			in.ContextEntries = []types.ContextEntry{entry("aws:SourceIp", "text", "a")}
		}, "ValidationError", "contextKeyType"},
		{"short key", func(in *iam.SimulateCustomPolicyInput) {
			in.ContextEntries = []types.ContextEntry{entry("a:b", types.ContextKeyTypeEnumString, "a")}
		}, "ValidationError", "contextKeyName"},
		{"level without policies", func(in *iam.SimulateCustomPolicyInput) {
			in.OrderedOrganizationPolicyInputList = []types.OrderedOrganizationPolicyType{{ServiceControlPolicyInputList: []string{}}}
		}, "InvalidInput", "has no policy"},
		{"marker", func(in *iam.SimulateCustomPolicyInput) { in.Marker = aws.String("x") }, "ValidationError", "Marker"},
		{"too many", func(in *iam.SimulateCustomPolicyInput) {
			in.ActionNames, in.ResourceArns = slices.Repeat([]string{"s3:GetObject"}, 50), slices.Repeat([]string{simBucket}, 41)
		}, "InvalidInput", "2050 simulations"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := client.SimulateCustomPolicy(t.Context(), ok(tc.change))
			var api smithy.APIError
			if !errors.As(err, &api) || api.ErrorCode() != tc.code || !strings.Contains(api.ErrorMessage(), tc.message) {
				t.Errorf("%v, want %s %s", err, tc.code, tc.message)
			}
		})
	}
}

// simulated makes a user in a group, each with an inline policy, a managed
// policy and a boundary.
func simulatedUser(t *testing.T, w *world) *iam.Client {
	t.Helper()
	client, ctx := w.IAM(), context.Background()
	must := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(client.CreateUser(ctx, &iam.CreateUserInput{UserName: aws.String("jane"), Tags: []types.Tag{{Key: aws.String("team"), Value: aws.String("blue")}}}))
	must(client.PutUserPolicy(ctx, &iam.PutUserPolicyInput{UserName: aws.String("jane"), PolicyName: aws.String("own"), PolicyDocument: aws.String(
		`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"ec2:*","Resource":"*","Condition":{"StringEquals":{"aws:PrincipalTag/team":"${aws:ResourceTag/team}"}}}}`)}))
	must(client.CreateGroup(ctx, &iam.CreateGroupInput{GroupName: aws.String("readers")}))
	must(client.PutGroupPolicy(ctx, &iam.PutGroupPolicyInput{GroupName: aws.String("readers"), PolicyName: aws.String("read"), PolicyDocument: aws.String(simAllow)}))
	must(client.AddUserToGroup(ctx, &iam.AddUserToGroupInput{GroupName: aws.String("readers"), UserName: aws.String("jane")}))
	must(client.CreatePolicy(ctx, &iam.CreatePolicyInput{PolicyName: aws.String("noput"), PolicyDocument: aws.String(simDenyPut)}))
	must(client.AttachUserPolicy(ctx, &iam.AttachUserPolicyInput{UserName: aws.String("jane"), PolicyArn: aws.String("arn:aws:iam::111122223333:policy/noput")}))
	must(client.PutUserPermissionsBoundary(ctx, &iam.PutUserPermissionsBoundaryInput{UserName: aws.String("jane"), PermissionsBoundary: aws.String("arn:aws:iam::aws:policy/AmazonS3FullAccess")}))
	return client
}

func TestSimulatePrincipalPolicy(t *testing.T) {
	t.Parallel()
	w := newWorld(t, controlplanetest.Options{})
	client := simulatedUser(t, w)
	w.Role("app", podTrust(nil))
	const jane = "arn:aws:iam::111122223333:user/jane"
	inline := func(policy, kind, holder string) types.PolicyIdentifier {
		return &types.PolicyIdentifierMemberInlinePolicyIdentifier{Value: types.InlinePolicyIdentifierType{PolicyName: &policy, AttachmentType: types.AttachmentType(kind), AttachmentName: &holder}}
	}
	for _, tc := range []struct {
		name   string
		source string
		in     iam.SimulatePrincipalPolicyInput
		want   string
	}{
		{"of the group, within the boundary", jane, iam.SimulatePrincipalPolicyInput{ActionNames: []string{"s3:GetObject"}}, "s3:GetObject * allowed [group_readers_read IAM Policy 3:16-7:4] boundary=true"},
		{"attached denial", jane, iam.SimulatePrincipalPolicyInput{ActionNames: []string{"s3:PutObject"}}, "s3:PutObject * explicitDeny [noput IAM Policy 1:38-1:89] boundary=true"},
		{"above the boundary", jane, iam.SimulatePrincipalPolicyInput{ActionNames: []string{"ec2:StopInstances"}}, "ec2:StopInstances * implicitDeny missing aws:ResourceTag/team boundary=false"},
		{
			"another boundary, tags of the user", jane,
			iam.SimulatePrincipalPolicyInput{
				ActionNames: []string{"ec2:StopInstances"}, PermissionsBoundaryPolicyInputList: []string{controlplanetest.JSON(t, controlplanetest.Document(allow("*", "*", nil)))},
				ContextEntries: []types.ContextEntry{entry("aws:ResourceTag/team", types.ContextKeyTypeEnumString, "blue")},
			},
			"ec2:StopInstances * allowed [user_jane_own IAM Policy 1:38-1:168] boundary=true",
		},
		{
			"without the boundary and the attached", jane,
			iam.SimulatePrincipalPolicyInput{ActionNames: []string{"s3:PutObject"}, PolicyExclusionList: []types.PolicyIdentifier{
				&types.PolicyIdentifierMemberPolicyType{Value: types.PolicyIdentifierPolicyTypePermissionBoundary}, &types.PolicyIdentifierMemberPolicyArn{Value: "arn:aws:iam::111122223333:policy/no*"},
			}},
			"s3:PutObject * allowed [group_readers_read IAM Policy 3:16-7:4]",
		},
		{
			"without the group's", jane,
			iam.SimulatePrincipalPolicyInput{ActionNames: []string{"s3:GetObject"}, PolicyExclusionList: []types.PolicyIdentifier{inline("read", "group", "read*?")}},
			"s3:GetObject * implicitDeny boundary=true",
		},
		{
			"exclusions that name nothing", jane,
			iam.SimulatePrincipalPolicyInput{ActionNames: []string{"s3:GetObject"}, PolicyExclusionList: []types.PolicyIdentifier{inline("read", "user", "*"), inline("reader", "group", "*"), &types.PolicyIdentifierMemberPolicyType{Value: "scp"}}},
			"s3:GetObject * allowed [group_readers_read IAM Policy 3:16-7:4] boundary=true",
		},
		{"a group", "arn:aws:iam::111122223333:group/readers", iam.SimulatePrincipalPolicyInput{ActionNames: []string{"s3:PutObject"}, PolicyInputList: []string{simDenyPut}}, "s3:PutObject * explicitDeny [PolicyInputList.1 IAM Policy 1:38-1:89]"},
		{"a role without policies", roleARN + "app", iam.SimulatePrincipalPolicyInput{ActionNames: []string{"s3:PutObject"}}, "s3:PutObject * implicitDeny"},
		{
			"as somebody else with these policies", jane,
			iam.SimulatePrincipalPolicyInput{
				ActionNames: []string{"s3:GetObject"}, CallerArn: aws.String("arn:aws:iam::444455556666:user/bob"), ResourcePolicy: aws.String(simToJane), ResourceOwner: aws.String("111122223333"),
			},
			"s3:GetObject * implicitDeny (IAM Policy allowed) (Permissions Boundary Policy allowed) (Resource Policy implicitDeny) boundary=true",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tc.in.PolicySourceArn = &tc.source
			out, err := client.SimulatePrincipalPolicy(t.Context(), &tc.in)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, shownResults(out.EvaluationResults)); diff != "" {
				t.Error(diff)
			}
		})
	}
	for source, want := range map[string]string{
		"arn:aws:iam::111122223333:user/nobody":       "NoSuchEntity: The user with name nobody cannot be found.",
		"arn:aws:iam::111122223333:user/team/jane":    "NoSuchEntity: The user with name jane cannot be found.",
		"arn:aws:iam::111122223333:role/nobody":       "NoSuchEntity: The role with name nobody cannot be found.",
		"arn:aws:iam::111122223333:group/nobody":      "NoSuchEntity: The group with name nobody cannot be found.",
		"arn:aws:iam::111122223333:root":              "InvalidInput: Invalid Entity Arn: arn:aws:iam::111122223333:root does not clearly define entity type and name.",
		"arn:aws:iam::444455556666:role/of-neighbour": "AccessDenied: ",
	} {
		_, err := client.SimulatePrincipalPolicy(t.Context(), &iam.SimulatePrincipalPolicyInput{PolicySourceArn: &source, ActionNames: []string{"s3:GetObject"}})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", source, err, want)
		}
	}
	for _, x := range []types.PolicyIdentifier{
		&types.PolicyIdentifierMemberPolicyArn{Value: "arn:aws:iam::*:policy/x"}, &types.PolicyIdentifierMemberPolicyArn{Value: "arn:aws:iam::aws:policy/*x*"}, &types.PolicyIdentifierMemberPolicyArn{Value: jane},
		inline("p", "user", "**"), inline("p", "robot", "x"),
	} {
		_, err := client.SimulatePrincipalPolicy(t.Context(), &iam.SimulatePrincipalPolicyInput{PolicySourceArn: aws.String(jane), ActionNames: []string{"s3:GetObject"}, PolicyExclusionList: []types.PolicyIdentifier{x}})
		if err == nil || !strings.Contains(err.Error(), "InvalidInput") {
			t.Errorf("%v: %v", x, err)
		}
	}
}

// TestSimulatePages: every action comes once, whatever the parts are.
func TestSimulatePages(t *testing.T) {
	t.Parallel()
	w := newWorld(t, controlplanetest.Options{})
	var names []string
	for i := range 23 {
		names = append(names, fmt.Sprintf("s3:Action%d", i))
	}
	pages := iam.NewSimulateCustomPolicyPaginator(w.IAM(), &iam.SimulateCustomPolicyInput{PolicyInputList: []string{simAllow}, ActionNames: names, MaxItems: aws.Int32(5)})
	var got []string
	for pages.HasMorePages() {
		p, err := pages.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range p.EvaluationResults {
			got = append(got, *r.EvalActionName)
		}
	}
	if diff := cmp.Diff(names, got); diff != "" {
		t.Error(diff)
	}
}

func TestGetContextKeys(t *testing.T) {
	t.Parallel()
	w := newWorld(t, controlplanetest.Options{})
	client := simulatedUser(t, w)
	custom, err := client.GetContextKeysForCustomPolicy(t.Context(), &iam.GetContextKeysForCustomPolicyInput{PolicyInputList: []string{
		simNeedsKeys, simAllow,
		`{"Version":"2012-10-17","Statement":{"Effect":"Deny","Action":"*","Resource":"*","Condition":{"Bool":{"aws:securetransport":"false"},"DateLessThan":{"aws:TokenIssueTime":"2026-01-01T00:00:00Z"}}}}`,
	}})
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(custom.ContextKeyNames, " "); got != "AWS:SecureTransport aws:TokenIssueTime aws:username s3:ExistingObjectTag/team" {
		t.Error(got)
	}
	principal, err := client.GetContextKeysForPrincipalPolicy(t.Context(), &iam.GetContextKeysForPrincipalPolicyInput{PolicySourceArn: aws.String("arn:aws:iam::111122223333:user/jane"), PolicyInputList: []string{simNeedsKeys}})
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(principal.ContextKeyNames, " "); got != "aws:PrincipalTag/team aws:ResourceTag/team AWS:SecureTransport aws:username s3:ExistingObjectTag/team" {
		t.Error(got)
	}
	if _, err := client.GetContextKeysForCustomPolicy(t.Context(), &iam.GetContextKeysForCustomPolicyInput{PolicyInputList: []string{"{"}}); err == nil || !strings.Contains(err.Error(), "InvalidInput") {
		t.Error(err)
	}
	if _, err := client.GetContextKeysForPrincipalPolicy(t.Context(), &iam.GetContextKeysForPrincipalPolicyInput{PolicySourceArn: aws.String("arn:aws:iam::111122223333:user/nobody")}); err == nil || !strings.Contains(err.Error(), "NoSuchEntity") {
		t.Error(err)
	}
}

// TestSimulateDenied: who may not simulate learns neither policies nor names.
func TestSimulateDenied(t *testing.T) {
	t.Parallel()
	w := newWorld(t, controlplanetest.Options{})
	caller := w.User("caller", controlplanetest.Document(allow("s3:*", "*", nil)))
	for _, form := range []url.Values{
		{"Action": {"SimulateCustomPolicy"}, "PolicyInputList.member.1": {"{"}},
		{"Action": {"GetContextKeysForCustomPolicy"}, "PolicyInputList.member.1": {"{"}},
		{"Action": {"SimulatePrincipalPolicy"}, "PolicySourceArn": {"arn:aws:iam::111122223333:user/caller"}},
		{"Action": {"SimulatePrincipalPolicy"}, "PolicySourceArn": {"arn:aws:iam::111122223333:user/nobody"}},
		{"Action": {"GetContextKeysForPrincipalPolicy"}, "PolicySourceArn": {"arn:aws:iam::111122223333:group/nobody"}},
	} {
		w.Query(caller, "iam", "2010-05-08", form).Want(t, 403, "AccessDenied", "")
	}
}
