// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package stackrun

import (
	"context"
	"errors"
	"slices"
	"strconv"

	"podid/internal/cluster"
	"podid/internal/iam"
	"podid/internal/stack"
	"podid/internal/store"
)

// UpdateStack makes a stack what the source says, and returns its ARN. When it
// returns without an error the update was begun; how it ended is said by the
// stack's status. What an update before has left undone is taken back first.
// Actions: cloudformation:UpdateStack, iam:PassRole for a RoleARN, and those of
// each resource.
func (m *Manager) UpdateStack(ctx context.Context, caller iam.Caller, in UpdateInput) (stackID string, err error) {
	if err := checkToken(in.Token); err != nil {
		return "", err
	}
	v, judged, err := m.authorize(ctx, caller, "UpdateStack", in.Name, sourceKeys(&in.Source)...)
	if err != nil {
		return "", err
	}
	if judged == nil || judged.Status == DeleteComplete {
		return "", noStackToChange(in.Name)
	}
	request := newRequest(caller, "update", in.Token, in.withoutToken())
	if same, err := repeats(judged, request); same || err != nil {
		return judged.ID, err
	}
	d, err := m.read(v, &in.Source, judged.Name, judged.ID, judged.UID, judged.good())
	if err != nil {
		return "", err
	}
	if err := m.pass(ctx, caller, in.RoleARN); err != nil {
		return "", err
	}
	if err := m.differs(v, judged, d); err != nil {
		return "", err
	}
	u := &update{m: m, caller: caller, draft: d, disableRollback: in.DisableRollback, token: in.Token, request: request}
	return judged.ID, u.run(ctx, v, judged)
}

func (in UpdateInput) withoutToken() UpdateInput { in.Token = ""; return in }

// differs refuses an update that changes nothing.
func (m *Manager) differs(r store.Reader, rec *Record, d *draft) error {
	if rec.Was != nil || !updatable(rec, m) {
		return nil // what is to be taken back first makes a difference; a state that forbids has its own words
	}
	before, _, err := m.rebind(r, rec, &rec.Now)
	if err != nil {
		return err
	}
	changes, err := stack.Diff(before, d.bound)
	if err != nil || len(changes) > 0 {
		return err
	}
	x := &run{m: m, rec: rec}
	x.load(r)
	outputs, err := x.withSecrets(d).outputs(d)
	if err != nil {
		return err
	}
	if slices.Equal(outputs, rec.Now.Outputs) && sameTags(rec.Now.Tags, d.version.Tags) && d.version.RoleARN == rec.Now.RoleARN {
		return invalid(ReasonNoUpdates, "No updates are to be performed.")
	}
	return nil
}

func updatable(rec *Record, m *Manager) bool {
	s, _ := rec.shown(m.now())
	return slices.Contains(updatableStates(), s)
}

func updatableStates() []Status {
	return []Status{CreateComplete, UpdateComplete, UpdateRollbackComplete}
}

func (r *run) withSecrets(d *draft) *run {
	r.secrets = d.secrets
	return r
}

// sameTags compares tags in any order.
func sameTags(a, b []iam.Tag) bool {
	return len(a) == len(b) && !slices.ContainsFunc(a, func(t iam.Tag) bool { return !slices.Contains(b, t) })
}

// An update is a change of a stack that was asked for.
type update struct {
	m               *Manager
	caller          iam.Caller
	draft           *draft
	disableRollback bool
	token           string
	request         cluster.Request
	changeSet       *ChangeSet // that it executes, or nil
}

// run takes back what an update before has left, and then does this one.
func (u *update) run(ctx context.Context, v *store.View, judged *Record) error {
	m := u.m
	as, err := m.actor(ctx, v, u.caller, u.draft.version.RoleARN, judged.ID)
	if err != nil {
		return err
	}
	if s, _ := judged.shown(m.now()); s == UpdateFailed && judged.Was != nil {
		back := &run{actor: as, token: u.token, secrets: append(m.knownSecrets(v, judged), u.draft.secrets...)}
		if err := m.takeBack(ctx, judged, back, UpdateFailed, nil); err != nil {
			return err
		}
		if back.rec.Status != UpdateRollbackComplete {
			return nil // the status says so
		}
		judged = back.rec
	}
	r := &run{actor: as, token: u.token, secrets: append(m.knownSecrets(v, judged), u.draft.secrets...)}
	err = m.take(ctx, judged, r, inState(judged.ID, "updated", updatableStates()...), func(tx *store.Tx, n *Record) error {
		if n.Change != judged.Change {
			return cluster.ChangedMeanwhile("stack")
		}
		return u.begin(tx, n)
	})
	if err != nil {
		return err
	}
	return stopped(r.update(ctx, u))
}

