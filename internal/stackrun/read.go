// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package stackrun

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"

	"podid/internal/cluster"
	"podid/internal/iam"
	"podid/internal/stack"
	"podid/internal/store"
)

func (m *Manager) info(r *Record) StackInfo {
	v := r.good()
	status, reason := r.shown(m.now())
	return StackInfo{
		ID: r.ID, Name: r.Name, Description: v.Description, Status: status, Reason: reason, Created: r.Created, Updated: r.Updated, Deleted: r.Deleted,
		Parameters: v.Shown, Outputs: v.Outputs, Tags: v.Tags, Capabilities: v.Capabilities, NotificationARNs: v.Notify, RoleARN: v.RoleARN,
		ChangeSetID: r.ChangeSetID, DisableRollback: r.DisableRollback, TerminationProtection: r.TerminationProtection,
	}
}

// newestFirst is a key that falls as stacks get newer.
func newestFirst(s StackInfo) string {
	return fmt.Sprintf("%020d/%s", math.MaxInt64-s.Created.UnixNano(), s.ID)
}

// existing is authorize for stacks that have to be there, deleted ones by ARN.
func (m *Manager) existing(ctx context.Context, caller iam.Caller, action, id string, keys ...iam.ConditionKey) (*store.View, *Record, error) {
	v, rec, err := m.authorize(ctx, caller, action, id, keys...)
	if err != nil {
		return nil, nil, err
	}
	if rec == nil && (action == "DescribeStackEvents" || strings.Contains(action, "ChangeSet")) {
		return nil, nil, noStackToChange(id)
	}
	if rec == nil {
		return nil, nil, noStack(id)
	}
	return v, rec, nil
}

// onAll asks for action on no stack in particular.
func (m *Manager) onAll(ctx context.Context, caller iam.Caller, action string) (*store.View, error) {
	v, err := m.Store.Fence(ctx)
	if err != nil {
		return nil, cluster.StoreFault("authorize "+action, err)
	}
	return v, m.Authz.Authorize(ctx, caller, iam.Query{Action: "cloudformation:" + action, Resource: "*"})
}

// DescribeStacks returns the stack of the name or ARN, deleted ones by ARN
// only; or with "" a page of all that are not deleted, the newest first. after
// is what the page before returned as next. Action:
// cloudformation:DescribeStacks.
func (m *Manager) DescribeStacks(ctx context.Context, caller iam.Caller, name, after string) (part []StackInfo, next string, err error) {
	if name != "" {
		_, rec, err := m.existing(ctx, caller, "DescribeStacks", name)
		if err != nil {
			return nil, "", err
		}
		return []StackInfo{m.info(rec)}, "", nil
	}
	v, err := m.onAll(ctx, caller, "DescribeStacks")
	if err != nil {
		return nil, "", err
	}
	var all []StackInfo
	for _, rec := range Stacks.List(v, m.scope(), "", "") {
		all = append(all, m.info(rec))
	}
	slices.SortFunc(all, func(a, b StackInfo) int { return strings.Compare(newestFirst(a), newestFirst(b)) })
	return page("stacks", after, all, newestFirst)
}

// ListStacks returns a page of all stacks, deleted ones included, the newest
// first, whose status is among those given, or all. Action:
// cloudformation:ListStacks.
func (m *Manager) ListStacks(ctx context.Context, caller iam.Caller, filter []Status, after string) (part []StackInfo, next string, err error) {
	for _, s := range filter {
		if !slices.Contains(stackStatuses(), s) {
			return nil, "", constraint("stackStatusFilter", string(s), "satisfy enum value set: %v", stackStatuses())
		}
	}
	v, err := m.onAll(ctx, caller, "ListStacks")
	if err != nil {
		return nil, "", err
	}
	var all []StackInfo
	for _, table := range []*store.Table[Record]{Stacks, Deleted} {
		for _, rec := range table.List(v, m.scope(), "", "") {
			if s := m.info(rec); len(filter) == 0 || slices.Contains(filter, s.Status) {
				all = append(all, s)
			}
		}
	}
	slices.SortFunc(all, func(a, b StackInfo) int { return strings.Compare(newestFirst(a), newestFirst(b)) })
	return page("stacks", after, all, newestFirst)
}

