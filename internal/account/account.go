// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Package account owns the accounts of an installation: number, partition and
// region, and which root key their secrets are sealed under. The first account
// is made with the installation; a control plane reads it first, and data of
// another account or another root key is refused before anything is served.
// Further accounts are made by callers of the first one, and by nobody else.
// It refuses numbers that were ever in use, and to delete an account that
// still holds something. Where an account's verbs run is not decided here: see
// controlplane.
package account

import (
	"fmt"
	"iter"
	"time"

	"podid/internal/store"
)

// Account is an account that an installation serves.
type Account struct {
	ID        string    `cbor:"1,keyasint"` // 12 digits
	Partition string    `cbor:"2,keyasint"`
	Region    string    `cbor:"3,keyasint"`
	RootKeyID string    `cbor:"4,keyasint"` // public fingerprint of the root key
	PageKey   []byte    `cbor:"5,keyasint"` // sealed; authenticates page tokens
	Created   time.Time `cbor:"6,keyasint"`
	Release   string    `cbor:"7,keyasint"` // that made it

	// By is the account whose caller made this one; empty for the first.
	By      string    `cbor:"8,keyasint,omitempty"`
	Name    string    `cbor:"9,keyasint,omitempty"`  // for people; not unique
	AdminID string    `cbor:"10,keyasint,omitempty"` // unique id of the user that it was made with
	Closed  time.Time `cbor:"11,keyasint,omitempty"` // when it was deleted; its number is never used again
}

// Scope is where account records stand: they belong to the installation.
var Scope = store.Scope{Account: store.System, Region: store.Global}

// Accounts is the table, by account number.
var Accounts = store.NewTable[Account]("account", nil)

// Find returns the installation's first account, or nil before the first start.
func Find(r store.Reader) *Account {
	for _, a := range Accounts.List(r, Scope, "", "") {
		if a.By == "" {
			return a
		}
	}
	return nil
}

// Open returns an account that is there and was not deleted.
func Open(r store.Reader, id string) (*Account, bool) {
	a, ok := Accounts.Get(r, Scope, id)
	if !ok || !a.Closed.IsZero() {
		return nil, false
	}
	return a, true
}

// Numbers walks the accounts that are there.
func Numbers(r store.Reader) iter.Seq[string] {
	return func(yield func(string) bool) {
		for id, a := range Accounts.List(r, Scope, "", "") {
			if a.Closed.IsZero() && !yield(id) {
				return
			}
		}
	}
}

// Check refuses settings that do not fit the data: each error says what to do.
func (a *Account) Check(id, partition, region, rootKeyID string) error {
	switch {
	case id != "" && a.ID != id:
		return fmt.Errorf("the data belongs to account %s, but account %s was asked for: use --account-id %s, or another data directory", a.ID, id, a.ID)
	case a.RootKeyID != rootKeyID:
		return fmt.Errorf("the data is sealed under root key %s, but the root key file holds %s: give the key that this installation was made with (--root-key-file)", a.RootKeyID, rootKeyID)
	case a.Partition != partition:
		return fmt.Errorf("the data belongs to partition %s, but %s was asked for: use --partition %s", a.Partition, partition, a.Partition)
	case a.Region != region:
		return fmt.Errorf("the data belongs to region %s, but %s was asked for: use --region %s", a.Region, region, a.Region)
	}
	return nil
}
