// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package stackrun

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"podid/internal/cluster"
	"podid/internal/iam"
	"podid/internal/store"
)

// dropAtOnce bounds how many remembered stacks a deletion forgets.
const dropAtOnce = 2

// DeleteStack removes a stack and what it has made, and remembers it for
// KeepDeleted. A name that no stack has is no error, as with AWS. Actions:
// cloudformation:DeleteStack, iam:PassRole for a RoleARN, and those of each
// resource.
func (m *Manager) DeleteStack(ctx context.Context, caller iam.Caller, in DeleteInput) error {
	if err := checkToken(in.Token); err != nil {
		return err
	}
	var keys []iam.ConditionKey
	if in.RoleARN != "" {
		keys = append(keys, iam.ConditionKey{Name: "cloudformation:RoleArn", Values: []string{in.RoleARN}})
	}
	v, judged, err := m.authorize(ctx, caller, "DeleteStack", in.Name, keys...)
	if err != nil || judged == nil || judged.Status == DeleteComplete {
		return err
	}
	if err := m.pass(ctx, caller, in.RoleARN); err != nil {
		return err
	}
	r := &run{m: m, token: in.Token}
	role := in.RoleARN
	if role == "" {
		role = judged.good().RoleARN
	}
	if r.actor, err = m.actor(ctx, v, caller, role, judged.ID); err != nil {
		return err
	}
	r.secrets = m.knownSecrets(v, judged)
	err = m.take(ctx, judged, r, deletable(judged.ID), func(tx *store.Tx, n *Record) error { return m.beginDelete(tx, n, &in, role) })
	if err != nil {
		return err
	}
	work, cancel := working(ctx)
	defer cancel()
	how := unmade{retain: map[string]bool{}, force: in.Force}
	for _, id := range in.Retain {
		how.retain[id] = true
	}
	return stopped(r.deleteAll(work, how))
}

func deletable(id string) func(Status) error {
	return func(s Status) error {
		if strings.HasSuffix(string(s), "_IN_PROGRESS") && s != ReviewInProgress {
			return busy("Stack [%s] cannot be deleted while in status %s", id, s)
		}
		return nil
	}
}

func busy(format string, args ...any) error {
	return invalid(ReasonOperationStatus, format, args...)
}

// beginDelete judges what only the record knows, and writes the beginning.
func (m *Manager) beginDelete(tx *store.Tx, n *Record, in *DeleteInput, role string) error {
	if n.TerminationProtection {
		return invalid(ReasonProtected, "Stack [%s] cannot be deleted while TerminationProtection is enabled", n.ID)
	}
	if (len(in.Retain) > 0 || in.Force) && n.Status != DeleteFailed {
		return invalid("not-delete-failed", "Invalid operation on stack [%s]. Resources can be retained, and a deletion be forced, when the stack is in the DELETE_FAILED state.", n.ID)
	}
	for _, id := range in.Retain {
		if _, ok := Resources.Get(tx, m.scope(), n.UID+"/"+id); !ok {
			return invalid("retain-unknown", "The following resources to retain do not exist in the stack [%s]: [%.256s]", n.ID, id)
		}
	}
	n.good().RoleARN = role
	n.Status, n.Reason, n.Token = DeleteInProgress, "User Initiated", in.Token
	m.appendEvents(tx, n, []Event{stackEvent(n, m.now(), in.Token, n.Status, n.Reason)})
	return nil
}

// knownSecrets are the values that reasons must not show. A version that
// cannot be read any more has none that could be known; its stack can be
// deleted all the same.
func (m *Manager) knownSecrets(r store.Reader, rec *Record) []string {
	var out []string
	for _, v := range []*Version{&rec.Now, rec.Was} {
		if v == nil || v.Template == "" {
			continue
		}
		if _, secrets, err := m.rebind(r, rec, v); err == nil {
			out = append(out, secrets...)
		}
	}
	return out
}

// deleteAll removes the stack's resources, and then the stack.
func (r *run) deleteAll(ctx context.Context, how unmade) error {
	failed, err := r.removeAll(ctx, how)
	switch {
	case err != nil:
		return err
	case len(failed) > 0:
		return r.setStatus(ctx, DeleteFailed, named("delete", failed...), done)
	}
	if err := r.age(ctx); err != nil {
		return err
	}
	return r.setStatus(ctx, DeleteComplete, "", r.bury)
}

