// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package stackrun

import (
	"cmp"
	"context"
	"slices"

	"podid/internal/iam"
	"podid/internal/stack"
	"podid/internal/store"
)

const (
	maxRoleName     = 64
	defaultDuration = 3600 // seconds, of sessions
)

// role makes or changes an AWS::IAM::Role. What is to go goes first: quotas of
// attached and inline policies hold in between, and a role never has more than
// before and after together.
func (p *planner) role(t *Thing, goal *stack.Role) (*action, error) {
	if t == nil {
		return p.createRole(goal)
	}
	cur, err := have[stack.Role](t)
	if err != nil {
		return nil, err
	}
	if a := p.roleItself(t, cur, goal); a != nil {
		return a, nil
	}
	if a := p.roleTags(t, cur, goal.Tags); a != nil {
		return a, nil
	}
	return p.rolePolicies(t, cur, goal), nil
}

func (p *planner) createRole(goal *stack.Role) (*action, error) {
	name := goal.RoleName
	if name == "" {
		var err error
		if name, err = p.physicalName(maxRoleName); err != nil {
			return nil, err
		}
	}
	in := iam.CreateRoleInput{
		Path: goal.Path, Name: name, Trust: goal.AssumeRolePolicyDocument, Description: goal.Description, Boundary: goal.PermissionsBoundary,
		MaxSession: duration(goal), Tags: iamTags(goal.Tags),
	}
	return &action{
		do: func(ctx context.Context, w *worker) error {
			_, err := w.iam.CreateRole(ctx, w.who, in)
			return err
		},
		done: func(r store.Reader, _ *Thing) (*Thing, error) {
			role, ok := iam.FindRole(r, p.m.Account, name)
			if !ok {
				return nil, errNotOurs
			}
			made := *goal
			made.ManagedPolicyArns, made.Policies = nil, nil
			return withProperties(&Thing{
				Type: stack.TypeRole, Name: name, Marks: map[string]string{inRole + "/" + name: role.ID},
				Attrs: map[string]string{stack.RefAttr: name, "Arn": role.ARN(), "RoleId": role.ID},
			}, &made)
		},
	}, nil
}

func duration(r *stack.Role) *int32 {
	seconds := int32(cmp.Or(r.MaxSessionDuration, defaultDuration)) //nolint:gosec // the template's numbers have 32 bits
	return &seconds
}

// changeRole is an action on the role itself, after which change holds of its properties.
func (p *planner) changeRole(t *Thing, cur *stack.Role, do func(ctx context.Context, w *worker) error, change func(r *stack.Role)) *action {
	n := *cur
	n.ManagedPolicyArns, n.Policies, n.Tags = slices.Clone(cur.ManagedPolicyArns), slices.Clone(cur.Policies), slices.Clone(cur.Tags)
	change(&n)
	return &action{
		do: do, guard: p.samePrincipal(t, inRole+"/"+t.Name),
		done: func(_ store.Reader, t *Thing) (*Thing, error) { return withProperties(t, &n) },
	}
}

func (p *planner) roleItself(t *Thing, cur, goal *stack.Role) *action {
	switch {
	case cur.AssumeRolePolicyDocument != goal.AssumeRolePolicyDocument:
		return p.changeRole(t, cur, func(ctx context.Context, w *worker) error {
			return w.iam.UpdateAssumeRolePolicy(ctx, w.who, t.Name, goal.AssumeRolePolicyDocument)
		}, func(r *stack.Role) { r.AssumeRolePolicyDocument = goal.AssumeRolePolicyDocument })
	case cur.Description != goal.Description || *duration(cur) != *duration(goal):
		return p.changeRole(t, cur, func(ctx context.Context, w *worker) error {
			return w.iam.UpdateRole(ctx, w.who, t.Name, &goal.Description, duration(goal))
		}, func(r *stack.Role) { r.Description, r.MaxSessionDuration = goal.Description, goal.MaxSessionDuration })
	case cur.PermissionsBoundary != goal.PermissionsBoundary:
		return p.changeRole(t, cur, func(ctx context.Context, w *worker) error {
			if goal.PermissionsBoundary == "" {
				return w.iam.DeleteRolePermissionsBoundary(ctx, w.who, t.Name)
			}
			return w.iam.PutRolePermissionsBoundary(ctx, w.who, t.Name, goal.PermissionsBoundary)
		}, func(r *stack.Role) { r.PermissionsBoundary = goal.PermissionsBoundary })
	}
	return nil
}

