// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package iam

import (
	"context"

	"podid/internal/store"
)

// AttachUserPolicy attaches a managed policy (iam:AttachUserPolicy).
func (m *Manager) AttachUserPolicy(ctx context.Context, caller Caller, user, policyARN string) error {
	if err := m.checkPolicyARN(policyARN); err != nil {
		return err
	}
	return m.changeUser(ctx, caller, "iam:AttachUserPolicy", user, policyARNKey(policyARN), func(tx *store.Tx, u *User) error {
		return m.attach(tx, &u.Attached, policyARN, PoliciesPerUser)
	})
}

// DetachUserPolicy detaches a managed policy (iam:DetachUserPolicy).
func (m *Manager) DetachUserPolicy(ctx context.Context, caller Caller, user, policyARN string) error {
	if err := m.checkPolicyARN(policyARN); err != nil {
		return err
	}
	return m.changeUser(ctx, caller, "iam:DetachUserPolicy", user, policyARNKey(policyARN), func(_ *store.Tx, u *User) error {
		return detach(&u.Attached, policyARN)
	})
}

// ListAttachedUserPolicies lists attachments (iam:ListAttachedUserPolicies).
func (m *Manager) ListAttachedUserPolicies(ctx context.Context, caller Caller, user, pathPrefix string, p Page) (Listing[AttachedPolicy], error) {
	u, err := m.user(ctx, caller, "iam:ListAttachedUserPolicies", user)
	if err != nil {
		return Listing[AttachedPolicy]{}, err
	}
	return pageAttached("attached-user-policies", p, u.Attached, pathPrefix)
}

// PutUserPolicy sets an inline policy (iam:PutUserPolicy).
func (m *Manager) PutUserPolicy(ctx context.Context, caller Caller, user, name, document string) error {
	if err := checkName("policyName", name, maxPolicyName); err != nil {
		return err
	}
	return m.changeUser(ctx, caller, "iam:PutUserPolicy", user, nil, func(_ *store.Tx, u *User) error {
		if err := checkInline(document); err != nil {
			return err
		}
		return putInline(&u.Inline, "user", u.Name, name, document, m.quota(UserPolicySize))
	})
}

// GetUserPolicy returns an inline policy (iam:GetUserPolicy).
func (m *Manager) GetUserPolicy(ctx context.Context, caller Caller, user, name string) (*User, InlinePolicy, error) {
	if err := checkName("policyName", name, maxPolicyName); err != nil {
		return nil, InlinePolicy{}, err
	}
	u, err := m.user(ctx, caller, "iam:GetUserPolicy", user)
	if err != nil {
		return nil, InlinePolicy{}, err
	}
	p, err := getInline(u.Inline, "user", name)
	return u, p, err
}

// DeleteUserPolicy removes an inline policy (iam:DeleteUserPolicy).
func (m *Manager) DeleteUserPolicy(ctx context.Context, caller Caller, user, name string) error {
	if err := checkName("policyName", name, maxPolicyName); err != nil {
		return err
	}
	return m.changeUser(ctx, caller, "iam:DeleteUserPolicy", user, nil, func(_ *store.Tx, u *User) error {
		return deleteInline(&u.Inline, "user", name)
	})
}

// ListUserPolicies lists the names of inline policies (iam:ListUserPolicies).
func (m *Manager) ListUserPolicies(ctx context.Context, caller Caller, user string, p Page) (Listing[string], error) {
	u, err := m.user(ctx, caller, "iam:ListUserPolicies", user)
	if err != nil {
		return Listing[string]{}, err
	}
	return page("user-policies", p, inlineNames(u.Inline), func(s string) string { return s })
}

// PutUserPermissionsBoundary sets the boundary
// (iam:PutUserPermissionsBoundary).
func (m *Manager) PutUserPermissionsBoundary(ctx context.Context, caller Caller, user, policyARN string) error {
	if err := m.checkPolicyARN(policyARN); err != nil {
		return err
	}
	keys := []ConditionKey{{Name: keyBoundary, Values: []string{policyARN}}}
	return m.changeUser(ctx, caller, "iam:PutUserPermissionsBoundary", user, keys, func(tx *store.Tx, u *User) error {
		u.Boundary = policyARN
		return m.requirePolicy(tx, policyARN)
	})
}

// DeleteUserPermissionsBoundary removes the boundary; there may be none
// (iam:DeleteUserPermissionsBoundary).
func (m *Manager) DeleteUserPermissionsBoundary(ctx context.Context, caller Caller, user string) error {
	return m.changeUser(ctx, caller, "iam:DeleteUserPermissionsBoundary", user, nil, func(_ *store.Tx, u *User) error {
		u.Boundary = ""
		return nil
	})
}
