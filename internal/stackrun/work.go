// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package stackrun

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"podid/internal/fault"
	"podid/internal/stack"
	"podid/internal/store"
)

// failure is why a resource could not be made, changed or removed.
type failure struct {
	id  string
	err error
}

func (f *failure) Error() string { return f.id + ": " + f.err.Error() }

func (f *failure) Unwrap() error { return f.err }

// because is a failure in the form of CloudFormation's events. What is not
// meant for callers is not in it.
func because(err error) string {
	f := fault.As(err)
	message, code := f.Message, "InvalidRequest"
	switch f.Kind {
	case fault.AlreadyExists:
		code = "AlreadyExists"
	case fault.NotFound:
		code = "NotFound"
	case fault.AccessDenied:
		code = "AccessDenied"
	case fault.LimitExceeded:
		code = "ServiceLimitExceeded"
	case fault.DeleteConflict:
		code = "ResourceConflict"
	case fault.Unavailable, fault.Throttled:
		code = "ServiceInternalError"
	case fault.Internal:
		message, code = "Internal error.", "InternalFailure"
		if errors.Is(err, errNotOurs) {
			message, code = "What has the resource's name is not what this stack has made.", "NotFound"
		}
	}
	return fmt.Sprintf("Resource handler returned message: %q (HandlerErrorCode: %s)", message, code)
}

// attrs are those of the resources that there are.
func (r *run) attrs(id, attr string) (string, bool) {
	res := r.get(id)
	if res == nil || res.Live == nil {
		return "", false
	}
	v, ok := res.Live.Attrs[attr]
	return v, ok
}

// order returns the resources, each after those that it depends on or has
// depended on before the change, as far as there is no circle.
func (r *run) order() []string {
	var out []string
	seen := map[string]bool{}
	var visit func(id string)
	visit = func(id string) {
		res := r.get(id)
		if res == nil || seen[id] {
			return
		}
		seen[id] = true
		for _, on := range res.Dependencies {
			visit(on)
		}
		if res.WasMeta != nil {
			for _, on := range res.WasMeta.Dependencies {
				visit(on)
			}
		}
		out = append(out, id)
	}
	for _, id := range r.all() {
		visit(id)
	}
	return out
}

// makeAll makes and changes resources as the draft says, in its order, up to
// the first that fails.
func (r *run) makeAll(ctx context.Context, d *draft) error {
	for _, plan := range d.bound.Order() {
		if err := r.apply(ctx, d, plan); err != nil {
			return err
		}
		if err := r.flush(ctx); err != nil {
			return err
		}
	}
	return nil
}

// meta takes over what the template says about a resource beside its
// properties, and reports whether that is new.
func (r *Resource) meta(plan stack.Resource) bool {
	was := Resource{Dependencies: r.Dependencies, OnDelete: r.OnDelete, OnReplace: r.OnReplace}
	if slices.Equal(was.Dependencies, plan.Dependencies) && was.OnDelete == plan.DeletionPolicy && was.OnReplace == plan.UpdateReplacePolicy {
		return false
	}
	r.WasMeta = &was
	r.Dependencies, r.OnDelete, r.OnReplace = plan.Dependencies, plan.DeletionPolicy, plan.UpdateReplacePolicy
	return true
}

// apply makes or changes one resource.
func (r *run) apply(ctx context.Context, d *draft, plan stack.Resource) error {
	id := plan.LogicalID
	res := r.get(id)
	if res == nil {
		res = &Resource{LogicalID: id, Type: plan.Type}
	}
	res = res.clone()
	res.Type = plan.Type // what an earlier update could not remove may be of another
	res.join(r.rec.Change)
	changed := res.meta(plan)
	goal, err := goalOf(d.bound, id, r.attrs, d.version.Tags)
	if res.Live == nil {
		res.Fresh, res.LastKnown, res.WasMeta = true, "", nil
		r.stage(id, res)
		r.mark(id, CreateInProgress, "")
		if err == nil {
			err = r.settle(ctx, id, live(), goal)
		}
		return r.concluded(id, CreateComplete, CreateFailed, err)
	}
	var u stack.Update
	if err == nil {
		u, err = r.compare(res.Live, goal)
	}
	if err == nil && len(u.Changed) == 0 {
		if changed {
			r.stage(id, res)
		}
		return nil
	}
	reason := ""
	if err == nil && u.Replace {
		reason = "Requested update requires the creation of a new physical resource; hence creating one."
		res.Former, res.Live = res.Live, nil
	} else {
		res.Before = res.Live.Properties
	}
	r.stage(id, res)
	r.mark(id, UpdateInProgress, reason)
	if err == nil {
		err = r.settle(ctx, id, live(), goal)
	}
	return r.concluded(id, UpdateComplete, UpdateFailed, err)
}

// compare says what has to change; a replacement under a name that is given
// and taken is refused.
func (r *run) compare(t *Thing, goal stack.Properties) (stack.Update, error) {
	cur, err := stack.DecodeProperties(t.Type, t.Properties)
	if err != nil {
		return stack.Update{}, err
	}
	u := stack.Compare(cur, goal)
	if !u.Replace {
		return u, nil
	}
	_, was := explicitName(cur)
	if _, is := explicitName(goal); is != "" && strings.EqualFold(is, was) {
		return u, invalid("custom-name", "CloudFormation cannot update a stack when a custom-named resource requires replacing. Rename %s and update the stack again.", is)
	}
	return u, nil
}

