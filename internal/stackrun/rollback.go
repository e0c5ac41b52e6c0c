// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package stackrun

import (
	"context"
	"errors"
	"slices"

	"podid/internal/iam"
	"podid/internal/stack"
	"podid/internal/store"
)

// ContinueUpdateRollback takes an update back whose rollback has failed, but
// for the resources to be skipped, which stay as they are. Actions:
// cloudformation:ContinueUpdateRollback, iam:PassRole for a RoleARN, and those
// of each resource.
func (m *Manager) ContinueUpdateRollback(ctx context.Context, caller iam.Caller, in ContinueInput) error {
	if err := checkToken(in.Token); err != nil {
		return err
	}
	var keys []iam.ConditionKey
	if in.RoleARN != "" {
		keys = append(keys, iam.ConditionKey{Name: "cloudformation:RoleArn", Values: []string{in.RoleARN}})
	}
	v, judged, err := m.authorize(ctx, caller, "ContinueUpdateRollback", in.Name, keys...)
	if err != nil {
		return err
	}
	if judged == nil || judged.Status == DeleteComplete {
		return noStackToChange(in.Name)
	}
	if err := m.pass(ctx, caller, in.RoleARN); err != nil {
		return err
	}
	role := in.RoleARN
	if role == "" {
		role = judged.good().RoleARN
	}
	r := &run{token: in.Token, secrets: m.knownSecrets(v, judged)}
	if r.actor, err = m.actor(ctx, v, caller, role, judged.ID); err != nil {
		return err
	}
	return m.takeBack(ctx, judged, r, UpdateRollbackFailed, in.Skip)
}

// takeBack is a run that takes an update back, from the state given.
func (m *Manager) takeBack(ctx context.Context, judged *Record, r *run, from Status, skip []string) error {
	err := m.take(ctx, judged, r, inState(judged.ID, "rolled back", from), func(tx *store.Tx, n *Record) error {
		if n.Was == nil {
			return busy("Stack:%s is in %s state and can not be rolled back.", n.ID, n.Status)
		}
		for _, id := range skip {
			if _, ok := Resources.Get(tx, m.scope(), n.UID+"/"+id); !ok {
				return invalid("skip-unknown", "The following resources to skip do not exist in the stack [%s]: [%.256s]", n.ID, id)
			}
		}
		n.Status, n.Reason = UpdateRollbackInProgress, "User Initiated"
		m.appendEvents(tx, n, []Event{stackEvent(n, m.now(), r.token, n.Status, n.Reason)})
		return nil
	})
	if err != nil {
		return err
	}
	work, cancel := working(ctx)
	defer cancel()
	return stopped(r.rollBack(work, skip))
}

// rollBack takes the stack back to the version before: first everything that
// was there is made what it was, then what was added goes. It can be begun
// again wherever it ended.
func (r *run) rollBack(ctx context.Context, skip []string) error {
	var failed []string
	for _, id := range r.order() {
		err := r.restore(ctx, id, slices.Contains(skip, id))
		if errors.Is(err, errStopped) {
			return err
		}
		if err != nil {
			failed = append(failed, id)
		}
		if err := r.flush(ctx); err != nil {
			return err
		}
	}
	if len(failed) > 0 {
		return r.setStatus(ctx, UpdateRollbackFailed, named("update", failed...), done)
	}
	if err := r.setStatus(ctx, UpdateRollbackCleanup, "", nil); err != nil {
		return err
	}
	for _, id := range slices.Backward(r.order()) {
		err := r.takeAway(ctx, id)
		if errors.Is(err, errStopped) {
			return err
		}
		if err != nil {
			failed = append(failed, id)
		}
		if err := r.flush(ctx); err != nil {
			return err
		}
	}
	if len(failed) > 0 {
		return r.setStatus(ctx, UpdateRollbackFailed, named("delete", failed...), done)
	}
	return r.setStatus(ctx, UpdateRollbackComplete, "", func(tx *store.Tx, n *Record) {
		r.m.forget(tx, n.UID, n.Now.Template)
		n.Now, n.Was = *n.Was, nil
		done(tx, n)
	})
}

// restore makes a resource that was there before the update what it was.
func (r *run) restore(ctx context.Context, id string, skip bool) error {
	res := r.get(id)
	if res.Change != r.rec.Change || res.Fresh || res.Former == nil && res.Before == nil && res.WasMeta == nil {
		return nil
	}
	res = res.clone()
	touched := res.Former != nil || res.Before != nil
	switch {
	case skip:
	case res.Former != nil:
		if res.Live != nil {
			res.Left = append(res.Left, res.Live)
		}
		res.Live, res.Type = res.Former, res.Former.Type
	case res.Before != nil:
		r.mark(id, UpdateInProgress, "")
		goal, err := stack.DecodeProperties(res.Type, res.Before)
		if err == nil {
			err = r.settle(ctx, id, live(), goal)
		}
		if err != nil {
			return r.concluded(id, UpdateComplete, UpdateFailed, err)
		}
		res = r.get(id).clone()
	}
	if was := res.WasMeta; was != nil {
		res.Dependencies, res.OnDelete, res.OnReplace = was.Dependencies, was.OnDelete, was.OnReplace
	}
	if skip && res.Former != nil {
		res.Left = append(res.Left, res.Former) // the new one stays
	}
	res.Former, res.Before, res.WasMeta = nil, nil, nil
	r.stage(id, res)
	if touched {
		r.mark(id, UpdateComplete, "")
	}
	return nil
}

// takeAway removes a resource that the update has added, and what a
// replacement has made.
func (r *run) takeAway(ctx context.Context, id string) error {
	res := r.get(id)
	if res.Change == r.rec.Change && res.Fresh {
		err := r.unmake(ctx, id, unmade{})
		r.gone = nil
		return err
	}
	return r.removeLeft(ctx, id, r.rec.Change)
}
