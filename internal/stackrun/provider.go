// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package stackrun

import (
	"context"
	"slices"

	"podid/internal/iam"
	"podid/internal/stack"
	"podid/internal/store"
)

// provider makes or changes an AWS::IAM::OIDCProvider.
func (p *planner) provider(t *Thing, goal *stack.OIDCProvider) (*action, error) {
	if t == nil {
		return p.createProvider(goal), nil
	}
	cur, err := have[stack.OIDCProvider](t)
	if err != nil {
		return nil, err
	}
	if a := p.providerLists(t, cur, goal); a != nil {
		return a, nil
	}
	set, drop := tagChanges(cur.Tags, goal.Tags, true)
	switch {
	case len(drop) > 0:
		return p.changeProvider(t, cur, func(ctx context.Context, w *worker) error { return w.iam.UntagOIDCProvider(ctx, w.who, t.Name, drop) },
			func(n *stack.OIDCProvider) {
				n.Tags = slices.DeleteFunc(slices.Clone(n.Tags), func(x stack.Tag) bool { return slices.Contains(drop, x.Key) })
			}), nil
	case len(set) > 0:
		return p.changeProvider(t, cur, func(ctx context.Context, w *worker) error {
			return w.iam.TagOIDCProvider(ctx, w.who, t.Name, iamTags(set))
		},
			func(n *stack.OIDCProvider) { n.Tags = goal.Tags }), nil
	}
	return settled(t, goal)
}

func (p *planner) providerLists(t *Thing, cur, goal *stack.OIDCProvider) *action {
	for _, x := range cur.ClientIdList {
		if !slices.Contains(goal.ClientIdList, x) {
			return p.changeProvider(t, cur, func(ctx context.Context, w *worker) error { return w.iam.RemoveClientID(ctx, w.who, t.Name, x) },
				func(n *stack.OIDCProvider) {
					n.ClientIdList = slices.DeleteFunc(slices.Clone(n.ClientIdList), func(y string) bool { return x == y })
				})
		}
	}
	for _, x := range goal.ClientIdList {
		if !slices.Contains(cur.ClientIdList, x) {
			return p.changeProvider(t, cur, func(ctx context.Context, w *worker) error { return w.iam.AddClientID(ctx, w.who, t.Name, x) },
				func(n *stack.OIDCProvider) { n.ClientIdList = append(slices.Clone(n.ClientIdList), x) })
		}
	}
	if !slices.Equal(cur.ThumbprintList, goal.ThumbprintList) {
		return p.changeProvider(t, cur, func(ctx context.Context, w *worker) error {
			return w.iam.UpdateOIDCThumbprints(ctx, w.who, t.Name, goal.ThumbprintList)
		}, func(n *stack.OIDCProvider) { n.ThumbprintList = goal.ThumbprintList })
	}
	return nil
}

func (p *planner) createProvider(goal *stack.OIDCProvider) *action {
	in := iam.CreateProviderInput{URL: goal.Url, ClientIDs: goal.ClientIdList, Thumbprints: goal.ThumbprintList, Tags: iamTags(goal.Tags)}
	return &action{
		do: func(ctx context.Context, w *worker) error {
			_, err := w.iam.CreateOIDCProvider(ctx, w.who, in)
			return err
		},
		done: func(r store.Reader, _ *Thing) (*Thing, error) {
			made, ok := iam.FindOIDCProvider(r, p.m.Account, goal.Url)
			if !ok {
				return nil, errNotOurs
			}
			return withProperties(&Thing{
				Type: stack.TypeOIDCProvider, Name: made.ARN(), Marks: map[string]string{"": made.ID},
				Attrs: map[string]string{stack.RefAttr: made.ARN(), "Arn": made.ARN()},
			}, goal)
		},
	}
}

func (p *planner) sameProvider(t *Thing) func(r store.Reader) error {
	return func(r store.Reader) error {
		cur, err := have[stack.OIDCProvider](t)
		if err != nil {
			return err
		}
		if x, ok := iam.FindOIDCProvider(r, p.m.Account, cur.Url); !ok || x.ID != t.Marks[""] {
			return errNotOurs
		}
		return nil
	}
}

func (p *planner) changeProvider(t *Thing, cur *stack.OIDCProvider, do func(ctx context.Context, w *worker) error, change func(n *stack.OIDCProvider)) *action {
	n := *cur
	change(&n)
	return &action{do: do, guard: p.sameProvider(t), done: func(_ store.Reader, t *Thing) (*Thing, error) { return withProperties(t, &n) }}
}

func (p *planner) removeProvider(t *Thing) *action {
	return &action{
		do:    func(ctx context.Context, w *worker) error { return w.iam.DeleteOIDCProvider(ctx, w.who, t.Name) },
		guard: p.sameProvider(t),
		done:  func(store.Reader, *Thing) (*Thing, error) { return nil, nil },
		gone:  nothing,
	}
}
