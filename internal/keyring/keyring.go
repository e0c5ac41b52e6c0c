// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Package keyring owns the keyset that session tokens are sealed under: its
// records in the store (sealed by the root key), which key is primary, and
// rotation. It refuses to make a key primary before every replica can have
// read it, and to drop one while a token sealed under it may live. It stands
// below session, which asks it for keys.
package keyring

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strconv"
	"sync"
	"time"

	"podid/internal/seal"
	"podid/internal/store"
)

// Defaults of a Ring, taken for fields that are zero.
const (
	DefaultRotation    = 24 * time.Hour
	DefaultPropagation = 5 * time.Minute
	// DefaultVerifyFor is the longest session, 36 h of GetSessionToken, and an
	// hour for replicas that went on sealing under the key a little longer.
	DefaultVerifyFor = 37 * time.Hour
)

// Record is a session key as it is stored.
type Record struct {
	Sealed  []byte    `cbor:"1,keyasint"` // token key and secret key, bound to the record's key
	Created time.Time `cbor:"2,keyasint"`
	Primary time.Time `cbor:"3,keyasint"` // from when on it may be primary
}

// Keys is the table; the id is the key id in hexadecimal.
var Keys = store.NewTable[Record]("sessionkey", nil)

// Sealer protects keys at rest. aad binds a sealed value to its record.
type Sealer interface {
	Seal(plaintext, aad []byte) ([]byte, error)
	Open(sealed, aad []byte) ([]byte, error)
}

// Ring is the keyset of one account. Fields are set once, before use.
type Ring struct {
	Store    store.Store
	Sealer   Sealer
	Now      func() time.Time
	Rand     io.Reader
	Scope    store.Scope
	Rotation time.Duration // a new key after this long; 24 h
	// Propagation is the time in which every replica has seen a new key. Until
	// then it only verifies. 5 min.
	Propagation time.Duration
	// VerifyFor is how long a key verifies after it has been followed: the
	// longest session plus slack. Less than 37 h counts as 37 h.
	VerifyFor time.Duration

	opened sync.Map // key id → *openedKey
}

// openedKey is a key out of its seal, and the record that it came from: a
// record that is removed and written again under the same id is another key.
type openedKey struct {
	rec *Record
	key seal.TokenKey
}

func (r *Ring) rotation() time.Duration    { return cmp.Or(r.Rotation, DefaultRotation) }
func (r *Ring) propagation() time.Duration { return cmp.Or(r.Propagation, DefaultPropagation) }
func (r *Ring) verifyFor() time.Duration   { return max(r.VerifyFor, DefaultVerifyFor) }

const (
	keyBytes = 64 // token root and secret root
	idTries  = 16 // of 2^32 ids a handful is taken
)

// ErrNoKey: the keyset is empty, so the installation was never initialised.
var ErrNoKey = errors.New("the session keyset is empty")

// idString writes an id with 8 hexadecimal digits. Every signed call needs it.
func idString(id uint32) string {
	var b [8]byte
	return string(hex.AppendEncode(b[:0], binary.BigEndian.AppendUint32(nil, id)))
}

// Create adds a key inside a transaction. The first key of a keyset is
// primary at once, any later one after Propagation.
func (r *Ring) Create(tx *store.Tx) error {
	first := true
	for range Keys.List(tx, r.Scope, "", "") {
		first = false
	}
	id, raw, err := r.draw(tx)
	if err != nil {
		return err
	}
	sealed, err := r.Sealer.Seal(raw, []byte(Keys.Key(r.Scope, id)))
	if err != nil {
		return fmt.Errorf("seal session key: %w", err)
	}
	now := r.Now()
	rec := &Record{Sealed: sealed, Created: now, Primary: now}
	if !first {
		rec.Primary = now.Add(r.propagation())
	}
	Keys.Put(tx, r.Scope, id, rec)
	return nil
}

// draw draws a key and an id that is free.
func (r *Ring) draw(tx *store.Tx) (string, []byte, error) {
	for range idTries {
		raw := make([]byte, 4+keyBytes)
		if _, err := io.ReadFull(r.Rand, raw); err != nil {
			return "", nil, fmt.Errorf("read randomness: %w", err)
		}
		id := idString(binary.BigEndian.Uint32(raw))
		if _, taken := Keys.Get(tx, r.Scope, id); !taken {
			return id, raw[4:], nil
		}
	}
	return "", nil, fmt.Errorf("draw a session key id: %d in a row are taken", idTries)
}

// Rotate adds a key when the newest is older than Rotation and removes keys
// that no living token can need. Every replica may call it at any time.
func (r *Ring) Rotate(ctx context.Context) error {
	v := r.Store.View()
	r.forget(v)
	if !r.due(v) {
		return nil
	}
	return r.Store.Update(ctx, func(tx *store.Tx) error {
		now := r.Now()
		newest := r.newest(tx)
		if newest == nil || now.Sub(newest.Created) >= r.rotation() {
			if err := r.Create(tx); err != nil {
				return err
			}
		}
		for _, id := range r.expired(tx) {
			Keys.Delete(tx, r.Scope, id)
		}
		return nil
	})
}

