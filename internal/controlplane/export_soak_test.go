// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build soak

package controlplane

import (
	"podid/internal/iam"
	"podid/internal/session"
	"podid/internal/store"
	"podid/internal/sts"
)

// Inside gives the soak test what the listener would ask: the rooms of the
// first account, and its first user.
func (cp *ControlPlane) Inside() (*sts.Service, *session.Minter, *iam.Manager, iam.Caller, error) {
	v, err := cp.servicesOf(cp.svc, cp.account)
	if err != nil {
		return nil, nil, nil, iam.Caller{}, err
	}
	u, _ := iam.Users.Get(cp.db.View(), store.Scope{Account: cp.account.ID, Region: store.Global}, AdminUser)
	admin := iam.Caller{Kind: iam.CallerUser, Partition: u.Partition, Account: u.Account, ARN: u.ARN(), UserID: u.ID, User: u}
	return v.sts, v.minter, v.iam, admin, nil
}
