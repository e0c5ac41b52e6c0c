// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package iam

import (
	"podid/internal/arn"
	"podid/internal/fault"
	"podid/internal/store"
)

// administratorAccess is the policy of the first user.
const administratorAccess = "AdministratorAccess"

// Bootstrap makes the first user, with AdministratorAccess and one key, in
// the transaction of the caller, who decides that this is the first start: no
// question is asked here. It may run again when the transaction does; only
// the key of the last run counts.
func (m *Manager) Bootstrap(tx *store.Tx, userName string) (NewKey, error) {
	if err := checkName("userName", userName, maxUserName); err != nil {
		return NewKey{}, err
	}
	if _, ok := Users.Get(tx, m.scope(), id(userName)); ok {
		return NewKey{}, fault.New(fault.AlreadyExists, "User with name %s already exists.", userName).WithReason("user-exists")
	}
	u, err := m.newUser("/", userName)
	if err != nil {
		return NewKey{}, err
	}
	return m.makeAdmin(tx, u)
}

// ResetKeys puts the user back as Bootstrap made it: one new key instead of
// all others, AdministratorAccess instead of all other policies, no boundary, no groups.
// Id, path and tags stay; a user that is gone is made anew. It is for those
// who hold the data directory, who have locked themselves out.
func (m *Manager) ResetKeys(tx *store.Tx, userName string) (NewKey, error) {
	old, ok := Users.Get(tx, m.scope(), id(userName))
	if !ok {
		return m.Bootstrap(tx, userName)
	}
	u := old.clone()
	for _, k := range u.Keys {
		KeyUses.Delete(tx, m.scope(), k.ID)
	}
	u.Keys, u.Inline, u.Boundary, u.Groups = nil, nil, "", nil
	return m.makeAdmin(tx, u)
}

func (m *Manager) makeAdmin(tx *store.Tx, u *User) (NewKey, error) {
	key, plain, err := m.newKey(u.Name)
	if err != nil {
		return NewKey{}, err
	}
	u.Attached = []string{arn.IAM(m.Partition, managedAccount, "policy", "/", administratorAccess)}
	u.Keys = append(u.Keys, key)
	Users.Put(tx, m.scope(), id(u.Name), u)
	return NewKey{u, key, plain}, nil
}
