// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package controlplane_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation/types"

	"podid/internal/controlplane"
	"podid/internal/controlplane/controlplanetest"
)

// TestCloudFormationBySDK: AWS' SDK drives every operation, with at least one
// good answer and one refusal, and reads lists over their pages.
func TestCloudFormationBySDK(t *testing.T) {
	t.Parallel()
	cp := controlplanetest.Start(t, controlplanetest.Options{})
	s := newStacks(t, cp, cp.Admin)
	t.Run("changes", func(t *testing.T) { testSDKStacks(t, s) })
	t.Run("rollback", func(t *testing.T) { testSDKContinueRollback(t, s) })
	t.Run("resources", func(t *testing.T) { testSDKResources(t, s) })
	t.Run("templates", func(t *testing.T) { testSDKTemplates(t, s) })
	t.Run("change sets", func(t *testing.T) { testSDKChangeSets(t, s) })
	t.Run("pages", func(t *testing.T) { testSDKPages(t, s) })
	if t.Failed() {
		return
	}
	_, services := controlplane.Surface()
	for _, v := range services {
		for _, op := range v.Operations {
			if v.Name == "cloudformation" && (s.good[op.Name] == 0 || s.bad[op.Name] == 0) {
				t.Errorf("%s: %d good answers, %d refusals", op.Name, s.good[op.Name], s.bad[op.Name])
			}
		}
	}
}

const (
	noneWithID = "Stack with id none does not exist"
	noneNamed  = "Stack [none] does not exist"
)

func testSDKStacks(t *testing.T, s *stacks) {
	ctx, name, none := t.Context(), aws.String("sdk"), aws.String("none")
	s.create(&cloudformation.CreateStackInput{StackName: name, TemplateBody: eksctlTemplate(t, "sdk-role"), Capabilities: named()})
	wantAPIError(t, refusal(s.CreateStack(ctx, &cloudformation.CreateStackInput{StackName: name})), "ValidationError", "Either Template URL or Template Body must be specified.")
	must(s.UpdateStack(ctx, &cloudformation.UpdateStackInput{StackName: name, TemplateBody: eksctlTemplate(t, "sdk-role", s3Read), Capabilities: named()}))(t)
	wantAPIError(t, refusal(s.UpdateStack(ctx, &cloudformation.UpdateStackInput{StackName: none, UsePreviousTemplate: aws.Bool(true)})), "ValidationError", noneNamed)
	wantAPIError(t, refusal(s.DescribeStacks(ctx, &cloudformation.DescribeStacksInput{StackName: none})), "ValidationError", noneWithID)
	wantAPIError(t, refusal(s.DescribeStackEvents(ctx, &cloudformation.DescribeStackEventsInput{StackName: none})), "ValidationError", noneNamed)
	if got := s.events("sdk"); len(got) < 6 {
		t.Errorf("events %q", got)
	}
	on, off := aws.Bool(true), aws.Bool(false)
	if got := must(s.UpdateTerminationProtection(ctx, &cloudformation.UpdateTerminationProtectionInput{StackName: name, EnableTerminationProtection: on}))(t); *got.StackId != *s.describe("sdk").StackId {
		t.Errorf("protected %s", *got.StackId)
	}
	wantAPIError(t, refusal(s.UpdateTerminationProtection(ctx, &cloudformation.UpdateTerminationProtectionInput{StackName: none, EnableTerminationProtection: on})), "ValidationError", noneNamed)
	wantAPIError(t, refusal(s.DeleteStack(ctx, &cloudformation.DeleteStackInput{StackName: name})), "ValidationError", "while TerminationProtection is enabled")
	must(s.UpdateTerminationProtection(ctx, &cloudformation.UpdateTerminationProtectionInput{StackName: name, EnableTerminationProtection: off}))(t)
	list := must(s.ListStacks(ctx, &cloudformation.ListStacksInput{StackStatusFilter: []types.StackStatus{types.StackStatusUpdateComplete, types.StackStatusImportComplete}}))(t)
	if len(list.StackSummaries) != 1 || *list.StackSummaries[0].StackName != "sdk" || *list.StackSummaries[0].TemplateDescription != "what pods are" {
		t.Errorf("stacks %+v", list.StackSummaries)
	}
	wantAPIError(t, refusal(s.ListStacks(ctx, &cloudformation.ListStacksInput{StackStatusFilter: []types.StackStatus{"BUSY"}})), "ValidationError", "Value 'BUSY' at 'stackStatusFilter'")
	must(s.DeleteStack(ctx, &cloudformation.DeleteStackInput{StackName: name}))(t)
	must(s.DeleteStack(ctx, &cloudformation.DeleteStackInput{StackName: none}))(t)
}

