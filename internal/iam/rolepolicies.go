// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package iam

import (
	"context"

	"podid/internal/store"
)

func policyARNKey(policyARN string) []ConditionKey {
	return []ConditionKey{{Name: keyPolicyARN, Values: []string{policyARN}}}
}

// AttachRolePolicy attaches a managed policy (iam:AttachRolePolicy).
func (m *Manager) AttachRolePolicy(ctx context.Context, caller Caller, role, policyARN string) error {
	if err := m.checkPolicyARN(policyARN); err != nil {
		return err
	}
	return m.changeRole(ctx, caller, "iam:AttachRolePolicy", role, policyARNKey(policyARN), func(tx *store.Tx, r *Role) error {
		return m.attach(tx, &r.Attached, policyARN, PoliciesPerRole)
	})
}

// DetachRolePolicy detaches a managed policy (iam:DetachRolePolicy).
func (m *Manager) DetachRolePolicy(ctx context.Context, caller Caller, role, policyARN string) error {
	if err := m.checkPolicyARN(policyARN); err != nil {
		return err
	}
	return m.changeRole(ctx, caller, "iam:DetachRolePolicy", role, policyARNKey(policyARN), func(_ *store.Tx, r *Role) error {
		return detach(&r.Attached, policyARN)
	})
}

// ListAttachedRolePolicies lists attachments (iam:ListAttachedRolePolicies).
func (m *Manager) ListAttachedRolePolicies(ctx context.Context, caller Caller, role, pathPrefix string, p Page) (Listing[AttachedPolicy], error) {
	r, err := m.role(ctx, caller, "iam:ListAttachedRolePolicies", role)
	if err != nil {
		return Listing[AttachedPolicy]{}, err
	}
	return pageAttached("attached-role-policies", p, r.Attached, pathPrefix)
}

// PutRolePolicy sets an inline policy (iam:PutRolePolicy).
func (m *Manager) PutRolePolicy(ctx context.Context, caller Caller, role, name, document string) error {
	if err := checkName("policyName", name, maxPolicyName); err != nil {
		return err
	}
	return m.changeRole(ctx, caller, "iam:PutRolePolicy", role, nil, func(_ *store.Tx, r *Role) error {
		if err := checkInline(document); err != nil {
			return err
		}
		return putInline(&r.Inline, "role", r.Name, name, document, m.quota(RolePolicySize))
	})
}

// GetRolePolicy returns an inline policy (iam:GetRolePolicy).
func (m *Manager) GetRolePolicy(ctx context.Context, caller Caller, role, name string) (*Role, InlinePolicy, error) {
	if err := checkName("policyName", name, maxPolicyName); err != nil {
		return nil, InlinePolicy{}, err
	}
	r, err := m.role(ctx, caller, "iam:GetRolePolicy", role)
	if err != nil {
		return nil, InlinePolicy{}, err
	}
	p, err := getInline(r.Inline, "role", name)
	return r, p, err
}

// DeleteRolePolicy removes an inline policy (iam:DeleteRolePolicy).
func (m *Manager) DeleteRolePolicy(ctx context.Context, caller Caller, role, name string) error {
	if err := checkName("policyName", name, maxPolicyName); err != nil {
		return err
	}
	return m.changeRole(ctx, caller, "iam:DeleteRolePolicy", role, nil, func(_ *store.Tx, r *Role) error {
		return deleteInline(&r.Inline, "role", name)
	})
}

// ListRolePolicies lists the names of inline policies (iam:ListRolePolicies).
func (m *Manager) ListRolePolicies(ctx context.Context, caller Caller, role string, p Page) (Listing[string], error) {
	r, err := m.role(ctx, caller, "iam:ListRolePolicies", role)
	if err != nil {
		return Listing[string]{}, err
	}
	return page("role-policies", p, inlineNames(r.Inline), func(s string) string { return s })
}

// PutRolePermissionsBoundary sets the boundary
// (iam:PutRolePermissionsBoundary).
func (m *Manager) PutRolePermissionsBoundary(ctx context.Context, caller Caller, role, policyARN string) error {
	if err := m.checkPolicyARN(policyARN); err != nil {
		return err
	}
	keys := []ConditionKey{{Name: keyBoundary, Values: []string{policyARN}}}
	return m.changeRole(ctx, caller, "iam:PutRolePermissionsBoundary", role, keys, func(tx *store.Tx, r *Role) error {
		r.Boundary = policyARN
		return m.requirePolicy(tx, policyARN)
	})
}

// DeleteRolePermissionsBoundary removes the boundary; there may be none
// (iam:DeleteRolePermissionsBoundary).
func (m *Manager) DeleteRolePermissionsBoundary(ctx context.Context, caller Caller, role string) error {
	return m.changeRole(ctx, caller, "iam:DeleteRolePermissionsBoundary", role, nil, func(_ *store.Tx, r *Role) error {
		r.Boundary = ""
		return nil
	})
}
