// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package iam

import (
	"context"
	"time"

	"podid/internal/fault"
	"podid/internal/store"
)

// KeyUse is when and for what an access key was last used.
type KeyUse struct {
	Time    time.Time `cbor:"1,keyasint"` // to the second
	Service string    `cbor:"2,keyasint"` // "iam", "sts", "eks"…
	Region  string    `cbor:"3,keyasint"` // that the request was signed for
}

// KeyUses is the table of uses, by access key id. It is apart from users, so
// that their records change only when somebody changes them.
var KeyUses = store.NewTable[KeyUse]("key-use", nil)

// LastUsed knows when access keys were last used: what was written down, and
// the notes of this process. Fields are set once, before use.
type LastUsed struct {
	Store store.Store
	Now   func() time.Time

	notes store.Notes[usedKey, KeyUse]
}

type usedKey struct{ account, keyID string }

// Used notes that a request was signed with the key; see store.Notes for what
// that costs.
func (l *LastUsed) Used(account, keyID, service, region string) {
	use := KeyUse{l.Now().UTC().Truncate(time.Second), service, region}
	l.notes.Note(usedKey{account, keyID}, func(KeyUse) KeyUse { return use })
}

// Last is the latest use that r or this process knows of.
func (l *LastUsed) Last(r store.Reader, account, keyID string) (KeyUse, bool) {
	var use KeyUse
	stored, known := KeyUses.Get(r, store.Scope{Account: account, Region: store.Global}, keyID)
	if known {
		use = *stored
	}
	if l == nil {
		return use, known
	}
	if own, ok := l.notes.Peek(usedKey{account, keyID}); ok && !own.Time.Before(use.Time) {
		return own, true
	}
	return use, known
}

// Run writes every store.NotesEvery until ctx ends; failures go to report.
func (l *LastUsed) Run(ctx context.Context, report func(error)) error {
	return store.WriteNotes(ctx, l.Write, report)
}

// Write writes what was noted so far.
func (l *LastUsed) Write(ctx context.Context) error {
	if err := l.notes.Write(ctx, l.Store, writeUse); err != nil {
		return fault.New(fault.Unavailable, "The use of access keys cannot be written.").WithReason("store-unavailable").Because(err)
	}
	return nil
}

// writeUse keeps the later of two uses: replicas write about the same keys. A
// key that was deleted meanwhile leaves nothing.
func writeUse(tx *store.Tx, k usedKey, use KeyUse) {
	scope := store.Scope{Account: k.account, Region: store.Global}
	if _, _, ok := UserByAccessKey(tx, k.account, k.keyID); !ok {
		return
	}
	if old, ok := KeyUses.Get(tx, scope, k.keyID); ok && !old.Time.Before(use.Time) {
		return
	}
	KeyUses.Put(tx, scope, k.keyID, &use)
}

// GetAccessKeyLastUsed returns the user that has a key and its last use; false
// when it has not been used (iam:GetAccessKeyLastUsed, on the user).
func (m *Manager) GetAccessKeyLastUsed(ctx context.Context, caller Caller, keyID string) (*User, KeyUse, bool, error) {
	if err := checkKeyID(keyID); err != nil {
		return nil, KeyUse{}, false, err
	}
	find := func(v store.Reader) (*User, bool) {
		u, _, ok := UserByAccessKey(v, m.Account, keyID)
		return u, ok
	}
	u, err := fenced(ctx, m.Store, find)
	if err != nil {
		return nil, KeyUse{}, false, err
	}
	q := Query{Action: "iam:GetAccessKeyLastUsed", Resource: "*"}
	if u != nil {
		q.Resource, q.Keys = u.ARN(), resourceKeys(u.Tags)
	}
	if err := m.Authz.Authorize(ctx, caller, q); err != nil {
		return nil, KeyUse{}, false, err
	}
	if u == nil {
		return nil, KeyUse{}, false, noAccessKey(keyID)
	}
	use, known := m.LastUsed.Last(m.Store.View(), m.Account, keyID)
	return u, use, known, nil
}
