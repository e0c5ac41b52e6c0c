// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package stackrun

import (
	"context"
	"errors"
	"slices"
	"strconv"

	"podid/internal/cluster"
	"podid/internal/fault"
	"podid/internal/iam"
	"podid/internal/store"
)

// What becomes of a stack whose creation fails.
const (
	onFailureRollback = "ROLLBACK"
	onFailureDelete   = "DELETE"
	onFailureNothing  = "DO_NOTHING"
)

// CreateStack makes a stack and everything in it, and returns its ARN. When it
// returns without an error the stack exists; whether its resources do is said by
// its status. Actions: cloudformation:CreateStack, iam:PassRole for a RoleARN,
// and those of each resource.
func (m *Manager) CreateStack(ctx context.Context, caller iam.Caller, in CreateInput) (stackID string, err error) {
	onFailure, err := in.check()
	if err != nil {
		return "", err
	}
	uid, err := m.newUID()
	if err != nil {
		return "", err
	}
	v, err := m.Store.Fence(ctx)
	if err != nil {
		return "", cluster.StoreFault("authorize CreateStack", err)
	}
	id := m.stackARN(in.Name, uid)
	if err := m.Authz.Authorize(ctx, caller, iam.Query{Action: "cloudformation:CreateStack", Resource: id, Keys: sourceKeys(&in.Source)}); err != nil {
		return "", err
	}
	request := newRequest(caller, "create", in.Token, in.withoutToken())
	if old, ok := Stacks.Get(v, m.scope(), in.Name); ok {
		return m.repeated(old, request)
	}
	d, err := m.read(v, &in.Source, in.Name, id, uid, nil)
	if err != nil {
		return "", err
	}
	if err := m.pass(ctx, caller, in.RoleARN); err != nil {
		return "", err
	}
	r := &run{m: m, token: in.Token, secrets: d.secrets, resources: map[string]*Resource{}}
	if r.actor, err = m.actor(ctx, v, caller, in.RoleARN, id); err != nil {
		return "", err
	}
	rec := &Record{
		ID: id, UID: uid, Name: in.Name, Created: m.now(), DisableRollback: onFailure == onFailureNothing, TerminationProtection: in.TerminationProtection,
		Token: in.Token, Request: request,
	}
	repeated, err := m.enter(ctx, r, rec, d)
	if err != nil || repeated {
		return r.rec.idOr(""), err
	}
	return id, r.create(ctx, d, onFailure)
}

func (r *Record) idOr(other string) string {
	if r == nil {
		return other
	}
	return r.ID
}

func (in *CreateInput) check() (onFailure string, err error) {
	if err := checkName("stackName", in.Name); err != nil {
		return "", err
	}
	if err := checkToken(in.Token); err != nil {
		return "", err
	}
	switch {
	case in.OnFailure != "" && in.DisableRollback:
		return "", invalid("on-failure-twice", "You cannot specify both OnFailure and DisableRollback.")
	case in.DisableRollback:
		return onFailureNothing, nil
	}
	return checkOnFailure(in.OnFailure)
}

func checkOnFailure(value string) (string, error) {
	if value == "" {
		return onFailureRollback, nil
	}
	if !slices.Contains([]string{onFailureRollback, onFailureDelete, onFailureNothing}, value) {
		return "", constraint("onFailure", value, "satisfy enum value set: [ROLLBACK, DELETE, DO_NOTHING]")
	}
	return value, nil
}

func (in CreateInput) withoutToken() CreateInput { in.Token = ""; return in }

// newRequest is what a call with a ClientRequestToken is known by.
func newRequest(caller iam.Caller, verb, token string, input any) cluster.Request {
	return cluster.NewRequest(caller.Account, token, struct {
		Verb  string
		Input any
	}{verb, input})
}

// repeats says whether a call is the one that has last changed the stack.
func repeats(old *Record, request cluster.Request) (bool, error) {
	same, err := request.Repeats(old.Request)
	if err != nil {
		return false, fault.New(fault.InvalidRequest, "A client request token already exists.").WithReason(ReasonTokenUsed)
	}
	return same, nil
}