func (p *planner) roleTags(t *Thing, cur *stack.Role, goal []stack.Tag) *action {
	set, drop := tagChanges(cur.Tags, goal, true)
	switch {
	case len(drop) > 0:
		return p.changeRole(t, cur, func(ctx context.Context, w *worker) error { return w.iam.UntagRole(ctx, w.who, t.Name, drop) }, func(r *stack.Role) {
			r.Tags = slices.DeleteFunc(r.Tags, func(x stack.Tag) bool { return slices.Contains(drop, x.Key) })
		})
	case len(set) > 0:
		return p.changeRole(t, cur, func(ctx context.Context, w *worker) error { return w.iam.TagRole(ctx, w.who, t.Name, iamTags(set)) },
			func(r *stack.Role) { r.Tags = goal })
	}
	return nil
}

func (p *planner) rolePolicies(t *Thing, cur, goal *stack.Role) *action {
	for _, x := range cur.ManagedPolicyArns {
		if !slices.Contains(goal.ManagedPolicyArns, x) {
			return p.detachFromRole(t, cur, x)
		}
	}
	for i := range cur.Policies {
		if findInline(goal.Policies, cur.Policies[i].PolicyName) == nil {
			return p.deleteFromRole(t, cur, cur.Policies[i].PolicyName)
		}
	}
	for _, x := range goal.ManagedPolicyArns {
		if !slices.Contains(cur.ManagedPolicyArns, x) {
			return p.changeRole(t, cur, func(ctx context.Context, w *worker) error { return w.iam.AttachRolePolicy(ctx, w.who, t.Name, x) },
				func(r *stack.Role) { r.ManagedPolicyArns = append(r.ManagedPolicyArns, x) })
		}
	}
	for i := range goal.Policies {
		x := *findInline(goal.Policies, goal.Policies[i].PolicyName)
		if was := findInline(cur.Policies, x.PolicyName); was != nil && was.PolicyDocument == x.PolicyDocument {
			continue
		}
		return p.changeRole(t, cur, func(ctx context.Context, w *worker) error {
			return w.iam.PutRolePolicy(ctx, w.who, t.Name, x.PolicyName, x.PolicyDocument)
		}, func(r *stack.Role) {
			r.Policies = append(slices.DeleteFunc(r.Policies, func(y stack.InlinePolicy) bool { return y.PolicyName == x.PolicyName }), x)
		})
	}
	return nil
}

// findInline returns the last policy of the name: of two, it is the one that stays.
func findInline(list []stack.InlinePolicy, name string) *stack.InlinePolicy {
	for i := len(list) - 1; i >= 0; i-- {
		if list[i].PolicyName == name {
			return &list[i]
		}
	}
	return nil
}

func (p *planner) detachFromRole(t *Thing, cur *stack.Role, policyARN string) *action {
	a := p.changeRole(t, cur, func(ctx context.Context, w *worker) error {
		return w.iam.DetachRolePolicy(ctx, w.who, t.Name, policyARN)
	},
		func(r *stack.Role) {
			r.ManagedPolicyArns = slices.DeleteFunc(r.ManagedPolicyArns, func(x string) bool { return x == policyARN })
		})
	a.gone = p.recorded(a)
	return a
}

func (p *planner) deleteFromRole(t *Thing, cur *stack.Role, name string) *action {
	a := p.changeRole(t, cur, func(ctx context.Context, w *worker) error { return w.iam.DeleteRolePolicy(ctx, w.who, t.Name, name) },
		func(r *stack.Role) {
			r.Policies = slices.DeleteFunc(r.Policies, func(x stack.InlinePolicy) bool { return x.PolicyName == name })
		})
	a.gone = p.recorded(a)
	return a
}

// recorded makes gone of done: what was to be removed from the thing is not there.
func (p *planner) recorded(a *action) func(t *Thing) *Thing {
	done := a.done
	return func(t *Thing) *Thing {
		n, err := done(nil, t)
		if err != nil {
			return t // it encoded before
		}
		return n
	}
}

// removeRole takes off what the stack has put on, and then deletes the role.
// A role on which others have put something stays, as IAM has it.
func (p *planner) removeRole(t *Thing) (*action, error) {
	cur, err := have[stack.Role](t)
	if err != nil {
		return nil, err
	}
	if p.principalID(p.view, inRole+"/"+t.Name) == t.Marks[inRole+"/"+t.Name] {
		if len(cur.ManagedPolicyArns) > 0 {
			return p.detachFromRole(t, cur, cur.ManagedPolicyArns[0]), nil
		}
		if len(cur.Policies) > 0 {
			return p.deleteFromRole(t, cur, cur.Policies[0].PolicyName), nil
		}
	}
	return &action{
		do:    func(ctx context.Context, w *worker) error { return w.iam.DeleteRole(ctx, w.who, t.Name) },
		guard: p.samePrincipal(t, inRole+"/"+t.Name),
		done:  func(store.Reader, *Thing) (*Thing, error) { return nil, nil },
		gone:  nothing,
	}, nil
}
