// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package iam

import (
	"context"
	"fmt"

	"podid/internal/fault"
	"podid/internal/store"
)

// UpdateUser gives a user another name, another path, or both; nil leaves one
// as it is. Id, keys, policies, groups and tags stay, and trust policies that
// name the user go on naming it. The caller must be allowed to change both the
// user that is and the one that will be (iam:UpdateUser; IAM User Guide,
// "Rename an IAM user").
func (m *Manager) UpdateUser(ctx context.Context, caller Caller, name string, newName, newPath *string) error {
	if err := checkRename("newUserName", newName, maxUserName, newPath); err != nil {
		return err
	}
	seen, err := m.user(ctx, caller, "iam:UpdateUser", name)
	if err != nil {
		return err
	}
	renamed := func(u *User) *User {
		n := u.clone()
		n.Name, n.Path = orElse(newName, u.Name), orElse(newPath, u.Path)
		return n
	}
	if then := renamed(seen).ARN(); then != seen.ARN() {
		if err := m.Authz.Authorize(ctx, caller, Query{Action: "iam:UpdateUser", Resource: then, Keys: resourceKeys(seen.Tags)}); err != nil {
			return err
		}
	}
	return m.update(ctx, func(tx *store.Tx) error {
		u, ok := Users.Get(tx, m.scope(), id(name))
		if !ok || u.ID != seen.ID {
			return noUser(name)
		}
		n := renamed(u)
		if id(n.Name) != id(name) {
			if old, ok := Users.Get(tx, m.scope(), id(n.Name)); ok {
				return fault.New(fault.AlreadyExists, "User with name %s already exists.", old.Name).WithReason("user-exists")
			}
			if err := m.rebind(n, id(name)); err != nil {
				return err
			}
			Users.Delete(tx, m.scope(), id(name))
		}
		Users.Put(tx, m.scope(), id(n.Name), n)
		return nil
	})
}

// rebind seals the secrets of a user's keys anew: they are bound to the record
// that they lie in, which was recordID and is that of the user's name now.
func (m *Manager) rebind(u *User, recordID string) error {
	for i, k := range u.Keys {
		plain, err := m.Sealer.Open(k.Sealed, KeyAAD(m.scope(), recordID, k.ID))
		if err != nil {
			return &fault.Error{Kind: fault.Internal, Reason: "access-key-unreadable", Err: fmt.Errorf("open access key: %w", err)}
		}
		u.Keys[i].Sealed, err = m.Sealer.Seal(plain, KeyAAD(m.scope(), id(u.Name), k.ID))
		clear(plain)
		if err != nil {
			return fmt.Errorf("seal access key: %w", err)
		}
	}
	return nil
}
