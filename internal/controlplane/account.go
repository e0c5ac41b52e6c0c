// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package controlplane

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"podid/internal/account"
	"podid/internal/arn"
	"podid/internal/iam"
	"podid/internal/keyring"
	"podid/internal/seal"
	"podid/internal/secret"
	"podid/internal/store"
)

// AdminUser is the IAM user that the first start makes.
const AdminUser = "podid-admin"

// sealer seals records under the root key.
type sealer struct {
	root seal.RootKey
	rand io.Reader
}

func (s sealer) Seal(plaintext, aad []byte) ([]byte, error) {
	return s.root.Seal(s.rand, plaintext, aad)
}
func (s sealer) Open(sealed, aad []byte) ([]byte, error) { return s.root.Open(sealed, aad) }

// AdminFile is where the first start leaves the admin's key: an AWS shared
// credentials file, 0600.
func AdminFile(dataDir string) string { return filepath.Join(dataDir, "admin-credentials") }

// adminFile is where the key of an account's admin is left.
func (cp *ControlPlane) adminFile(accountID string) string {
	file := AdminFile(cp.cfg.Settings.DataDir)
	if cp.account != nil && accountID != cp.account.ID {
		file += "-" + accountID
	}
	return file
}

func pageKeyAAD(id string) []byte {
	return []byte(account.Accounts.Key(account.Scope, id) + "#page-key")
}

// openAccount loads the root key and the account, and makes both at the first
// start.
func (cp *ControlPlane) openAccount(ctx context.Context) error {
	s := cp.cfg.Settings
	known := account.Find(cp.db.View())
	var err error
	switch {
	case known != nil:
		cp.root, err = seal.LoadRootKey(s.RootKeyFile)
		if errors.Is(err, fs.ErrNotExist) {
			err = fmt.Errorf("the root key that this installation was made with is not at %s: put it back, the data cannot be read without it: %w", s.RootKeyFile, err)
		}
	case len(s.EtcdEndpoints) > 0: // each replica would make a key of its own, and all but one be refused
		cp.root, err = seal.LoadRootKey(s.RootKeyFile)
		if errors.Is(err, fs.ErrNotExist) {
			err = fmt.Errorf("there is no root key at %s: make one with podid server new-root-key FILE, and give every replica the same: %w", s.RootKeyFile, err)
		}
	default:
		cp.root, err = seal.LoadOrCreateRootKey(s.RootKeyFile, cp.cfg.Rand)
	}
	if err != nil {
		return err
	}
	if known == nil {
		if known, err = cp.firstStart(ctx); err != nil {
			return err
		}
	}
	if err := known.Check(s.AccountID, s.Partition, s.Region, cp.root.ID()); err != nil {
		return err
	}
	cp.account = known
	return cp.finishAdminFile(known.ID)
}

// firstStart makes account, admin and first session key in one transaction:
// either all of it is there or nothing. Of several replicas one wins.
func (cp *ControlPlane) firstStart(ctx context.Context) (*account.Account, error) {
	s := cp.cfg.Settings
	if !arn.IsAccount(s.AccountID) {
		return nil, errors.New("the first start needs the account's number: give --account-id with 12 digits (PODID_ACCOUNT_ID)")
	}
	ring, users := cp.ring(s.AccountID), cp.iam(s.AccountID)
	var key iam.NewKey
	made := false
	err := cp.db.Update(ctx, func(tx *store.Tx) error {
		if made = account.Find(tx) == nil; !made {
			return nil
		}
		a, err := cp.newAccount(s.AccountID)
		if err != nil {
			return err
		}
		account.Accounts.Put(tx, account.Scope, a.ID, a)
		if err := ring.Create(tx); err != nil {
			return err
		}
		if key, err = users.Bootstrap(tx, AdminUser); err != nil {
			return err
		}
		// The key is on disk before it is in the store: no admin is made whose
		// key nobody has.
		return writeAdminFile(AdminFile(s.DataDir), key)
	})
	if err != nil {
		return nil, fmt.Errorf("make account %s: %w", s.AccountID, err)
	}
	if made {
		cp.cfg.Log.InfoContext(ctx, "account made", "account", s.AccountID, "user", AdminUser, "credentials", AdminFile(s.DataDir))
	}
	return account.Find(cp.db.View()), nil
}

// newAccount is the record of an account, with a page key of its own. It has
// the partition and region of this control plane.
func (cp *ControlPlane) newAccount(id string) (*account.Account, error) {
	s := cp.cfg.Settings
	pageKey := make([]byte, 32)
	if _, err := io.ReadFull(cp.cfg.Rand, pageKey); err != nil {
		return nil, fmt.Errorf("read randomness: %w", err)
	}
	sealed, err := cp.root.Seal(cp.cfg.Rand, pageKey, pageKeyAAD(id))
	if err != nil {
		return nil, err
	}
	return &account.Account{
		ID: id, Partition: s.Partition, Region: s.Region, RootKeyID: cp.root.ID(), PageKey: sealed,
		Created: cp.cfg.Now().UTC(), Release: cp.cfg.Release,
	}, nil
}

// accounts are the verbs on accounts for callers of the account given.
func (cp *ControlPlane) accounts(authz account.Authorizer, acct *account.Account) *account.Manager {
	return &account.Manager{
		Store: cp.db, Authz: authz, Account: acct.ID, First: cp.account.ID, Partition: acct.Partition, Now: cp.cfg.Now,
		New:   cp.newAccount,
		Admin: func(tx *store.Tx, id string) (iam.NewKey, error) { return cp.iam(id).Bootstrap(tx, AdminUser) },
		Holds: holdings,
	}
}

