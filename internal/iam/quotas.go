// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package iam

import (
	"fmt"
	"slices"
	"strings"

	"podid/internal/policy"
	"podid/internal/store"
)

// Quota is a limit that an account, or a thing in it, may reach. Its text is
// the name that IAM's LimitExceeded gives it.
type Quota string

// The quotas. Sizes are in characters, white space not counted.
const (
	RolesPerAccount    Quota = "RolesPerAccount"
	UsersPerAccount    Quota = "UsersPerAccount"
	GroupsPerAccount   Quota = "GroupsPerAccount"
	PoliciesPerAccount Quota = "PoliciesPerAccount" // the account's own managed policies
	GroupsPerUser      Quota = "GroupsPerUser"
	AccessKeysPerUser  Quota = "AccessKeysPerUser"
	PoliciesPerRole    Quota = "PoliciesPerRole" // attached managed policies
	PoliciesPerUser    Quota = "PoliciesPerUser"
	PoliciesPerGroup   Quota = "PoliciesPerGroup"
	VersionsPerPolicy  Quota = "VersionsPerPolicy"
	TagsPerRole        Quota = "TagsPerRole"
	TagsPerUser        Quota = "TagsPerUser"
	TagsPerPolicy      Quota = "TagsPerPolicy"
	ACLSizePerRole     Quota = "ACLSizePerRole" // a role's trust policy
	PolicySize         Quota = "PolicySize"     // a version of a managed policy
	RolePolicySize     Quota = "RolePolicySize" // all inline policies of a role together
	UserPolicySize     Quota = "UserPolicySize"
	GroupPolicySize    Quota = "GroupPolicySize"
)

type quotaRow struct {
	quota             Quota
	standard, highest int
}

// quotaTable holds AWS' defaults: IAM User Guide, "IAM and AWS STS quotas".
// highest is how far an installation may raise a quota: a record is one value
// of the store and lies in memory, and its documents are compiled.
var quotaTable = []quotaRow{
	{RolesPerAccount, 1000, 1_000_000},
	{UsersPerAccount, 5000, 1_000_000},
	{GroupsPerAccount, 300, 100_000},
	{PoliciesPerAccount, 1500, 100_000},
	{GroupsPerUser, 10, 100},
	{AccessKeysPerUser, 2, 2},
	{PoliciesPerRole, 10, 100},
	{PoliciesPerUser, 10, 100},
	{PoliciesPerGroup, 10, 100},
	{VersionsPerPolicy, 5, 5},
	{InstanceProfilesPerAccount, 1000, 100_000},
	{OIDCProvidersPerAccount, 100, 10_000},
	{ClientIDsPerProvider, 100, 1000},
	{TagsPerInstanceProfile, maxTags, maxTags},
	{TagsPerOIDCProvider, maxTags, maxTags},
	{TagsPerRole, maxTags, maxTags},
	{TagsPerUser, maxTags, maxTags},
	{TagsPerPolicy, maxTags, maxTags},
	{ACLSizePerRole, policy.TrustPolicyMax, policy.TrustPolicyCeiling},
	{PolicySize, policy.ManagedPolicyMax, policy.ManagedPolicyMax},
	{RolePolicySize, policy.RoleInlineMax, policy.RoleInlineMax},
	{UserPolicySize, 2048, 2048},
	{GroupPolicySize, 5120, 5120},
}

// Quotas are limits that differ from AWS' defaults; nil is none.
type Quotas map[Quota]int

// Check refuses quotas that there are not and limits that cannot be.
func (q Quotas) Check() error {
	for name, limit := range q {
		i := slices.IndexFunc(quotaTable, func(row quotaRow) bool { return row.quota == name })
		if i < 0 {
			return fmt.Errorf("there is no quota %q: choose one of %s", name, strings.Join(quotaNames(), ", "))
		}
		if limit < 1 || limit > quotaTable[i].highest {
			return fmt.Errorf("quota %s: choose between 1 and %d", name, quotaTable[i].highest)
		}
	}
	return nil
}

func quotaNames() []string {
	out := make([]string, len(quotaTable))
	for i, row := range quotaTable {
		out[i] = string(row.quota)
	}
	return out
}

// quota is the limit in force.
func (m *Manager) quota(q Quota) int {
	if limit, ok := m.Quotas[q]; ok {
		return limit
	}
	for _, row := range quotaTable {
		if row.quota == q {
			return row.standard
		}
	}
	return 0
}

// quotaMargin is how near to a quota the count becomes part of the
// transaction. Farther away, creations do not have to wait for each other, and
// more than that many are never in flight at once.
const quotaMargin = 128

// full refuses one record more when the table holds as many as the quota
// allows.
func full[T any](m *Manager, tx *store.Tx, table *store.Table[T], q Quota) error {
	limit := m.quota(q)
	n := count(m, tx.View(), table)
	if n >= limit-quotaMargin {
		n = count(m, tx, table)
	}
	if n >= limit {
		return overQuota(q, limit)
	}
	return nil
}

func count[T any](m *Manager, r store.Reader, table *store.Table[T]) int {
	n := 0
	for range table.List(r, m.scope(), "", "") {
		n++
	}
	return n
}
