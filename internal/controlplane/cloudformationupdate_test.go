// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package controlplane_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"podid/internal/controlplane/controlplanetest"
)

// wantEvents: each of the events is there, in this order, by its beginning.
func (s *stacks) wantEvents(name string, want ...string) {
	s.t.Helper()
	got := s.events(name)
	rest := got
	for _, w := range want {
		i := slices.IndexFunc(rest, func(e string) bool { return strings.HasPrefix(e, w) })
		if i < 0 {
			s.t.Errorf("no event %q where it should be in\n%s", w, strings.Join(got, "\n"))
			return
		}
		rest = rest[i+1:]
	}
}

// TestStackUpdate: what can change in place keeps the resource, what cannot
// makes a new one before the old one goes, and what fails is taken back.
func TestStackUpdate(t *testing.T) {
	t.Parallel()
	cp := controlplanetest.Start(t, controlplanetest.Options{})
	s, ctx, app := newStacks(t, cp, cp.Admin), t.Context(), aws.String("app")
	s.create(&cloudformation.CreateStackInput{StackName: app, TemplateBody: eksctlTemplate(t, "first", s3Read), Capabilities: named(), Tags: eksctlTags()})
	before := s.role("first").Role.RoleId
	update := func(body *string) types.Stack {
		t.Helper()
		must(s.UpdateStack(ctx, &cloudformation.UpdateStackInput{StackName: app, TemplateBody: body, Capabilities: named()}))(t)
		return s.describe("app")
	}
	const other = "arn:aws:iam::aws:policy/ReadOnlyAccess"
	if d := update(eksctlTemplate(t, "first", other)); d.StackStatus != types.StackStatusUpdateComplete || len(d.Tags) != 2 || d.LastUpdatedTime == nil {
		t.Errorf("in place: %+v", d)
	}
	if err := cloudformation.NewStackUpdateCompleteWaiter(s).Wait(ctx, &cloudformation.DescribeStacksInput{StackName: app}, noWaiting); err != nil {
		t.Error(err)
	}
	attached := must(cp.IAM().ListAttachedRolePolicies(ctx, &iam.ListAttachedRolePoliciesInput{RoleName: aws.String("first")}))(t)
	if *s.role("first").Role.RoleId != *before || len(attached.AttachedPolicies) != 1 || *attached.AttachedPolicies[0].PolicyArn != other {
		t.Errorf("role %+v with %+v", s.role("first").Role, attached.AttachedPolicies)
	}
	if d := update(eksctlTemplate(t, "second", other)); d.StackStatus != types.StackStatusUpdateComplete || *d.Outputs[0].OutputValue != rolesARN+"second" {
		t.Errorf("replacement: %+v", d)
	}
	if s.role("first") != nil || s.role("second") == nil {
		t.Error("the old role is there, or the new one is not")
	}
	s.wantEvents("app", "Role1 UPDATE_IN_PROGRESS", "Role1 UPDATE_COMPLETE", "app UPDATE_COMPLETE_CLEANUP_IN_PROGRESS", "Role1 DELETE_COMPLETE", "app UPDATE_COMPLETE")

	cp.Role("taken", podTrust(nil))
	if d := update(eksctlTemplate(t, "taken", s3Read)); d.StackStatus != types.StackStatusUpdateRollbackComplete || *d.Outputs[0].OutputValue != rolesARN+"second" {
		t.Errorf("failed: %+v", d)
	}
	if s.role("second") == nil || s.role("taken") == nil {
		t.Error("a role is gone")
	}
	s.wantEvents("app", "Role1 UPDATE_FAILED", "app UPDATE_ROLLBACK_IN_PROGRESS", "app UPDATE_ROLLBACK_COMPLETE")
}