// testSDKContinueRollback has an update fail and its rollback too, for want of
// rights, and goes on with them.
func testSDKContinueRollback(t *testing.T, s *stacks) {
	ctx, name := t.Context(), aws.String("stuck")
	s.create(&cloudformation.CreateStackInput{StackName: name, TemplateBody: eksctlTemplate(t, "stuck-role"), Capabilities: named()})
	body := template(t, object{
		"Role1": roleResource(object{"RoleName": "stuck-role"}), "Next": roleResource(object{"RoleName": "stuck-next"}),
		"Last": object{"Type": "AWS::IAM::InstanceProfile", "DependsOn": "Next", "Properties": object{"Roles": []string{"stuck-role"}}},
	}, nil)
	half := newStacks(t, s.cp, s.cp.User("half", allowAll("cloudformation:*", "iam:CreateRole", "iam:GetRole")))
	must(half.UpdateStack(ctx, &cloudformation.UpdateStackInput{StackName: name, TemplateBody: body, Capabilities: named()}))(t)
	if d := s.describe("stuck"); d.StackStatus != types.StackStatusUpdateRollbackFailed {
		t.Fatalf("%s", d.StackStatus)
	}
	wantAPIError(t, refusal(half.ContinueUpdateRollback(ctx, &cloudformation.ContinueUpdateRollbackInput{StackName: aws.String("none")})), "ValidationError", noneNamed)
	must(s.ContinueUpdateRollback(ctx, &cloudformation.ContinueUpdateRollbackInput{StackName: name}))(t)
	if d := s.describe("stuck"); d.StackStatus != types.StackStatusUpdateRollbackComplete || s.role("stuck-next") != nil || s.role("stuck-role") == nil {
		t.Errorf("%s", d.StackStatus)
	}
	wantAPIError(t, refusal(s.ContinueUpdateRollback(ctx, &cloudformation.ContinueUpdateRollbackInput{StackName: name})), "ValidationError", "is in UPDATE_ROLLBACK_COMPLETE state and can not be rolled back.")
}

func testSDKResources(t *testing.T, s *stacks) {
	ctx, name, none := t.Context(), aws.String("parts"), aws.String("none")
	s.create(&cloudformation.CreateStackInput{StackName: name, TemplateBody: eksctlTemplate(t, "parts-role"), Capabilities: named()})
	one := must(s.DescribeStackResource(ctx, &cloudformation.DescribeStackResourceInput{StackName: name, LogicalResourceId: aws.String("Role1")}))(t).StackResourceDetail
	if *one.PhysicalResourceId != "parts-role" || *one.ResourceType != "AWS::IAM::Role" || one.ResourceStatus != types.ResourceStatusCreateComplete || *one.StackName != "parts" || one.LastUpdatedTimestamp == nil {
		t.Errorf("resource %+v", one)
	}
	wantAPIError(t, refusal(s.DescribeStackResource(ctx, &cloudformation.DescribeStackResourceInput{StackName: name, LogicalResourceId: none})), "ValidationError", "Resource none does not exist for stack parts")
	for _, in := range []*cloudformation.DescribeStackResourcesInput{{StackName: name}, {PhysicalResourceId: aws.String("parts-role")}} {
		if got := must(s.DescribeStackResources(ctx, in))(t).StackResources; len(got) != 1 || *got[0].LogicalResourceId != "Role1" || *got[0].StackId != *one.StackId || got[0].Timestamp == nil {
			t.Errorf("resources %+v", got)
		}
	}
	wantAPIError(t, refusal(s.DescribeStackResources(ctx, &cloudformation.DescribeStackResourcesInput{})), "ValidationError", "At least one of StackName or PhysicalResourceId")
	wantAPIError(t, refusal(s.DescribeStackResources(ctx, &cloudformation.DescribeStackResourcesInput{StackName: none})), "ValidationError", noneWithID)
	wantAPIError(t, refusal(s.ListStackResources(ctx, &cloudformation.ListStackResourcesInput{StackName: none})), "ValidationError", noneWithID)
}