func pending(file string) string { return file + ".pending" }

// writeAdminFile writes the key beside its place; finishAdminFile moves it
// there once the store holds the key.
func writeAdminFile(file string, key iam.NewKey) error {
	text := "# " + AdminUser + " of podid. Keep this file as you keep a password.\n[default]\naws_access_key_id = " + key.Key.ID +
		"\naws_secret_access_key = " + key.Secret.Reveal() + "\n"
	// A file of our own under a name that nobody knows: what already stands at
	// the pending name may be another's, or a link to elsewhere.
	f, err := os.CreateTemp(filepath.Dir(file), ".admin-credentials-*") // 0600
	if err != nil {
		return fmt.Errorf("write the admin's credentials: %w", err)
	}
	_, err = f.WriteString(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), pending(file))
	}
	if err != nil {
		return fmt.Errorf("write the admin's credentials: %w", errors.Join(err, os.Remove(f.Name())))
	}
	return nil
}

// finishAdminFile moves a pending key of the account's admin to its place if
// the store knows it, and removes it if not (the transaction was lost to
// another replica).
func (cp *ControlPlane) finishAdminFile(accountID string) error {
	file := cp.adminFile(accountID)
	id, err := readKeyID(pending(file))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if _, _, ok := iam.Users.FindIndex(cp.db.View(), store.Scope{Account: accountID, Region: store.Global}, id); !ok {
		return os.Remove(pending(file))
	}
	return os.Rename(pending(file), file)
}

// ResetAdmin gives the admin of an account a new key and AdministratorAccess
// back, and returns the file with the key: of the account in the settings, or
// of the first. It needs the data directory and nothing else: whoever holds it
// holds the root key.
func ResetAdmin(ctx context.Context, cfg Config) (file string, err error) {
	cp := &ControlPlane{cfg: cfg}
	defer func() { err = errors.Join(err, cp.Close()) }()
	if err := cp.openStore(ctx); err != nil {
		return "", err
	}
	known := account.Find(cp.db.View())
	if known == nil {
		return "", fmt.Errorf("there is no account in %s yet: `podid server` makes it at its first start", cfg.Settings.DataDir)
	}
	if cp.root, err = seal.LoadRootKey(cfg.Settings.RootKeyFile); err != nil {
		return "", err
	}
	if cp.root.ID() != known.RootKeyID {
		return "", fmt.Errorf("the data is sealed under root key %s, but %s holds %s", known.RootKeyID, cfg.Settings.RootKeyFile, cp.root.ID())
	}
	cp.account = known
	cp.cfg.Settings.Partition, cp.cfg.Settings.Region = known.Partition, known.Region
	id := cmp.Or(cfg.Settings.AccountID, known.ID)
	file = cp.adminFile(id)
	err = cp.db.Update(ctx, func(tx *store.Tx) error {
		a, ok := account.Open(tx, id)
		if !ok {
			return fmt.Errorf("there is no account %s; there are %s", id, strings.Join(slices.Collect(account.Numbers(tx)), ", "))
		}
		key, err := cp.iam(id).ResetKeys(tx, AdminUser)
		if err != nil {
			return err
		}
		if a.By != "" && a.AdminID != key.User.ID { // a user that was gone is made anew
			n := *a
			n.AdminID = key.User.ID
			account.Accounts.Put(tx, account.Scope, id, &n)
		}
		return writeAdminFile(file, key)
	})
	if err != nil {
		return "", fmt.Errorf("reset the admin: %w", err)
	}
	return file, cp.finishAdminFile(id)
}

func (cp *ControlPlane) ring(accountID string) *keyring.Ring {
	return &keyring.Ring{
		Store: cp.db, Sealer: sealer{cp.root, cp.cfg.Rand}, Now: cp.cfg.Now, Rand: cp.cfg.Rand,
		Scope: store.Scope{Account: accountID, Region: store.Global}, Rotation: cp.cfg.Settings.SessionKeyRotation,
		Propagation: keyring.DefaultPropagation, VerifyFor: keyring.DefaultVerifyFor,
	}
}

func (cp *ControlPlane) iam(accountID string) *iam.Manager {
	return &iam.Manager{
		Store: cp.db, Sealer: sealer{cp.root, cp.cfg.Rand}, Now: cp.cfg.Now, Rand: cp.cfg.Rand,
		Partition: cp.cfg.Settings.Partition, Account: accountID, Accounts: account.Numbers, Quotas: cp.cfg.Settings.IAMQuotas,
	}
}

// readKeyID reads the access key id from a shared credentials file.
func readKeyID(path string) (string, error) {
	id, _, err := readKey(path)
	return id, err
}

// readKey reads the key from a shared credentials file.
func readKey(path string) (keyID string, key secret.String, err error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return "", secret.String{}, err
	}
	for line := range strings.Lines(string(text)) {
		k, v, _ := strings.Cut(line, "=")
		switch v = strings.TrimSpace(v); strings.TrimSpace(k) {
		case "aws_access_key_id":
			keyID = v
		case "aws_secret_access_key":
			key = secret.New(v)
		}
	}
	if keyID == "" {
		return "", secret.String{}, fmt.Errorf("%s holds no access key id", path)
	}
	return keyID, key, nil
}
