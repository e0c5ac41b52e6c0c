// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package cfnapi

import (
	"context"

	"podid/internal/api/awsquery"
	"podid/internal/api/call"
	"podid/internal/fault"
	"podid/internal/stackrun"
)

// resources are the operations that show what a stack is made of.
func (a api) resources() []awsquery.Operation {
	return []awsquery.Operation{
		read("DescribeStackResource", onStack, a.describeStackResource, "StackName", "LogicalResourceId"),
		read("DescribeStackResources", onStack, a.describeStackResources),
		read("ListStackResources", onStack, a.listStackResources, "StackName"),
	}
}

type wireResource struct {
	StackName            string
	StackID              string `xml:"StackId"`
	LogicalResourceID    string `xml:"LogicalResourceId"`
	PhysicalResourceID   string `xml:"PhysicalResourceId,omitempty"`
	ResourceType         string
	Timestamp            timestamp
	ResourceStatus       stackrun.Status
	ResourceStatusReason string `xml:",omitempty"`
	DriftInformation     resourceDrift
}

func toResource(r stackrun.ResourceInfo) wireResource {
	return wireResource{
		StackName: r.StackName, StackID: r.StackID, LogicalResourceID: r.LogicalID, PhysicalResourceID: r.PhysicalID, ResourceType: r.Type,
		Timestamp: timestamp(r.Updated), ResourceStatus: r.Status, ResourceStatusReason: r.Reason, DriftInformation: resourceDrift{notChecked},
	}
}

func (a api) describeStackResources(ctx context.Context, c *call.Call, f *awsquery.Form) (any, error) {
	stack, physical := f.String("StackName"), f.String("PhysicalResourceId")
	switch {
	case stack == "" && physical == "":
		return nil, fault.New(fault.InvalidParameter, "At least one of StackName or PhysicalResourceId must be specified.").WithReason("missing-parameter")
	case stack != "" && physical != "":
		return nil, fault.New(fault.InvalidParameter, "You may not specify both StackName and PhysicalResourceId.").WithReason("invalid-combination")
	}
	list, err := a.stacks.DescribeStackResources(ctx, c.Caller, stack, f.String("LogicalResourceId"), physical)
	if err != nil {
		return nil, err
	}
	return struct {
		StackResources awsquery.List[wireResource]
	}{listOf(list, toResource)}, nil
}

// summary is what the other two operations show of a resource; a detail has
// the stack beside it.
type resourceSummary struct {
	LogicalResourceID    string `xml:"LogicalResourceId"`
	PhysicalResourceID   string `xml:"PhysicalResourceId,omitempty"`
	ResourceType         string
	LastUpdatedTimestamp timestamp
	ResourceStatus       stackrun.Status
	ResourceStatusReason string `xml:",omitempty"`
	DriftInformation     resourceDrift
}

func toResourceSummary(r stackrun.ResourceInfo) resourceSummary {
	return resourceSummary{
		LogicalResourceID: r.LogicalID, PhysicalResourceID: r.PhysicalID, ResourceType: r.Type, LastUpdatedTimestamp: timestamp(r.Updated),
		ResourceStatus: r.Status, ResourceStatusReason: r.Reason, DriftInformation: resourceDrift{notChecked},
	}
}

func (a api) describeStackResource(ctx context.Context, c *call.Call, f *awsquery.Form) (any, error) {
	r, err := a.stacks.DescribeStackResource(ctx, c.Caller, f.String("StackName"), f.String("LogicalResourceId"))
	if err != nil {
		return nil, err
	}
	type detail struct {
		StackName string
		StackID   string `xml:"StackId"`
		resourceSummary
	}
	return struct{ StackResourceDetail detail }{detail{r.StackName, r.StackID, toResourceSummary(*r)}}, nil
}

func (a api) listStackResources(ctx context.Context, c *call.Call, f *awsquery.Form) (any, error) {
	page, next, err := a.stacks.ListStackResources(ctx, c.Caller, f.String("StackName"), f.String("NextToken"))
	if err != nil {
		return nil, err
	}
	return struct {
		StackResourceSummaries awsquery.List[resourceSummary]
		NextToken              string `xml:",omitempty"`
	}{listOf(page, toResourceSummary), next}, nil
}