func testSDKTemplates(t *testing.T, s *stacks) {
	ctx, none, body := t.Context(), aws.String("none"), eksctlTemplate(t, "")
	if got := must(s.GetTemplate(ctx, &cloudformation.GetTemplateInput{StackName: aws.String("parts"), TemplateStage: types.TemplateStageProcessed}))(t); *got.TemplateBody != *eksctlTemplate(t, "parts-role") {
		t.Errorf("template %s", *got.TemplateBody)
	}
	wantAPIError(t, refusal(s.GetTemplate(ctx, &cloudformation.GetTemplateInput{StackName: none})), "ValidationError", noneWithID)
	wantAPIError(t, refusal(s.GetTemplate(ctx, &cloudformation.GetTemplateInput{})), "ValidationError", "Value null at 'stackName'")
	if got := must(s.GetTemplateSummary(ctx, &cloudformation.GetTemplateSummaryInput{TemplateBody: body}))(t); *got.Description != "what pods are" || !slices.Equal(got.Capabilities, unnamed()) {
		t.Errorf("summary %+v", got)
	}
	wantAPIError(t, refusal(s.GetTemplateSummary(ctx, &cloudformation.GetTemplateSummaryInput{})), "ValidationError", "Either StackName")
	if got := must(s.ValidateTemplate(ctx, &cloudformation.ValidateTemplateInput{TemplateBody: body}))(t); *got.Description != "what pods are" || !slices.Equal(got.Capabilities, unnamed()) {
		t.Errorf("valid %+v", got)
	}
	wantAPIError(t, refusal(s.ValidateTemplate(ctx, &cloudformation.ValidateTemplateInput{TemplateBody: aws.String("Resources: {")})), "ValidationError", "Template format error")
	wantAPIError(t, refusal(s.ValidateTemplate(ctx, &cloudformation.ValidateTemplateInput{TemplateURL: aws.String("https://b.s3.amazonaws.com/t")})), "ValidationError", "TemplateURL is not supported")
}