// lastChunks is how many chunks of events the last transaction deals with.
const lastChunks = 3

// age bounds the life of all but the last events, in writes of their own: all
// at once might be more than the engine takes.
func (r *run) age(ctx context.Context) error {
	m := r.m
	if err := r.put(ctx, entry{}); err != nil { // the events that are not written yet
		return err
	}
	for number := range r.rec.Events/chunkSize - lastChunks + 1 {
		id := chunkID(r.rec.UID, number)
		err := r.put(ctx, entry{record: func(tx *store.Tx, _ *Record) {
			if chunk, ok := Events.Get(tx, m.scope(), id); ok {
				Events.PutTTL(tx, m.scope(), id, chunk, KeepDeleted)
			}
		}})
		if err != nil {
			return err
		}
	}
	return nil
}

// bury makes the stack a deleted one in tx: its template and events stay as
// long as it does, its change sets go.
func (r *run) bury(tx *store.Tx, n *Record) {
	m := r.m
	done(tx, n)
	n.Deleted, n.Now.Parameters = m.now(), nil
	if n.Was != nil {
		m.forget(tx, n.UID, n.Now.Template)
		n.Now, n.Was = *n.Was, nil
		n.Now.Parameters = nil
	}
	Stacks.Delete(tx, m.scope(), n.Name)
	Deleted.PutTTL(tx, m.scope(), fmt.Sprintf("%013d/%s", n.Deleted.UnixMilli(), n.UID), n, KeepDeleted)
	if text, ok := Templates.Get(tx, m.scope(), n.UID+"/"+n.Now.Template); ok {
		Templates.PutTTL(tx, m.scope(), n.UID+"/"+n.Now.Template, text, KeepDeleted)
	}
	for number := max(0, n.Events/chunkSize-lastChunks); number <= n.Events/chunkSize; number++ {
		id := chunkID(n.UID, number)
		if chunk, ok := Events.Get(tx, m.scope(), id); ok {
			Events.PutTTL(tx, m.scope(), id, chunk, KeepDeleted)
		}
	}
	for id := range ChangeSets.List(tx, m.scope(), n.UID+"/", "") {
		ChangeSets.Delete(tx, m.scope(), id)
	}
	m.forgetOldest(tx)
}

// forgetOldest keeps the number of deleted stacks within MaxDeleted. The count
// is no part of the transaction: a few more do no harm.
func (m *Manager) forgetOldest(tx *store.Tx) {
	var ids []string
	var recs []*Record
	for id, rec := range Deleted.List(tx.View(), m.scope(), "", "") {
		ids, recs = append(ids, id), append(recs, rec)
	}
	for i := range min(dropAtOnce, max(0, len(ids)+1-MaxDeleted)) {
		Deleted.Delete(tx, m.scope(), ids[i])
		m.forget(tx, recs[i].UID, recs[i].Now.Template)
		for id := range Events.List(tx.View(), m.scope(), recs[i].UID+"/", "") {
			Events.Delete(tx, m.scope(), id)
		}
	}
}

// UpdateTerminationProtection turns a stack's protection on or off, and
// returns the stack's ARN. Action: cloudformation:UpdateTerminationProtection.
func (m *Manager) UpdateTerminationProtection(ctx context.Context, caller iam.Caller, name string, on bool) (stackID string, err error) {
	_, judged, err := m.authorize(ctx, caller, "UpdateTerminationProtection", name)
	if err != nil {
		return "", err
	}
	if judged == nil || judged.Status == DeleteComplete {
		return "", noStackToChange(name)
	}
	err = cluster.Commit(ctx, m.Store, "protect stack", func(tx *store.Tx) error {
		rec, ok := Stacks.Get(tx, m.scope(), judged.Name)
		if !ok || rec.ID != judged.ID {
			return noStackToChange(name)
		}
		if err := asJudged(judged, rec); err != nil {
			return err
		}
		n := rec.clone()
		n.TerminationProtection = on
		Stacks.Put(tx, m.scope(), n.Name, n)
		return nil
	})
	return judged.ID, err
}

// inState refuses what a stack's state does not allow.
func inState(id, verb string, allowed ...Status) func(Status) error {
	return func(s Status) error {
		if slices.Contains(allowed, s) {
			return nil
		}
		return busy("Stack:%s is in %s state and can not be %s.", id, s, verb)
	}
}