// concluded marks how work on a resource has ended.
func (r *run) concluded(id string, good, bad Status, err error) error {
	if err == nil {
		r.mark(id, good, "")
		return nil
	}
	if errors.Is(err, errStopped) {
		return err
	}
	r.mark(id, bad, because(err))
	return &failure{id, err}
}

// outputs are the stack's, as they are shown.
func (r *run) outputs(d *draft) ([]stack.Output, error) {
	out, err := d.bound.Outputs(r.attrs)
	size := 0
	for i := range out {
		out[i].Value = maskedOutput(out[i].Value, r.secrets)
		size += len(out[i].Key) + len(out[i].Value) + len(out[i].Description) + len(out[i].ExportName)
	}
	if size > maxOutputs {
		return nil, invalid("outputs-too-large", "The outputs have %d bytes, which is more than the limit of %d for all of them.", size, maxOutputs)
	}
	return out, err
}

// unmade is how removeAll treats resources.
type unmade struct {
	keep   bool            // the records stay, of what is rolled back
	retain map[string]bool // logical ids whose resources stay
	force  bool            // what cannot be removed stays
}

// removeAll removes the resources, those that depend on others first, and goes
// on after a failure with what nothing that is left depends on. It returns the
// logical ids of those that could not be removed.
func (r *run) removeAll(ctx context.Context, how unmade) (failed []string, err error) {
	needed := map[string]bool{}
	for _, id := range slices.Backward(r.order()) {
		if !needed[id] {
			if err = r.unmake(ctx, id, how); err == nil {
				if err := r.flush(ctx); err != nil {
					return nil, err
				}
				continue
			}
			if errors.Is(err, errStopped) {
				return nil, err
			}
			failed = append(failed, id)
		}
		for _, on := range r.get(id).Dependencies {
			needed[on] = true
		}
	}
	slices.Sort(failed)
	return failed, nil
}

// unmake removes one resource and what it has left behind.
func (r *run) unmake(ctx context.Context, id string, how unmade) error {
	res := r.get(id).clone()
	if res.Former != nil {
		res.Left, res.Former = append(res.Left, res.Former), nil
		r.stage(id, res)
	}
	retain := res.Live != nil && (how.retain[id] || res.OnDelete == stack.Retain)
	end := DeleteComplete
	var err error
	if res.Live != nil || len(res.Left) > 0 {
		if !retain {
			r.mark(id, DeleteInProgress, "")
		}
		err = r.removeLeft(ctx, id, 0)
		switch {
		case err != nil:
		case retain:
			end = DeleteSkipped
			n := r.get(id).clone()
			live().set(n, nil)
			r.stage(id, n)
		default:
			err = r.settle(ctx, id, live(), nil)
		}
		if errors.Is(err, errStopped) {
			return err
		}
		if err != nil {
			if r.mark(id, DeleteFailed, because(err)); !how.force {
				return err
			}
			end = DeleteSkipped
		}
		r.mark(id, end, "")
	}
	if how.keep {
		return nil
	}
	r.drop(id)
	return nil
}

// drop removes a resource's record and keeps what is to be said of it.
func (r *run) drop(id string) {
	res := r.get(id)
	r.gone = append(r.gone, GoneResource{LogicalID: id, PhysicalID: res.physicalID(), Type: res.Type, Status: res.Status, Updated: res.Updated})
	r.stage(id, nil)
}

// removeLeft removes what a resource has left behind, as much as can be. The
// error is the first failure of those that oldest or later changes have made.
func (r *run) removeLeft(ctx context.Context, id string, oldest int) error {
	var failed error
	for _, t := range r.get(id).Left {
		r.note(id, t, DeleteInProgress, "")
		err := r.settle(ctx, id, left(t.Attrs[stack.RefAttr]), nil)
		switch {
		case errors.Is(err, errStopped):
			return err
		case err == nil:
			r.note(id, t, DeleteComplete, "")
			continue
		}
		r.note(id, t, DeleteFailed, because(err))
		if failed == nil && t.Made >= oldest {
			failed = err
		}
	}
	return failed
}

// note is an event about a thing of a resource that does not stand for it.
func (r *run) note(id string, t *Thing, s Status, reason string) {
	r.events = append(r.events, Event{
		LogicalID: id, PhysicalID: t.Attrs[stack.RefAttr], Type: t.Type, Status: s, Reason: cut(masked(reason, r.secrets)), Token: r.token, Time: r.m.now(),
	})
}

// named lists what failed, as the reasons of stacks do.
func named(verb string, ids ...string) string {
	return "The following resource(s) failed to " + verb + ": [" + strings.Join(ids, ", ") + "]. "
}

// failedIn is the logical id in a failure, "" when it was none of a resource's.
func failedIn(err error) string {
	var f *failure
	if errors.As(err, &f) {
		return f.id
	}
	return ""
}

// told is why a stack's change has failed.
func told(verb string, err error) string {
	if id := failedIn(err); id != "" {
		return named(verb, id)
	}
	return fault.As(err).Message
}

// forget removes the texts of templates.
func (m *Manager) forget(tx *store.Tx, uid string, ids ...string) {
	for _, id := range ids {
		Templates.Delete(tx, m.scope(), uid+"/"+id)
	}
}
