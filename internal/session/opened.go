// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package session

import (
	"strings"
	"sync"

	"podid/internal/seal"
	"podid/internal/secret"
)

// openedSize is how many sessions a generation of the cache holds. One takes
// about two kilobytes, mostly its token; a cluster's agents have one each.
const openedSize = 4096

// OpenCache remembers what tokens opened to. An agent signs every call of its
// hour with the same session; opening it anew took more than checking the
// signature. Only what was authentic gets in, the entry counts for the very
// key that opened it, and whether the session is over is asked every time. It
// holds two generations, so it never grows past twice its size, and what is in
// use stays. The zero value is ready; it is safe for concurrent use.
type OpenCache struct {
	mu         sync.Mutex
	young, old map[openedKey]openedSession
}

type openedKey struct{ accessKeyID, token string }

// openedSession is shared by all who open the token: nobody changes it.
type openedSession struct {
	key     seal.TokenKey
	session *Session
	secret  secret.String
}

// get finds what the token opened to under that key.
func (o *OpenCache) get(k seal.TokenKey, accessKeyID, token string) (openedSession, bool) {
	if o == nil {
		return openedSession{}, false
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	id := openedKey{accessKeyID, token}
	e, ok := o.young[id]
	if !ok {
		if e, ok = o.old[id]; ok {
			o.store(id, e)
		}
	}
	return e, ok && e.key == k
}

// put keeps what a token opened to. The strings of a request are parts of its
// headers: the entry has its own.
func (o *OpenCache) put(accessKeyID, token string, e openedSession) {
	if o == nil {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.store(openedKey{strings.Clone(accessKeyID), strings.Clone(token)}, e)
}

// store is called with the lock held.
func (o *OpenCache) store(id openedKey, e openedSession) {
	if o.young == nil || len(o.young) >= openedSize {
		o.old, o.young = o.young, map[openedKey]openedSession{}
	}
	o.young[id] = e
}
