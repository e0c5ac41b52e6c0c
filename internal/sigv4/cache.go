// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package sigv4

import (
	"crypto/sha256"
	"sync"
)

// KeyCache keeps derived signing keys, at most twice the size given. It holds
// two generations: when the young one is full it becomes the old one and the
// former old one is dropped, so a key in use survives and nobody can make it
// grow. It is safe for concurrent use. Entries are found by access key id,
// scope and a hash of the secret: a changed secret never finds an old key.
type KeyCache struct {
	size int

	mu         sync.Mutex
	young, old map[cacheKey]SigningKey
}

type cacheKey struct {
	accessKeyID, date, region, service string
	secret                             [sha256.Size]byte
}

// NewKeyCache returns a cache whose generations hold size keys each; size below
// 1 counts as 1.
func NewKeyCache(size int) *KeyCache {
	return &KeyCache{size: max(size, 1), young: map[cacheKey]SigningKey{}}
}

// Key returns the signing key of the secret for the scope of s.
func (c *KeyCache) Key(s *Signed, secretAccessKey string) SigningKey {
	id := cacheKey{s.AccessKeyID, s.Date, s.Region, s.Service, sha256.Sum256([]byte(secretAccessKey))}
	c.mu.Lock()
	key, ok := c.young[id]
	if !ok {
		if key, ok = c.old[id]; ok {
			c.put(id, key)
		}
	}
	c.mu.Unlock()
	if ok {
		return key
	}
	key = DeriveKey(secretAccessKey, s.Date, s.Region, s.Service)
	c.mu.Lock()
	c.put(id, key)
	c.mu.Unlock()
	return key
}

// put is called with the lock held.
func (c *KeyCache) put(id cacheKey, key SigningKey) {
	if len(c.young) >= c.size {
		c.old, c.young = c.young, make(map[cacheKey]SigningKey, c.size)
	}
	c.young[id] = key
}

// Len returns how many entries are held.
func (c *KeyCache) Len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.young) + len(c.old)
}
