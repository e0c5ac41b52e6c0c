// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package stackrun

import (
	"context"
	"time"

	"podid/internal/cluster"
	"podid/internal/fault"
	"podid/internal/iam"
	"podid/internal/stack"
	"podid/internal/store"
)

func (in ExecuteInput) withoutToken() ExecuteInput { in.Token = ""; return in }

// ExecuteChangeSet makes the stack what the change set says; the stack's other
// change sets go. When it returns without an error the execution was begun;
// how it ended is said by the stack's status. Actions:
// cloudformation:ExecuteChangeSet, and those of each resource.
func (m *Manager) ExecuteChangeSet(ctx context.Context, caller iam.Caller, in ExecuteInput) error {
	if err := checkToken(in.Token); err != nil {
		return err
	}
	v, c, rec, err := m.locate(ctx, caller, "ExecuteChangeSet", in.ChangeSet, in.Stack)
	if err != nil {
		return err
	}
	if c == nil {
		return noChangeSet(in.ChangeSet)
	}
	request := newRequest(caller, "execute", in.Token, in.withoutToken())
	if same, err := repeats(rec, request); same || err != nil {
		return err
	}
	if err := executable(c, rec, m.now()); err != nil {
		return err
	}
	d, err := m.draftOf(c, rec)
	if err != nil {
		return err
	}
	if c.Type == ChangeSetUpdate {
		off := in.DisableRollback || c.Failure == onFailureNothing
		u := &update{m: m, caller: caller, draft: d, disableRollback: off, token: in.Token, request: request, changeSet: c}
		return u.run(ctx, v, rec)
	}
	return m.executeCreate(ctx, caller, v, rec, c, d, in, request)
}

func (m *Manager) executeCreate(ctx context.Context, caller iam.Caller, v *store.View, rec *Record, c *ChangeSet, d *draft, in ExecuteInput, request cluster.Request) error {
	onFailure, err := checkOnFailure(c.Failure)
	if err != nil {
		return err
	}
	if in.DisableRollback {
		onFailure = onFailureNothing
	}
	r := &run{token: in.Token, secrets: d.secrets}
	if r.actor, err = m.actor(ctx, v, caller, d.version.RoleARN, rec.ID); err != nil {
		return err
	}
	err = m.take(ctx, rec, r, inState(rec.ID, "created", ReviewInProgress), func(tx *store.Tx, n *Record) error {
		if err := m.execute(tx, n, c); err != nil {
			return err
		}
		m.beginCreate(tx, n, d, in.Token)
		n.DisableRollback, n.Token, n.Request = onFailure == onFailureNothing, in.Token, request
		return nil
	})
	if err != nil {
		return err
	}
	return r.create(ctx, d, onFailure)
}

// draftOf reads a change set's source again, as it was read when it was made.
func (m *Manager) draftOf(c *ChangeSet, rec *Record) (*draft, error) {
	t, err := stack.Parse(c.Text)
	if err != nil {
		return nil, err
	}
	values, err := m.open(rec.UID, &c.Now)
	if err != nil {
		return nil, err
	}
	b, err := t.Bind(values, m.env(rec.Name, rec.ID, c.Now.Notify))
	if err != nil {
		return nil, err
	}
	return &draft{text: c.Text, bound: b, version: c.Now, secrets: secretsOf(t, b)}, nil
}

// executable refuses change sets that cannot be executed.
func executable(c *ChangeSet, rec *Record, now time.Time) error {
	switch x := c.execution(rec, now); x {
	case executionAvailable:
		return nil
	case executionUnavailable:
		return fault.New(fault.InvalidRequest, "ChangeSet [%s] cannot be executed in its current status of [%s]", c.ID, statusFailed).WithReason(ReasonChangeSetStatus)
	default:
		return fault.New(fault.InvalidRequest, "ChangeSet [%s] cannot be executed in its current execution status of [%s]", c.ID, x).WithReason(ReasonChangeSetStatus)
	}
}

// execute marks a change set as executed in the transaction that begins its
// execution, and removes the others of the stack.
func (m *Manager) execute(tx *store.Tx, n *Record, c *ChangeSet) error {
	now, ok := ChangeSets.Get(tx, m.scope(), n.UID+"/"+c.Name)
	if !ok || now.ID != c.ID {
		return noChangeSet(c.ID)
	}
	if now.Executed || now.Failed != "" || now.Base != n.Change {
		return executable(now, n, m.now())
	}
	for id := range ChangeSets.List(tx, m.scope(), n.UID+"/", "") {
		ChangeSets.Delete(tx, m.scope(), id)
	}
	done := *now
	done.Executed = true
	ChangeSets.Put(tx, m.scope(), n.UID+"/"+c.Name, &done)
	n.ChangeSetID = c.ID
	return nil
}
