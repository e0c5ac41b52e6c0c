// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package controlplane

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"podid/internal/account"
	"podid/internal/iam"
	"podid/internal/seal"
	"podid/internal/secret"
	"podid/internal/store"
)

// AdminKey is an active key of the first account's admin, as the store has it:
// every replica knows it, whichever one has its file. It is for what the
// server does over its own wire, and for whoever holds root key and store.
func (cp *ControlPlane) AdminKey() (keyID string, key secret.String, err error) {
	scope := store.Scope{Account: cp.account.ID, Region: store.Global}
	user, ok := iam.Users.Get(cp.db.View(), scope, AdminUser) // the name is its record's id: it is in lower case
	if !ok {
		return "", secret.String{}, fmt.Errorf("there is no IAM user %s any more: `podid server reset-admin` makes it anew", AdminUser)
	}
	for _, k := range user.Keys {
		if !k.Active {
			continue
		}
		plain, err := cp.root.Open(k.Sealed, iam.KeyAAD(scope, AdminUser, k.ID))
		if err != nil {
			return "", secret.String{}, fmt.Errorf("open the key of %s: %w", AdminUser, err)
		}
		return k.ID, secret.New(string(plain)), nil
	}
	return "", secret.String{}, fmt.Errorf("the IAM user %s has no active key: `podid server reset-admin` makes one", AdminUser)
}

// AdminCredentials is the admin's key for whoever holds the data directory:
// that of the file which the first start left or, with an external etcd, where
// another replica may have been the first, that of the store.
func AdminCredentials(ctx context.Context, cfg Config) (keyID string, key secret.String, err error) {
	file := AdminFile(cfg.Settings.DataDir)
	keyID, key, err = readKey(file)
	if err == nil || len(cfg.Settings.EtcdEndpoints) == 0 || !errors.Is(err, fs.ErrNotExist) {
		return keyID, key, err
	}
	cp := &ControlPlane{cfg: cfg}
	defer func() { err = errors.Join(err, cp.Close()) }()
	if err := cp.openStore(ctx); err != nil {
		return "", secret.String{}, err
	}
	if cp.account = account.Find(cp.db.View()); cp.account == nil {
		return "", secret.String{}, errors.New("there is no account in this etcd yet: `podid server` makes it at its first start")
	}
	if cp.root, err = seal.LoadRootKey(cfg.Settings.RootKeyFile); err != nil {
		return "", secret.String{}, err
	}
	return cp.AdminKey()
}
