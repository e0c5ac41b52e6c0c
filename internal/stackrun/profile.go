// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package stackrun

import (
	"context"
	"slices"
	"strings"

	"podid/internal/iam"
	"podid/internal/stack"
	"podid/internal/store"
)

const maxProfileName = 128

// profile makes or changes an AWS::IAM::InstanceProfile.
func (p *planner) profile(t *Thing, goal *stack.InstanceProfile) (*action, error) {
	if t == nil {
		return p.createProfile(goal)
	}
	cur, err := have[stack.InstanceProfile](t)
	if err != nil {
		return nil, err
	}
	for _, x := range cur.Roles {
		if !slices.Contains(goal.Roles, x) {
			return p.takeRole(t, cur, x), nil
		}
	}
	for _, x := range goal.Roles {
		if !slices.Contains(cur.Roles, x) {
			n := *cur
			n.Roles = append(slices.Clone(cur.Roles), x)
			return &action{
				do: func(ctx context.Context, w *worker) error {
					return w.iam.AddRoleToInstanceProfile(ctx, w.who, t.Name, x)
				},
				guard: p.sameProfile(t),
				done:  func(_ store.Reader, t *Thing) (*Thing, error) { return withProperties(t, &n) },
			}, nil
		}
	}
	return settled(t, goal)
}

func (p *planner) createProfile(goal *stack.InstanceProfile) (*action, error) {
	name := goal.InstanceProfileName
	if name == "" {
		var err error
		if name, err = p.physicalName(maxProfileName); err != nil {
			return nil, err
		}
	}
	return &action{
		do: func(ctx context.Context, w *worker) error {
			_, err := w.iam.CreateInstanceProfile(ctx, w.who, goal.Path, name, nil)
			return err
		},
		done: func(r store.Reader, _ *Thing) (*Thing, error) {
			made, ok := p.findProfile(r, name)
			if !ok {
				return nil, errNotOurs
			}
			bare := *goal
			bare.Roles = nil
			return withProperties(&Thing{
				Type: stack.TypeInstanceProfile, Name: name, Marks: map[string]string{"": made.ID},
				Attrs: map[string]string{stack.RefAttr: name, "Arn": made.ARN()},
			}, &bare)
		},
	}, nil
}

func (p *planner) findProfile(r store.Reader, name string) (*iam.InstanceProfile, bool) {
	return iam.InstanceProfiles.Get(r, store.Scope{Account: p.m.Account, Region: store.Global}, strings.ToLower(name))
}

func (p *planner) sameProfile(t *Thing) func(r store.Reader) error {
	return func(r store.Reader) error {
		if x, ok := p.findProfile(r, t.Name); !ok || x.ID != t.Marks[""] {
			return errNotOurs
		}
		return nil
	}
}

func (p *planner) takeRole(t *Thing, cur *stack.InstanceProfile, role string) *action {
	n := *cur
	n.Roles = slices.DeleteFunc(slices.Clone(cur.Roles), func(x string) bool { return x == role })
	a := &action{
		do: func(ctx context.Context, w *worker) error {
			return w.iam.RemoveRoleFromInstanceProfile(ctx, w.who, t.Name, role)
		},
		guard: p.sameProfile(t),
		done:  func(_ store.Reader, t *Thing) (*Thing, error) { return withProperties(t, &n) },
	}
	a.gone = p.recorded(a)
	return a
}

func (p *planner) removeProfile(t *Thing) (*action, error) {
	cur, err := have[stack.InstanceProfile](t)
	if err != nil {
		return nil, err
	}
	if len(cur.Roles) > 0 {
		return p.takeRole(t, cur, cur.Roles[0]), nil
	}
	return &action{
		do:    func(ctx context.Context, w *worker) error { return w.iam.DeleteInstanceProfile(ctx, w.who, t.Name) },
		guard: p.sameProfile(t),
		done:  func(store.Reader, *Thing) (*Thing, error) { return nil, nil },
		gone:  nothing,
	}, nil
}
