// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package iam

import (
	"context"
	"fmt"
	"slices"

	"podid/internal/fault"
	"podid/internal/store"
)

// VersionInfo is a version of a managed policy and whether it is in force.
type VersionInfo struct {
	PolicyVersion
	Default bool
}

func (p *Policy) version(versionID string) (VersionInfo, bool) {
	i := slices.IndexFunc(p.Versions, func(v PolicyVersion) bool { return v.ID == versionID })
	if i < 0 {
		return VersionInfo{}, false
	}
	return VersionInfo{p.Versions[i], versionID == p.Default}, true
}

// GetPolicyVersion returns a version (iam:GetPolicyVersion).
func (m *Manager) GetPolicyVersion(ctx context.Context, caller Caller, policyARN, versionID string) (VersionInfo, error) {
	if err := checkVersion(versionID); err != nil {
		return VersionInfo{}, err
	}
	p, err := m.policy(ctx, caller, "iam:GetPolicyVersion", policyARN)
	if err != nil {
		return VersionInfo{}, err
	}
	v, ok := p.version(versionID)
	if !ok {
		return VersionInfo{}, noVersion(policyARN, versionID)
	}
	return v, nil
}

// ListPolicyVersions returns the versions, the newest first
// (iam:ListPolicyVersions).
func (m *Manager) ListPolicyVersions(ctx context.Context, caller Caller, policyARN string, pg Page) (Listing[VersionInfo], error) {
	p, err := m.policy(ctx, caller, "iam:ListPolicyVersions", policyARN)
	if err != nil {
		return Listing[VersionInfo]{}, err
	}
	return page("policy-versions", pg, p.AllVersions(), func(v VersionInfo) string { return newestFirst(v.ID) })
}

// newestFirst is a key that falls as version numbers rise.
func newestFirst(versionID string) string {
	var n int
	if _, err := fmt.Sscanf(versionID, "v%d", &n); err != nil {
		return versionID
	}
	return fmt.Sprintf("%012d", 999_999_999_999-n)
}

// CreatePolicyVersion adds a version, up to the quota of five
// (iam:CreatePolicyVersion).
func (m *Manager) CreatePolicyVersion(ctx context.Context, caller Caller, policyARN, document string, setDefault bool) (VersionInfo, error) {
	var out VersionInfo
	now := m.now()
	err := m.changePolicy(ctx, caller, "iam:CreatePolicyVersion", policyARN, nil, func(_ *store.Tx, p *Policy) error {
		if err := m.checkManaged(document); err != nil {
			return err
		}
		if limit := m.quota(VersionsPerPolicy); len(p.Versions) >= limit {
			return fault.New(fault.LimitExceeded, "A managed policy can have up to %d versions. Before you create a new version, you must delete an existing version.", limit).
				WithReason("quota-exceeded")
		}
		v := PolicyVersion{fmt.Sprintf("v%d", p.NextVersion), document, now}
		p.Versions, p.NextVersion, p.Updated = append(p.Versions, v), p.NextVersion+1, now
		if setDefault {
			p.Default = v.ID
		}
		out = VersionInfo{v, setDefault}
		return nil
	})
	return out, err
}

// DeletePolicyVersion removes a version that is not in force
// (iam:DeletePolicyVersion).
func (m *Manager) DeletePolicyVersion(ctx context.Context, caller Caller, policyARN, versionID string) error {
	if err := checkVersion(versionID); err != nil {
		return err
	}
	return m.changePolicy(ctx, caller, "iam:DeletePolicyVersion", policyARN, nil, func(_ *store.Tx, p *Policy) error {
		v, ok := p.version(versionID)
		switch {
		case !ok:
			return noVersion(policyARN, versionID)
		case v.Default:
			return conflict("Cannot delete the default version of a policy.")
		}
		p.Versions = slices.DeleteFunc(p.Versions, func(v PolicyVersion) bool { return v.ID == versionID })
		p.Updated = m.now()
		return nil
	})
}

// SetDefaultPolicyVersion puts a version in force
// (iam:SetDefaultPolicyVersion).
func (m *Manager) SetDefaultPolicyVersion(ctx context.Context, caller Caller, policyARN, versionID string) error {
	if err := checkVersion(versionID); err != nil {
		return err
	}
	return m.changePolicy(ctx, caller, "iam:SetDefaultPolicyVersion", policyARN, nil, func(_ *store.Tx, p *Policy) error {
		if _, ok := p.version(versionID); !ok {
			return noVersion(policyARN, versionID)
		}
		p.Default, p.Updated = versionID, m.now()
		return nil
	})
}
