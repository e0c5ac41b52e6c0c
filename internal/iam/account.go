// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package iam

import (
	"context"
)

// ListAccountAliases returns no alias: an account here has none
// (iam:ListAccountAliases).
func (m *Manager) ListAccountAliases(ctx context.Context, caller Caller, p Page) (Listing[string], error) {
	if err := m.Authz.Authorize(ctx, caller, Query{Action: "iam:ListAccountAliases", Resource: "*"}); err != nil {
		return Listing[string]{}, err
	}
	return page("account-aliases", p, nil, func(s string) string { return s })
}

// Count is an entry of an account's summary.
type Count struct {
	Name  string
	Value int
}

// GetAccountSummary returns what there is and which quotas hold, in the order
// of the names (iam:GetAccountSummary).
func (m *Manager) GetAccountSummary(ctx context.Context, caller Caller) ([]Count, error) {
	if err := m.Authz.Authorize(ctx, caller, Query{Action: "iam:GetAccountSummary", Resource: "*"}); err != nil {
		return nil, err
	}
	v := m.Store.View()
	var roles, users, own, versions int
	for range Roles.List(v, m.scope(), "", "") {
		roles++
	}
	for range Users.List(v, m.scope(), "", "") {
		users++
	}
	for _, p := range Policies.List(v, m.scope(), "", "") {
		own++
		versions += len(p.Versions)
	}
	return []Count{
		{"AccessKeysPerUserQuota", m.quota(AccessKeysPerUser)},
		{"AssumeRolePolicySizeQuota", m.quota(ACLSizePerRole)},
		{"AttachedPoliciesPerRoleQuota", m.quota(PoliciesPerRole)},
		{"AttachedPoliciesPerUserQuota", m.quota(PoliciesPerUser)},
		{"Policies", own},
		{"PolicySizeQuota", m.quota(PolicySize)},
		{"PolicyVersionsInUse", versions},
		{"RolePolicySizeQuota", m.quota(RolePolicySize)},
		{"Roles", roles},
		{"UserPolicySizeQuota", m.quota(UserPolicySize)},
		{"Users", users},
		{"VersionsPerPolicyQuota", m.quota(VersionsPerPolicy)},
	}, nil
}
