// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package stackrun

import (
	"context"

	"podid/internal/fault"
	"podid/internal/iam"
)

func unwritten() error { return fault.New(fault.UnknownOperation, "This operation is not available.") }

// CreateStack makes a stack and everything in it, and returns its ARN. When it
// returns without an error the stack exists; whether its resources do is said by
// its status. Action: cloudformation:CreateStack, iam:PassRole for a RoleARN, and those of each resource.
func (m *Manager) CreateStack(_ context.Context, _ iam.Caller, _ CreateInput) (stackID string, err error) {
	return "", unwritten()
}

// UpdateStack makes a stack what the source says, and returns its ARN. Action: cloudformation:UpdateStack.
func (m *Manager) UpdateStack(_ context.Context, _ iam.Caller, _ UpdateInput) (stackID string, err error) {
	return "", unwritten()
}

// DeleteStack removes a stack and what it made. A name that no stack has is no error. Action: cloudformation:DeleteStack.
func (m *Manager) DeleteStack(_ context.Context, _ iam.Caller, _ DeleteInput) error {
	return unwritten()
}

// ContinueUpdateRollback takes an update back whose rollback has failed. Action: cloudformation:ContinueUpdateRollback.
func (m *Manager) ContinueUpdateRollback(_ context.Context, _ iam.Caller, _ ContinueInput) error {
	return unwritten()
}

// DescribeStacks returns the stack of the name or ARN, deleted ones by ARN only; or with "" a page of all that are not deleted.
// after is what the page before returned as next. Action: cloudformation:DescribeStacks.
func (m *Manager) DescribeStacks(_ context.Context, _ iam.Caller, _, _ string) (page []StackInfo, next string, err error) {
	return nil, "", unwritten()
}

// ListStacks returns a page of all stacks, deleted ones included, the newest first, whose status is among those given, or all.
// Only what a StackSummary has is set. Action: cloudformation:ListStacks.
func (m *Manager) ListStacks(_ context.Context, _ iam.Caller, _ []Status, _ string) (page []StackInfo, next string, err error) {
	return nil, "", unwritten()
}

// DescribeStackEvents returns a page of a stack's events, the newest first. Action: cloudformation:DescribeStackEvents.
func (m *Manager) DescribeStackEvents(_ context.Context, _ iam.Caller, _, _ string) (page []Event, next string, err error) {
	return nil, "", unwritten()
}

// DescribeStackResources returns the resources of a stack, or with a logical id that one; or, without a stack, those of the
// stack that the physical id belongs to. Action: cloudformation:DescribeStackResources.
func (m *Manager) DescribeStackResources(_ context.Context, _ iam.Caller, _, _, _ string) ([]ResourceInfo, error) {
	return nil, unwritten()
}

// DescribeStackResource returns one resource of a stack. Action: cloudformation:DescribeStackResource.
func (m *Manager) DescribeStackResource(_ context.Context, _ iam.Caller, _, _ string) (*ResourceInfo, error) {
	return nil, unwritten()
}

// ListStackResources returns a page of a stack's resources by logical id. Action: cloudformation:ListStackResources.
func (m *Manager) ListStackResources(_ context.Context, _ iam.Caller, _, _ string) (page []ResourceInfo, next string, err error) {
	return nil, "", unwritten()
}

// GetTemplate returns the text of a stack's template, or with the name or ARN of a change set that one's.
// Action: cloudformation:GetTemplate.
func (m *Manager) GetTemplate(_ context.Context, _ iam.Caller, _, _ string) (string, error) {
	return "", unwritten()
}

// GetTemplateSummary says what a template says, given as text, or as that of a stack. Action: cloudformation:GetTemplateSummary.
func (m *Manager) GetTemplateSummary(_ context.Context, _ iam.Caller, _, _ string) (*Summary, error) {
	return nil, unwritten()
}

// ValidateTemplate checks a template's text. Action: cloudformation:ValidateTemplate.
func (m *Manager) ValidateTemplate(_ context.Context, _ iam.Caller, _ string) (*Summary, error) {
	return nil, unwritten()
}

// UpdateTerminationProtection turns a stack's protection on or off, and returns the stack's ARN.
// Action: cloudformation:UpdateTerminationProtection.
func (m *Manager) UpdateTerminationProtection(_ context.Context, _ iam.Caller, _ string, _ bool) (stackID string, err error) {
	return "", unwritten()
}

// CreateChangeSet compares a source with a stack and keeps it for execution. Nothing is changed; a stack that is yet to be
// made is in REVIEW_IN_PROGRESS. What does not differ gives a change set with status FAILED and no error.
// Action: cloudformation:CreateChangeSet, and iam:PassRole for a RoleARN.
func (m *Manager) CreateChangeSet(_ context.Context, _ iam.Caller, _ ChangeSetInput) (changeSetID, stackID string, err error) {
	return "", "", unwritten()
}

// DescribeChangeSet returns a change set by name and stack, or by ARN. Action: cloudformation:DescribeChangeSet.
func (m *Manager) DescribeChangeSet(_ context.Context, _ iam.Caller, _, _ string) (*ChangeSetInfo, error) {
	return nil, unwritten()
}

// ExecuteChangeSet makes the stack what the change set says; the stack's other change sets go.
// Action: cloudformation:ExecuteChangeSet, and those of each resource.
func (m *Manager) ExecuteChangeSet(_ context.Context, _ iam.Caller, _ ExecuteInput) error {
	return unwritten()
}

// DeleteChangeSet removes a change set; one that is not there by name is no error. Action: cloudformation:DeleteChangeSet.
func (m *Manager) DeleteChangeSet(_ context.Context, _ iam.Caller, _, _ string) error {
	return unwritten()
}

// ListChangeSets returns a page of a stack's change sets by name. Action: cloudformation:ListChangeSets.
func (m *Manager) ListChangeSets(_ context.Context, _ iam.Caller, _, _ string) (page []ChangeSetInfo, next string, err error) {
	return nil, "", unwritten()
}
