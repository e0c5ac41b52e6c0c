// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"podid/internal/jwt"
)

// KeySets holds the parsed key sets of clusters, so that a token costs no
// parsing of keys. It is safe for concurrent use; the zero value is ready
// except for clusters whose keys are discovered.
type KeySets struct {
	// Refresh fetches a cluster's keys anew because of an unknown key id and
	// returns the cluster's new key set as JSON. It limits itself. Nil: keys
	// change only by registration.
	Refresh func(ctx context.Context, c *Cluster, kid string) ([]byte, error)
	// Now ends retired keys; nil: time.Now.
	Now func() time.Time

	mu   sync.RWMutex
	sets map[string]parsed // by cluster unique id
}

type parsed struct {
	jwks    []byte
	retired []RetiredKey
	until   time.Time // when the first retired key of the set ends; zero for never
	set     *jwt.KeySet
}

// isOf reports whether it is what the cluster's keys are parsed to now.
func (p *parsed) isOf(c *Cluster, now func() time.Time) bool {
	if !bytes.Equal(p.jwks, c.JWKS) {
		return false
	}
	if len(p.retired) == 0 && len(c.Retired) == 0 {
		return true
	}
	return slices.EqualFunc(p.retired, c.Retired, func(a, b RetiredKey) bool { return a.Until.Equal(b.Until) && bytes.Equal(a.JWK, b.JWK) }) &&
		(p.until.IsZero() || now().Before(p.until))
}

func (k *KeySets) now() time.Time {
	if k.Now == nil {
		return time.Now()
	}
	return k.Now()
}

// Get returns the keys that tokens of a cluster may be signed by: those that
// are registered, and the retired ones that have not ended.
func (k *KeySets) Get(c *Cluster) (*jwt.KeySet, error) {
	k.mu.RLock()
	p, ok := k.sets[c.UID]
	k.mu.RUnlock()
	if ok && p.isOf(c, k.now) {
		return p.set, nil
	}
	now := k.now()
	set, err := jwt.ParseKeySet(c.AcceptedKeys(now))
	if err != nil {
		return nil, fmt.Errorf("parse the keys of cluster %s: %w", c.Name, err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.sets == nil {
		k.sets = map[string]parsed{}
	}
	p = parsed{jwks: c.JWKS, retired: c.Retired, set: set}
	for _, r := range c.Retired {
		if now.Before(r.Until) && (p.until.IsZero() || r.Until.Before(p.until)) {
			p.until = r.Until
		}
	}
	k.sets[c.UID] = p
	return set, nil
}

// Verify runs check with the cluster's keys, and once more with fresh ones
// when the token is signed by a key that is not known and the cluster's keys
// are discovered.
func (k *KeySets) Verify(ctx context.Context, c *Cluster, check func(*jwt.KeySet) error) error {
	set, err := k.Get(c)
	if err != nil {
		return err
	}
	if err = check(set); err == nil {
		return nil
	}
	var unknown *jwt.UnknownKeyError
	if !errors.As(err, &unknown) || !c.Discover || k.Refresh == nil {
		return err
	}
	jwks, rerr := k.Refresh(ctx, c, unknown.KeyID)
	if rerr != nil {
		// The keys at hand stay: the token is refused for what it is.
		return err
	}
	fresh, perr := jwt.ParseKeySet(jwks)
	if perr != nil {
		return err
	}
	return check(fresh)
}