// stackStatuses are those that CloudFormation's model has.
func stackStatuses() []Status {
	return []Status{
		CreateInProgress, CreateFailed, CreateComplete, RollbackInProgress, RollbackFailed, RollbackComplete, DeleteInProgress, DeleteFailed, DeleteComplete,
		UpdateInProgress, UpdateCleanup, UpdateComplete, UpdateFailed, UpdateRollbackInProgress, UpdateRollbackFailed, UpdateRollbackCleanup,
		UpdateRollbackComplete, ReviewInProgress, "IMPORT_IN_PROGRESS", "IMPORT_COMPLETE", "IMPORT_ROLLBACK_IN_PROGRESS", "IMPORT_ROLLBACK_FAILED", "IMPORT_ROLLBACK_COMPLETE",
	}
}

// DescribeStackEvents returns a page of a stack's events, the newest first.
// Action: cloudformation:DescribeStackEvents.
func (m *Manager) DescribeStackEvents(ctx context.Context, caller iam.Caller, name, after string) (part []Event, next string, err error) {
	v, rec, err := m.existing(ctx, caller, "DescribeStackEvents", name)
	if err != nil {
		return nil, "", err
	}
	var all []Event
	for _, chunk := range Events.List(v, m.scope(), rec.UID+"/", "") {
		all = append(all, chunk.Events...)
	}
	slices.Reverse(all)
	for i := range all {
		all[i].StackID, all[i].StackName = rec.ID, rec.Name
	}
	return page("events/"+rec.UID, after, all, func(e Event) string { return lastFirst(e.ID) })
}

// lastFirst is a key that falls as the number at the end of an event's id rises.
func lastFirst(id string) string {
	var n int
	if _, err := fmt.Sscanf(id[strings.LastIndexByte(id, '-')+1:], "%d", &n); err != nil {
		return id
	}
	return fmt.Sprintf("%012d", 999_999_999_999-n)
}

// resourcesOf are a stack's resources by logical id.
func (m *Manager) resourcesOf(r store.Reader, rec *Record) []ResourceInfo {
	var out []ResourceInfo
	for _, g := range rec.Gone {
		out = append(out, ResourceInfo{
			StackID: rec.ID, StackName: rec.Name, LogicalID: g.LogicalID, PhysicalID: g.PhysicalID, Type: g.Type, Status: g.Status, Updated: g.Updated,
		})
	}
	for _, res := range Resources.List(r, m.scope(), rec.UID+"/", "") {
		out = append(out, ResourceInfo{
			StackID: rec.ID, StackName: rec.Name, LogicalID: res.LogicalID, PhysicalID: res.physicalID(), Type: res.Type, Status: res.Status, Reason: res.Reason,
			Updated: res.Updated,
		})
	}
	slices.SortFunc(out, func(a, b ResourceInfo) int { return strings.Compare(a.LogicalID, b.LogicalID) })
	return out
}

// DescribeStackResources returns the first 100 resources of a stack, or with a
// logical id that one; or, without a stack, those of the stack that the
// physical id belongs to. Action: cloudformation:DescribeStackResources.
func (m *Manager) DescribeStackResources(ctx context.Context, caller iam.Caller, name, logicalID, physicalID string) ([]ResourceInfo, error) {
	switch {
	case name != "" && physicalID != "":
		return nil, invalid("stack-twice", "Either StackName or PhysicalResourceId can be specified, not both.")
	case name == "" && physicalID == "":
		return nil, invalid("stack-missing", "Either StackName or PhysicalResourceId must be specified.")
	case name == "":
		v, err := m.Store.Fence(ctx)
		if err != nil {
			return nil, cluster.StoreFault("authorize DescribeStackResources", err)
		}
		if name = m.ownerOf(v, physicalID); name == "" {
			return nil, m.ownerless(ctx, caller, physicalID)
		}
	}
	v, rec, err := m.existing(ctx, caller, "DescribeStackResources", name)
	if err != nil {
		return nil, err
	}
	all := m.resourcesOf(v, rec)
	if logicalID != "" {
		all = slices.DeleteFunc(all, func(r ResourceInfo) bool { return r.LogicalID != logicalID })
	}
	return all[:min(len(all), pageSize)], nil
}

// ownerless answers for a physical id that is no stack's.
func (m *Manager) ownerless(ctx context.Context, caller iam.Caller, physicalID string) error {
	if err := m.Authz.Authorize(ctx, caller, iam.Query{Action: "cloudformation:DescribeStackResources", Resource: "*"}); err != nil {
		return err
	}
	return invalid(ReasonStackNotFound, "Stack for %.256s does not exist", physicalID)
}

