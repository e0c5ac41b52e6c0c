// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package stackrun

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"podid/internal/iam"
	"podid/internal/stack"
	"podid/internal/store"
)

const (
	maxPolicyName     = 128
	versionsPerPolicy = 5
)

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// managedPolicy makes or changes an AWS::IAM::ManagedPolicy: a policy and its
// attachments, which are parts of the thing.
func (p *planner) managedPolicy(t *Thing, goal *stack.ManagedPolicy) (*action, error) {
	if t == nil {
		return p.createManagedPolicy(goal)
	}
	cur, err := have[stack.ManagedPolicy](t)
	if err != nil {
		return nil, err
	}
	if cur.PolicyDocument != goal.PolicyDocument {
		return p.newVersion(t, cur, goal.PolicyDocument), nil
	}
	want := principals(goal.Roles, goal.Users, goal.Groups)
	for _, key := range sortedKeys(t.Parts) {
		if !slices.Contains(want, key) {
			return p.detachPart(t, key), nil
		}
	}
	for _, key := range want {
		if _, ok := t.Parts[key]; !ok {
			return p.attachPart(t, key), nil
		}
	}
	return settled(t, goal)
}

func (p *planner) createManagedPolicy(goal *stack.ManagedPolicy) (*action, error) {
	name := goal.ManagedPolicyName
	if name == "" {
		var err error
		if name, err = p.physicalName(maxPolicyName); err != nil {
			return nil, err
		}
	}
	in := iam.CreatePolicyInput{Path: goal.Path, Name: name, Document: goal.PolicyDocument, Description: goal.Description}
	return &action{
		do: func(ctx context.Context, w *worker) error {
			_, err := w.iam.CreatePolicy(ctx, w.who, in)
			return err
		},
		done: func(r store.Reader, _ *Thing) (*Thing, error) {
			made, ok := iam.Policies.Get(r, store.Scope{Account: p.m.Account, Region: store.Global}, strings.ToLower(name))
			if !ok {
				return nil, errNotOurs
			}
			bare := *goal
			bare.Roles, bare.Users, bare.Groups = nil, nil, nil
			t := &Thing{Type: stack.TypeManagedPolicy, Name: made.ARN(), Marks: map[string]string{"": made.ID}, Parts: map[string]string{}}
			t.describe(made)
			return withProperties(t, &bare)
		},
	}, nil
}

// describe sets the attributes of a managed policy.
func (t *Thing) describe(x *iam.Policy) {
	t.Attrs = map[string]string{
		stack.RefAttr: x.ARN(), "PolicyArn": x.ARN(), "PolicyId": x.ID, "DefaultVersionId": x.Default, "IsAttachable": "true",
		"AttachmentCount": strconv.Itoa(len(t.Parts)), "PermissionsBoundaryUsageCount": "0",
		"CreateDate": x.Created.UTC().Format(time.RFC3339), "UpdateDate": x.Updated.UTC().Format(time.RFC3339),
	}
}

// samePolicy guards changes of the policy that the stack has made.
func (p *planner) samePolicy(t *Thing) func(r store.Reader) error {
	return func(r store.Reader) error {
		if x, ok := iam.FindPolicy(r, p.m.Account, t.Name); !ok || x.ID != t.Marks[""] {
			return errNotOurs
		}
		return nil
	}
}

// refreshed is done for what changes the policy as change says.
func (p *planner) refreshed(change func(n *Thing) error) func(r store.Reader, t *Thing) (*Thing, error) {
	return func(r store.Reader, t *Thing) (*Thing, error) {
		n := t.clone()
		if err := change(n); err != nil {
			return nil, err
		}
		if x, ok := iam.FindPolicy(r, p.m.Account, t.Name); ok {
			n.describe(x)
		}
		return n, nil
	}
}

// newVersion puts a document in force; of five versions the oldest goes first,
// as with CloudFormation.
func (p *planner) newVersion(t *Thing, cur *stack.ManagedPolicy, document string) *action {
	if x, ok := iam.FindPolicy(p.view, p.m.Account, t.Name); ok && len(x.Versions) >= versionsPerPolicy {
		if old := spare(x); old != "" {
			return p.deleteVersion(t, old)
		}
	}
	return &action{
		do: func(ctx context.Context, w *worker) error {
			_, err := w.iam.CreatePolicyVersion(ctx, w.who, t.Name, document, true)
			return err
		},
		guard: p.samePolicy(t),
		done: p.refreshed(func(n *Thing) (err error) {
			is := *cur
			is.PolicyDocument = document
			n.Properties, err = encodeProperties(&is)
			return err
		}),
	}
}

// spare is the oldest version that is not in force, "" for none.
func spare(x *iam.Policy) string {
	for _, v := range x.Versions {
		if v.ID != x.Default {
			return v.ID
		}
	}
	return ""
}

func (p *planner) deleteVersion(t *Thing, version string) *action {
	return &action{
		do: func(ctx context.Context, w *worker) error {
			return w.iam.DeletePolicyVersion(ctx, w.who, t.Name, version)
		},
		guard: p.samePolicy(t),
		done:  p.refreshed(func(*Thing) error { return nil }),
	}
}

func (p *planner) attachPart(t *Thing, key string) *action {
	kind, name, _ := strings.Cut(key, "/")
	return &action{
		do: func(ctx context.Context, w *worker) error {
			verb := ofKind(kind, w.iam.AttachUserPolicy, w.iam.AttachGroupPolicy, w.iam.AttachRolePolicy)
			return verb(ctx, w.who, name, t.Name)
		},
		guard: p.samePolicy(t),
		done: func(r store.Reader, t *Thing) (*Thing, error) {
			return p.refreshed(func(n *Thing) error { n.set(key, "", p.principalID(r, key)); return nil })(r, t)
		},
	}
}

func (p *planner) detachPart(t *Thing, key string) *action {
	kind, name, _ := strings.Cut(key, "/")
	return &action{
		do: func(ctx context.Context, w *worker) error {
			verb := ofKind(kind, w.iam.DetachUserPolicy, w.iam.DetachGroupPolicy, w.iam.DetachRolePolicy)
			return verb(ctx, w.who, name, t.Name)
		},
		guard: p.samePrincipal(t, key),
		done: p.refreshed(func(n *Thing) error {
			delete(n.Parts, key)
			delete(n.Marks, key)
			return nil
		}),
		gone: withoutPart(key),
	}
}

func (p *planner) removeManagedPolicy(t *Thing) *action {
	if keys := sortedKeys(t.Parts); len(keys) > 0 {
		return p.detachPart(t, keys[len(keys)-1])
	}
	if x, ok := iam.FindPolicy(p.view, p.m.Account, t.Name); ok && x.ID == t.Marks[""] {
		if old := spare(x); old != "" {
			return p.deleteVersion(t, old)
		}
	}
	return &action{
		do:    func(ctx context.Context, w *worker) error { return w.iam.DeletePolicy(ctx, w.who, t.Name) },
		guard: p.samePolicy(t),
		done:  func(store.Reader, *Thing) (*Thing, error) { return nil, nil },
		gone:  nothing,
	}
}
