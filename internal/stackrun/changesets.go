// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package stackrun

import (
	"context"
	"slices"
	"strings"
	"time"

	"podid/internal/cluster"
	"podid/internal/fault"
	"podid/internal/iam"
	"podid/internal/stack"
	"podid/internal/store"
)

// ChangeSet is a change set as it is kept.
type ChangeSet struct {
	ID          string `cbor:"1,keyasint"` // ARN
	Name        string `cbor:"2,keyasint"`
	StackID     string `cbor:"3,keyasint"`
	Type        string `cbor:"4,keyasint"`
	Description string `cbor:"5,keyasint,omitempty"`
	// Failed says why it cannot be executed; "" when it can.
	Failed   string          `cbor:"6,keyasint,omitempty"`
	Executed bool            `cbor:"7,keyasint,omitempty"`
	Created  time.Time       `cbor:"8,keyasint"`
	Base     int             `cbor:"9,keyasint"` // the stack's Change that it was compared with
	Now      Version         `cbor:"10,keyasint"`
	Text     string          `cbor:"11,keyasint"`
	Failure  string          `cbor:"12,keyasint,omitempty"` // OnStackFailure
	Changes  []Change        `cbor:"13,keyasint,omitempty"`
	Request  cluster.Request `cbor:"14,keyasint,omitempty"`
}

// The states of change sets and of their execution.
const (
	statusComplete = "CREATE_COMPLETE"
	statusFailed   = "FAILED"

	executionAvailable   = "AVAILABLE"
	executionUnavailable = "UNAVAILABLE"
	executionRuns        = "EXECUTE_IN_PROGRESS"
	executionComplete    = "EXECUTE_COMPLETE"
	executionFailed      = "EXECUTE_FAILED"
	executionObsolete    = "OBSOLETE"

	noChanges = "The submitted information didn't contain changes. Submit different information to create a change set."
)

// execution is how far the change set is, of a stack as it is.
func (c *ChangeSet) execution(rec *Record, now time.Time) string {
	s, _ := rec.shown(now)
	switch {
	case c.Failed != "":
		return executionUnavailable
	case c.Executed && rec.ChangeSetID == c.ID && strings.HasSuffix(string(s), "_IN_PROGRESS") && s != UpdateCleanup:
		return executionRuns
	case c.Executed && rec.ChangeSetID == c.ID && !slices.Contains([]Status{CreateComplete, UpdateComplete, UpdateCleanup}, s):
		return executionFailed
	case c.Executed:
		return executionComplete
	case c.Base != rec.Change:
		return executionObsolete
	}
	return executionAvailable
}

func (m *Manager) changeSetInfo(c *ChangeSet, rec *Record) ChangeSetInfo {
	out := ChangeSetInfo{
		ID: c.ID, Name: c.Name, StackID: rec.ID, StackName: rec.Name, Description: c.Description, Type: c.Type, Status: statusComplete, Reason: c.Failed,
		Execution: c.execution(rec, m.now()), Created: c.Created, Parameters: c.Now.Shown, Tags: c.Now.Tags, Capabilities: c.Now.Capabilities,
		NotificationARNs: c.Now.Notify, OnStackFailure: c.Failure, Changes: c.Changes,
	}
	if c.Failed != "" {
		out.Status = statusFailed
	}
	return out
}

func nameKey(name string) iam.ConditionKey {
	return iam.ConditionKey{Name: "cloudformation:ChangeSetName", Values: []string{name}}
}

func (in *ChangeSetInput) check() error {
	if err := checkName("changeSetName", in.Name); err != nil {
		return err
	}
	if err := checkToken(in.Token); err != nil {
		return err
	}
	if len(in.Description) > maxDescription {
		return constraint("description", in.Description, "have length less than or equal to %d", maxDescription)
	}
	switch in.Type {
	case "":
		in.Type = ChangeSetUpdate
	case ChangeSetUpdate, ChangeSetCreate:
	default:
		return constraint("changeSetType", in.Type, "satisfy enum value set: [UPDATE, CREATE]")
	}
	if in.OnStackFailure == "" {
		return nil
	}
	_, err := checkOnFailure(in.OnStackFailure)
	return err
}

func (in ChangeSetInput) withoutToken() ChangeSetInput { in.Token = ""; return in }

