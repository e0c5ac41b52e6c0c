// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package account_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"podid/internal/account"
	"podid/internal/store"
	"podid/internal/store/storetest"
)

func TestCheck(t *testing.T) {
	a := &account.Account{ID: "111122223333", Partition: "aws", Region: "us-west-2", RootKeyID: "k1"}
	for _, c := range []struct{ name, id, partition, region, key, want string }{
		{"fits", "111122223333", "aws", "us-west-2", "k1", ""},
		{"no account asked for", "", "aws", "us-west-2", "k1", ""},
		{"other account", "444455556666", "aws", "us-west-2", "k1", "--account-id 111122223333"},
		{"other root key", "", "aws", "us-west-2", "k2", "--root-key-file"},
		{"other partition", "", "aws-cn", "us-west-2", "k1", "--partition aws"},
		{"other region", "", "aws", "eu-west-1", "k1", "--region us-west-2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := a.Check(c.id, c.partition, c.region, c.key)
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("Check = %v, want %q", err, c.want)
			}
		})
	}
}

func TestFind(t *testing.T) {
	db := storetest.NewMemory(store.NewSchema(account.Accounts))
	if a := account.Find(db.View()); a != nil {
		t.Fatalf("an empty store has account %+v", a)
	}
	want := account.Account{ID: "111122223333", Partition: "aws", Region: "us-west-2", RootKeyID: "k", PageKey: []byte("p"), Created: time.Unix(1700000000, 0).UTC(), Release: "v1"}
	err := db.Update(context.Background(), func(tx *store.Tx) error {
		account.Accounts.Put(tx, account.Scope, want.ID, &want)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	got := account.Find(db.View())
	if got == nil || got.ID != want.ID || got.Release != "v1" || !got.Created.Equal(want.Created) || string(got.PageKey) != "p" {
		t.Errorf("Find = %+v", got)
	}
}
