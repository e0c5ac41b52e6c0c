// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package stackrun

import (
	"context"
	"slices"

	"podid/internal/association"
	"podid/internal/cluster"
	"podid/internal/stack"
	"podid/internal/store"
)

// association makes or changes an AWS::EKS::PodIdentityAssociation.
func (p *planner) association(t *Thing, goal *stack.PodIdentityAssociation) (*action, error) {
	if t == nil {
		return p.createAssociation(goal), nil
	}
	cur, err := have[stack.PodIdentityAssociation](t)
	if err != nil {
		return nil, err
	}
	if a := p.updateAssociation(t, cur, goal); a != nil {
		return a, nil
	}
	set, drop := tagChanges(cur.Tags, goal.Tags, false)
	switch {
	case len(drop) > 0:
		n := *cur
		n.Tags = slices.DeleteFunc(slices.Clone(cur.Tags), func(x stack.Tag) bool { return slices.Contains(drop, x.Key) })
		return p.changeAssociation(&n, func(ctx context.Context, w *worker) error {
			return w.associations.Untag(ctx, w.who, t.Cluster, t.Name, drop)
		}), nil
	case len(set) > 0:
		n := *cur
		n.Tags = goal.Tags
		return p.changeAssociation(&n, func(ctx context.Context, w *worker) error {
			return w.associations.Tag(ctx, w.who, t.Cluster, t.Name, tagMap(set))
		}), nil
	}
	return settled(t, goal)
}

func tagMap(tags []stack.Tag) map[string]string {
	out := map[string]string{}
	for _, t := range tags {
		out[t.Key] = t.Value
	}
	return out
}

func (p *planner) createAssociation(goal *stack.PodIdentityAssociation) *action {
	in := association.CreateInput{
		Cluster: goal.ClusterName, Namespace: goal.Namespace, ServiceAccount: goal.ServiceAccount, RoleARN: goal.RoleArn, TargetRoleARN: goal.TargetRoleArn,
		Policy: goal.Policy, DisableSessionTags: isTrue(goal.DisableSessionTags), Tags: tagMap(goal.Tags),
	}
	return &action{
		do: func(ctx context.Context, w *worker) error {
			_, err := w.associations.Create(ctx, w.who, in)
			return err
		},
		done: func(r store.Reader, _ *Thing) (*Thing, error) {
			made, ok := p.findAssociation(r, goal)
			if !ok {
				return nil, errNotOurs
			}
			t := &Thing{Type: stack.TypePodIdentityAssociation, Name: made.ID, Cluster: made.ClusterName}
			t.describeAssociation(made)
			return withProperties(t, goal)
		},
	}
}

func (p *planner) findAssociation(r store.Reader, of *stack.PodIdentityAssociation) (*association.Association, bool) {
	c, ok := cluster.Clusters.Get(r, p.m.scope(), of.ClusterName)
	if !ok {
		return nil, false
	}
	return association.Find(r, p.m.scope(), c.UID, of.Namespace, of.ServiceAccount)
}

// describeAssociation sets the attributes of an association.
func (t *Thing) describeAssociation(a *association.Association) {
	t.Attrs = map[string]string{stack.RefAttr: a.ARN, "AssociationArn": a.ARN, "AssociationId": a.ID, "ExternalId": a.ExternalID}
}

func isTrue(b *bool) bool { return b != nil && *b }

// changeAssociation is an action after which the association has the properties is.
func (p *planner) changeAssociation(is *stack.PodIdentityAssociation, do func(ctx context.Context, w *worker) error) *action {
	return &action{do: do, done: func(r store.Reader, t *Thing) (*Thing, error) {
		n, err := withProperties(t, is)
		if err != nil {
			return nil, err
		}
		if a, ok := p.findAssociation(r, is); ok && a.ID == t.Name {
			n.describeAssociation(a)
		}
		return n, nil
	}}
}

// updateAssociation changes role, target role, policy and session tags in one
// call. A role is named only when it is another: naming it asks for iam:PassRole.
func (p *planner) updateAssociation(t *Thing, cur, goal *stack.PodIdentityAssociation) *action {
	in := association.UpdateInput{Cluster: t.Cluster, ID: t.Name}
	changed := false
	for _, x := range []struct {
		have, goal string
		set        **string
	}{{cur.RoleArn, goal.RoleArn, &in.RoleARN}, {cur.TargetRoleArn, goal.TargetRoleArn, &in.TargetRoleARN}, {cur.Policy, goal.Policy, &in.Policy}} {
		if x.have != x.goal {
			*x.set, changed = &x.goal, true
		}
	}
	if off := isTrue(goal.DisableSessionTags); off != isTrue(cur.DisableSessionTags) {
		in.DisableSessionTags, changed = &off, true
	}
	if !changed {
		return nil
	}
	n := *goal
	n.Tags = cur.Tags
	return p.changeAssociation(&n, func(ctx context.Context, w *worker) error {
		_, err := w.associations.Update(ctx, w.who, in)
		return err
	})
}

func (p *planner) removeAssociation(t *Thing) *action {
	return &action{
		do: func(ctx context.Context, w *worker) error {
			_, err := w.associations.Delete(ctx, w.who, t.Cluster, t.Name)
			return err
		},
		done: func(store.Reader, *Thing) (*Thing, error) { return nil, nil },
		gone: nothing,
	}
}
