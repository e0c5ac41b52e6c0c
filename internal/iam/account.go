// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package iam

import (
	"context"
	"regexp"
	"time"

	"podid/internal/fault"
	"podid/internal/store"
)

// Alias is a name that an account goes by. It stands twice: among the
// installation's records, so that no two accounts have one name, and among the
// account's own, which has one at most.
type Alias struct {
	Account string    `cbor:"1,keyasint"`
	Created time.Time `cbor:"2,keyasint"`
}

// Aliases is the table, by alias.
var Aliases = store.NewTable[Alias]("account-alias", nil)

var allAccounts = store.Scope{Account: store.System, Region: store.Global}

// aliasRE is IAM's: 3 to 63 letters in lower case, digits and single dashes
// between them.
var aliasRE = regexp.MustCompile(`^[a-z0-9](-?[a-z0-9])*$`)

func checkAlias(alias string) error {
	if err := checkLength("accountAlias", alias, 3, 63); err != nil {
		return err
	}
	if !aliasRE.MatchString(alias) {
		return constraint("accountAlias", alias, `satisfy regular expression pattern: ^[a-z0-9]([a-z0-9]|-(?!-)){1,61}[a-z0-9]$`)
	}
	return nil
}

// CreateAccountAlias gives the account a name that no other account of the
// installation has, instead of the one it had (iam:CreateAccountAlias).
func (m *Manager) CreateAccountAlias(ctx context.Context, caller Caller, alias string) error {
	if err := checkAlias(alias); err != nil {
		return err
	}
	if err := m.Authz.Authorize(ctx, caller, Query{Action: "iam:CreateAccountAlias", Resource: "*"}); err != nil {
		return err
	}
	a := &Alias{Account: m.Account, Created: m.now()}
	return m.update(ctx, func(tx *store.Tx) error {
		if old, ok := Aliases.Get(tx, allAccounts, alias); ok {
			if old.Account == m.Account {
				return nil
			}
			return fault.New(fault.AlreadyExists, "The account alias %s already exists.", alias).WithReason("alias-exists")
		}
		for old := range Aliases.List(tx, m.scope(), "", "") {
			Aliases.Delete(tx, allAccounts, old)
			Aliases.Delete(tx, m.scope(), old)
		}
		Aliases.Put(tx, allAccounts, alias, a)
		Aliases.Put(tx, m.scope(), alias, a)
		return nil
	})
}

// DeleteAccountAlias takes the account's name from it
// (iam:DeleteAccountAlias).
func (m *Manager) DeleteAccountAlias(ctx context.Context, caller Caller, alias string) error {
	if err := checkAlias(alias); err != nil {
		return err
	}
	if err := m.Authz.Authorize(ctx, caller, Query{Action: "iam:DeleteAccountAlias", Resource: "*"}); err != nil {
		return err
	}
	return m.update(ctx, func(tx *store.Tx) error {
		if _, ok := Aliases.Get(tx, m.scope(), alias); !ok {
			return fault.New(fault.NotFound, "The account alias %s cannot be found.", alias).WithReason("alias-not-found")
		}
		Aliases.Delete(tx, m.scope(), alias)
		Aliases.Delete(tx, allAccounts, alias)
		return nil
	})
}

// ListAccountAliases returns the account's alias, if it has one
// (iam:ListAccountAliases).
func (m *Manager) ListAccountAliases(ctx context.Context, caller Caller, p Page) (Listing[string], error) {
	if err := m.Authz.Authorize(ctx, caller, Query{Action: "iam:ListAccountAliases", Resource: "*"}); err != nil {
		return Listing[string]{}, err
	}
	var all []string
	for alias := range Aliases.List(m.Store.View(), m.scope(), "", "") {
		all = append(all, alias)
	}
	return page("account-aliases", p, all, func(s string) string { return s })
}

// Count is an entry of an account's summary.
type Count struct {
	Name  string
	Value int
}

// GetAccountSummary returns what there is and which quotas hold, in the order
// of the names. What podid has no nouns for (passwords, MFA devices,
// certificates) is there with nought, as tools look for it
// (iam:GetAccountSummary).
func (m *Manager) GetAccountSummary(ctx context.Context, caller Caller) ([]Count, error) {
	if err := m.Authz.Authorize(ctx, caller, Query{Action: "iam:GetAccountSummary", Resource: "*"}); err != nil {
		return nil, err
	}
	v := m.Store.View()
	own, versions := 0, 0
	for _, p := range Policies.List(v, m.scope(), "", "") {
		own++
		versions += len(p.Versions)
	}
	providers := count(m, v, OIDCProviders) + len(m.clusterProviders(v))
	return []Count{
		{"AccessKeysPerUserQuota", m.quota(AccessKeysPerUser)},
		{"AccountAccessKeysPresent", 0},
		{"AccountMFAEnabled", 0},
		{"AccountPasswordPresent", 0},
		{"AccountSigningCertificatesPresent", 0},
		{"AssumeRolePolicySizeQuota", m.quota(ACLSizePerRole)},
		{"AttachedPoliciesPerGroupQuota", m.quota(PoliciesPerGroup)},
		{"AttachedPoliciesPerRoleQuota", m.quota(PoliciesPerRole)},
		{"AttachedPoliciesPerUserQuota", m.quota(PoliciesPerUser)},
		{"GlobalEndpointTokenVersion", 1},
		{"GroupPolicySizeQuota", m.quota(GroupPolicySize)},
		{"Groups", count(m, v, Groups)},
		{"GroupsPerUserQuota", m.quota(GroupsPerUser)},
		{"GroupsQuota", m.quota(GroupsPerAccount)},
		{"InstanceProfiles", count(m, v, InstanceProfiles)},
		{"InstanceProfilesQuota", m.quota(InstanceProfilesPerAccount)},
		{"MFADevices", 0},
		{"MFADevicesInUse", 0},
		{"Policies", own},
		{"PoliciesQuota", m.quota(PoliciesPerAccount)},
		{"PolicySizeQuota", m.quota(PolicySize)},
		{"PolicyVersionsInUse", versions},
		{"PolicyVersionsInUseQuota", m.quota(PoliciesPerAccount) * m.quota(VersionsPerPolicy)},
		{"Providers", providers},
		{"RolePolicySizeQuota", m.quota(RolePolicySize)},
		{"Roles", count(m, v, Roles)},
		{"RolesQuota", m.quota(RolesPerAccount)},
		{"ServerCertificates", 0},
		{"ServerCertificatesQuota", 0},
		{"SigningCertificatesPerUserQuota", 0},
		{"UserPolicySizeQuota", m.quota(UserPolicySize)},
		{"Users", count(m, v, Users)},
		{"UsersQuota", m.quota(UsersPerAccount)},
		{"VersionsPerPolicyQuota", m.quota(VersionsPerPolicy)},
	}, nil
}
