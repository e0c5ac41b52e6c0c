// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package iam

import (
	"context"

	"podid/internal/store"
)

// AttachGroupPolicy attaches a managed policy (iam:AttachGroupPolicy).
func (m *Manager) AttachGroupPolicy(ctx context.Context, caller Caller, group, policyARN string) error {
	if err := m.checkPolicyARN(policyARN); err != nil {
		return err
	}
	return m.changeGroup(ctx, caller, "iam:AttachGroupPolicy", group, policyARNKey(policyARN), func(tx *store.Tx, g *Group) error {
		return m.attach(tx, &g.Attached, policyARN, PoliciesPerGroup)
	})
}

// DetachGroupPolicy detaches a managed policy (iam:DetachGroupPolicy).
func (m *Manager) DetachGroupPolicy(ctx context.Context, caller Caller, group, policyARN string) error {
	if err := m.checkPolicyARN(policyARN); err != nil {
		return err
	}
	return m.changeGroup(ctx, caller, "iam:DetachGroupPolicy", group, policyARNKey(policyARN), func(_ *store.Tx, g *Group) error {
		return detach(&g.Attached, policyARN)
	})
}

// ListAttachedGroupPolicies lists attachments (iam:ListAttachedGroupPolicies).
func (m *Manager) ListAttachedGroupPolicies(ctx context.Context, caller Caller, group, pathPrefix string, p Page) (Listing[AttachedPolicy], error) {
	g, err := m.group(ctx, caller, "iam:ListAttachedGroupPolicies", group)
	if err != nil {
		return Listing[AttachedPolicy]{}, err
	}
	return pageAttached("attached-group-policies", p, g.Attached, pathPrefix)
}

// PutGroupPolicy sets an inline policy (iam:PutGroupPolicy).
func (m *Manager) PutGroupPolicy(ctx context.Context, caller Caller, group, name, document string) error {
	if err := checkName("policyName", name, maxPolicyName); err != nil {
		return err
	}
	return m.changeGroup(ctx, caller, "iam:PutGroupPolicy", group, nil, func(_ *store.Tx, g *Group) error {
		if err := checkInline(document); err != nil {
			return err
		}
		return putInline(&g.Inline, "group", g.Name, name, document, m.quota(GroupPolicySize))
	})
}

// GetGroupPolicy returns an inline policy (iam:GetGroupPolicy).
func (m *Manager) GetGroupPolicy(ctx context.Context, caller Caller, group, name string) (*Group, InlinePolicy, error) {
	if err := checkName("policyName", name, maxPolicyName); err != nil {
		return nil, InlinePolicy{}, err
	}
	g, err := m.group(ctx, caller, "iam:GetGroupPolicy", group)
	if err != nil {
		return nil, InlinePolicy{}, err
	}
	p, err := getInline(g.Inline, "group", name)
	return g, p, err
}

// DeleteGroupPolicy removes an inline policy (iam:DeleteGroupPolicy).
func (m *Manager) DeleteGroupPolicy(ctx context.Context, caller Caller, group, name string) error {
	if err := checkName("policyName", name, maxPolicyName); err != nil {
		return err
	}
	return m.changeGroup(ctx, caller, "iam:DeleteGroupPolicy", group, nil, func(_ *store.Tx, g *Group) error {
		return deleteInline(&g.Inline, "group", name)
	})
}

// ListGroupPolicies lists the names of inline policies (iam:ListGroupPolicies).
func (m *Manager) ListGroupPolicies(ctx context.Context, caller Caller, group string, p Page) (Listing[string], error) {
	g, err := m.group(ctx, caller, "iam:ListGroupPolicies", group)
	if err != nil {
		return Listing[string]{}, err
	}
	return page("group-policies", p, inlineNames(g.Inline), func(s string) string { return s })
}