// CreateChangeSet compares a source with a stack and keeps it for execution.
// Nothing is changed; a stack that is yet to be made is in REVIEW_IN_PROGRESS.
// What does not differ gives a change set with status FAILED and no error.
// Actions: cloudformation:CreateChangeSet, and iam:PassRole for a RoleARN.
func (m *Manager) CreateChangeSet(ctx context.Context, caller iam.Caller, in ChangeSetInput) (changeSetID, stackID string, err error) {
	if err := in.check(); err != nil {
		return "", "", err
	}
	v, judged, err := m.authorize(ctx, caller, "CreateChangeSet", in.Stack, append(sourceKeys(&in.Source), nameKey(in.Name))...)
	if err != nil {
		return "", "", err
	}
	request := newRequest(caller, "create change set", in.Token, in.withoutToken())
	rec, err := m.reviewed(v, judged, &in)
	if err != nil {
		return "", "", err
	}
	if old, ok := ChangeSets.Get(v, m.scope(), rec.UID+"/"+in.Name); ok {
		return m.repeatedSet(old, rec, request)
	}
	uid, err := m.newUID()
	if err != nil {
		return "", "", err
	}
	c := &ChangeSet{
		ID: m.arnOf("changeSet/" + in.Name + "/" + uid), Name: in.Name, StackID: rec.ID, Type: in.Type, Description: in.Description, Created: m.now(),
		Base: rec.Change, Failure: in.OnStackFailure, Request: request,
	}
	if err := m.compareWith(v, c, rec, &in.Source); err != nil {
		return "", "", err
	}
	if err := m.pass(ctx, caller, in.RoleARN); err != nil {
		return "", "", err
	}
	return m.keepSet(ctx, judged, rec, c)
}

// reviewed is the stack of a new change set: one that is, or one that is yet
// to be made.
func (m *Manager) reviewed(r store.Reader, judged *Record, in *ChangeSetInput) (*Record, error) {
	gone := judged == nil || judged.Status == DeleteComplete
	switch {
	case gone && (in.Type == ChangeSetUpdate || isARN(in.Stack)):
		return nil, noStackToChange(in.Stack)
	case gone:
		uid, err := m.newUID()
		if err != nil {
			return nil, err
		}
		return &Record{
			ID: m.stackARN(in.Stack, uid), UID: uid, Name: in.Stack, Created: m.now(), Status: ReviewInProgress, Reason: "User Initiated",
		}, nil
	}
	s, _ := judged.shown(m.now())
	switch {
	case in.Type == ChangeSetCreate && s != ReviewInProgress:
		return nil, invalid(ReasonStackExists, "Stack [%s] already exists and cannot be created again with the changeSet [%s].", judged.Name, in.Name)
	case in.Type == ChangeSetUpdate && !updatable(judged, m):
		return nil, inState(judged.ID, "updated")(s)
	}
	return judged, nil
}

func (m *Manager) repeatedSet(old *ChangeSet, rec *Record, request cluster.Request) (changeSetID, stackID string, err error) {
	same, err := request.Repeats(old.Request)
	switch {
	case err != nil:
		return "", "", fault.New(fault.InvalidRequest, "A client request token already exists.").WithReason(ReasonTokenUsed)
	case same:
		return old.ID, rec.ID, nil
	}
	return "", "", fault.New(fault.AlreadyExists, "ChangeSet [%s] already exists", old.Name).WithReason(ReasonChangeSetExists)
}

// compareWith reads the source and says what it would change.
func (m *Manager) compareWith(r store.Reader, c *ChangeSet, rec *Record, src *Source) error {
	var was *Version
	var before *stack.Bound
	if c.Type == ChangeSetUpdate {
		was = &rec.Now
		var err error
		if before, _, err = m.rebind(r, rec, was); err != nil {
			return err
		}
	}
	d, err := m.read(r, src, rec.Name, rec.ID, rec.UID, was)
	if err != nil {
		return err
	}
	changes, err := stack.Diff(before, d.bound)
	if err != nil {
		return err
	}
	c.Text, c.Now = d.text, d.version
	if before == nil {
		for _, x := range changes {
			c.Changes = append(c.Changes, Change{Change: x})
		}
		return nil
	}
	c.Changes = m.changes(r, rec, d, changes)
	err = m.differs(r, rec, d)
	if f := fault.As(err); err != nil && f.Reason == ReasonNoUpdates {
		c.Failed, c.Changes = noChanges, nil
		return nil
	}
	return err
}

