// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package policy

import "slices"

// Context holds the condition keys of one request. Key names do not depend on
// case, values do. The zero value is an empty context; it is not safe for
// concurrent writes. Reset keeps the memory, so a Context may be pooled.
type Context struct {
	hashes  []uint32 // of entries, apart from them because every lookup scans it
	entries []entry
	limited bool     // keep only keys of these hashes
	wanted  []uint32 // of the keys that documents name
}

// entry is one key: its name is prefix+name, so that the key of a tag is set
// without building a string.
type entry struct {
	prefix, name string
	value        string
	values       []string
	multi        bool
	unknown      bool
}

// Reset removes every key and the limit, and keeps the memory.
func (c *Context) Reset() {
	c.truncate(0)
	c.limited, c.wanted = false, c.wanted[:0]
}

// Limit makes the empty c drop the keys that no document of the request names:
// no decision depends on them, and few documents name any. Explanations speak
// of documents' keys only, too. What is set must be meant for this request.
func (c *Context) Limit(in *Input) {
	if c.wanted == nil {
		c.wanted = make([]uint32, 0, 12)
	}
	c.limited, c.wanted = true, c.wanted[:0]
	eachDocument(in, func(n *Named) { c.wanted = append(c.wanted, n.Doc.keys...) })
}

// Closed reports whether no key at all would be kept, so that values need not
// be made.
func (c *Context) Closed() bool { return c.limited && len(c.wanted) == 0 }

// Wants reports whether the key would be kept. It may say yes to a few others:
// it compares hashes.
func (c *Context) Wants(key string) bool { return !c.limited || c.wants(foldHash(fnvBasis, key)) }

func (c *Context) wants(hash uint32) bool { return slices.Contains(c.wanted, hash) }

// Len returns the number of keys, unknown ones included.
func (c *Context) Len() int { return len(c.entries) }

// Set gives a single-valued key its value, replacing any earlier one. Booleans
// are "true" or "false", numbers decimal text, times ISO 8601 or epoch seconds.
func (c *Context) Set(key, value string) { c.put(entry{name: key, value: value}) }

// SetTag sets the key prefix+tag, for example aws:RequestTag/ and a tag's key.
func (c *Context) SetTag(prefix, tag, value string) {
	c.put(entry{prefix: prefix, name: tag, value: value})
}

// SetMulti gives a multi-valued key its values. Without values the key counts as
// absent, as an empty set does by the documentation. The slice is kept.
func (c *Context) SetMulti(key string, values ...string) {
	c.put(entry{name: key, values: values, multi: true})
}

// SetUnknown marks a key whose value is not known yet. A condition on it passes:
// it counts as met in an Allow, as not met in a Deny, and Decision.Open names it.
func (c *Context) SetUnknown(key string) { c.put(entry{name: key, unknown: true}) }

// Merge sets every key of other.
func (c *Context) Merge(other *Context) {
	if other == nil {
		return
	}
	if len(c.entries) == 0 && !c.limited {
		if n := len(other.entries) + ordinaryKeys; cap(c.entries) < n {
			c.reserve(n)
		}
		c.hashes = append(c.hashes, other.hashes...)
		c.entries = append(c.entries, other.entries...)
		return
	}
	for i := range other.entries {
		c.place(other.hashes[i], &other.entries[i])
	}
}

func (c *Context) put(e entry) {
	if c.Closed() {
		return
	}
	c.place(foldHash(foldHash(fnvBasis, e.prefix), e.name), &e)
}

func (c *Context) place(hash uint32, e *entry) {
	if c.limited && !c.wants(hash) {
		return
	}
	for i, h := range c.hashes {
		if h == hash && sameName(&c.entries[i], e) {
			c.entries[i] = *e
			return
		}
	}
	if c.entries == nil {
		n := ordinaryKeys
		if c.limited {
			n = min(n, len(c.wanted))
		}
		c.reserve(n)
	}
	c.hashes = append(c.hashes, hash)
	c.entries = append(c.entries, *e)
}

// ordinaryKeys are enough for a request by a role session with a few tags:
// growing a context key by key cost more than evaluating it.
const ordinaryKeys = 24

func (c *Context) reserve(n int) {
	c.hashes, c.entries = make([]uint32, 0, n), make([]entry, 0, n)
}

// truncate drops the keys after the first n.
func (c *Context) truncate(n int) {
	clear(c.entries[n:])
	c.entries = c.entries[:n]
	c.hashes = c.hashes[:n]
}

// lookup finds a key; nil when it is absent.
func (c *Context) lookup(k *keyRef) *entry {
	if c == nil {
		return nil
	}
	for i, h := range c.hashes {
		if h == k.hash && c.entries[i].is(k) {
			return &c.entries[i]
		}
	}
	return nil
}

// is compares the entry's name with a key, first as the document spells it.
func (e *entry) is(k *keyRef) bool {
	if n := len(e.prefix); n+len(e.name) == len(k.text) && k.text[:n] == e.prefix && k.text[n:] == e.name {
		return true
	}
	rest, ok := foldPrefix(e.prefix, k.folded)
	if !ok {
		return false
	}
	rest, ok = foldPrefix(e.name, rest)
	return ok && rest == ""
}

// empty reports whether the entry stands for no value: an empty set.
func (e *entry) empty() bool { return e.multi && len(e.values) == 0 }

// count and at give single-valued and multi-valued keys one shape.
func (e *entry) count() int {
	if e.multi {
		return len(e.values)
	}
	return 1
}

func (e *entry) at(i int) string {
	if e.multi {
		return e.values[i]
	}
	return e.value
}

// null reports whether the values resolve to a null data set: none at all, or
// empty strings only. Set operators treat such a key as absent.
func (e *entry) null() bool {
	for i := range e.count() {
		if e.at(i) != "" {
			return false
		}
	}
	return true
}

func sameName(a, b *entry) bool {
	if a.prefix == b.prefix {
		return foldEqual(a.name, b.name)
	}
	return foldEqual(a.prefix+a.name, b.prefix+b.name)
}

// keyRef is a condition key as a document names it, prepared for lookup.
type keyRef struct {
	text   string
	folded string
	hash   uint32
}

func newKeyRef(key string) keyRef {
	return keyRef{text: key, folded: fold(key), hash: foldHash(fnvBasis, key)}
}
