// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"container/list"
	"sync"
)

// Cache keeps compiled documents by their content, so that a policy attached to
// a thousand roles is compiled once and held once. The least recently used goes
// when the bound is reached. Refused documents are not kept. It is safe for
// concurrent use.
type Cache struct {
	limit int

	mu    sync.Mutex
	order *list.List // of *Document, the most recently used first
	byKey map[cacheKey]*list.Element
	bytes int
}

type cacheKey struct {
	kind DocumentKind
	text string
}

// NewCache returns a cache for at most limit bytes of document text; a document
// takes about ten times its text. A limit of 0 or less keeps nothing.
func NewCache(limit int) *Cache {
	return &Cache{limit: limit, order: list.New(), byKey: map[cacheKey]*list.Element{}}
}

// Get returns the compiled document, compiling it at first sight. Its errors are
// those of Parse.
func (c *Cache) Get(kind DocumentKind, text string) (*Document, error) {
	key := cacheKey{kind, text}
	c.mu.Lock()
	if el, ok := c.byKey[key]; ok {
		c.order.MoveToFront(el)
		c.mu.Unlock()
		return el.Value.(*Document), nil
	}
	c.mu.Unlock()
	// Compile without the lock: two callers may compile the same document, and
	// the first one's is kept.
	doc, err := Parse(kind, text)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if el, ok := c.byKey[key]; ok {
		return el.Value.(*Document), nil
	}
	if len(text) > c.limit {
		return doc, nil
	}
	c.byKey[key] = c.order.PushFront(doc)
	c.bytes += len(text)
	for c.bytes > c.limit {
		last := c.order.Back()
		old := c.order.Remove(last).(*Document)
		delete(c.byKey, cacheKey{old.kind, old.text})
		c.bytes -= len(old.text)
	}
	return doc, nil
}

// Len returns the number of documents held.
func (c *Cache) Len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.order.Len()
}
