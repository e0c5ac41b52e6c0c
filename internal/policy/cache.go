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

// NewCache returns a cache for at most limit bytes of document text. An ordinary
// document takes about ten times its text; one made of very short patterns, which
// take far more, weighs more, so that all together take at most some twenty
// times the limit. A limit of 0 or less keeps nothing.
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
	weight := doc.weight()
	if weight > c.limit {
		return doc, nil
	}
	c.byKey[key] = c.order.PushFront(doc)
	c.bytes += weight
	for c.bytes > c.limit {
		last := c.order.Back()
		old := c.order.Remove(last).(*Document)
		delete(c.byKey, cacheKey{old.kind, old.text})
		c.bytes -= old.weight()
	}
	return doc, nil
}

// Len returns the number of documents held.
func (c *Cache) Len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.order.Len()
}

// Rounded sizes of the compiled parts in bytes, with what growing lists leave
// unused.
const (
	statementSize = 400
	patternSize   = 120
	tokenSize     = 120
	arnSize       = 820
	valueSize     = 340

	// ordinarySize is how many bytes a byte of text may take at its own weight.
	ordinarySize = 16
)

// weight is the document's share of a cache's limit: its text's length, or more
// when the text says much in few bytes. Callers of AssumeRole choose documents.
func (d *Document) weight() int {
	size := 0
	for i := range d.statements {
		s := &d.statements[i]
		size += statementSize
		for j := range s.actions {
			size += s.actions[j].size()
		}
		for j := range s.resources {
			size += s.resources[j].size()
		}
		for j := range s.conditions {
			size += valueSize
			for k := range s.conditions[j].values {
				v := &s.conditions[j].values[k]
				size += valueSize + v.pattern.size()
				if v.arn != nil {
					size += v.arn.size()
				}
			}
		}
	}
	return max(len(d.text), size/ordinarySize)
}

func (p *pattern) size() int { return patternSize + len(p.tokens)*tokenSize }

func (p *arnPattern) size() int {
	size := arnSize
	for i := range p.parts {
		size += len(p.parts[i].tokens) * tokenSize
	}
	return size
}
