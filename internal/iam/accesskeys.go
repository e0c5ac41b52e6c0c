// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package iam

import (
	"context"
	"fmt"
	"slices"

	"podid/internal/secret"
	"podid/internal/store"
)

// NewKey is an access key at its making, the only time its secret is seen.
type NewKey struct {
	User   *User
	Key    AccessKey
	Secret secret.String
}

// newKey draws a key for the user and seals its secret.
func (m *Manager) newKey(userName string) (AccessKey, secret.String, error) {
	keyID, plain, err := newAccessKey(m.Rand, m.Account)
	if err != nil {
		return AccessKey{}, plain, err
	}
	sealed, err := m.Sealer.Seal([]byte(plain.Reveal()), KeyAAD(m.scope(), id(userName), keyID))
	if err != nil {
		return AccessKey{}, plain, fmt.Errorf("seal access key: %w", err)
	}
	return AccessKey{ID: keyID, Sealed: sealed, Active: true, Created: m.now()}, plain, nil
}

// CreateAccessKey makes a key for a user; "" is the caller. A user has two at
// most (iam:CreateAccessKey).
func (m *Manager) CreateAccessKey(ctx context.Context, caller Caller, userName string) (NewKey, error) {
	userName, err := own(caller, userName)
	if err != nil {
		return NewKey{}, err
	}
	key, plain, err := m.newKey(userName)
	if err != nil {
		return NewKey{}, err
	}
	out := NewKey{Key: key, Secret: plain}
	err = m.changeUser(ctx, caller, "iam:CreateAccessKey", userName, nil, func(tx *store.Tx, u *User) error {
		if limit := m.quota(AccessKeysPerUser); len(u.Keys) >= limit {
			return overQuota(AccessKeysPerUser, limit)
		}
		if _, _, taken := UserByAccessKey(tx, m.Account, key.ID); taken {
			return fmt.Errorf("draw access key: %s is taken", key.ID)
		}
		u.Keys = append(u.Keys, key)
		out.User = u
		return nil
	})
	if err != nil {
		return NewKey{}, err
	}
	return out, nil
}

// ListAccessKeys returns a user's keys in the order of their making; "" is
// the caller (iam:ListAccessKeys).
func (m *Manager) ListAccessKeys(ctx context.Context, caller Caller, userName string, p Page) (*User, Listing[AccessKey], error) {
	userName, err := own(caller, userName)
	if err != nil {
		return nil, Listing[AccessKey]{}, err
	}
	u, err := m.user(ctx, caller, "iam:ListAccessKeys", userName)
	if err != nil {
		return nil, Listing[AccessKey]{}, err
	}
	order := func(k AccessKey) string { return k.Created.UTC().Format("20060102150405") + k.ID }
	keys := slices.SortedFunc(slices.Values(u.Keys), func(a, b AccessKey) int {
		if order(a) < order(b) {
			return -1
		}
		return 1
	})
	out, err := page("access-keys", p, keys, order)
	return u, out, err
}

// UpdateAccessKey makes a key active or inactive; userName "" is the caller
// (iam:UpdateAccessKey).
func (m *Manager) UpdateAccessKey(ctx context.Context, caller Caller, userName, keyID, status string) error {
	if status != "Active" && status != "Inactive" {
		return constraint("status", status, "satisfy enum value set: [Active, Inactive]")
	}
	return m.changeKey(ctx, caller, "iam:UpdateAccessKey", userName, keyID, func(_ *store.Tx, u *User, i int) {
		u.Keys[i].Active = status == "Active"
	})
}

// DeleteAccessKey removes a key; userName "" is the caller
// (iam:DeleteAccessKey).
func (m *Manager) DeleteAccessKey(ctx context.Context, caller Caller, userName, keyID string) error {
	return m.changeKey(ctx, caller, "iam:DeleteAccessKey", userName, keyID, func(tx *store.Tx, u *User, i int) {
		u.Keys = slices.Delete(u.Keys, i, i+1)
		KeyUses.Delete(tx, m.scope(), keyID)
	})
}

func (m *Manager) changeKey(ctx context.Context, caller Caller, action, userName, keyID string, fn func(tx *store.Tx, u *User, i int)) error {
	userName, err := own(caller, userName)
	if err != nil {
		return err
	}
	if err := checkKeyID(keyID); err != nil {
		return err
	}
	return m.changeUser(ctx, caller, action, userName, nil, func(tx *store.Tx, u *User) error {
		i := slices.IndexFunc(u.Keys, func(k AccessKey) bool { return k.ID == keyID })
		if i < 0 {
			return noAccessKey(keyID)
		}
		fn(tx, u, i)
		return nil
	})
}

func checkKeyID(keyID string) error {
	if err := checkLength("accessKeyId", keyID, 16, 128); err != nil {
		return err
	}
	if !keyIDRE.MatchString(keyID) {
		return constraint("accessKeyId", keyID, `satisfy regular expression pattern: [\w]+`)
	}
	return nil
}
