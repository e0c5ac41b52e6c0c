// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package stackrun

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"

	"podid/internal/fault"
	"podid/internal/stack"
	"podid/internal/store"
)

// policy makes or changes an AWS::IAM::Policy: an inline policy of several
// roles, users and groups, each of which is a part of the thing. A part that
// is there already is somebody else's, and is refused.
func (p *planner) policy(t *Thing, goal *stack.Policy) (*action, error) {
	if t == nil {
		return p.beginPolicy(goal)
	}
	want := principals(goal.Roles, goal.Users, goal.Groups)
	for _, key := range sortedKeys(t.Parts) {
		if !slices.Contains(want, key) {
			return p.deletePart(t, key), nil
		}
	}
	for _, key := range want {
		if t.Parts[key] != digest(goal.PolicyDocument) {
			return p.putPart(t, key, goal.PolicyDocument), nil
		}
	}
	return settled(t, goal)
}

// digest stands for a document in the record, once for each of many principals.
func digest(document string) string {
	sum := sha256.Sum256([]byte(document))
	return hex.EncodeToString(sum[:])
}

// settled records the goal's properties once everything is as they say.
func settled(t *Thing, goal stack.Properties) (*action, error) {
	n, err := withProperties(t, goal)
	if err != nil || string(n.Properties) == string(t.Properties) {
		return nil, err
	}
	return recording(func(*Thing) *Thing { return n }), nil
}

// beginPolicy names the policy; nothing of it is in IAM yet.
func (p *planner) beginPolicy(goal *stack.Policy) (*action, error) {
	id, err := p.physicalName(maxRoleName)
	if err != nil {
		return nil, err
	}
	t, err := withProperties(&Thing{
		Type: stack.TypePolicy, Name: goal.PolicyName, Parts: map[string]string{}, Marks: map[string]string{}, Attrs: map[string]string{stack.RefAttr: id, "Id": id},
	}, goal)
	if err != nil {
		return nil, err
	}
	return recording(func(*Thing) *Thing { return t }), nil
}

// ofKind is the verb for the kind of principal that a part of a policy is in.
func ofKind[V any](kind string, user, group, role V) V {
	switch kind {
	case inUser:
		return user
	case inGroup:
		return group
	}
	return role
}

func (p *planner) putPart(t *Thing, key, document string) *action {
	kind, name, _ := strings.Cut(key, "/")
	_, ours := t.Parts[key]
	a := &action{
		do: func(ctx context.Context, w *worker) error {
			verb := ofKind(kind, w.iam.PutUserPolicy, w.iam.PutGroupPolicy, w.iam.PutRolePolicy)
			return verb(ctx, w.who, name, t.Name, document)
		},
		guard: func(r store.Reader) error {
			if p.inlineOf(r, key, t.Name) {
				return fault.New(fault.AlreadyExists, "The %s %s has a policy with name %s already.", kind, name, t.Name).WithReason("policy-exists")
			}
			return nil
		},
		done: func(r store.Reader, t *Thing) (*Thing, error) {
			n := t.clone()
			n.set(key, digest(document), p.principalID(r, key))
			return n, nil
		},
	}
	if ours {
		a.guard, a.gone = p.samePrincipal(t, key), withoutPart(key)
	}
	return a
}

func (p *planner) deletePart(t *Thing, key string) *action {
	kind, name, _ := strings.Cut(key, "/")
	return &action{
		do: func(ctx context.Context, w *worker) error {
			verb := ofKind(kind, w.iam.DeleteUserPolicy, w.iam.DeleteGroupPolicy, w.iam.DeleteRolePolicy)
			return verb(ctx, w.who, name, t.Name)
		},
		guard: p.samePrincipal(t, key),
		done:  func(_ store.Reader, t *Thing) (*Thing, error) { return withoutPart(key)(t), nil },
		gone:  withoutPart(key),
	}
}

// set makes a part of the thing, in the principal with the unique id.
func (t *Thing) set(key, part, principalID string) {
	if t.Parts == nil {
		t.Parts = map[string]string{}
	}
	if t.Marks == nil {
		t.Marks = map[string]string{}
	}
	t.Parts[key], t.Marks[key] = part, principalID
}

func withoutPart(key string) func(t *Thing) *Thing {
	return func(t *Thing) *Thing {
		n := t.clone()
		delete(n.Parts, key)
		delete(n.Marks, key)
		return n
	}
}

func (p *planner) removePolicy(t *Thing) *action {
	if keys := sortedKeys(t.Parts); len(keys) > 0 {
		return p.deletePart(t, keys[len(keys)-1])
	}
	return recording(nothing)
}
