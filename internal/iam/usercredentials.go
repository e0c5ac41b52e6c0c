// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package iam

import (
	"context"

	"podid/internal/fault"
)

// Users here have access keys and nothing else: no password, MFA device, SSH
// key, certificate or credential of a service. Tools ask for all of these
// before they delete a user, and are told the truth.

// ListNone answers a list of credentials of a kind that no user has: the user
// ("" is the caller) is asked about, and found, as for a list of what there
// is. action is that of the list, "iam:ListMFADevices".
func (m *Manager) ListNone(ctx context.Context, caller Caller, action, userName string, p Page) error {
	userName, err := own(caller, userName)
	if err != nil {
		return err
	}
	if _, err := m.user(ctx, caller, action, userName); err != nil {
		return err
	}
	return emptyPage(action, p)
}

// ListNoneOfAll is ListNone for lists of a whole account.
func (m *Manager) ListNoneOfAll(ctx context.Context, caller Caller, action string, p Page) error {
	if err := m.Authz.Authorize(ctx, caller, Query{Action: action, Resource: "*"}); err != nil {
		return err
	}
	return emptyPage(action, p)
}

// emptyPage refuses what would be refused of a list that is not empty. A
// marker was never given out.
func emptyPage(list string, p Page) error {
	_, err := page(list, p, nil, func(struct{}) string { return "" })
	return err
}

// LoginProfile refuses: the user ("" is the caller) has no password. action is
// iam:GetLoginProfile or iam:DeleteLoginProfile.
func (m *Manager) LoginProfile(ctx context.Context, caller Caller, action, userName string) error {
	userName, err := own(caller, userName)
	if err != nil {
		return err
	}
	u, err := m.user(ctx, caller, action, userName)
	if err != nil {
		return err
	}
	return fault.New(fault.NotFound, "Login Profile for User %s cannot be found.", u.Name).WithReason("login-profile-not-found")
}
