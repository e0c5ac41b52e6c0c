// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"bytes"
	"cmp"
	"encoding/json"
	"slices"
	"time"

	"podid/internal/jwt"
)

// MaxRetired bounds the keys of a cluster that sign no more and whose tokens
// are still good. Beyond, those that end first go.
const MaxRetired = 16

// RetiredKey is a key that the cluster's API server has no more. Tokens that it
// has signed are good until they have all expired.
type RetiredKey struct {
	JWK   []byte    `cbor:"1,keyasint"` // the key as it stood in the set
	Until time.Time `cbor:"2,keyasint"` // then nothing verifies against it
}

// ID is the key's kid, "" for a key without one.
func (k RetiredKey) ID() string {
	var jwk struct {
		ID string `json:"kid"`
	}
	_ = json.Unmarshal(k.JWK, &jwk) // it was parsed before
	return jwk.ID
}

type rawSet struct {
	Keys []json.RawMessage `json:"keys"`
}

func rawKeys(set []byte) []json.RawMessage {
	var s rawSet
	if err := json.Unmarshal(set, &s); err != nil {
		return nil // stored sets were parsed before
	}
	return s.Keys
}

// AcceptedKeys is the key set that tokens are verified with: the registered
// one, and what was retired and has not ended.
func (c *Cluster) AcceptedKeys(now time.Time) []byte {
	keys := rawKeys(c.JWKS)
	have := len(keys)
	for _, r := range c.Retired {
		if now.Before(r.Until) {
			keys = append(keys, r.JWK)
		}
	}
	if len(keys) == have {
		return c.JWKS
	}
	set, err := json.Marshal(rawSet{keys})
	if err != nil {
		return c.JWKS
	}
	if _, err := jwt.ParseKeySet(set); err != nil {
		return c.JWKS // too many together: those that sign now are needed more
	}
	return set
}

// retire replaces the key set by one that the API server has now. Keys that it
// has no more are retired until the time; those that it has again are not. A
// key whose kid another key has now ends at once: it could not be told apart.
func (c *Cluster) retire(set []byte, now, until time.Time) {
	current, err := jwt.ParseKeySet(set)
	if err != nil {
		return // refused before
	}
	gone := func(jwk []byte) bool {
		one, err := single(jwk)
		return err == nil && !shareKey(one, current) && !shareID(one, current)
	}
	var kept []RetiredKey
	for _, r := range c.Retired {
		if now.Before(r.Until) && gone(r.JWK) {
			kept = append(kept, r)
		}
	}
	for _, jwk := range rawKeys(c.JWKS) {
		if gone(jwk) && !slices.ContainsFunc(kept, func(r RetiredKey) bool { return bytes.Equal(r.JWK, jwk) }) {
			kept = append(kept, RetiredKey{bytes.Clone(jwk), until})
		}
	}
	slices.SortStableFunc(kept, func(a, b RetiredKey) int { return cmp.Compare(a.Until.UnixNano(), b.Until.UnixNano()) })
	if over := len(kept) - MaxRetired; over > 0 {
		kept = kept[over:]
	}
	c.JWKS, c.Retired = set, kept
}

// single is the set of one key; an error for one that verifies nothing.
func single(jwk []byte) (*jwt.KeySet, error) {
	set, err := json.Marshal(rawSet{[]json.RawMessage{jwk}})
	if err != nil {
		return nil, err
	}
	return jwt.ParseKeySet(set)
}

func shareID(a, b *jwt.KeySet) bool {
	for _, x := range a.Keys() {
		if slices.ContainsFunc(b.Keys(), func(y jwt.Key) bool { return x.ID != "" && x.ID == y.ID }) {
			return true
		}
	}
	return false
}