// changes adds physical ids, and the resources of which only the stack's tags
// change.
func (m *Manager) changes(r store.Reader, rec *Record, d *draft, changes []stack.Change) []Change {
	var out []Change
	seen := map[string]bool{}
	physical := func(id string) string {
		if res, ok := Resources.Get(r, m.scope(), rec.UID+"/"+id); ok {
			return res.physicalID()
		}
		return ""
	}
	for _, x := range changes {
		seen[x.LogicalID] = true
		out = append(out, Change{x, physical(x.LogicalID)})
	}
	if sameTags(rec.Now.Tags, d.version.Tags) {
		return out
	}
	for _, plan := range d.bound.Order() {
		if !seen[plan.LogicalID] && slices.Contains([]string{stack.TypeRole, stack.TypeOIDCProvider, stack.TypePodIdentityAssociation}, plan.Type) {
			x := stack.Change{Action: stack.Modify, LogicalID: plan.LogicalID, Type: plan.Type, Replacement: stack.ReplacementFalse, Scope: []string{"Tags"}}
			out = append(out, Change{x, physical(plan.LogicalID)})
		}
	}
	return out
}

// keepSet writes a change set, and the stack when it is new.
func (m *Manager) keepSet(ctx context.Context, judged, rec *Record, c *ChangeSet) (changeSetID, stackID string, err error) {
	err = cluster.Commit(ctx, m.Store, "create change set", func(tx *store.Tx) error {
		changeSetID, stackID = c.ID, rec.ID
		now, ok := Stacks.Get(tx, m.scope(), rec.Name)
		switch {
		case !ok && judged != nil && judged.Status != DeleteComplete:
			return noStackToChange(rec.Name)
		case !ok:
			if err := m.full(tx); err != nil {
				return err
			}
			n := rec.clone()
			m.appendEvents(tx, n, []Event{stackEvent(n, m.now(), "", n.Status, n.Reason)})
			Stacks.Put(tx, m.scope(), n.Name, n)
		case judged == nil:
			return cluster.ChangedMeanwhile("stack")
		default:
			if err := asJudged(judged, now); err != nil {
				return err
			}
			if now.Change != c.Base {
				return cluster.ChangedMeanwhile("stack")
			}
		}
		key := rec.UID + "/" + c.Name
		if old, ok := ChangeSets.Get(tx, m.scope(), key); ok {
			var err error
			changeSetID, stackID, err = m.repeatedSet(old, rec, c.Request)
			return err
		}
		current := rec
		if ok {
			current = now
		}
		if err := m.makeRoom(tx, current); err != nil {
			return err
		}
		ChangeSets.Put(tx, m.scope(), key, c)
		return nil
	})
	if err != nil {
		return "", "", err
	}
	return changeSetID, stackID, nil
}

// makeRoom removes the oldest change set that cannot be executed when a stack
// has as many as it may. eksctl leaves one behind with each update that changes
// nothing.
func (m *Manager) makeRoom(tx *store.Tx, rec *Record) error {
	n, spare := 0, ""
	var oldest time.Time
	for id, c := range ChangeSets.List(tx, m.scope(), rec.UID+"/", "") {
		x := c.execution(rec, m.now())
		if n++; x != executionAvailable && x != executionRuns && (spare == "" || c.Created.Before(oldest)) {
			spare, oldest = id, c.Created
		}
	}
	switch {
	case n < MaxChangeSets:
	case spare == "":
		return fault.New(fault.LimitExceeded, "The stack %s has %d change sets to execute, which is the limit.", rec.Name, n).WithReason(ReasonChangeSetLimit)
	default:
		ChangeSets.Delete(tx, m.scope(), spare)
	}
	return nil
}