// TestStackParameters: hidden ones are shown nowhere, and stay for updates.
func TestStackParameters(t *testing.T) {
	t.Parallel()
	cp := controlplanetest.Start(t, controlplanetest.Options{})
	s, ctx, app := newStacks(t, cp, cp.Admin), t.Context(), aws.String("app")
	doc := object{
		"Parameters": object{"Words": object{"Type": "String", "NoEcho": true}, "Kind": object{"Type": "String", "Default": "a", "AllowedValues": []string{"a", "b"}}},
		"Resources":  object{"R": roleResource(object{"Description": object{"Ref": "Kind"}, "Path": object{"Fn::If": []any{"Deep", "/deep/", "/"}}})},
		"Conditions": object{"Deep": object{"Fn::Equals": []any{object{"Ref": "Words"}, "hush-hush"}}},
		"Outputs":    object{"Name": object{"Value": object{"Ref": "R"}, "Description": "of the role"}},
	}
	body := aws.String(controlplanetest.JSON(t, doc))
	d := s.create(&cloudformation.CreateStackInput{
		StackName: app, TemplateBody: body, Capabilities: unnamed(), Parameters: []types.Parameter{{ParameterKey: aws.String("Words"), ParameterValue: aws.String("hush-hush")}},
	})
	name := *d.Outputs[0].OutputValue
	if !strings.HasPrefix(name, "app-R-") || *s.role(name).Role.Path != "/deep/" || *d.Outputs[0].Description != "of the role" {
		t.Errorf("role %+v", s.role(name))
	}
	must(s.UpdateStack(ctx, &cloudformation.UpdateStackInput{
		StackName: app, UsePreviousTemplate: aws.Bool(true), Capabilities: unnamed(),
		Parameters: []types.Parameter{{ParameterKey: aws.String("Words"), UsePreviousValue: aws.Bool(true)}, {ParameterKey: aws.String("Kind"), ParameterValue: aws.String("b")}},
	}))(t)
	if r := s.role(name); r == nil || *r.Role.Description != "b" {
		t.Errorf("updated role %+v", r)
	}
	shown := fmt.Sprint(s.describe("app").Parameters) + strings.Join(s.events("app"), "\n")
	for _, e := range cp.Audit() {
		shown += fmt.Sprint(e.RequestParameters, e.ResponseElements, e.ErrorMessage)
	}
	if strings.Contains(shown, "hush-hush") {
		t.Errorf("a hidden parameter is shown in %s", shown)
	}
	text := must(s.GetTemplate(ctx, &cloudformation.GetTemplateInput{StackName: app}))(t)
	if *text.TemplateBody != *body || len(text.StagesAvailable) != 2 {
		t.Errorf("template %+v", text)
	}
	sum := must(s.GetTemplateSummary(ctx, &cloudformation.GetTemplateSummaryInput{StackName: app}))(t)
	if len(sum.Parameters) != 2 || !slices.Equal(sum.ResourceTypes, []string{"AWS::IAM::Role"}) || !slices.Equal(sum.Capabilities, unnamed()) || *sum.Version != "2010-09-09" {
		t.Errorf("summary %+v", sum)
	}
	for _, p := range sum.Parameters {
		if *p.ParameterKey == "Kind" && (!slices.Equal(p.ParameterConstraints.AllowedValues, []string{"a", "b"}) || *p.DefaultValue != "a") || *p.ParameterKey == "Words" && !*p.NoEcho {
			t.Errorf("parameter %+v", p)
		}
	}
	valid := must(s.ValidateTemplate(ctx, &cloudformation.ValidateTemplateInput{TemplateBody: body}))(t)
	if len(valid.Parameters) != 2 || aws.ToString(valid.CapabilitiesReason) != "The following resource(s) require capabilities: [AWS::IAM::Role]" {
		t.Errorf("valid %+v", valid)
	}
}

