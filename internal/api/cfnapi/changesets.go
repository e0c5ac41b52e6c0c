// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package cfnapi

import (
	"context"
	"strings"

	"podid/internal/api/awsquery"
	"podid/internal/api/call"
	"podid/internal/fault"
	"podid/internal/stack"
	"podid/internal/stackrun"
)

func (a api) changeSets() []awsquery.Operation {
	return []awsquery.Operation{
		write("CreateChangeSet", a.createChangeSet, "StackName", "ChangeSetName"),
		read("DescribeChangeSet", onStack, a.describeChangeSet, "ChangeSetName"),
		write("ExecuteChangeSet", a.executeChangeSet, "ChangeSetName"),
		write("DeleteChangeSet", a.deleteChangeSet, "ChangeSetName"),
		read("ListChangeSets", onStack, a.listChangeSets, "StackName"),
	}
}

func (a api) createChangeSet(ctx context.Context, c *call.Call, f *awsquery.Form) (any, error) {
	src, err := source(f)
	if err != nil {
		return nil, err
	}
	kind, err := oneOf(f, "ChangeSetType", stackrun.ChangeSetCreate, "IMPORT", stackrun.ChangeSetUpdate)
	if err != nil {
		return nil, err
	}
	if kind == "IMPORT" {
		return nil, fault.New(fault.InvalidParameter, "Change sets of type IMPORT are not supported: a stack never adopts what it did not make.").WithReason("not-supported")
	}
	onFailure, err := whenFails(f, "OnStackFailure")
	if err != nil {
		return nil, err
	}
	in := stackrun.ChangeSetInput{
		Source: src, Stack: f.String("StackName"), Name: f.String("ChangeSetName"), Type: kind, Description: f.String("Description"),
		Token: f.String("ClientToken"), OnStackFailure: onFailure,
	}
	id, stackID, err := a.stacks.CreateChangeSet(ctx, c.Caller, in)
	if err != nil {
		return nil, err
	}
	c.Event.ResponseElements = map[string]any{"id": id, "stackId": stackID}
	return struct {
		ID      string `xml:"Id"`
		StackID string `xml:"StackId"`
	}{id, stackID}, nil
}

type wireDetail struct {
	Target struct {
		Attribute          string
		Name               string `xml:",omitempty"`
		RequiresRecreation string
	}
	Evaluation    string
	ChangeSource  string
	CausingEntity string `xml:",omitempty"`
}

// toDetail says where a new value comes from: another resource that is being
// replaced, by reference or by attribute, or the template and its parameters.
func toDetail(d stack.Detail) wireDetail {
	w := wireDetail{Evaluation: d.Evaluation, CausingEntity: d.CausingEntity, ChangeSource: "DirectModification"}
	w.Target.Attribute, w.Target.Name, w.Target.RequiresRecreation = "Properties", d.Property, d.RequiresRecreation
	if d.CausingEntity != "" {
		w.ChangeSource = "ResourceReference"
		if strings.Contains(d.CausingEntity, ".") {
			w.ChangeSource = "ResourceAttribute"
		}
	}
	return w
}

type wireChange struct {
	Type           string
	ResourceChange struct {
		Action             string
		LogicalResourceID  string `xml:"LogicalResourceId"`
		PhysicalResourceID string `xml:"PhysicalResourceId,omitempty"`
		ResourceType       string
		Replacement        string `xml:",omitempty"`
		Scope              awsquery.List[string]
		Details            awsquery.List[wireDetail]
	}
}

func toChange(c stackrun.Change) wireChange {
	w := wireChange{Type: "Resource"}
	r := &w.ResourceChange
	r.Action, r.LogicalResourceID, r.PhysicalResourceID, r.ResourceType, r.Replacement = c.Action, c.LogicalID, c.PhysicalID, c.Type, c.Replacement
	r.Scope, r.Details = listOf(c.Scope, same), listOf(c.Details, toDetail)
	return w
}

// changeSetHead is what both descriptions begin with.
type changeSetHead struct {
	StackID             string `xml:"StackId"`
	StackName           string
	ChangeSetID         string `xml:"ChangeSetId"`
	ChangeSetName       string
	Description         string `xml:",omitempty"`
	ExecutionStatus     string
	Status              string
	StatusReason        string `xml:",omitempty"`
	CreationTime        timestamp
	IncludeNestedStacks bool
}

func headOf(s stackrun.ChangeSetInfo) changeSetHead {
	return changeSetHead{
		StackID: s.StackID, StackName: s.StackName, ChangeSetID: s.ID, ChangeSetName: s.Name, Description: s.Description,
		ExecutionStatus: s.Execution, Status: s.Status, StatusReason: s.Reason, CreationTime: timestamp(s.Created),
	}
}

func (a api) describeChangeSet(ctx context.Context, c *call.Call, f *awsquery.Form) (any, error) {
	s, err := a.stacks.DescribeChangeSet(ctx, c.Caller, f.String("ChangeSetName"), f.String("StackName"))
	if err != nil {
		return nil, err
	}
	return struct {
		changeSetHead
		Parameters            *awsquery.List[wireParameter]
		Capabilities          *awsquery.List[string]
		Tags                  *awsquery.List[wireTag]
		NotificationARNs      awsquery.List[string]
		RollbackConfiguration struct{}
		OnStackFailure        string `xml:",omitempty"`
		Changes               awsquery.List[wireChange]
	}{
		changeSetHead: headOf(*s), Parameters: optional(s.Parameters, toParameter), Capabilities: optional(s.Capabilities, same), Tags: optional(s.Tags, toTag),
		NotificationARNs: listOf(s.NotificationARNs, same), OnStackFailure: s.OnStackFailure, Changes: listOf(s.Changes, toChange),
	}, nil
}

func (a api) executeChangeSet(ctx context.Context, c *call.Call, f *awsquery.Form) (any, error) {
	in := stackrun.ExecuteInput{
		ChangeSet: f.String("ChangeSetName"), Stack: f.String("StackName"), DisableRollback: isTrue(f, "DisableRollback"), Token: f.String("ClientRequestToken"),
	}
	if err := unsupported(f); err != nil {
		return nil, err
	}
	return struct{}{}, a.stacks.ExecuteChangeSet(ctx, c.Caller, in)
}

func (a api) deleteChangeSet(ctx context.Context, c *call.Call, f *awsquery.Form) (any, error) {
	return struct{}{}, a.stacks.DeleteChangeSet(ctx, c.Caller, f.String("ChangeSetName"), f.String("StackName"))
}

func (a api) listChangeSets(ctx context.Context, c *call.Call, f *awsquery.Form) (any, error) {
	page, next, err := a.stacks.ListChangeSets(ctx, c.Caller, f.String("StackName"), f.String("NextToken"))
	if err != nil {
		return nil, err
	}
	return struct {
		Summaries awsquery.List[changeSetHead]
		NextToken string `xml:",omitempty"`
	}{listOf(page, headOf), next}, nil
}