// ownerOf is the ARN of the stack that has a resource with the physical id.
func (m *Manager) ownerOf(r store.Reader, physicalID string) string {
	for key, res := range Resources.ByIndex(r, m.scope(), physicalID) {
		if res.Live == nil {
			continue
		}
		uid, _, _ := strings.Cut(key, "/")
		for _, rec := range Stacks.List(r, m.scope(), "", "") {
			if rec.UID == uid {
				return rec.ID
			}
		}
	}
	return ""
}

// DescribeStackResource returns one resource of a stack. Action:
// cloudformation:DescribeStackResource.
func (m *Manager) DescribeStackResource(ctx context.Context, caller iam.Caller, name, logicalID string) (*ResourceInfo, error) {
	v, rec, err := m.existing(ctx, caller, "DescribeStackResource", name)
	if err != nil {
		return nil, err
	}
	for _, res := range m.resourcesOf(v, rec) {
		if res.LogicalID == logicalID {
			return &res, nil
		}
	}
	return nil, invalid(ReasonResourceNotFound, "Resource %.256s does not exist for stack %s", logicalID, rec.Name)
}

// ListStackResources returns a page of a stack's resources by logical id.
// Action: cloudformation:ListStackResources.
func (m *Manager) ListStackResources(ctx context.Context, caller iam.Caller, name, after string) (part []ResourceInfo, next string, err error) {
	v, rec, err := m.existing(ctx, caller, "ListStackResources", name)
	if err != nil {
		return nil, "", err
	}
	return page("resources/"+rec.UID, after, m.resourcesOf(v, rec), func(r ResourceInfo) string { return r.LogicalID })
}

// GetTemplate returns the text of a stack's template as it was given, or with
// the name or ARN of a change set that one's. Action:
// cloudformation:GetTemplate.
func (m *Manager) GetTemplate(ctx context.Context, caller iam.Caller, name, changeSet string) (string, error) {
	if changeSet != "" {
		c, _, err := m.changeSet(ctx, caller, "GetTemplate", changeSet, name)
		if err != nil {
			return "", err
		}
		return c.Text, nil
	}
	v, rec, err := m.existing(ctx, caller, "GetTemplate", name)
	if err != nil {
		return "", err
	}
	if rec.good().Template == "" {
		return "", noStack(name) // it is yet to be made
	}
	return m.text(v, rec.UID, rec.good().Template)
}

// GetTemplateSummary says what a template says, given as text or, with a name
// or ARN, as that of a stack. Action: cloudformation:GetTemplateSummary.
func (m *Manager) GetTemplateSummary(ctx context.Context, caller iam.Caller, name, text string) (*Summary, error) {
	switch {
	case name != "" && text != "":
		return nil, invalid("template-twice", "Only one of TemplateBody or StackName can be specified.")
	case name == "":
		if _, err := m.onAll(ctx, caller, "GetTemplateSummary"); err != nil {
			return nil, err
		}
		if text == "" {
			return nil, invalid("template-missing", "Either TemplateBody or StackName must be specified.")
		}
		return summarize(text)
	}
	v, rec, err := m.existing(ctx, caller, "GetTemplateSummary", name)
	if err != nil {
		return nil, err
	}
	if rec.good().Template == "" {
		return nil, noStack(name)
	}
	if text, err = m.text(v, rec.UID, rec.good().Template); err != nil {
		return nil, err
	}
	return summarize(text)
}

// ValidateTemplate checks a template's text. Action:
// cloudformation:ValidateTemplate.
func (m *Manager) ValidateTemplate(ctx context.Context, caller iam.Caller, text string) (*Summary, error) {
	if _, err := m.onAll(ctx, caller, "ValidateTemplate"); err != nil {
		return nil, err
	}
	if text == "" {
		return nil, invalid("template-missing", "Either Template URL or Template Body must be specified.")
	}
	return summarize(text)
}

// summarize shows no default of a NoEcho parameter.
func summarize(text string) (*Summary, error) {
	t, err := stack.Parse(text)
	if err != nil {
		return nil, err
	}
	need := t.Capabilities()
	s := &Summary{
		Description: t.Description(), Metadata: t.Metadata(), Parameters: t.Parameters(), Capabilities: need.Capabilities, CapabilitiesReason: need.Reason,
		ResourceTypes: t.ResourceTypes(),
	}
	for i := range s.Parameters {
		if p := &s.Parameters[i]; p.NoEcho {
			p.Default, p.HasDefault = "", false
		}
	}
	return s, nil
}
