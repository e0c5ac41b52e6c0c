// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"

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

	mu   sync.RWMutex
	sets map[string]parsed // by cluster unique id
}

type parsed struct {
	jwks []byte
	set  *jwt.KeySet
}

// Get returns the key set of a cluster.
func (k *KeySets) Get(c *Cluster) (*jwt.KeySet, error) {
	k.mu.RLock()
	p, ok := k.sets[c.UID]
	k.mu.RUnlock()
	if ok && bytes.Equal(p.jwks, c.JWKS) {
		return p.set, nil
	}
	set, err := jwt.ParseKeySet(c.JWKS)
	if err != nil {
		return nil, fmt.Errorf("parse the keys of cluster %s: %w", c.Name, err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.sets == nil {
		k.sets = map[string]parsed{}
	}
	k.sets[c.UID] = parsed{c.JWKS, set}
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
