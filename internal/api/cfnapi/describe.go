// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package cfnapi

import (
	"context"

	"podid/internal/api/awsquery"
	"podid/internal/api/call"
	"podid/internal/stackrun"
)

// descriptions are the operations that show stacks and what happened to them.
func (a api) descriptions() []awsquery.Operation {
	return []awsquery.Operation{
		read("DescribeStacks", onStack+" or "+onAll, a.describeStacks),
		read("ListStacks", onAll, a.listStacks),
		read("DescribeStackEvents", onStack, a.describeStackEvents, "StackName"),
	}
}

type wireStack struct {
	StackID                     string `xml:"StackId"`
	StackName                   string
	ChangeSetID                 string `xml:"ChangeSetId,omitempty"`
	Description                 string `xml:",omitempty"`
	Parameters                  *awsquery.List[wireParameter]
	CreationTime                timestamp
	DeletionTime                *timestamp
	LastUpdatedTime             *timestamp
	RollbackConfiguration       struct{}
	StackStatus                 stackrun.Status
	StackStatusReason           string `xml:",omitempty"`
	DisableRollback             bool
	NotificationARNs            awsquery.List[string]
	Capabilities                *awsquery.List[string]
	Outputs                     *awsquery.List[wireOutput]
	RoleARN                     string `xml:",omitempty"`
	Tags                        awsquery.List[wireTag]
	EnableTerminationProtection bool
	DriftInformation            drift
}

func toStack(s stackrun.StackInfo) wireStack {
	return wireStack{
		StackID: s.ID, StackName: s.Name, ChangeSetID: s.ChangeSetID, Description: s.Description, Parameters: optional(s.Parameters, toParameter),
		CreationTime: timestamp(s.Created), DeletionTime: optionalTime(s.Deleted), LastUpdatedTime: optionalTime(s.Updated),
		StackStatus: s.Status, StackStatusReason: s.Reason, DisableRollback: s.DisableRollback, NotificationARNs: listOf(s.NotificationARNs, same),
		Capabilities: optional(s.Capabilities, same), Outputs: optional(s.Outputs, toOutput), RoleARN: s.RoleARN, Tags: listOf(s.Tags, toTag),
		EnableTerminationProtection: s.TerminationProtection, DriftInformation: drift{notChecked},
	}
}

func (a api) describeStacks(ctx context.Context, c *call.Call, f *awsquery.Form) (any, error) {
	page, next, err := a.stacks.DescribeStacks(ctx, c.Caller, f.String("StackName"), f.String("NextToken"))
	if err != nil {
		return nil, err
	}
	return struct {
		Stacks    awsquery.List[wireStack]
		NextToken string `xml:",omitempty"`
	}{listOf(page, toStack), next}, nil
}

type stackSummary struct {
	StackID             string `xml:"StackId"`
	StackName           string
	TemplateDescription string `xml:",omitempty"`
	CreationTime        timestamp
	LastUpdatedTime     *timestamp
	DeletionTime        *timestamp
	StackStatus         stackrun.Status
	StackStatusReason   string `xml:",omitempty"`
	DriftInformation    drift
}

func toStackSummary(s stackrun.StackInfo) stackSummary {
	return stackSummary{
		StackID: s.ID, StackName: s.Name, TemplateDescription: s.Description, CreationTime: timestamp(s.Created), LastUpdatedTime: optionalTime(s.Updated),
		DeletionTime: optionalTime(s.Deleted), StackStatus: s.Status, StackStatusReason: s.Reason, DriftInformation: drift{notChecked},
	}
}

func (a api) listStacks(ctx context.Context, c *call.Call, f *awsquery.Form) (any, error) {
	names := f.Strings("StackStatusFilter")
	if err := f.Err(); err != nil {
		return nil, err
	}
	filter := make([]stackrun.Status, len(names))
	for i, name := range names {
		filter[i] = stackrun.Status(name)
	}
	page, next, err := a.stacks.ListStacks(ctx, c.Caller, filter, f.String("NextToken"))
	if err != nil {
		return nil, err
	}
	return struct {
		StackSummaries awsquery.List[stackSummary]
		NextToken      string `xml:",omitempty"`
	}{listOf(page, toStackSummary), next}, nil
}

type wireEvent struct {
	StackID              string `xml:"StackId"`
	EventID              string `xml:"EventId"`
	StackName            string
	LogicalResourceID    string `xml:"LogicalResourceId,omitempty"`
	PhysicalResourceID   string `xml:"PhysicalResourceId"`
	ResourceType         string `xml:",omitempty"`
	Timestamp            timestamp
	ResourceStatus       stackrun.Status
	ResourceStatusReason string `xml:",omitempty"`
	ClientRequestToken   string `xml:",omitempty"`
}

func toEvent(e stackrun.Event) wireEvent {
	return wireEvent{
		StackID: e.StackID, EventID: e.ID, StackName: e.StackName, LogicalResourceID: e.LogicalID, PhysicalResourceID: e.PhysicalID, ResourceType: e.Type,
		Timestamp: timestamp(e.Time), ResourceStatus: e.Status, ResourceStatusReason: e.Reason, ClientRequestToken: e.Token,
	}
}

func (a api) describeStackEvents(ctx context.Context, c *call.Call, f *awsquery.Form) (any, error) {
	page, next, err := a.stacks.DescribeStackEvents(ctx, c.Caller, f.String("StackName"), f.String("NextToken"))
	if err != nil {
		return nil, err
	}
	return struct {
		StackEvents awsquery.List[wireEvent]
		NextToken   string `xml:",omitempty"`
	}{listOf(page, toEvent), next}, nil
}
