// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package webidentity

import (
	"context"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"sync"
	"time"

	"podid/internal/fault"
	"podid/internal/store"
)

// Life of a key. A reader of the key set may keep what it read for a while, so
// a new key is published for a day before it signs, and an old one for two days
// after it has signed last.
const (
	rotation    = 30 * 24 * time.Hour
	propagation = 24 * time.Hour
	publishFor  = 48 * time.Hour
	keyBits     = 2048
)

// Record is a signing key as it is stored; its id is the key's own.
type Record struct {
	Sealed  []byte    `cbor:"1,keyasint"` // PKCS #8, bound to the record's key
	Public  []byte    `cbor:"2,keyasint"` // PKIX
	Created time.Time `cbor:"3,keyasint"`
	Primary time.Time `cbor:"4,keyasint"` // from when on it may sign
}

// Keys is the table, of the installation.
var Keys = store.NewTable[Record]("oidckey", nil)

var scope = store.Scope{Account: store.System, Region: store.Global}

// openedKeys are keys out of their seals.
type openedKeys struct {
	mu sync.Mutex
	m  map[string]*rsa.PrivateKey
}

// primary is the key to sign with: the newest that has been published long
// enough, or the eldest there is.
func (p *Provider) primary() (string, *rsa.PrivateKey, error) {
	var id string
	var best *Record
	now := p.Now()
	for k, rec := range Keys.List(p.Store.View(), scope, "", "") {
		if best == nil || better(rec, best, now) {
			id, best = k, rec
		}
	}
	if best == nil {
		return "", nil, fault.New(fault.Unavailable, "There is no key yet to sign tokens with.").WithReason("oidc-key-missing").After(2 * time.Second)
	}
	key, err := p.open(id, best)
	return id, key, err
}

func better(a, b *Record, now time.Time) bool {
	aDue, bDue := !a.Primary.After(now), !b.Primary.After(now)
	if aDue != bDue {
		return aDue
	}
	return a.Primary.After(b.Primary) == aDue && !a.Primary.Equal(b.Primary)
}

func (p *Provider) open(id string, rec *Record) (*rsa.PrivateKey, error) {
	p.opened.mu.Lock()
	defer p.opened.mu.Unlock()
	if k := p.opened.m[id]; k != nil {
		return k, nil
	}
	der, err := p.Sealer.Open(rec.Sealed, []byte(Keys.Key(scope, id)))
	if err != nil {
		return nil, fmt.Errorf("open token key %s: %w", id, err)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, fmt.Errorf("read token key %s: %w", id, err)
	}
	key, ok := parsed.(*rsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("read token key %s: it is a %T, not an RSA key", id, parsed)
	}
	if p.opened.m == nil {
		p.opened.m = map[string]*rsa.PrivateKey{}
	}
	p.opened.m[id] = key
	return key, nil
}

// Rotate adds a key when the newest is old, and removes those that nobody can
// need. Every replica may call it at any time; without a URL it does nothing.
func (p *Provider) Rotate(ctx context.Context) error {
	if p.URL == "" || !p.due(p.Store.View()) {
		return nil
	}
	id, rec, err := p.generate()
	if err != nil {
		return err
	}
	return p.Store.Update(ctx, func(tx *store.Tx) error {
		now := p.Now()
		if newest := newest(tx); newest == nil || now.Sub(newest.Created) >= rotation {
			add := *rec
			add.Created, add.Primary = now, now
			if newest != nil {
				add.Primary = now.Add(propagation)
			}
			Keys.Put(tx, scope, id, &add)
		}
		for _, old := range expired(tx, now) {
			Keys.Delete(tx, scope, old)
		}
		return nil
	})
}

func (p *Provider) due(r store.Reader) bool {
	n := newest(r)
	return n == nil || p.Now().Sub(n.Created) >= rotation || len(expired(r, p.Now())) > 0
}

// generate makes a key outside of the transaction, which may run again.
func (p *Provider) generate() (string, *Record, error) {
	key, err := rsa.GenerateKey(p.Rand, keyBits)
	if err != nil {
		return "", nil, fmt.Errorf("make a token key: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return "", nil, fmt.Errorf("encode token key: %w", err)
	}
	public, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		return "", nil, fmt.Errorf("encode token key: %w", err)
	}
	sum := sha256.Sum256(public)
	id := hex.EncodeToString(sum[:16])
	sealed, err := p.Sealer.Seal(der, []byte(Keys.Key(scope, id)))
	if err != nil {
		return "", nil, fmt.Errorf("seal token key: %w", err)
	}
	return id, &Record{Sealed: sealed, Public: public}, nil
}

func newest(r store.Reader) *Record {
	var n *Record
	for _, rec := range Keys.List(r, scope, "", "") {
		if n == nil || rec.Created.After(n.Created) {
			n = rec
		}
	}
	return n
}

// expired lists the keys that were followed by another long ago.
func expired(r store.Reader, now time.Time) []string {
	var out []string
	for id, rec := range Keys.List(r, scope, "", "") {
		for _, next := range Keys.List(r, scope, "", "") {
			if next.Primary.After(rec.Primary) && now.Sub(next.Primary) > publishFor {
				out = append(out, id)
				break
			}
		}
	}
	return out
}

// Run rotates until ctx ends. A failed rotation is reported and tried again.
func (p *Provider) Run(ctx context.Context, report func(error)) error {
	if p.URL == "" {
		<-ctx.Done()
		return nil
	}
	t := time.NewTicker(time.Minute)
	defer t.Stop()
	for {
		if err := p.Rotate(ctx); err != nil && ctx.Err() == nil {
			report(fmt.Errorf("rotate token keys: %w", err))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
	}
}
