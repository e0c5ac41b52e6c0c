// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package iam

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
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

// LastUsed collects the use of access keys in memory and writes it down every
// now and then: a request never waits for the store. What was not written yet
// is lost with the process, and not seen by other replicas. Fields are set
// once, before use.
type LastUsed struct {
	Store store.Store
	Now   func() time.Time
	Every time.Duration // between writings; 0 is DefaultLastUsedEvery

	mu  sync.Mutex
	not map[usedKey]KeyUse // not written yet
}

type usedKey struct{ account, keyID string }

// DefaultLastUsedEvery bounds both how often a key costs a write, and how much
// a crash takes with it.
const DefaultLastUsedEvery = 5 * time.Minute

// usesPerWrite bounds the transaction: etcd takes 128 operations in one.
const usesPerWrite = 32

// Used notes that a request was signed with the key. It costs a lock and no
// allocation, but for the first request of a key after a writing.
func (l *LastUsed) Used(account, keyID, service, region string) {
	use := KeyUse{l.Now().UTC().Truncate(time.Second), service, region}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.not == nil {
		l.not = map[usedKey]KeyUse{}
	}
	l.not[usedKey{account, keyID}] = use
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
	l.mu.Lock()
	defer l.mu.Unlock()
	if own, ok := l.not[usedKey{account, keyID}]; ok && !own.Time.Before(use.Time) {
		return own, true
	}
	return use, known
}

// Run writes until ctx ends. Failures go to report: what could not be written
// is tried again the next time.
func (l *LastUsed) Run(ctx context.Context, report func(error)) error {
	every := l.Every
	if every == 0 {
		every = DefaultLastUsedEvery
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			if err := l.Write(ctx); err != nil && ctx.Err() == nil {
				report(err)
			}
		}
	}
}

// Write writes what was noted so far.
func (l *LastUsed) Write(ctx context.Context) error {
	l.mu.Lock()
	keys := make([]usedKey, 0, len(l.not))
	for k := range l.not {
		keys = append(keys, k)
	}
	l.mu.Unlock()
	slices.SortFunc(keys, func(a, b usedKey) int { return strings.Compare(a.account+a.keyID, b.account+b.keyID) })
	var errs []error
	for part := range slices.Chunk(keys, usesPerWrite) {
		errs = append(errs, l.write(ctx, part))
	}
	return errors.Join(errs...)
}

func (l *LastUsed) write(ctx context.Context, keys []usedKey) error {
	uses := make(map[usedKey]KeyUse, len(keys))
	l.mu.Lock()
	for _, k := range keys {
		uses[k] = l.not[k]
	}
	l.mu.Unlock()
	err := storeFault(l.Store.Update(ctx, func(tx *store.Tx) error {
		for _, k := range keys {
			writeUse(tx, k, uses[k])
		}
		return nil
	}))
	if err != nil {
		return fault.New(fault.Unavailable, "The use of access keys cannot be written.").WithReason("store-unavailable").Because(err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for k, use := range uses {
		if l.not[k] == use { // else it was used meanwhile
			delete(l.not, k)
		}
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