// repeated answers a creation of a stack that there is.
func (m *Manager) repeated(old *Record, request cluster.Request) (string, error) {
	if same, err := repeats(old, request); same || err != nil {
		return old.ID, err
	}
	return "", fault.New(fault.AlreadyExists, "Stack [%s] already exists", old.Name).WithReason(ReasonStackExists)
}

// enter writes the record of a new stack and begins the run on it; repeated
// when the same request has done so.
func (m *Manager) enter(ctx context.Context, r *run, rec *Record, d *draft) (repeated bool, err error) {
	runID, err := m.newUID()
	if err != nil {
		return false, err
	}
	err = cluster.Commit(ctx, m.Store, "create stack", func(tx *store.Tx) error {
		if old, ok := Stacks.Get(tx, m.scope(), rec.Name); ok {
			_, err := m.repeated(old, rec.Request)
			r.rec, repeated = old, err == nil
			return err
		}
		if err := m.full(tx); err != nil {
			return err
		}
		n := rec.clone()
		n.Run = runID
		m.beginCreate(tx, n, d, r.token)
		Stacks.Put(tx, m.scope(), n.Name, n)
		r.rec, repeated = n, false
		return nil
	})
	if err != nil {
		r.rec = nil
	}
	return repeated, err
}

// beginCreate writes what a creation begins with.
func (m *Manager) beginCreate(tx *store.Tx, n *Record, d *draft, token string) {
	now := m.now()
	n.Change++
	n.Now = d.version
	n.Now.Template = strconv.Itoa(n.Change)
	n.Status, n.Reason, n.Lease = CreateInProgress, "User Initiated", now.Add(leaseTime)
	Templates.Put(tx, m.scope(), n.UID+"/"+n.Now.Template, &Text{d.text})
	m.appendEvents(tx, n, []Event{stackEvent(n, now, token, n.Status, n.Reason)})
}

// limitMargin is how near to the quota the count becomes part of the
// transaction. Farther away, creations do not have to wait for each other.
const limitMargin = 128

func (m *Manager) full(tx *store.Tx) error {
	limit := m.Limit
	if limit == 0 {
		limit = DefaultLimit
	}
	n := m.count(tx.View())
	if n >= limit-limitMargin {
		n = m.count(tx)
	}
	if n >= limit {
		return fault.New(fault.LimitExceeded, "Limit for stack has been exceeded: %d", limit).WithReason(ReasonStackLimit)
	}
	return nil
}

func (m *Manager) count(r store.Reader) int {
	n := 0
	for range Stacks.List(r, m.scope(), "", "") {
		n++
	}
	return n
}

// working is the time for a run's work, whatever becomes of the client: a
// stack is not left half made because somebody hung up.
func working(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), workTime)
}

// create makes the resources of a stack that was begun.
func (r *run) create(ctx context.Context, d *draft, onFailure string) error {
	work, cancel := working(ctx)
	defer cancel()
	err := r.makeAll(work, d)
	if err == nil {
		outputs, oerr := r.outputs(d)
		if oerr == nil {
			return stopped(r.setStatus(work, CreateComplete, "", func(tx *store.Tx, n *Record) { n.Now.Outputs = outputs; done(tx, n) }))
		}
		err = oerr
	}
	if errors.Is(err, errStopped) {
		return stopped(err)
	}
	back, cancel := working(ctx)
	defer cancel()
	return stopped(r.createFailed(back, told("create", err), onFailure))
}

func (r *run) createFailed(ctx context.Context, reason, onFailure string) error {
	switch onFailure {
	case onFailureNothing:
		return r.setStatus(ctx, CreateFailed, reason, done)
	case onFailureDelete:
		if err := r.setStatus(ctx, DeleteInProgress, reason+"Delete requested by user.", nil); err != nil {
			return err
		}
		return r.deleteAll(ctx, unmade{})
	}
	if err := r.setStatus(ctx, RollbackInProgress, reason+"Rollback requested by user.", nil); err != nil {
		return err
	}
	failed, err := r.removeAll(ctx, unmade{keep: true})
	switch {
	case err != nil:
		return err
	case len(failed) > 0:
		return r.setStatus(ctx, RollbackFailed, named("delete", failed...), done)
	}
	return r.setStatus(ctx, RollbackComplete, "", done)
}