func (r *Ring) due(v *store.View) bool {
	newest := r.newest(v)
	return newest == nil || r.Now().Sub(newest.Created) >= r.rotation() || len(r.expired(v)) > 0
}

func (r *Ring) newest(rd store.Reader) *Record {
	var n *Record
	for _, rec := range Keys.List(rd, r.Scope, "", "") {
		if n == nil || rec.Created.After(n.Created) {
			n = rec
		}
	}
	return n
}

// expired lists the keys that were followed by another primary VerifyFor ago.
func (r *Ring) expired(rd store.Reader) []string {
	var out []string
	for id, rec := range Keys.List(rd, r.Scope, "", "") {
		for _, next := range Keys.List(rd, r.Scope, "", "") {
			if next.Primary.After(rec.Primary) && r.Now().Sub(next.Primary) > r.verifyFor() {
				out = append(out, id)
				break
			}
		}
	}
	return out
}

// Run rotates until ctx ends, at once if that is overdue after a stop. A failed
// rotation is reported and tried again: sessions go on being issued under the
// old key.
func (r *Ring) Run(ctx context.Context, report func(error)) error {
	t := time.NewTicker(time.Minute)
	defer t.Stop()
	for {
		if err := r.Rotate(ctx); err != nil && ctx.Err() == nil {
			report(fmt.Errorf("rotate session keys: %w", err))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
	}
}

// Primary is the key for new tokens: the newest that every replica can have
// read. When none is due yet (the clock of the replica that made the first key
// was ahead of this one's) the eldest is taken: there is no other.
func (r *Ring) Primary() (seal.TokenKey, error) {
	var id string
	var best *Record
	now := r.Now()
	for k, rec := range Keys.List(r.Store.View(), r.Scope, "", "") {
		if best == nil || better(rec, best, now) {
			id, best = k, rec
		}
	}
	if best == nil {
		return seal.TokenKey{}, ErrNoKey
	}
	return r.open(id, best)
}

// better reports whether a is to be primary rather than b.
func better(a, b *Record, now time.Time) bool {
	aDue, bDue := !a.Primary.After(now), !b.Primary.After(now)
	if aDue != bDue {
		return aDue
	}
	return a.Primary.After(b.Primary) == aDue && !a.Primary.Equal(b.Primary)
}

// Lookup finds a key. An id that this replica has not seen is looked up in
// the store's newest state before it is refused.
func (r *Ring) Lookup(ctx context.Context, id uint32) (seal.TokenKey, bool, error) {
	name := idString(id)
	v := r.Store.View()
	rec, ok := Keys.Get(v, r.Scope, name)
	if !ok {
		var err error
		if v, err = r.Store.Fence(ctx); err != nil {
			return seal.TokenKey{}, false, err
		}
		if rec, ok = Keys.Get(v, r.Scope, name); !ok {
			return seal.TokenKey{}, false, nil
		}
	}
	k, err := r.open(name, rec)
	return k, err == nil, err
}

func (r *Ring) open(name string, rec *Record) (seal.TokenKey, error) {
	if v, ok := r.opened.Load(name); ok {
		if o := v.(*openedKey); o.rec == rec || bytes.Equal(o.rec.Sealed, rec.Sealed) {
			return o.key, nil
		}
	}
	raw, err := r.Sealer.Open(rec.Sealed, []byte(Keys.Key(r.Scope, name)))
	if err != nil {
		return seal.TokenKey{}, fmt.Errorf("open session key %s: %w", name, err)
	}
	if len(raw) != keyBytes {
		return seal.TokenKey{}, fmt.Errorf("open session key %s: it has %d bytes, want %d", name, len(raw), keyBytes)
	}
	id, err := strconv.ParseUint(name, 16, 32)
	if err != nil {
		return seal.TokenKey{}, fmt.Errorf("read session key id %q: %w", name, err)
	}
	k, err := seal.NewTokenKey(uint32(id), raw[:keyBytes/2], raw[keyBytes/2:])
	if err != nil {
		return seal.TokenKey{}, fmt.Errorf("restore session key %s: %w", name, err)
	}
	r.opened.Store(name, &openedKey{rec, k})
	return k, nil
}

// forget drops the opened keys whose records are gone, so that what cannot be
// needed any more is not kept in memory.
func (r *Ring) forget(rd store.Reader) {
	r.opened.Range(func(name, _ any) bool {
		if _, ok := Keys.Get(rd, r.Scope, name.(string)); !ok {
			r.opened.Delete(name)
		}
		return true
	})
}
