// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package satoken

import (
	"crypto/sha256"
	"sync"
	"time"

	"podid/internal/jwt"
)

// Cache remembers tokens that it has verified, so that a pod which shows the
// same token again costs no signature check. Times are checked on every call.
// It keeps a hash of the token, never the token, and at most twice the size
// given: two generations, the elder dropped when the younger is full. A refusal
// is never kept. An entry holds for one set of keys and one set of rules; other
// keys are another *jwt.KeySet, so a rotation forgets by itself. It is safe for
// concurrent use.
type Cache struct {
	size int

	mu         sync.Mutex
	young, old map[entryKey]Claims
}

type entryKey struct {
	token            [sha256.Size]byte
	keys             *jwt.KeySet
	issuer, audience string
	maxLife          time.Duration
	requirePod       bool
}

// NewCache returns a cache of two generations of size entries each.
func NewCache(size int) *Cache {
	return &Cache{size: max(size, 1), young: map[entryKey]Claims{}}
}

// Verify is the function Verify with memory.
func (c *Cache) Verify(token string, p Params) (Claims, error) {
	p, err := p.complete()
	if err != nil {
		return Claims{}, err
	}
	if len(token) > jwt.MaxTokenLen {
		return Verify(token, p)
	}
	id := entryKey{sha256.Sum256([]byte(token)), p.Keys, p.Issuer, p.Audience, p.MaxLife, p.RequirePod}
	if claims, ok := c.get(id); ok {
		if err := checkTimes(claims, p); err != nil {
			return Claims{}, err
		}
		claims.Audiences = append([]string(nil), claims.Audiences...)
		return claims, nil
	}
	claims, err := Verify(token, p)
	if err == nil {
		kept := claims
		kept.Audiences = append([]string(nil), claims.Audiences...)
		c.put(id, kept)
	}
	return claims, err
}

// Len returns how many tokens are remembered.
func (c *Cache) Len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.young) + len(c.old)
}

func (c *Cache) get(id entryKey) (Claims, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	claims, ok := c.young[id]
	if !ok {
		if claims, ok = c.old[id]; ok {
			c.add(id, claims)
		}
	}
	return claims, ok
}

func (c *Cache) put(id entryKey, claims Claims) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.add(id, claims)
}

// add is called with the lock held.
func (c *Cache) add(id entryKey, claims Claims) {
	if len(c.young) >= c.size {
		c.old, c.young = c.young, make(map[entryKey]Claims, c.size)
	}
	c.young[id] = claims
}