// TestStackAsCaller: a caller who may do everything with stacks and nothing
// else makes, changes and removes nothing.
func TestStackAsCaller(t *testing.T) {
	t.Parallel()
	cp := controlplanetest.Start(t, controlplanetest.Options{})
	cl := cp.Register("my-cluster", nil)
	limited := newStacks(t, cp, cp.User("limited", allowAll("cloudformation:*")))
	s, ctx, app := newStacks(t, cp, cp.Admin), t.Context(), aws.String("app")
	role := cp.Role("target", podTrust(nil))
	for i, resource := range []object{
		roleResource(nil),
		{"Type": "AWS::IAM::ManagedPolicy", "Properties": object{"PolicyDocument": controlplanetest.Document(allow("s3:*", "*", nil))}},
		{"Type": "AWS::IAM::Policy", "Properties": object{"PolicyName": "p", "PolicyDocument": controlplanetest.Document(allow("s3:*", "*", nil)), "Roles": []string{"target"}}},
		{"Type": "AWS::IAM::OIDCProvider", "Properties": object{"Url": "https://idp.example.com"}},
		{"Type": "AWS::IAM::InstanceProfile", "Properties": object{"Roles": []string{"target"}}},
		{"Type": "AWS::EKS::PodIdentityAssociation", "Properties": object{"ClusterName": cl.Name, "Namespace": "n", "ServiceAccount": "s", "RoleArn": role}},
	} {
		name := fmt.Sprintf("none-%d", i)
		must(limited.CreateStack(ctx, &cloudformation.CreateStackInput{StackName: &name, TemplateBody: template(t, object{"R": resource}, nil), Capabilities: named()}))(t)
		if d := s.describe(name); d.StackStatus != types.StackStatusRollbackComplete {
			t.Errorf("%s: %s", resource["Type"], d.StackStatus)
		}
		if got := strings.Join(s.events(name), "\n"); !strings.Contains(got, "R CREATE_FAILED") || !strings.Contains(got, "user/limited is not authorized to perform: ") {
			t.Errorf("%s: events\n%s", resource["Type"], got)
		}
	}
	s.create(&cloudformation.CreateStackInput{StackName: app, TemplateBody: eksctlTemplate(t, "kept", s3Read), Capabilities: named()})
	must(limited.UpdateStack(ctx, &cloudformation.UpdateStackInput{StackName: app, TemplateBody: eksctlTemplate(t, "kept"), Capabilities: named()}))(t)
	if d := s.describe("app"); d.StackStatus != types.StackStatusUpdateRollbackComplete {
		t.Errorf("update: %s", d.StackStatus)
	}
	must(limited.DeleteStack(ctx, &cloudformation.DeleteStackInput{StackName: app}))(t)
	if d := s.describe("app"); d.StackStatus != types.StackStatusDeleteFailed {
		t.Errorf("deletion: %s", d.StackStatus)
	}
	attached := must(cp.IAM().ListAttachedRolePolicies(ctx, &iam.ListAttachedRolePoliciesInput{RoleName: aws.String("kept")}))(t)
	if s.role("kept") == nil || len(attached.AttachedPolicies) != 1 {
		t.Error("the role is gone or changed")
	}
	list := must(cp.IAM().ListRoles(ctx, &iam.ListRolesInput{}))(t)
	for _, r := range list.Roles {
		if strings.HasPrefix(*r.RoleName, "none-") {
			t.Errorf("made role %s", *r.RoleName)
		}
	}
	must(s.DeleteStack(ctx, &cloudformation.DeleteStackInput{StackName: app}))(t)
	if s.role("kept") != nil {
		t.Error("the admin cannot delete it")
	}
	_, err := newStacks(t, cp, cp.User("nobody", nil)).CreateStack(ctx, &cloudformation.CreateStackInput{StackName: app, TemplateBody: eksctlTemplate(t, "x"), Capabilities: named()})
	wantAPIError(t, err, "AccessDenied", "user/nobody is not authorized to perform: cloudformation:CreateStack on resource: "+stackARN+"app/")
}

