// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package credcache

import (
	"container/list"
	"hash/maphash"
	"time"

	"podid/internal/agent/eksauthclient"
)

const (
	// maxTokens is how many of one pod's tokens are known at once: kubelet rotates one, and few pods have two volumes. A
	// pod's further tokens are verified each time.
	maxTokens = 4
	// maxRefusals and maxRefusalBytes bound what is remembered of those who have no credentials, most of all of tokens
	// that somebody made up.
	maxRefusals     = 1024
	maxRefusalBytes = 1 << 20
	// entryBytes is about what an entry takes beside its answer and tokens.
	entryBytes = 700
)

// knownToken is a token that was proven: verified here, or accepted or refused by EKS Auth, byte for byte.
type knownToken struct {
	token Token
	entry *entry
}

// table holds the entries. Its users hold Cache.mu.
type table struct {
	seed    maphash.Seed
	entries map[key]*entry
	// known is keyed by a hash with a random seed, and bytes are compared only where all of it agrees: the time of a
	// look-up tells nothing about a token whose signature one does not have.
	known map[uint64]*knownToken
	// live holds the entries with credentials and weak the others, the most recently asked for in front.
	live, weak *list.List
	// ends holds those in live by the end of their tokens.
	ends             schedule
	bytes, weakBytes int64 // weakBytes is part of bytes
	generation       uint64
}

func newTable(seed maphash.Seed) table {
	return table{
		seed: seed, entries: make(map[key]*entry), known: make(map[uint64]*knownToken), live: list.New(), weak: list.New(),
		ends: schedule{before: endsFirst, seat: ending},
	}
}

// hashed is how much of a token is hashed: the end of its signature, in which two tokens of one key differ as a whole. A
// look-up hashes 128 bytes instead of 1,300 and takes a third of the time. Who makes up a token with another's end gains
// nothing: all of it is compared, and it takes no place from a token that is served.
const hashed = 128

func (t *table) hash(raw eksauthclient.Secret) uint64 {
	return maphash.String(t.seed, string(raw[max(0, len(raw)-hashed):]))
}

func (t *table) find(raw eksauthclient.Secret) *knownToken {
	if k := t.known[t.hash(raw)]; k != nil && k.token.Raw == raw {
		return k
	}
	return nil
}

// locate finds the key under which a token's call is made, and the entry if there is one.
func (t *table) locate(token *Token) (key, *entry) {
	if k := t.find(token.Raw); k != nil {
		return k.entry.key, k.entry
	}
	k := keyOf(token, false)
	return k, t.entries[k]
}

// touch notes that somebody asked for the entry.
func (t *table) touch(e *entry) { t.listOf(e).MoveToFront(e.place) }

func (t *table) listOf(e *entry) *list.List {
	if e.weak {
		return t.weak
	}
	return t.live
}

// add makes an empty entry, which is weak until credentials are put into it.
func (t *table) add(k key) *entry {
	e := &entry{key: k, weak: true}
	e.place = t.weak.PushFront(e)
	t.entries[k] = e
	t.count(e)
	return e
}

// count brings the entry's lists and size up to date.
func (t *table) count(e *entry) {
	t.generation++
	t.bytes -= e.size
	if e.weak {
		t.weakBytes -= e.size
	}
	if weak := !e.granted(); weak != e.weak {
		t.listOf(e).Remove(e.place)
		e.weak = weak
		e.place = t.listOf(e).PushFront(e)
	}
	if e.weak {
		e.ending.leave()
	} else {
		t.ends.put(e)
	}
	e.size = entryBytes + int64(len(e.answer.Body))
	for _, k := range e.known {
		e.size += int64(len(k.token.Raw))
	}
	t.bytes += e.size
	if e.weak {
		t.weakBytes += e.size
	}
}

// remember makes the token known as the entry's. It is false when it was known already, or when its place is another's.
func (t *table) remember(e *entry, token Token) bool {
	h := t.hash(token.Raw)
	if k := t.known[h]; k != nil {
		if same := k.token.Raw == token.Raw; same && k.entry == e || !same && k.entry.granted() {
			return false
		}
		t.forget(k) // of another entry: an unproven token that has been proven since
		t.count(k.entry)
	}
	if len(e.known) >= maxTokens {
		oldest := e.known[0]
		for _, k := range e.known[1:] {
			if k.token.Expiry.Before(oldest.token.Expiry) {
				oldest = k
			}
		}
		t.forget(oldest)
	}
	k := &knownToken{token: token, entry: e}
	t.known[h] = k
	e.known = append(e.known, k)
	e.proven = e.proven || token.Proven
	if e.token.Raw == "" || !token.Expiry.Before(e.token.Expiry) {
		e.token = token
	}
	t.count(e)
	return true
}

func (t *table) forget(k *knownToken) {
	if h := t.hash(k.token.Raw); t.known[h] == k {
		delete(t.known, h)
	}
	for i, other := range k.entry.known {
		if other == k {
			k.entry.known = append(k.entry.known[:i:i], k.entry.known[i+1:]...)
			return
		}
	}
}

func (t *table) forgetTokens() {
	clear(t.known)
	for _, e := range t.entries {
		e.known = nil
		t.count(e)
	}
}

// remove takes the entry out of the table.
func (t *table) remove(e *entry) {
	t.generation++
	for _, k := range e.known {
		delete(t.known, t.hash(k.token.Raw))
	}
	delete(t.entries, e.key)
	t.listOf(e).Remove(e.place)
	e.ending.leave()
	t.bytes -= e.size
	if e.weak {
		t.weakBytes -= e.size
	}
}

// victim is the entry to give up for the newest one, or nil when everything has its place.
func (t *table) victim(maxEntries int, maxBytes int64, now time.Time) *entry {
	switch {
	case t.weak.Len() > 1 && (t.weak.Len() > maxRefusals || t.weakBytes > maxRefusalBytes || t.bytes > maxBytes):
		return t.weak.Back().Value.(*entry)
	case t.live.Len() > maxEntries || t.bytes > maxBytes && t.live.Len() > 1:
		return t.leastAlive(now)
	}
	return nil
}

// leastAlive is an entry whose pod shows no sign of life, since none of its tokens is valid any more; else the one that
// was not asked for the longest.
func (t *table) leastAlive(now time.Time) *entry {
	if e := t.ends.head(); e != nil && !e.token.within(now) {
		return e
	}
	return t.live.Back().Value.(*entry)
}
