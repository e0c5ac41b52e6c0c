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

// changes are the operations that make, change and remove stacks.
func (a api) changes() []awsquery.Operation {
	return []awsquery.Operation{
		write("CreateStack", a.createStack, "StackName"),
		write("UpdateStack", a.updateStack, "StackName"),
		write("DeleteStack", a.deleteStack, "StackName"),
		write("ContinueUpdateRollback", a.continueUpdateRollback, "StackName"),
		write("UpdateTerminationProtection", a.updateTerminationProtection, "StackName", "EnableTerminationProtection"),
	}
}

// whenFails reads OnFailure or OnStackFailure.
func whenFails(f *awsquery.Form, name string) (string, error) {
	return oneOf(f, name, "DELETE", "DO_NOTHING", "ROLLBACK")
}

func (a api) createStack(ctx context.Context, c *call.Call, f *awsquery.Form) (any, error) {
	src, err := source(f)
	if err != nil {
		return nil, err
	}
	onFailure, err := whenFails(f, "OnFailure")
	if err != nil {
		return nil, err
	}
	in := stackrun.CreateInput{
		Source: src, Name: f.String("StackName"), OnFailure: onFailure, DisableRollback: isTrue(f, "DisableRollback"),
		TerminationProtection: isTrue(f, "EnableTerminationProtection"), Token: f.String("ClientRequestToken"),
	}
	if err := f.Err(); err != nil {
		return nil, err
	}
	if in.DisableRollback && onFailure != "" {
		return nil, fault.New(fault.InvalidParameter, "You may not specify both OnFailure and DisableRollback.").WithReason("invalid-combination")
	}
	return a.changed(c)(a.stacks.CreateStack(ctx, c.Caller, in))
}

func (a api) updateStack(ctx context.Context, c *call.Call, f *awsquery.Form) (any, error) {
	src, err := source(f)
	if err != nil {
		return nil, err
	}
	in := stackrun.UpdateInput{Source: src, Name: f.String("StackName"), DisableRollback: isTrue(f, "DisableRollback"), Token: f.String("ClientRequestToken")}
	if err := f.Err(); err != nil {
		return nil, err
	}
	return a.changed(c)(a.stacks.UpdateStack(ctx, c.Caller, in))
}

func (a api) deleteStack(ctx context.Context, c *call.Call, f *awsquery.Form) (any, error) {
	mode, err := oneOf(f, "DeletionMode", "STANDARD", "FORCE_DELETE_STACK")
	if err != nil {
		return nil, err
	}
	in := stackrun.DeleteInput{
		Name: f.String("StackName"), RoleARN: f.String("RoleARN"), Retain: f.Strings("RetainResources"), Force: mode == "FORCE_DELETE_STACK", Token: f.String("ClientRequestToken"),
	}
	if err := f.Err(); err != nil {
		return nil, err
	}
	return nil, a.stacks.DeleteStack(ctx, c.Caller, in)
}

func (a api) continueUpdateRollback(ctx context.Context, c *call.Call, f *awsquery.Form) (any, error) {
	in := stackrun.ContinueInput{Name: f.String("StackName"), RoleARN: f.String("RoleARN"), Skip: f.Strings("ResourcesToSkip"), Token: f.String("ClientRequestToken")}
	if err := f.Err(); err != nil {
		return nil, err
	}
	return struct{}{}, a.stacks.ContinueUpdateRollback(ctx, c.Caller, in)
}

func (a api) updateTerminationProtection(ctx context.Context, c *call.Call, f *awsquery.Form) (any, error) {
	on := isTrue(f, "EnableTerminationProtection")
	if err := f.Err(); err != nil {
		return nil, err
	}
	return a.changed(c)(a.stacks.UpdateTerminationProtection(ctx, c.Caller, f.String("StackName"), on))
}

// changed is the answer that names the stack, in audit too.
func (api) changed(c *call.Call) func(id string, err error) (any, error) {
	return func(id string, err error) (any, error) {
		if err != nil {
			return nil, err
		}
		c.Event.ResponseElements = map[string]any{"stackId": id}
		return stackID{id}, nil
	}
}