// locate asks for action on the stack of a change set and returns both; a nil
// change set when the stack has none of the name.
func (m *Manager) locate(ctx context.Context, caller iam.Caller, action, id, stackName string) (*store.View, *ChangeSet, *Record, error) {
	if err := checkNameOrARN("changeSetName", id); err != nil {
		return nil, nil, nil, err
	}
	name := id
	if isARN(id) {
		v, err := m.Store.Fence(ctx)
		if err != nil {
			return nil, nil, nil, cluster.StoreFault("authorize "+action, err)
		}
		_, c, ok := ChangeSets.FindIndex(v, m.scope(), id)
		if !ok {
			if err := m.Authz.Authorize(ctx, caller, iam.Query{Action: "cloudformation:" + action, Resource: id}); err != nil {
				return nil, nil, nil, err
			}
			return nil, nil, nil, noChangeSet(id)
		}
		stackName, name = c.StackID, c.Name
	}
	if stackName == "" {
		return nil, nil, nil, invalid("stack-missing", "StackName must be specified if ChangeSetName is not specified as an ARN.")
	}
	v, rec, err := m.existing(ctx, caller, action, stackName, nameKey(name))
	if err != nil {
		return nil, nil, nil, err
	}
	c, ok := ChangeSets.Get(v, m.scope(), rec.UID+"/"+name)
	if !ok || isARN(id) && c.ID != id {
		return v, nil, rec, nil
	}
	return v, c, rec, nil
}

func noChangeSet(id string) error {
	return fault.New(fault.NotFound, "ChangeSet [%.256s] does not exist", id).WithReason(ReasonChangeSetNotFound)
}

// changeSet is locate for one that has to be there.
func (m *Manager) changeSet(ctx context.Context, caller iam.Caller, action, id, stackName string) (*ChangeSet, *Record, error) {
	_, c, rec, err := m.locate(ctx, caller, action, id, stackName)
	if err != nil {
		return nil, nil, err
	}
	if c == nil {
		return nil, nil, noChangeSet(id)
	}
	return c, rec, nil
}

// DescribeChangeSet returns a change set by name and stack, or by ARN. Action:
// cloudformation:DescribeChangeSet.
func (m *Manager) DescribeChangeSet(ctx context.Context, caller iam.Caller, changeSet, stackName string) (*ChangeSetInfo, error) {
	c, rec, err := m.changeSet(ctx, caller, "DescribeChangeSet", changeSet, stackName)
	if err != nil {
		return nil, err
	}
	out := m.changeSetInfo(c, rec)
	return &out, nil
}

// ListChangeSets returns a page of a stack's change sets by name. Action:
// cloudformation:ListChangeSets.
func (m *Manager) ListChangeSets(ctx context.Context, caller iam.Caller, stackName, after string) (part []ChangeSetInfo, next string, err error) {
	v, rec, err := m.existing(ctx, caller, "ListChangeSets", stackName)
	if err != nil {
		return nil, "", err
	}
	var all []ChangeSetInfo
	for _, c := range ChangeSets.List(v, m.scope(), rec.UID+"/", "") {
		all = append(all, m.changeSetInfo(c, rec))
	}
	return page("change-sets/"+rec.UID, after, all, func(c ChangeSetInfo) string { return c.Name })
}

// DeleteChangeSet removes a change set; one that a stack does not have is no
// error, as with AWS. Action: cloudformation:DeleteChangeSet.
func (m *Manager) DeleteChangeSet(ctx context.Context, caller iam.Caller, changeSet, stackName string) error {
	_, c, judged, err := m.locate(ctx, caller, "DeleteChangeSet", changeSet, stackName)
	if err != nil || c == nil {
		return err
	}
	return cluster.Commit(ctx, m.Store, "delete change set", func(tx *store.Tx) error {
		rec, ok := Stacks.Get(tx, m.scope(), judged.Name)
		if !ok {
			return noStack(judged.Name)
		}
		if err := asJudged(judged, rec); err != nil {
			return err
		}
		now, ok := ChangeSets.Get(tx, m.scope(), rec.UID+"/"+c.Name)
		if !ok || now.ID != c.ID {
			return nil
		}
		if x := now.execution(rec, m.now()); x == executionRuns {
			return fault.New(fault.InvalidRequest, "ChangeSet [%s] cannot be deleted in its current execution status of [%s]", c.ID, x).WithReason(ReasonChangeSetStatus)
		}
		ChangeSets.Delete(tx, m.scope(), rec.UID+"/"+c.Name)
		return nil
	})
}