// TestChangeSets plays eksctl's update of a role that it owns.
func TestChangeSets(t *testing.T) {
	t.Parallel()
	cp := controlplanetest.Start(t, controlplanetest.Options{})
	s, ctx, app := newStacks(t, cp, cp.Admin), t.Context(), aws.String("app")
	s.create(&cloudformation.CreateStackInput{StackName: app, TemplateBody: eksctlTemplate(t, "r", s3Read), Capabilities: named(), Tags: eksctlTags()})
	change := func(name string, body *string) *cloudformation.DescribeChangeSetInput {
		t.Helper()
		made := must(s.CreateChangeSet(ctx, &cloudformation.CreateChangeSetInput{
			StackName: app, ChangeSetName: &name, ChangeSetType: types.ChangeSetTypeUpdate, TemplateBody: body, Capabilities: named(), Tags: eksctlTags(), Description: aws.String("d"),
		}))(t)
		if !strings.HasPrefix(*made.Id, "arn:aws:cloudformation:us-west-2:111122223333:changeSet/"+name+"/") || !strings.HasPrefix(*made.StackId, stackARN+"app/") {
			t.Errorf("made %+v", made)
		}
		return &cloudformation.DescribeChangeSetInput{StackName: app, ChangeSetName: &name}
	}
	const nothing = "The submitted information didn't contain changes. Submit different information to create a change set."
	in := change("same", eksctlTemplate(t, "r", s3Read))
	if err := cloudformation.NewChangeSetCreateCompleteWaiter(s).Wait(ctx, in, noWaiting); err == nil || strings.Contains(err.Error(), "exceeded max wait time") {
		t.Errorf("wait without a change: %v", err)
	}
	if d := must(s.DescribeChangeSet(ctx, in))(t); d.Status != types.ChangeSetStatusFailed || d.ExecutionStatus != types.ExecutionStatusUnavailable || *d.StatusReason != nothing {
		t.Errorf("without a change: %+v", d)
	}
	wantAPIError(t, refusal(s.ExecuteChangeSet(ctx, &cloudformation.ExecuteChangeSetInput{StackName: app, ChangeSetName: in.ChangeSetName})), "InvalidChangeSetStatus", "cannot be executed in its current status of [FAILED]")

	in = change("next", eksctlTemplate(t, "r", s3Read, "arn:aws:iam::aws:policy/ReadOnlyAccess"))
	if err := cloudformation.NewChangeSetCreateCompleteWaiter(s).Wait(ctx, in, noWaiting); err != nil {
		t.Error(err)
	}
	d := must(s.DescribeChangeSet(ctx, in))(t)
	if d.Status != types.ChangeSetStatusCreateComplete || d.ExecutionStatus != types.ExecutionStatusAvailable || *d.Description != "d" || len(d.Changes) != 1 || len(d.Tags) != 2 {
		t.Fatalf("change set %+v", d)
	}
	c := d.Changes[0].ResourceChange
	if c.Action != types.ChangeActionModify || *c.LogicalResourceId != "Role1" || *c.PhysicalResourceId != "r" || c.Replacement != types.ReplacementFalse || *c.ResourceType != "AWS::IAM::Role" ||
		len(c.Details) != 1 || *c.Details[0].Target.Name != "ManagedPolicyArns" || c.Details[0].Target.RequiresRecreation != types.RequiresRecreationNever {
		t.Errorf("change %+v", c)
	}
	if l := must(s.ListChangeSets(ctx, &cloudformation.ListChangeSetsInput{StackName: app}))(t); len(l.Summaries) != 2 {
		t.Errorf("list %+v", l.Summaries)
	}
	must(s.ExecuteChangeSet(ctx, &cloudformation.ExecuteChangeSetInput{StackName: app, ChangeSetName: in.ChangeSetName}))(t)
	if err := cloudformation.NewStackUpdateCompleteWaiter(s).Wait(ctx, &cloudformation.DescribeStacksInput{StackName: app}, noWaiting); err != nil {
		t.Error(err)
	}
	attached := must(cp.IAM().ListAttachedRolePolicies(ctx, &iam.ListAttachedRolePoliciesInput{RoleName: aws.String("r")}))(t)
	if len(attached.AttachedPolicies) != 2 || *s.describe("app").ChangeSetId != *d.ChangeSetId {
		t.Errorf("attached %+v", attached.AttachedPolicies)
	}

	fresh := &cloudformation.CreateChangeSetInput{StackName: aws.String("fresh"), ChangeSetName: aws.String("first"), ChangeSetType: types.ChangeSetTypeCreate, TemplateBody: eksctlTemplate(t, "f"), Capabilities: named()}
	made := must(s.CreateChangeSet(ctx, fresh))(t)
	if got := s.describe("fresh"); got.StackStatus != types.StackStatusReviewInProgress || s.role("f") != nil {
		t.Errorf("before it is executed: %+v", got)
	}
	text := must(s.GetTemplate(ctx, &cloudformation.GetTemplateInput{ChangeSetName: made.Id}))(t)
	if *text.TemplateBody != *fresh.TemplateBody {
		t.Errorf("template %s", *text.TemplateBody)
	}
	must(s.ExecuteChangeSet(ctx, &cloudformation.ExecuteChangeSetInput{ChangeSetName: made.Id}))(t)
	if got := s.describe("fresh"); got.StackStatus != types.StackStatusCreateComplete || s.role("f") == nil {
		t.Errorf("after it was executed: %+v", got)
	}
	change("unused", eksctlTemplate(t, "r"))
	must(s.DeleteChangeSet(ctx, &cloudformation.DeleteChangeSetInput{StackName: app, ChangeSetName: aws.String("unused")}))(t)
	wantAPIError(t, refusal(s.DescribeChangeSet(ctx, &cloudformation.DescribeChangeSetInput{StackName: app, ChangeSetName: aws.String("unused")})), "ChangeSetNotFound", "ChangeSet [unused] does not exist")
}

// allowAll is a policy document that allows the actions on everything.
func allowAll(actions ...string) map[string]any {
	return controlplanetest.Document(controlplanetest.Statement("Allow", actions, "*", nil))
}
