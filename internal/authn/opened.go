// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package authn

import (
	"bytes"
	"sync"

	"podid/internal/secret"
)

// maxOpened bounds how many long-lived keys are kept open. Users have two at
// most, and few accounts have many users: beyond it all are opened anew.
const maxOpened = 4096

// openedKeys remembers what sealed keys opened to: opening one takes as long
// as checking a signature. An entry counts only for the very bytes that opened
// to it, so a key that was made anew, or belongs to another user, is another.
// The zero value is ready; it is safe for concurrent use.
type openedKeys struct {
	mu   sync.Mutex
	keys map[string]openedKey // by access key id
}

type openedKey struct {
	sealed, aad []byte
	secret      secret.String
}

// open is s.Open with a memory.
func (o *openedKeys) open(s Sealer, keyID string, sealed, aad []byte) (secret.String, error) {
	o.mu.Lock()
	k, ok := o.keys[keyID]
	o.mu.Unlock()
	if ok && bytes.Equal(k.sealed, sealed) && bytes.Equal(k.aad, aad) {
		return k.secret, nil
	}
	raw, err := s.Open(sealed, aad)
	if err != nil {
		return secret.String{}, err
	}
	k = openedKey{sealed, aad, secret.New(string(raw))}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.keys == nil || len(o.keys) >= maxOpened {
		o.keys = map[string]openedKey{}
	}
	o.keys[keyID] = k
	return k.secret, nil
}