// begin writes what an update begins with.
func (u *update) begin(tx *store.Tx, n *Record) error {
	if u.changeSet != nil {
		if err := u.m.execute(tx, n, u.changeSet); err != nil {
			return err
		}
	}
	was := n.Now
	n.Was, n.Now = &was, u.draft.version
	n.Change++
	n.Now.Template = strconv.Itoa(n.Change)
	n.Updated = u.m.now()
	n.Status, n.Reason, n.DisableRollback = UpdateInProgress, "User Initiated", u.disableRollback
	n.Token, n.Request = u.token, u.request
	Templates.Put(tx, u.m.scope(), n.UID+"/"+n.Now.Template, &Text{u.draft.text})
	u.m.appendEvents(tx, n, []Event{stackEvent(n, n.Updated, u.token, n.Status, n.Reason)})
	return nil
}

// update changes the resources of a stack whose update was begun.
func (r *run) update(ctx context.Context, u *update) error {
	work, cancel := working(ctx)
	defer cancel()
	err := r.tidy(work, r.rec.Was.Resources) // what could not be removed may be in the way
	if err == nil {
		err = r.makeAll(work, u.draft)
	}
	if err == nil {
		var outputs []stack.Output
		if outputs, err = r.outputs(u.draft); err == nil {
			return r.complete(work, outputs)
		}
	}
	if errors.Is(err, errStopped) {
		return err
	}
	back, cancel := working(ctx)
	defer cancel()
	reason := told("update", err)
	if id := failedIn(err); id != "" && r.get(id).Fresh {
		reason = told("create", err)
	}
	if u.disableRollback {
		return r.setStatus(back, UpdateFailed, reason, done)
	}
	if err := r.setStatus(back, UpdateRollbackInProgress, reason, nil); err != nil {
		return err
	}
	return r.rollBack(back, nil)
}

// complete makes the new version the stack's, and then removes what it does
// not have any more. What cannot be removed is said by events and stays on
// record: the next update, or the deletion, tries again.
func (r *run) complete(ctx context.Context, outputs []stack.Output) error {
	err := r.setStatus(ctx, UpdateCleanup, "", func(tx *store.Tx, n *Record) {
		r.m.forget(tx, n.UID, n.Was.Template)
		n.Was, n.Now.Outputs = nil, outputs
	})
	if err != nil {
		return err
	}
	if err := r.tidy(ctx, r.rec.Now.Resources); err != nil {
		return err
	}
	return r.setStatus(ctx, UpdateComplete, "", done)
}

// tidy removes what resources have left behind, and those that are not among
// the wanted. Its only errors are those that stop the run.
func (r *run) tidy(ctx context.Context, wanted []string) error {
	want := map[string]bool{}
	for _, id := range wanted {
		want[id] = true
	}
	for _, id := range slices.Backward(r.order()) {
		if err := r.cleanUp(ctx, id, want[id]); err != nil {
			return err
		}
		if err := r.flush(ctx); err != nil {
			return err
		}
	}
	return nil
}

// cleanUp removes what a resource has left behind, and the resource itself
// when it is not wanted.
func (r *run) cleanUp(ctx context.Context, id string, wanted bool) error {
	res := r.get(id)
	if res.Former != nil {
		res = res.clone()
		if former := res.Former; res.OnReplace == stack.Retain {
			r.note(id, former, DeleteSkipped, "")
		} else {
			res.Left = append(res.Left, former)
		}
		res.Former = nil
		r.stage(id, res)
	}
	var err error
	if wanted {
		err = r.removeLeft(ctx, id, 0)
	} else {
		err = r.unmake(ctx, id, unmade{})
		r.gone = nil // the stack goes on: what it has not is not shown
	}
	if errors.Is(err, errStopped) {
		return err
	}
	return nil
}