func testSDKChangeSets(t *testing.T, s *stacks) {
	ctx, name, none := t.Context(), aws.String("parts"), aws.String("none")
	in := &cloudformation.CreateChangeSetInput{StackName: name, ChangeSetName: aws.String("c1"), TemplateBody: eksctlTemplate(t, "parts-new"), Capabilities: named()}
	made := must(s.CreateChangeSet(ctx, in))(t)
	wantAPIError(t, refusal(s.CreateChangeSet(ctx, in)), "AlreadyExistsException", "ChangeSet [c1] already exists")
	d := must(s.DescribeChangeSet(ctx, &cloudformation.DescribeChangeSetInput{ChangeSetName: made.Id}))(t)
	if c := d.Changes[0].ResourceChange; c.Replacement != types.ReplacementTrue || c.Details[0].Target.RequiresRecreation != types.RequiresRecreationAlways || *c.Details[0].Target.Name != "RoleName" {
		t.Errorf("change %+v", c)
	}
	wantAPIError(t, refusal(s.DescribeChangeSet(ctx, &cloudformation.DescribeChangeSetInput{StackName: name, ChangeSetName: none})), "ChangeSetNotFound", "ChangeSet [none] does not exist")
	wantAPIError(t, refusal(s.ListChangeSets(ctx, &cloudformation.ListChangeSetsInput{StackName: none})), "ValidationError", noneNamed)
	must(s.ListChangeSets(ctx, &cloudformation.ListChangeSetsInput{StackName: name}))(t)
	must(s.ExecuteChangeSet(ctx, &cloudformation.ExecuteChangeSetInput{ChangeSetName: made.Id}))(t)
	if s.role("parts-role") != nil || s.role("parts-new") == nil {
		t.Error("the role was not replaced")
	}
	wantAPIError(t, refusal(s.ExecuteChangeSet(ctx, &cloudformation.ExecuteChangeSetInput{StackName: name, ChangeSetName: none})), "ChangeSetNotFound", "ChangeSet [none] does not exist")
	in.ChangeSetName, in.TemplateBody = aws.String("c2"), eksctlTemplate(t, "parts-role")
	must(s.CreateChangeSet(ctx, in))(t)
	must(s.DeleteChangeSet(ctx, &cloudformation.DeleteChangeSetInput{StackName: name, ChangeSetName: in.ChangeSetName}))(t)
	wantAPIError(t, refusal(s.DeleteChangeSet(ctx, &cloudformation.DeleteChangeSetInput{StackName: none, ChangeSetName: in.ChangeSetName})), "ValidationError", noneNamed)
}

// testSDKPages: one more than a page of stacks, and of resources.
func testSDKPages(t *testing.T, s *stacks) {
	ctx := t.Context()
	const many = 101
	resources := object{}
	for i := range many {
		resources[fmt.Sprintf("R%03d", i)] = object{"Type": "AWS::IAM::InstanceProfile", "Properties": object{"Roles": []string{"parts-new"}}}
	}
	s.create(&cloudformation.CreateStackInput{StackName: aws.String("large"), TemplateBody: template(t, resources, nil), Capabilities: unnamed()})
	var ids []string
	for p := cloudformation.NewListStackResourcesPaginator(s, &cloudformation.ListStackResourcesInput{StackName: aws.String("large")}); p.HasMorePages(); {
		for _, r := range must(p.NextPage(ctx))(t).StackResourceSummaries {
			ids = append(ids, *r.LogicalResourceId)
		}
	}
	if len(ids) != many || !slices.IsSorted(ids) || len(slices.Compact(ids)) != many {
		t.Errorf("%d resources", len(ids))
	}
	if got := s.events("large"); len(got) < 2+2*many {
		t.Errorf("%d events", len(got))
	}
	for i := range many {
		s.create(&cloudformation.CreateStackInput{
			StackName: aws.String(fmt.Sprintf("page-%03d", i)), Capabilities: unnamed(),
			TemplateBody: template(t, object{"P": object{"Type": "AWS::IAM::InstanceProfile", "Properties": object{"Roles": []string{"parts-new"}}}}, nil),
		})
	}
	listed, described := map[string]bool{}, map[string]bool{}
	for p := cloudformation.NewListStacksPaginator(s, &cloudformation.ListStacksInput{StackStatusFilter: []types.StackStatus{types.StackStatusCreateComplete}}); p.HasMorePages(); {
		for _, v := range must(p.NextPage(ctx))(t).StackSummaries {
			listed[*v.StackName] = true
		}
	}
	for p := cloudformation.NewDescribeStacksPaginator(s, &cloudformation.DescribeStacksInput{}); p.HasMorePages(); {
		for _, v := range must(p.NextPage(ctx))(t).Stacks {
			described[*v.StackName] = true
		}
	}
	for i := range many {
		if name := fmt.Sprintf("page-%03d", i); !listed[name] || !described[name] {
			t.Errorf("%s: listed %v, described %v", name, listed[name], described[name])
		}
	}
	wantAPIError(t, refusal(s.ListStacks(ctx, &cloudformation.ListStacksInput{NextToken: aws.String("x")})), "ValidationError", "")
}
